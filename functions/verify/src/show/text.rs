//! Answers as text for a terminal.

use std::fmt::Write;

use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::verdict::Verdict;

use super::answer::{Answer, EtcdClusterAnswer, MemberAnswer, SweepAnswer};

/// Snapshots that were judged together.
pub fn of_point(answer: &Answer) -> String {
    let cluster = answer
        .cluster
        .as_ref()
        .map_or("a snapshot", |name| name.as_str());
    let point = answer
        .restore_point
        .map_or(String::new(), |run| format!(", run of {run}"));
    let mut text = format!(
        "{cluster}{point}: {}.\n",
        answer.verdict.name().to_uppercase()
    );
    let _ = writeln!(text, "{}", meaning(answer.verdict));
    for of in &answer.etcd_clusters {
        text += &of_etcd_cluster(of);
    }
    text
}

fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Restorable => "etcd would start from these snapshots and serve.",
        Verdict::Degraded => {
            "etcd would start from these snapshots, but without a member, or serving badly."
        }
        Verdict::Unsupported => "Whether etcd would start from these snapshots can't be told.",
        Verdict::Damaged => "etcd would not start from these snapshots.",
    }
}

fn of_etcd_cluster(of: &EtcdClusterAnswer) -> String {
    let name = of
        .etcd_cluster
        .as_ref()
        .map_or("etcd", |name| name.as_str());
    let mut text = format!("\n{name}: {}", of.verdict.name());
    if let Some(range) = of.revision {
        if range.at_least == range.at_most {
            let _ = write!(text, ", at revision {}", range.at_least);
        } else {
            let _ = write!(
                text,
                ", at revision {} to {}",
                range.at_least, range.at_most
            );
        }
    }
    if let Some(quorum) = of.quorum {
        let _ = write!(text, ", quorum {quorum} of {}", of.members.len());
    }
    text += "\n";
    for member in &of.members {
        text += &of_member(member);
    }
    said(&mut text, "  ", &of.problems, &of.warnings);
    if !of.start_first.is_empty() {
        let _ = writeln!(
            text,
            "  Start first: {}. Another order may leave the newest member without service; restore keeps to it by itself.",
            of.start_first.join(", ")
        );
    }
    if !of.tagged {
        text += "  This verdict isn't written down on the snapshots: it is not one on all members of a restore point, it isn't final, or a warning says why.\n";
    }
    text
}

fn of_member(member: &MemberAnswer) -> String {
    let report = &member.report;
    let name = if report.member.is_empty() {
        "?"
    } else {
        &report.member
    };
    let verdict = format!("{:?}", report.verdict).to_lowercase();
    let mut text = format!("  {name:<4} {} {verdict}", member.snapshot_id);
    if let Some(version) = &report.etcd_version {
        let _ = write!(text, ", etcd {version}");
    }
    if let Some(revision) = report.revision {
        let _ = write!(text, ", revision {revision}");
    }
    if let (Some(size), Some(in_use)) = (report.db_size, report.db_in_use) {
        let _ = write!(text, ", {} MiB ({} in use)", size >> 20, in_use >> 20);
    }
    if let Some(written) = report.written_at {
        let _ = write!(text, ", written {written}");
    }
    text += "\n";
    said(&mut text, "       ", &report.problems, &report.warnings);
    text
}

fn said(text: &mut String, indent: &str, problems: &[String], warnings: &[String]) {
    for problem in problems {
        let _ = writeln!(text, "{indent}{problem}");
    }
    for warning in warnings {
        let _ = writeln!(text, "{indent}Warning: {warning}");
    }
}

/// The sweep.
pub fn of_sweep(answer: &SweepAnswer) -> String {
    let names = |names: &[ClusterName]| {
        let names: Vec<_> = names.iter().map(ClusterName::as_str).collect();
        names.join(", ")
    };
    let mut text = if answer.verified.is_empty() && answer.left.is_empty() {
        "Nothing is left to verify: each latest restore point has its verdict.\n".to_owned()
    } else {
        match answer.verified.len() {
            1 => "1 restore point was verified.\n".to_owned(),
            count => format!("{count} restore points were verified.\n"),
        }
    };
    if !answer.left.is_empty() {
        let _ = writeln!(
            text,
            "No verdict could be given on {}: the next sweep goes on, or {{\"cluster\":\"…\"}} by hand.",
            names(&answer.left)
        );
    }
    said(&mut text, "", &[], &answer.warnings);
    for point in &answer.restore_points {
        let _ = write!(text, "\n{}", point.text);
    }
    text
}
