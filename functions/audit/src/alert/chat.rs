//! The same for a chat channel: the gravest findings first, as many as people read there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use etcd_backup_core::alert::chat::cut;
use etcd_backup_core::alert::{Links, Notification};
use etcd_backup_core::ids::ClusterName;

use super::{clusters, kinds, restorability, subject};
use crate::finding::Finding;
use crate::report::Report;

/// How many findings the message lists one by one.
const FINDINGS_MAX: usize = 8;
/// In characters; a whole message is in the e-mail and in the audit's answer.
const MESSAGE_LENGTH_MAX: usize = 500;
/// How many clusters' restore points the message has.
const CLUSTERS_MAX: usize = 5;
/// The event's type, which custom actions of a channel may ask for.
const EVENT_TYPE: &str = "etcd-backup-audit";

pub(super) fn notification(report: &Report, links: &Links) -> Notification {
    let deployment = links.deployment;
    let severity = report.worst.name().to_owned();
    let context = [
        ("account", deployment.account.clone()),
        ("region", deployment.region.clone()),
        ("severity", severity.clone()),
        ("audited_at", format!("{:.0}", report.audited_at)),
        ("due_run", report.due_run.to_string()),
    ];
    Notification {
        title: subject(report, deployment),
        description: description(report, links),
        next_steps: next_steps(report, links),
        keywords: [severity].into_iter().chain(kinds(report)).collect(),
        // Audits of the same run belong together; the next day's failure must not hide in a thread.
        thread_id: Some(format!(
            "etcd-backup-{}-{}-{}",
            deployment.account, deployment.region, report.due_run
        )),
        event_type: EVENT_TYPE,
        related_resources: related_resources(report),
        additional_context: BTreeMap::from(context),
    }
}

fn description(report: &Report, links: &Links) -> String {
    let mut description = format!("{}\n", super::counts(report).join(" "));
    for finding in report.findings.iter().take(FINDINGS_MAX) {
        let _ = writeln!(description, "\n{}", item(finding, links));
    }
    let shown = report.findings.len().min(FINDINGS_MAX);
    let left_out = report.findings.len() - shown + report.findings_left_out;
    if left_out > 0 {
        let _ = writeln!(
            description,
            "\n{left_out} more findings are in the audit's log and answer."
        );
    }
    for name in named_clusters(report) {
        let mut clusters = report.clusters.iter();
        if let Some(cluster) = clusters.find(|cluster| &cluster.cluster == name) {
            let _ = writeln!(description, "\n{name}: {}", restorability(cluster));
        }
    }
    description
}

fn item(finding: &Finding, links: &Links) -> String {
    let kind = finding.kind.name();
    let place = finding.subject.cluster.as_ref();
    let place = place.map_or(String::new(), |cluster| format!(" in {cluster}"));
    format!(
        "• {} {kind}{place}: {} More: {}",
        finding.severity.name().to_uppercase(),
        cut(&finding.message, MESSAGE_LENGTH_MAX),
        links.finding(kind)
    )
}

/// The first clusters that findings name, in the order of the findings: those that are worst off.
fn named_clusters(report: &Report) -> Vec<&ClusterName> {
    let mut seen = BTreeSet::new();
    let first = clusters(report).filter(|name| seen.insert(*name));
    first.take(CLUSTERS_MAX).collect()
}

fn next_steps(report: &Report, links: &Links) -> Vec<String> {
    let dashboard = links.dashboard();
    let dashboard = dashboard.map(|address| format!("Look at the dashboard: {address}"));
    let lists = named_clusters(report).into_iter().filter_map(|name| {
        let command = links.list_restore_points_briefly(name)?;
        Some(format!("List what {name} can be restored from: {command}"))
    });
    dashboard.into_iter().chain(lists).collect()
}

fn related_resources(report: &Report) -> Vec<String> {
    let subjects = report.findings.iter().map(|finding| &finding.subject);
    let mut seen = BTreeSet::new();
    let volumes = subjects.filter_map(|subject| subject.volume_id.as_ref());
    let each_once = volumes.filter(|volume| seen.insert(*volume));
    each_once.take(10).map(ToString::to_string).collect()
}
