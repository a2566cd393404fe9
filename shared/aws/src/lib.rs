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
mod http;
mod iam;
mod listing;
mod masters;
mod response_url;
mod sns;

use std::sync::{Arc, OnceLock};
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

/// The AWS account that the function runs in. Clones share everything.
#[derive(Clone, Debug)]
pub struct Aws(Arc<Shared>);

/// Each client is made when it is first used, so that a function's binary has no code of a service that the
/// function never asks.
#[derive(Debug)]
struct Shared {
    config: SdkConfig,
    autoscaling: OnceLock<aws_sdk_autoscaling::Client>,
    dlm: OnceLock<aws_sdk_dlm::Client>,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    ebs: OnceLock<aws_sdk_ebs::Client>,
    ec2: OnceLock<aws_sdk_ec2::Client>,
    iam: OnceLock<aws_sdk_iam::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
}

impl Aws {
    /// Endpoint, Region and credentials as the environment says.
    pub async fn from_environment() -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest());
        Self::new(config.http_client(http::client()).load().await)
    }

    /// This endpoint, Region and credentials; retries and time limits are set here.
    pub fn new(config: SdkConfig) -> Self {
        let config = config
            .into_builder()
            .retry_config(retries(ATTEMPTS_MAX, BACKOFF_FIRST, BACKOFF_MAX))
            .timeout_config(attempts_within(ATTEMPT_TIMEOUT))
            .build();
        Self(Arc::new(Shared {
            config,
            autoscaling: OnceLock::new(),
            dlm: OnceLock::new(),
            dynamodb: OnceLock::new(),
            ebs: OnceLock::new(),
            ec2: OnceLock::new(),
            iam: OnceLock::new(),
            sns: OnceLock::new(),
        }))
    }

    fn autoscaling(&self) -> &aws_sdk_autoscaling::Client {
        let new = || aws_sdk_autoscaling::Client::new(&self.0.config);
        self.0.autoscaling.get_or_init(new)
    }

    fn dlm(&self) -> &aws_sdk_dlm::Client {
        let new = || aws_sdk_dlm::Client::new(&self.0.config);
        self.0.dlm.get_or_init(new)
    }

    fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        let new = || aws_sdk_dynamodb::Client::from_conf(dynamodb::config(&self.0.config));
        self.0.dynamodb.get_or_init(new)
    }

    fn ebs(&self) -> &aws_sdk_ebs::Client {
        let new = || aws_sdk_ebs::Client::from_conf(ebs::config(&self.0.config));
        self.0.ebs.get_or_init(new)
    }

    fn ec2(&self) -> &aws_sdk_ec2::Client {
        let new = || aws_sdk_ec2::Client::new(&self.0.config);
        self.0.ec2.get_or_init(new)
    }

    fn iam(&self) -> &aws_sdk_iam::Client {
        let new = || aws_sdk_iam::Client::new(&self.0.config);
        self.0.iam.get_or_init(new)
    }

    fn sns(&self) -> &aws_sdk_sns::Client {
        let new = || aws_sdk_sns::Client::new(&self.0.config);
        self.0.sns.get_or_init(new)
    }
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
