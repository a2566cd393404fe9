//! The report for a terminal.

use std::fmt;

use etcd_backup_core::event_time::in_seconds;

use crate::counted::counted;
use crate::report::Report;

/// As many as a person reads in a terminal.
const FINDINGS_SHOWN_MAX: usize = 200;
/// The same for clusters.
const CLUSTERS_SHOWN_MAX: usize = 200;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        writeln!(
            f,
            "etcd backup audit at {:.0}: {}",
            self.audited_at,
            self.worst.name().to_uppercase()
        )?;
        writeln!(
            f,
            "Due run {}: {} of {} etcd volumes have their snapshot.",
            self.due_run, summary.volumes_covered, summary.volumes
        )?;
        for cluster in self.clusters.iter().take(CLUSTERS_SHOWN_MAX) {
            write!(
                f,
                "  {}: {} of {} covered, {}",
                cluster.cluster,
                cluster.volumes_covered,
                counted(cluster.volumes, "volume"),
                counted(cluster.restore_points, "restore point")
            )?;
            match (cluster.latest_restore_point, cluster.skew_seconds) {
                (Some(latest), Some(skew)) => {
                    writeln!(f, ", latest {} (skew {skew} s)", in_seconds(latest))?
                }
                _ => writeln!(f)?,
            }
        }
        if self.findings.is_empty() {
            writeln!(f, "No findings.")?
        } else {
            writeln!(
                f,
                "Findings: {} critical, {} warning, {} info.",
                summary.critical, summary.warning, summary.info
            )?
        }
        for finding in self.findings.iter().take(FINDINGS_SHOWN_MAX) {
            write!(
                f,
                "\n{} {}",
                finding.severity.name().to_uppercase(),
                finding.kind.name()
            )?;
            if let Some(cluster) = &finding.subject.cluster {
                write!(f, " in {cluster}")?;
            }
            writeln!(f, "\n  {}", finding.message)?;
        }
        let shown = self.findings.len().min(FINDINGS_SHOWN_MAX);
        let left_out = self.findings.len() - shown + self.findings_left_out;
        if left_out > 0 {
            writeln!(f, "\n{left_out} findings more.")?;
        }
        for warning in &self.warnings {
            writeln!(f, "\nNote: {warning}.")?;
        }
        if self.alerted {
            writeln!(f, "\nAn alert was published.")?;
        }
        Ok(())
    }
}
