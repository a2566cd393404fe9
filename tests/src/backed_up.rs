//! The world that most tests begin in: a fleet that has been backed up for some days, by policies
//! that the real `converge` made.

use std::time::Duration;

use etcd_backup_core::ids::{PolicyId, VolumeId};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::emulated_aws::{EmulatedAws, Run};
use crate::fleet::{Cluster, Kops, strangers};
use crate::lambda::Function;

/// The default schedule's run of 06:00 is due at 07:30, 90 minutes past.
const MORNING: Time = Time::constant(7, 35, 0, 0);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const STRANGERS: usize = 10;

/// A fleet with default settings, converged and backed up each day.
#[derive(Debug)]
pub struct BackedUpFleet {
    /// The emulated AWS; its log of calls and its messages are empty.
    pub aws: EmulatedAws,
    /// `k8s.mycompany.tld`
    pub cluster: Cluster,
    /// `live-2.mycompany.tld`, newer: its volumes carry the control-plane role too.
    pub other: Cluster,
    /// Other people's volumes.
    pub strangers: Vec<VolumeId>,
    /// Where alerts go.
    pub topic_arn: String,
    /// The DLM policy that converge made.
    pub policy: PolicyId,
}

/// Seeds two clusters and strangers, converges, and lets `days` days pass, so that it is the morning
/// after the last run.
///
/// The emulated clock begins at the next noon, so that no test depends on the hour it runs at. From
/// there it is ahead of the functions' clock: invoke audit with `{"now": …}`.
///
/// # Panics
///
/// When converge fails.
pub async fn backed_up_fleet(days: u32) -> BackedUpFleet {
    let aws = EmulatedAws::start().await;
    aws.set_clock(next_noon(aws.clock().await)).await;
    let cluster = Kops::new("k8s.mycompany.tld").seed(&aws).await;
    let other = Kops::new("live-2.mycompany.tld")
        .style(crate::Style::New {
            control_plane: true,
        })
        .seed(&aws)
        .await;
    let strangers = strangers(&aws, STRANGERS).await;
    let topic_arn = aws.create_topic("etcd-backup-alerts").await;
    let policy = converge(&aws, &topic_arn).await;
    let fleet = BackedUpFleet {
        aws,
        cluster,
        other,
        strangers,
        topic_arn,
        policy,
    };
    for _ in 0..days {
        fleet.next_morning().await;
    }
    fleet.aws.clear_calls().await;
    fleet.aws.clear_messages().await;
    fleet
}

impl BackedUpFleet {
    /// A function that alerts to the topic.
    pub async fn function(&self, name: &str) -> Function {
        let variables = [("ALERT_TOPIC_ARN", self.topic_arn.as_str())];
        Function::start(&self.aws, name, &variables).await
    }

    /// The emulated time.
    pub async fn now(&self) -> Timestamp {
        self.aws.clock().await
    }

    /// Moves the clock to 07:35 UTC of the next day, past its run; says what the run did.
    pub async fn next_morning(&self) -> Vec<Run> {
        self.aws.set_clock(next_morning(self.now().await)).await
    }
}

/// One cluster, converged and backed up once: small, for tests that need many of it.
///
/// # Panics
///
/// When converge fails.
pub async fn backed_up_once(kops: Kops) -> (EmulatedAws, Cluster) {
    let aws = EmulatedAws::start().await;
    aws.set_clock(next_noon(aws.clock().await)).await;
    let cluster = kops.seed(&aws).await;
    back_up_once(&aws).await;
    (aws, cluster)
}

/// Converges, and lets the next run be over.
///
/// # Panics
///
/// When converge fails.
pub async fn back_up_once(aws: &EmulatedAws) {
    let converge = Function::start(aws, "converge", &[]).await;
    let answer = converge.invoke(json!({})).await;
    answer.unwrap_or_else(|error| panic!("converge: {error}"));
    aws.set_clock(next_morning(aws.clock().await)).await;
}

async fn converge(aws: &EmulatedAws, topic_arn: &str) -> PolicyId {
    let converge = Function::start(aws, "converge", &[("ALERT_TOPIC_ARN", topic_arn)]).await;
    let answer = converge.invoke(json!({})).await;
    let answer = answer.unwrap_or_else(|error| panic!("converge: {error}\n{}", converge.logs()));
    let policy = answer["policy_id"].as_str();
    policy
        .unwrap_or_else(|| panic!("converge made no policy: {answer}"))
        .into()
}

/// 07:35 UTC of the day after a time: the default schedule's run of that day is due.
pub fn next_morning(now: Timestamp) -> Timestamp {
    timestamp(utc(now + DAY).date().to_datetime(MORNING))
}

/// The first noon, UTC, after a time.
pub fn next_noon(now: Timestamp) -> Timestamp {
    let noon = utc(now).date().at(12, 0, 0, 0);
    timestamp(if timestamp(noon) <= now {
        noon + 1.day()
    } else {
        noon
    })
}

fn utc(time: Timestamp) -> DateTime {
    TimeZone::UTC.to_datetime(time)
}

fn timestamp(time: DateTime) -> Timestamp {
    TimeZone::UTC
        .to_timestamp(time)
        .expect("a time that UTC has")
}
