//! The metrics of an audit: one line for each cluster, with the dimension `Cluster`, and one without a
//! dimension for all.

use std::time::Duration;

use etcd_backup_core::metrics::{Line, Metric, Unit};
use serde_json::Number;

use crate::report::{ClusterReport, Report};

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
    // The age is rounded to a thousandth of an hour, some seconds, so that people can read the line.
    Some((age.as_secs_f64() / 3.6).round() / 1000.0)
}

fn age_metric(hours: f64) -> Option<Metric> {
    Number::from_f64(hours).map(|hours| ("RestorePointAgeHours", Unit::None, hours))
}
