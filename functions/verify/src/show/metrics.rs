//! The metrics of a verification, for each cluster.

use std::time::Duration;

use etcd_backup_core::metrics::{Line, Metric, Unit};
use etcd_backup_core::verdict::Verdict;
use jiff::Timestamp;

use crate::decide::assessment::Assessment;

/// The line of an assessment that took `duration`; none where the cluster isn't known.
pub fn line(assessment: &Assessment, at: Timestamp, duration: Duration) -> Option<Line> {
    let cluster = assessment.cluster.as_ref()?;
    let count = |verdict: Verdict| u64::from(assessment.verdict == verdict);
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut metrics: Vec<Metric> = Vec::new();
    // A set that is no restore point, or was not read to its end, does not count as a verified restore point.
    if assessment.etcd_clusters.iter().all(|of| of.stands) {
        let of_points: [Metric; 4] = [
            ("RestorePointsVerified", Unit::Count, 1.into()),
            (
                "RestorePointsDamaged",
                Unit::Count,
                count(Verdict::Damaged).into(),
            ),
            (
                "RestorePointsDegraded",
                Unit::Count,
                count(Verdict::Degraded).into(),
            ),
            (
                "RestorePointsUnsupported",
                Unit::Count,
                count(Verdict::Unsupported).into(),
            ),
        ];
        metrics.extend(of_points);
    }
    let of_reading: [Metric; 2] = [
        (
            "BlocksRead",
            Unit::Count,
            assessment.traffic().blocks.into(),
        ),
        ("VerifyDurationMs", Unit::Milliseconds, duration_ms.into()),
    ];
    metrics.extend(of_reading);
    Some(Line::new(at, Some(cluster), metrics))
}
