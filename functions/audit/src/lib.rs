//! Proves, once a day after the run, that every etcd volume has its snapshot, and tells people when
//! one hasn't.
//!
//! Collect ([`inventory`]) → decide ([`report`], with one pure check per subject in [`checks`]) →
//! show ([`text`], [`alert`], [`metrics`], [`widget`]) → act (one SNS message). What an account holds is
//! read in five calls, pages aside, and two more where a restore left traces or a policy takes volumes by
//! their instances; a page that can't be read fails the audit rather than showing half an account.

pub mod alert;
pub mod checks;
mod counted;
pub mod event;
pub mod finding;
pub mod inventory;
pub mod metrics;
pub mod recorded;
pub mod report;
pub mod schema;
pub mod text;
pub mod widget;

use std::time::Duration;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::aws::{Alerts, AllMasters, Groups, Storage};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::lifecycle_policy::Policies;
use etcd_backup_core::restore_table::RestoreTable;
use etcd_backup_core::settings::Settings;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::event::{Event, Request};
use crate::inventory::Inventory;
use crate::report::Report;

/// As many as fit into one log event of 256 KiB.
const FINDINGS_LOGGED_MAX: usize = 100;

/// Handles one invocation.
///
/// # Errors
///
/// `InvalidEvent` for an event that can't be taken; `AwsError` when a listing or the publishing of
/// the alert fails.
pub async fn handle(
    aws: &(impl Storage + Policies + Groups + AllMasters + RestoreTable + Alerts),
    settings: &Settings,
    invocation: Invocation,
) -> Result<Value, Diagnostic> {
    match Event::decode(&invocation.event)? {
        Event::Audit(request) => audit(aws, settings, &request, &invocation).await,
        Event::Widget(request, appearance) => {
            let now = request.now.unwrap_or(invocation.now);
            let inventory = read(aws, settings, &request, &invocation).await?;
            let html = widget::answer(&inventory, settings, &request, appearance, now);
            Ok(Value::String(html))
        }
        Event::DescribeWidget => Ok(widget::DOCUMENTATION.into()),
    }
}

async fn read(
    aws: &(impl Storage + Policies + Groups + AllMasters + RestoreTable),
    settings: &Settings,
    request: &Request,
    invocation: &Invocation,
) -> Result<Inventory, Diagnostic> {
    let region = &invocation.deployment.region;
    let asked = request.clusters.as_deref();
    let inventory = inventory::collect(aws, settings, region, asked).await;
    inventory.map_err(Diagnostic::from)
}

async fn audit(
    aws: &(impl Storage + Policies + Groups + AllMasters + RestoreTable + Alerts),
    settings: &Settings,
    request: &Request,
    invocation: &Invocation,
) -> Result<Value, Diagnostic> {
    let now = request.now.unwrap_or(invocation.now);
    let inventory = read(aws, settings, request, invocation).await?;
    let mut report = Report::new(inventory, settings, request, now);
    write_metrics(&report, request, invocation.started.elapsed());
    if let Some(alert) = alert::alert(&report, settings, &invocation.deployment) {
        match &settings.alert_topic_arn {
            Some(topic_arn) => {
                // The findings are logged first, so that they are not lost when publishing fails.
                log(&report);
                aws.publish(topic_arn, &alert).await?;
                report.alerted = true;
            }
            None => report
                .warnings
                .push("ALERT_TOPIC_ARN is not set: nobody was told of these findings".to_owned()),
        }
    }
    log(&report);
    answer(&report)
}

/// Before anything that may fail: an audit whose alert can't be published is measured all the same.
fn write_metrics(report: &Report, request: &Request, duration: Duration) {
    for line in metrics::lines(report, request.clusters.is_none(), duration) {
        // tracing would put a timestamp in front, and CloudWatch takes a line only if it is plain JSON.
        println!("{line}");
    }
}

fn log(report: &Report) {
    let first = &report.findings[..report.findings.len().min(FINDINGS_LOGGED_MAX)];
    tracing::info!(
        worst = report.worst.name(),
        critical = report.summary.critical,
        warning = report.summary.warning,
        volumes = report.summary.volumes,
        volumes_covered = report.summary.volumes_covered,
        alerted = report.alerted,
        findings = serde_json::to_string(first).unwrap_or_default(),
        "audited"
    );
}

/// What an audit answers.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// The same for a person to read.
    text: String,
}

fn answer(report: &Report) -> Result<Value, Diagnostic> {
    let text = report.to_string();
    serde_json::to_value(Answer { report, text })
        .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))
}
