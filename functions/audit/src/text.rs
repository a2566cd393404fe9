//! The report for a terminal.

use std::fmt;

use crate::report::Report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        writeln!(
            f,
            "etcd backup audit at {}: {}",
            self.audited_at,
            self.worst.name().to_uppercase()
        )?;
        writeln!(
            f,
            "Due run {}: {} of {} etcd volumes have their snapshot.",
            self.due_run, summary.volumes_covered, summary.volumes
        )?;
        for cluster in &self.clusters {
            write!(
                f,
                "  {}: {} of {} volumes covered, {} restore points",
                cluster.cluster, cluster.volumes_covered, cluster.volumes, cluster.restore_points
            )?;
            match (cluster.latest_restore_point, cluster.skew_seconds) {
                (Some(latest), Some(skew)) => writeln!(f, ", latest {latest} (skew {skew} s)")?,
                _ => writeln!(f)?,
            }
        }
        match self.findings.is_empty() {
            true => writeln!(f, "No findings.")?,
            false => writeln!(
                f,
                "Findings: {} critical, {} warning, {} info.",
                summary.critical, summary.warning, summary.info
            )?,
        }
        for finding in &self.findings {
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
        for warning in &self.warnings {
            writeln!(f, "\nNote: {warning}.")?;
        }
        if self.alerted {
            writeln!(f, "\nAn alert was published.")?;
        }
        Ok(())
    }
}
