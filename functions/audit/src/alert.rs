//! The alert: one SNS message for the whole audit.

mod chat;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use etcd_backup_core::alert::{
    self, ATTRIBUTES_BYTES_MAX, Alert, AlertAttribute, BODY_BYTES_MAX, Links, json_bytes,
};
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::settings::Settings;

use crate::finding::Finding;
use crate::report::{ClusterReport, Report, Worst};

/// What the names of clusters may take of the attributes; the rest is for kinds and severity.
const CLUSTERS_BYTES_MAX: usize = ATTRIBUTES_BYTES_MAX - 2 * 1024;

/// The message for a report, where it is grave enough for one.
pub fn alert(report: &Report, settings: &Settings, deployment: &Deployment) -> Option<Alert> {
    let worst = report.worst.0?;
    if worst < settings.alert_min_severity {
        return None;
    }
    let links = Links {
        settings,
        deployment,
    };
    let clusters: BTreeSet<String> = clusters(report).map(ClusterName::to_string).collect();
    let kinds = kinds(report);
    let alert = Alert {
        subject: subject(report, deployment),
        body: body(report, &links),
        chat: Some(chat::notification(report, &links)),
        attributes: vec![
            ("severity", AlertAttribute::Text(worst.name().to_owned())),
            ("clusters", AlertAttribute::List(as_many_as_fit(clusters))),
            ("kinds", AlertAttribute::List(kinds.into_iter().collect())),
        ],
    };
    Some(alert.in_format(settings.alert_format))
}

/// A message's attributes count among its 256 KiB.
fn as_many_as_fit(names: BTreeSet<String>) -> Vec<String> {
    let sizes = names.into_iter().scan(0, |sum, name| {
        *sum += json_bytes(&name) + r#""","#.len();
        Some((*sum, name))
    });
    let fitting = sizes.take_while(|(sum, _)| *sum <= CLUSTERS_BYTES_MAX);
    fitting.map(|(_, name)| name).collect()
}

fn kinds(report: &Report) -> BTreeSet<String> {
    let kinds = report.findings.iter().map(|finding| finding.kind.name());
    kinds.map(str::to_owned).collect()
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
    alert::subject(&format!(
        "etcd backup {}: {what}{place} ({} {})",
        report.worst.name().to_uppercase(),
        deployment.account,
        deployment.region
    ))
}

/// How many volumes are covered, and how much was found.
fn counts(report: &Report) -> [String; 2] {
    let summary = &report.summary;
    [
        format!(
            "Due run {}: {} of {} etcd volumes have their snapshot.",
            report.due_run, summary.volumes_covered, summary.volumes
        ),
        format!(
            "Findings: {} critical, {} warning, {} info.",
            summary.critical, summary.warning, summary.info
        ),
    ]
}

fn body(report: &Report, links: &Links) -> String {
    let mut body = introduction(report, links);
    let mut bytes = json_bytes(&body);
    let mut by_cluster: BTreeMap<Option<&ClusterName>, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        by_cluster
            .entry(finding.subject.cluster.as_ref())
            .or_default()
            .push(finding);
    }
    let mut left_out = report.findings_left_out;
    // What is left for the line that says how much is left out.
    let bytes_max = BODY_BYTES_MAX - 128;
    for (name, findings) in by_cluster {
        let mut heading = heading(name, report, links);
        for finding in findings {
            let paragraph = format!("{heading}{}", paragraph(finding, links));
            let size = json_bytes(&paragraph);
            if bytes + size <= bytes_max {
                body += &paragraph;
                bytes += size;
                heading.clear();
            } else {
                left_out += 1;
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

fn introduction(report: &Report, links: &Links) -> String {
    let mut introduction = format!(
        "etcd backups in account {}, Region {}, audited at {:.0}.\n{}\n",
        links.deployment.account,
        links.deployment.region,
        report.audited_at,
        counts(report).join("\n"),
    );
    if let Some(dashboard) = links.dashboard() {
        let _ = writeln!(introduction, "Dashboard: {dashboard}");
    }
    introduction
}

fn heading(name: Option<&ClusterName>, report: &Report, links: &Links) -> String {
    let title = name.map_or("The account".to_owned(), |name| format!("Cluster {name}"));
    let mut heading = format!("\n{title}\n{}\n", "-".repeat(title.chars().count()));
    let mut clusters = report.clusters.iter();
    if let Some(cluster) = clusters.find(|cluster| Some(&cluster.cluster) == name) {
        let _ = writeln!(heading, "{}", restorability(cluster));
    }
    if let Some(command) = name.and_then(|name| links.list_restore_points(name)) {
        let _ = writeln!(heading, "To list its restore points:\n{command}");
    }
    heading
}

/// Whether a cluster can be restored as a whole, in one sentence.
fn restorability(cluster: &ClusterReport) -> String {
    match (cluster.restore_points, cluster.latest_restore_point) {
        (0, _) | (_, None) => {
            "It can't be restored as a whole: there is no restore point.".to_owned()
        }
        (count, Some(latest)) => {
            format!("The latest of {count} restore points is of {latest:.0}.")
        }
    }
}

fn paragraph(finding: &Finding, links: &Links) -> String {
    let kind = finding.kind.name();
    format!(
        "\n{} {kind}\n{}\nMore: {}\n",
        finding.severity.name().to_uppercase(),
        finding.message,
        links.finding(kind)
    )
}
