//! AWS and Lambda: the traits of the core crate over the SDK's clients, and the loop that serves a
//! function's invocations.
//!
//! SDK types stay inside this crate. Endpoints, Region and credentials come from the SDK's standard
//! environment variables and from nowhere else, so that the same binary runs in Lambda and against
//! any endpoint that `AWS_ENDPOINT_URL` names.

pub mod function;

mod dlm;
mod dynamodb;
mod ebs;
mod ec2;
mod error;
mod iam;
mod listing;
mod masters;
mod response_url;
mod sns;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// How often a call is tried: with the standard back-off some 25 seconds of `RequestLimitExceeded`
/// are waited out, which is what a burst of other tools' calls costs.
const ATTEMPTS_MAX: u32 = 8;
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// One attempt's bound; a page of 1,000 snapshots takes a few seconds at worst.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for DynamoDB, which answers within milliseconds. A lease can't wait for longer: some five
/// seconds in all are waited out.
const TABLE_ATTEMPTS_MAX: u32 = 12;
const TABLE_BACKOFF_FIRST: Duration = Duration::from_millis(50);
const TABLE_BACKOFF_MAX: Duration = Duration::from_secs(1);
const TABLE_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The AWS account that the function runs in.
#[derive(Clone, Debug)]
pub struct Aws {
    dlm: aws_sdk_dlm::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    ebs: aws_sdk_ebs::Client,
    ec2: aws_sdk_ec2::Client,
    iam: aws_sdk_iam::Client,
    sns: aws_sdk_sns::Client,
    autoscaling: aws_sdk_autoscaling::Client,
}

impl Aws {
    /// Clients as the environment says.
    pub async fn from_environment() -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest());
        Self::new(config.load().await)
    }

    /// Clients for this endpoint, Region and credentials; retries and time limits are set here.
    pub fn new(config: SdkConfig) -> Self {
        let config = &config
            .into_builder()
            .retry_config(retries(ATTEMPTS_MAX, BACKOFF_FIRST, BACKOFF_MAX))
            .timeout_config(attempts_within(ATTEMPT_TIMEOUT))
            .build();
        Self {
            dlm: aws_sdk_dlm::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(table_config(config)),
            ebs: aws_sdk_ebs::Client::from_conf(ebs::config(config)),
            ec2: aws_sdk_ec2::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            autoscaling: aws_sdk_autoscaling::Client::new(config),
        }
    }
}

fn table_config(config: &SdkConfig) -> aws_sdk_dynamodb::Config {
    let (first, max) = (TABLE_BACKOFF_FIRST, TABLE_BACKOFF_MAX);
    aws_sdk_dynamodb::config::Builder::from(config)
        .retry_config(retries(TABLE_ATTEMPTS_MAX, first, max))
        .timeout_config(attempts_within(TABLE_ATTEMPT_TIMEOUT))
        .build()
}

fn retries(attempts: u32, backoff_first: Duration, backoff_max: Duration) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(backoff_first)
        .with_max_backoff(backoff_max)
}

fn attempts_within(limit: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(limit)
        .build()
}
