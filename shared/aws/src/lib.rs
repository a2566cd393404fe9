//! AWS and Lambda: the traits of the core crate over the SDK's clients, and the loop that serves a
//! function's invocations.
//!
//! SDK types stay inside this crate. Endpoints, Region and credentials come from the SDK's standard
//! environment variables and from nowhere else, so that the same binary runs in Lambda and against
//! any endpoint that `AWS_ENDPOINT_URL` names.

pub mod function;

mod dlm;
mod ec2;
mod error;
mod iam;
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

/// The AWS account that the function runs in.
#[derive(Clone, Debug)]
pub struct Aws {
    dlm: aws_sdk_dlm::Client,
    ec2: aws_sdk_ec2::Client,
    iam: aws_sdk_iam::Client,
    sns: aws_sdk_sns::Client,
    autoscaling: aws_sdk_autoscaling::Client,
}

impl Aws {
    /// Clients as the environment says.
    pub async fn from_environment() -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS_MAX)
                    .with_initial_backoff(BACKOFF_FIRST)
                    .with_max_backoff(BACKOFF_MAX),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            )
            .load()
            .await;
        Self::new(&config)
    }

    fn new(config: &SdkConfig) -> Self {
        Self {
            dlm: aws_sdk_dlm::Client::new(config),
            ec2: aws_sdk_ec2::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            autoscaling: aws_sdk_autoscaling::Client::new(config),
        }
    }
}
