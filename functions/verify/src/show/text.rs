//! Answers as text for a terminal.

use std::fmt::Write;

use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::verdict::Verdict;

use super::answer::{Answer, EtcdClusterAnswer, MemberAnswer, SweepAnswer};

/// Snapshots that were judged together, or one member's by itself.
pub fn of_point(answer: &Answer, is_alone: bool) -> String {
    let cluster = answer
        .cluster
        .as_ref()
        .map_or("a snapshot", |name| name.as_str());
    let point = answer
        .restore_point
        .map_or(String::new(), |run| format!(", run of {run}"));
    let alone = if is_alone { ", one member alone" } else { "" };
    let mut text = format!(
        "{cluster}{point}{alone}: {}.\n",
        answer.verdict.name().to_uppercase()
    );
    let meaning = if is_alone {
        meaning_alone(answer.verdict)
    } else {
        meaning(answer.verdict)
    };
    let _ = writeln!(text, "{meaning}");
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

/// Neither whether there is a quorum, nor whether members go together, can be seen from one of them.
fn meaning_alone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Restorable => {
            "This member by itself is sound. Whether its etcd cluster would start and serve takes a quorum of members that go together: {\"cluster\":\"…\"} reads them all."
        }
        Verdict::Degraded => {
            "This member by itself would start, but serve badly, or needs a hand. Whether its etcd cluster would start takes a quorum of members that go together: {\"cluster\":\"…\"} reads them all."
        }
        Verdict::Unsupported => "Whether this member by itself is sound can't be told.",
        Verdict::Damaged => {
            "This member would not start from this snapshot. Its etcd cluster may without it: {\"cluster\":\"…\"} reads all members."
        }
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
    if let (Some(quorum), Some(voting)) = (of.quorum, of.voting_members) {
        let _ = write!(text, ", quorum {quorum} of {voting}");
    }
    text += "\n";
    for member in &of.members {
        text += &of_member(member);
    }
    write_problems(&mut text, "  ", &of.problems, &of.warnings);
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
    write_problems(&mut text, "       ", &report.problems, &report.warnings);
    text
}

fn write_problems(text: &mut String, indent: &str, problems: &[String], warnings: &[String]) {
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
    write_problems(&mut text, "", &[], &answer.warnings);
    for point in &answer.restore_points {
        let _ = write!(text, "\n{}", point.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use etcd_reader::judge::{self, MemberReport, SetReport};

    use super::*;
    use crate::collect::snapshot_volume::Traffic;
    use crate::decide::assessment::{self, Assessment, EtcdClusterAssessment, Source};

    /// What is said of these members of an etcd cluster of three.
    fn text(members: &[&str], verdict: judge::Verdict, is_alone: bool) -> String {
        let reports = members.iter().map(|member| MemberReport {
            member: (*member).to_owned(),
            verdict,
            ..MemberReport::default()
        });
        let sources = members.iter().map(|member| Source {
            snapshot_id: format!("snap-{member}").as_str().into(),
            traffic: Traffic::default(),
        });
        let report = SetReport {
            etcd_cluster: "main".to_owned(),
            verdict,
            cluster_id: None,
            revision: None,
            quorum: (!is_alone).then_some(2),
            voting_members: (!is_alone).then_some(3),
            start_first: Vec::new(),
            members: reports.collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let verdict = assessment::verdict(verdict);
        let main = EtcdClusterAssessment {
            name: Some("main".into()),
            verdict,
            report,
            sources: sources.collect(),
            stands: false,
            is_tagged: true,
            is_unfinished: false,
        };
        let assessment = Assessment {
            cluster: Some("k8s.mycompany.tld".into()),
            run: None,
            is_alone,
            verdict,
            etcd_clusters: vec![main],
        };
        Answer::new(assessment).text
    }

    #[test]
    fn a_quorum_is_one_of_the_members_that_the_data_names() {
        let text = text(&["a", "b"], judge::Verdict::Degraded, false);
        assert_eq!(
            text,
            "k8s.mycompany.tld: DEGRADED.\n\
             etcd would start from these snapshots, but without a member, or serving badly.\n\
             \n\
             main: degraded, quorum 2 of 3\n  \
               a    snap-a degraded\n  \
               b    snap-b degraded\n"
        );
    }

    #[test]
    fn a_member_read_alone_gets_no_verdict_on_its_etcd_cluster() {
        for (verdict, said) in [
            (
                judge::Verdict::Restorable,
                "This member by itself is sound. ",
            ),
            (
                judge::Verdict::Degraded,
                "This member by itself would start, ",
            ),
            (judge::Verdict::Unsupported, "can't be told."),
            (judge::Verdict::Damaged, "This member would not start "),
        ] {
            let text = text(&["a"], verdict, true);
            assert!(
                text.starts_with("k8s.mycompany.tld, one member alone: "),
                "{text}"
            );
            assert!(text.contains(said), "{text}");
            assert!(
                !text.contains("these snapshots") && !text.contains("quorum 2"),
                "{text}"
            );
        }
    }
}
