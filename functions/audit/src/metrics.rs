//! The metrics of an audit, as lines in CloudWatch's embedded metric format: CloudWatch Logs reads
//! them off the function's log, so that no call and no permission is needed.
//!
//! One line for each cluster, with the dimension `Cluster`, and one without a dimension for all. The
//! crates that write this format come with queues, histograms and recorders, dozens of crates for a
//! handful of gauges (`metrique`), or want to be the process's one global recorder
//! (`metrics_cloudwatch_embedded`); so the format is written down here.
//!
//! Source: CloudWatch user guide, "Specification: Embedded metric format"; CloudWatch API reference,
//! `MetricDatum` and `Dimension`.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_backup_core::ids::ClusterName;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Number;

use crate::report::{ClusterReport, Report};

/// The namespace in CloudWatch.
pub const NAMESPACE: &str = "EtcdBackup";
/// The dimension of a cluster's own metrics.
pub const CLUSTER: &str = "Cluster";
/// CloudWatch's limit of a dimension's value, in characters.
const DIMENSION_LENGTH_MAX: usize = 1024;

/// One line of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    #[serde(rename = "_aws")]
    metadata: Metadata,
    #[serde(rename = "Cluster", skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(flatten)]
    values: BTreeMap<&'static str, Number>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    /// Milliseconds since 1970.
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: [Directive; 1],
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [Vec<&'static str>; 1],
    metrics: Vec<Definition>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: Unit,
}

/// CloudWatch's units; it has none for hours.
#[derive(Clone, Copy, Debug, Serialize)]
enum Unit {
    Count,
    Milliseconds,
    None,
}

/// A metric's name, unit and value.
type Metric = (&'static str, Unit, Number);

/// The lines of an audit that took `duration`: of each cluster, then of all.
///
/// An audit of some clusters only has no line for all, as its counts would look as if the others'
/// volumes were gone.
pub fn lines(report: &Report, is_of_all: bool, duration: Duration) -> Vec<Line> {
    let of_clusters = report.clusters.iter().map(|cluster| {
        let metrics = cluster_metrics(report, cluster);
        Line::new(report.audited_at, Some(&cluster.cluster), metrics)
    });
    let of_all = is_of_all.then(|| {
        let metrics = all_metrics(report, duration);
        Line::new(report.audited_at, None, metrics)
    });
    of_clusters.chain(of_all).collect()
}

fn cluster_metrics(report: &Report, cluster: &ClusterReport) -> Vec<Metric> {
    let mut metrics = counts(
        cluster.volumes,
        cluster.volumes_covered,
        cluster.snapshots_missing,
        cluster.critical,
        cluster.warning,
    );
    metrics.extend(age(report, cluster).and_then(age_metric));
    metrics
}

fn all_metrics(report: &Report, duration: Duration) -> Vec<Metric> {
    let summary = &report.summary;
    let mut metrics = counts(
        summary.volumes,
        summary.volumes_covered,
        summary.snapshots_missing,
        summary.critical,
        summary.warning,
    );
    let ages = report.clusters.iter().filter_map(|of| age(report, of));
    metrics.extend(ages.max_by(f64::total_cmp).and_then(age_metric));
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    metrics.push(("AuditDurationMs", Unit::Milliseconds, duration_ms.into()));
    metrics
}

fn counts(
    volumes: usize,
    volumes_covered: usize,
    snapshots_missing: usize,
    critical: usize,
    warning: usize,
) -> Vec<Metric> {
    [
        ("VolumesTotal", volumes),
        ("VolumesCovered", volumes_covered),
        ("SnapshotsMissing", snapshots_missing),
        ("FindingsCritical", critical),
        ("FindingsWarning", warning),
    ]
    .map(|(name, count)| (name, Unit::Count, count.into()))
    .into()
}

fn age(report: &Report, cluster: &ClusterReport) -> Option<f64> {
    let age = report
        .audited_at
        .duration_since(cluster.latest_restore_point?);
    // To a thousandth of an hour, some seconds, so that the line reads well.
    Some((age.as_secs_f64() / 3.6).round() / 1000.0)
}

fn age_metric(hours: f64) -> Option<Metric> {
    Number::from_f64(hours).map(|hours| ("RestorePointAgeHours", Unit::None, hours))
}

impl Line {
    fn new(audited_at: Timestamp, cluster: Option<&ClusterName>, metrics: Vec<Metric>) -> Self {
        let definitions = metrics
            .iter()
            .map(|(name, unit, _)| Definition { name, unit: *unit });
        Self {
            metadata: Metadata {
                timestamp: audited_at.as_millisecond(),
                directives: [Directive {
                    namespace: NAMESPACE,
                    dimensions: [cluster.map(|_| CLUSTER).into_iter().collect()],
                    metrics: definitions.collect(),
                }],
            },
            cluster: cluster.map(dimension_value),
            values: metrics
                .into_iter()
                .map(|(name, _, value)| (name, value))
                .collect(),
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&json)
    }
}

/// What CloudWatch takes as a dimension's value: printable ASCII, not only blanks, no colon in front.
/// It drops the whole line otherwise, and a cluster's name is a tag, which may hold anything.
fn dimension_value(cluster: &ClusterName) -> String {
    let ascii = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    let mut value: String = cluster.as_str().chars().map(ascii).collect();
    value.truncate(DIMENSION_LENGTH_MAX);
    if value.starts_with(':') || value.trim().is_empty() {
        value.replace_range(..value.len().min(1), "?");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_becomes_what_cloudwatch_takes() {
        let value = |name: &str| dimension_value(&ClusterName::from(name));
        assert_eq!(value("k8s.mycompany.tld"), "k8s.mycompany.tld");
        assert_eq!(value("k8s\n\u{e9}"), "k8s??");
        assert_eq!(value(":k8s"), "?k8s");
        assert_eq!(value("  "), "? ");
        assert_eq!(value(""), "?");
        assert_eq!(value(&"é".repeat(2000)).len(), 1024);
    }
}
