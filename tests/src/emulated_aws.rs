//! One emulated AWS: its endpoint, the SDK's clients for it, and its end.
//!
//! The clients are for seeding and for judging: they share no code with the functions under test.

mod actors;
mod control;
mod masters;
mod pool;
mod time;

use etcd_backup_core::ids::{SnapshotId, VolumeId};
use std::fmt;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_ec2::error::DisplayErrorContext;

pub use actors::Actor;
pub use control::{Call, Denied, Fault, Message, Outcome, Run, Used, Violation};
pub use masters::{Found, MasterDid, MasterEvent, MountedBy, Resumption};
pub(crate) use time::EmulatedTime;

/// The Region that everything is in.
pub const REGION: &str = "eu-west-2";
/// The emulated account.
pub const ACCOUNT: &str = "123456789012";
/// The table of restores, which is there from the beginning.
pub const RESTORES_TABLE: &str = "etcd-backup-restores";
/// Accepted by the emulated AWS like any other; AWS's own example key.
pub(crate) const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// An emulated AWS of one's own, empty at the start. It ends when this is dropped.
#[derive(Debug)]
pub struct EmulatedAws {
    endpoint: String,
    control: reqwest::Client,
    time: Arc<EmulatedTime>,
    config: SdkConfig,
    clients: Clients,
}

/// Each client is made when first asked for: most tests need two of them.
#[derive(Debug, Default)]
struct Clients {
    autoscaling: OnceLock<aws_sdk_autoscaling::Client>,
    dlm: OnceLock<aws_sdk_dlm::Client>,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    ec2: OnceLock<aws_sdk_ec2::Client>,
    iam: OnceLock<aws_sdk_iam::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
}

impl EmulatedAws {
    /// A fresh one, its clock at real time, with nothing in it but the table of restores.
    ///
    /// # Panics
    ///
    /// When the virtual environment is absent, or the emulation doesn't start.
    pub async fn start() -> Self {
        let endpoint = tokio::task::spawn_blocking(pool::new_endpoint)
            .await
            .expect("forking an emulated AWS");
        let aws = Self::at(endpoint, Duration::ZERO);
        aws.create_table(RESTORES_TABLE).await;
        aws.clear_calls().await;
        aws
    }

    fn at(endpoint: String, ahead: Duration) -> Self {
        Self {
            control: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(600))
                .build()
                .expect("an HTTP client"),
            time: Arc::new(EmulatedTime::new(ahead)),
            config: sdk_config(&endpoint),
            clients: Clients::default(),
            endpoint,
        }
    }

    /// `http://127.0.0.1:<port>`, for all services.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Amazon EC2 Auto Scaling.
    pub fn autoscaling(&self) -> &aws_sdk_autoscaling::Client {
        let new = || aws_sdk_autoscaling::Client::new(&self.config);
        self.clients.autoscaling.get_or_init(new)
    }

    /// Amazon Data Lifecycle Manager.
    pub fn dlm(&self) -> &aws_sdk_dlm::Client {
        let new = || aws_sdk_dlm::Client::new(&self.config);
        self.clients.dlm.get_or_init(new)
    }

    /// Amazon DynamoDB.
    pub fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        let new = || aws_sdk_dynamodb::Client::new(&self.config);
        self.clients.dynamodb.get_or_init(new)
    }

    /// Amazon EC2.
    pub fn ec2(&self) -> &aws_sdk_ec2::Client {
        let new = || aws_sdk_ec2::Client::new(&self.config);
        self.clients.ec2.get_or_init(new)
    }

    /// IAM.
    pub fn iam(&self) -> &aws_sdk_iam::Client {
        let new = || aws_sdk_iam::Client::new(&self.config);
        self.clients.iam.get_or_init(new)
    }

    /// Amazon SNS.
    pub fn sns(&self) -> &aws_sdk_sns::Client {
        let new = || aws_sdk_sns::Client::new(&self.config);
        self.clients.sns.get_or_init(new)
    }

    /// The configuration of clients like these, for a program under test that takes one.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.config
    }

    pub(crate) fn time(&self) -> &Arc<EmulatedTime> {
        &self.time
    }

    /// Makes a table with the keys of a table of restores.
    pub async fn create_table(&self, name: &str) {
        let mut request = self.dynamodb().create_table().table_name(name);
        for (attribute, kind) in [("cluster", KeyType::Hash), ("id", KeyType::Range)] {
            let defined = AttributeDefinition::builder()
                .attribute_name(attribute)
                .attribute_type(ScalarAttributeType::S);
            let key = KeySchemaElement::builder()
                .attribute_name(attribute)
                .key_type(kind);
            request = request
                .attribute_definitions(answered("a new attribute", defined.build()))
                .key_schema(answered("a new key", key.build()));
        }
        let request = request.billing_mode(BillingMode::PayPerRequest);
        answered("CreateTable", request.send().await);
    }

    /// Makes an SNS topic and gives its ARN.
    pub async fn create_topic(&self, name: &str) -> String {
        let answer = self.sns().create_topic().name(name).send().await;
        let topic = answered("CreateTopic", answer).topic_arn;
        topic.expect("a new topic has an ARN")
    }

    /// The account's own snapshots of a volume, newest first.
    pub async fn snapshots_of(&self, volume: &VolumeId) -> Vec<SnapshotId> {
        let filter = aws_sdk_ec2::types::Filter::builder()
            .name("volume-id")
            .values(volume.as_str())
            .build();
        let pages = self
            .ec2()
            .describe_snapshots()
            .owner_ids("self")
            .filters(filter);
        let pages = pages.into_paginator().items().send();
        let listed = answered(
            "DescribeSnapshots",
            pages.collect::<Result<Vec<_>, _>>().await,
        );
        let mut dated: Vec<_> = listed
            .into_iter()
            .filter_map(|snapshot| Some((snapshot.start_time?.secs(), snapshot.snapshot_id?)))
            .collect();
        dated.sort();
        dated.into_iter().rev().map(|(_, id)| id.into()).collect()
    }
}

impl Drop for EmulatedAws {
    fn drop(&mut self) {
        // It would end with the test process anyway: this only gives memory back earlier, so a
        // failure doesn't matter.
        let address = self.endpoint.trim_start_matches("http://");
        if let Ok(mut stream) = TcpStream::connect(address) {
            let request = format!(
                "POST /emulator/stop HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\
                 Connection: close\r\n\r\n{{}}"
            );
            let _ = stream.write_all(request.as_bytes());
        }
    }
}

/// Built by hand and not from the environment, so that nobody's own AWS settings reach a test.
/// For the SDK's clients, of an AWS at this endpoint.
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "e2e");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(2)
                .with_initial_backoff(Duration::from_millis(10)),
        )
        .build()
}

/// The answer of a call that can't be refused in this place; panics with all that AWS said.
pub(crate) fn answered<T, E>(operation: &str, answer: Result<T, E>) -> T
where
    E: std::error::Error + fmt::Debug,
{
    answer.unwrap_or_else(|error| panic!("{operation}: {}", DisplayErrorContext(error)))
}
