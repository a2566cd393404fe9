//! Proves, once a day after the run, that every etcd volume has its snapshot, and tells people when
//! one hasn't.
//!
//! Collect ([`inventory`]) → decide ([`report`], with one pure check per subject in [`checks`]) →
//! show ([`text`], [`alert`]) → act (one SNS message). What an account holds is read in four calls,
//! pages aside; a page that can't be read fails the audit rather than showing half an account.

pub mod alert;
pub mod checks;
pub mod event;
pub mod finding;
pub mod inventory;
pub mod report;
pub mod text;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::aws::{Alerts, Storage};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::lifecycle_policy::Policies;
use etcd_backup_core::settings::Settings;
use serde_json::Value;

use crate::event::Request;
use crate::report::Report;

/// Handles one invocation.
///
/// # Errors
///
/// `InvalidEvent` for an event that can't be taken; `AwsError` when a listing or the publishing of
/// the alert fails.
pub async fn handle(
    aws: &(impl Storage + Policies + Alerts),
    settings: &Settings,
    invocation: Invocation,
) -> Result<Value, Diagnostic> {
    let request = Request::decode(&invocation.event)?;
    let now = request.now.unwrap_or(invocation.now);
    let inventory = inventory::collect(aws, settings).await?;
    let mut report = Report::new(inventory, settings, &request, now);
    if let Some(alert) = alert::alert(&report, settings, &invocation.deployment) {
        match &settings.alert_topic_arn {
            Some(topic_arn) => {
                // Logged first: when publishing fails, the findings must not be lost with it.
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

fn log(report: &Report) {
    tracing::info!(
        worst = report.worst.name(),
        critical = report.summary.critical,
        warning = report.summary.warning,
        volumes = report.summary.volumes,
        volumes_covered = report.summary.volumes_covered,
        alerted = report.alerted,
        findings = serde_json::to_string(&report.findings).unwrap_or_default(),
        "audited"
    );
}

fn answer(report: &Report) -> Result<Value, Diagnostic> {
    let mut answer = serde_json::to_value(report)
        .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))?;
    answer["text"] = report.to_string().into();
    Ok(answer)
}
