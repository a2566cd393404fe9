//! The alert: one SNS message for the whole audit.
//!
//! Invariant: what is grave comes first, in the subject, in the body and in what is kept of either where not
//! all fits; people read from the top, and a pager shows the subject alone. A report's findings are sorted so.

mod chat;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use etcd_backup_core::alert::{
    self, ATTRIBUTES_BYTES_MAX, Alert, AlertAttribute, BODY_BYTES_MAX, Links, json_bytes,
};
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::event_time::in_seconds;
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::settings::{Settings, Severity};

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
    let kinds = kinds(report);
    let alert = Alert {
        subject: subject(report, deployment),
        body: body(report, &links),
        chat: Some(chat::notification(report, &links)),
        attributes: vec![
            ("severity", AlertAttribute::Text(worst.name().to_owned())),
            (
                "clusters",
                AlertAttribute::List(as_many_as_fit(clusters(report))),
            ),
            ("kinds", AlertAttribute::List(kinds.into_iter().collect())),
        ],
    };
    Some(alert.in_format(settings.alert_format))
}

/// A message's attributes count among its 256 KiB. The first are kept, and sorted by name.
fn as_many_as_fit<'a>(names: impl Iterator<Item = &'a ClusterName>) -> Vec<String> {
    let mut kept: BTreeSet<&ClusterName> = BTreeSet::new();
    let mut bytes = 0;
    for name in names {
        if kept.contains(name) {
            continue;
        }
        bytes += json_bytes(name.as_str()) + r#""","#.len();
        if bytes > CLUSTERS_BYTES_MAX {
            break;
        }
        kept.insert(name);
    }
    kept.into_iter().map(ClusterName::to_string).collect()
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

/// How bad, and where that is: a milder finding elsewhere would only hide the place.
fn subject(report: &Report, deployment: &Deployment) -> String {
    let Worst(worst) = report.worst;
    let of_worst = report.findings.iter();
    let of_worst = of_worst.filter(|finding| Some(finding.severity) == worst);
    let of_worst: Vec<&Finding> = of_worst.collect();
    let what = match of_worst[..] {
        [only] => only.kind.name().to_owned(),
        ref several => format!("{} findings", several.len()),
    };
    let names = of_worst.iter();
    let names: BTreeSet<&ClusterName> = names
        .filter_map(|finding| finding.subject.cluster.as_ref())
        .collect();
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
    let introduction = introduction(report, links);
    // The rest is room for the line that says how much is left out.
    let bytes_max = BODY_BYTES_MAX - 128 - json_bytes(&introduction);
    let (sections, left_out) = sections(report, links, bytes_max);
    let mut body = introduction + &sections.concat();
    let left_out = left_out + report.findings_left_out;
    if left_out > 0 {
        let _ = writeln!(
            body,
            "\n{left_out} more findings are in the audit's log and answer."
        );
    }
    body
}

/// The sections of the clusters, and of the account, in the order of the gravest finding of each; and how many
/// findings are left out. Where there is no room for one finding, no milder one of any cluster is included.
fn sections(report: &Report, links: &Links, bytes_max: usize) -> (Vec<String>, usize) {
    let mut sections: Vec<String> = Vec::new();
    let mut places: BTreeMap<Option<&ClusterName>, usize> = BTreeMap::new();
    let mut bytes = 0;
    let mut left_out = 0;
    let mut no_room_at: Option<Severity> = None;
    for finding in &report.findings {
        if no_room_at.is_some_and(|of| finding.severity < of) {
            left_out += 1;
            continue;
        }
        let cluster = finding.subject.cluster.as_ref();
        let place = places.get(&cluster).copied();
        let heading = match place {
            Some(_) => String::new(),
            None => heading(cluster, report, links),
        };
        let entry = heading + &paragraph(finding, links);
        let size = json_bytes(&entry);
        if bytes + size > bytes_max {
            no_room_at = Some(finding.severity);
            left_out += 1;
            continue;
        }
        bytes += size;
        match place {
            Some(place) => sections[place] += &entry,
            None => {
                places.insert(cluster, sections.len());
                sections.push(entry);
            }
        }
    }
    (sections, left_out)
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
        (1, Some(only)) => format!("Its only restore point is of {}.", in_seconds(only)),
        (count, Some(latest)) => {
            format!(
                "The latest of {count} restore points is of {}.",
                in_seconds(latest)
            )
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
