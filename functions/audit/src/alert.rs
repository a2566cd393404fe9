//! The alert: one SNS message for the whole audit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use etcd_backup_core::aws::{Alert, AlertAttribute};
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::settings::Settings;

use crate::finding::Finding;
use crate::report::{ClusterReport, Report, Worst};

/// SNS's limit of a subject's length, in ASCII characters.
const SUBJECT_LENGTH_MAX: usize = 100;
/// What a body may take of SNS's 256 KiB, with room left for attributes and encoding.
const BODY_BYTES_MAX: usize = 200 * 1024;
/// What the names of clusters may take of it.
const ATTRIBUTE_BYTES_MAX: usize = 32 * 1024;

/// The message for a report, where it is grave enough for one.
pub fn alert(report: &Report, settings: &Settings, deployment: &Deployment) -> Option<Alert> {
    let worst = report.worst.0?;
    if worst < settings.alert_min_severity {
        return None;
    }
    let clusters: BTreeSet<String> = clusters(report).map(ClusterName::to_string).collect();
    let kinds: BTreeSet<String> = report
        .findings
        .iter()
        .map(|f| f.kind.name().to_owned())
        .collect();
    Some(Alert {
        subject: subject(report, deployment),
        body: body(report, deployment),
        attributes: vec![
            ("severity", AlertAttribute::Text(worst.name().to_owned())),
            ("clusters", AlertAttribute::List(as_many_as_fit(clusters))),
            ("kinds", AlertAttribute::List(kinds.into_iter().collect())),
        ],
    })
}

/// A message's attributes count among its 256 KiB.
fn as_many_as_fit(names: BTreeSet<String>) -> Vec<String> {
    let sizes = names.into_iter().scan(0, |sum, name| {
        *sum += name.len();
        Some((*sum, name))
    });
    let fitting = sizes.take_while(|(sum, _)| *sum <= ATTRIBUTE_BYTES_MAX);
    fitting.map(|(_, name)| name).collect()
}

fn clusters(report: &Report) -> impl Iterator<Item = &ClusterName> {
    report
        .findings
        .iter()
        .filter_map(|finding| finding.subject.cluster.as_ref())
}

fn subject(report: &Report, deployment: &Deployment) -> String {
    let Worst(worst) = report.worst;
    let of_worst = report
        .findings
        .iter()
        .filter(|finding| Some(finding.severity) == worst);
    let what = match of_worst.collect::<Vec<_>>()[..] {
        [only] => only.kind.name().to_owned(),
        ref several => format!("{} findings", several.len()),
    };
    let names: BTreeSet<_> = clusters(report).collect();
    let place = match names.len() {
        0 => String::new(),
        1 => format!(" in {}", names.first().map_or("", |name| name.as_str())),
        count => format!(" in {count} clusters"),
    };
    let text = format!(
        "etcd backup {}: {what}{place} ({} {})",
        report.worst.name().to_uppercase(),
        deployment.account,
        deployment.region
    );
    let ascii = |c: char| match c.is_ascii() && !c.is_ascii_control() {
        true => c,
        false => '?',
    };
    text.chars().map(ascii).take(SUBJECT_LENGTH_MAX).collect()
}

fn body(report: &Report, deployment: &Deployment) -> String {
    let summary = &report.summary;
    let mut body = format!(
        "etcd backups in account {}, Region {}, audited at {:.0}.\n\
         Due run {}: {} of {} etcd volumes have their snapshot.\n\
         Findings: {} critical, {} warning, {} info.\n",
        deployment.account,
        deployment.region,
        report.audited_at,
        report.due_run,
        summary.volumes_covered,
        summary.volumes,
        summary.critical,
        summary.warning,
        summary.info,
    );
    let mut by_cluster: BTreeMap<Option<&ClusterName>, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        by_cluster
            .entry(finding.subject.cluster.as_ref())
            .or_default()
            .push(finding);
    }
    let mut left_out = report.findings_left_out;
    for (name, findings) in by_cluster {
        let cluster = report
            .clusters
            .iter()
            .find(|cluster| Some(&cluster.cluster) == name);
        let heading = heading(name, cluster);
        for (index, finding) in findings.into_iter().enumerate() {
            let mut paragraph = if index == 0 {
                heading.clone()
            } else {
                String::new()
            };
            let _ = write!(
                paragraph,
                "\n{} {}\n{}\n",
                finding.severity.name().to_uppercase(),
                finding.kind.name(),
                finding.message
            );
            match body.len() + paragraph.len() <= BODY_BYTES_MAX {
                true => body += &paragraph,
                false => left_out += 1,
            }
        }
    }
    if left_out > 0 {
        let _ = writeln!(
            body,
            "\n{left_out} more findings are in the audit's log and answer."
        );
    }
    body
}

fn heading(name: Option<&ClusterName>, cluster: Option<&ClusterReport>) -> String {
    let title = name.map_or("The account".to_owned(), |name| format!("Cluster {name}"));
    let mut heading = format!("\n{title}\n{}\n", "-".repeat(title.chars().count()));
    if let Some(cluster) = cluster {
        let can = match (cluster.restore_points, cluster.latest_restore_point) {
            (0, _) | (_, None) => {
                "It can't be restored as a whole: there is no restore point.".to_owned()
            }
            (count, Some(latest)) => {
                format!(
                    "It can be restored: the latest of {count} restore points is of {latest:.0}."
                )
            }
        };
        let _ = writeln!(heading, "{can}");
    }
    heading
}
