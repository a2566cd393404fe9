//! The members of one etcd cluster together: would they make a cluster, at which revision, and who must
//! start first.
//!
//! Snapshots of members are taken seconds apart, so their logs end at different indexes: that is the normal
//! case. A member whose log is at least as long as those of a quorum can be elected. Where such a
//! member's log ends before an index that another member knows as committed, that other one would follow it
//! and never serve again: then the longest log must be among the first quorum, which elects it.
//!
//! Source: raft, `raft.go` (votes go to logs that are at least as up to date), `log.go` (`isUpToDate`).

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::exclusion::{
    exclude_ahead_of_logs, exclude_contradicting, exclude_duplicates, exclude_other_clusters,
    exclude_strangers,
};
use super::member::alarm_name;
use super::participant::{Field, Participant};
use super::report::{RevisionRange, SetReport, Verdict};
use crate::member::Member;
use crate::wal::ConfState;

/// A member whose data is older than the newest by more than this comes from elsewhere than the others.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Judges the members of one etcd cluster together.
#[must_use]
pub fn judge_set(members: &[Member]) -> SetReport {
    let mut field = Field::new(members);
    exclude_other_clusters(&mut field);
    exclude_duplicates(&mut field);
    let conf_state = exclude_strangers(&mut field);
    exclude_contradicting(&mut field);
    exclude_ahead_of_logs(&mut field);
    decide(&mut field, &conf_state);
    warn_of_age(&mut field.report);
    warn_of_differences(&mut field);
    field.report
}

fn decide(field: &mut Field, conf_state: &ConfState) {
    let votes = |participant: &&Participant| conf_state.voters.contains(&participant.id());
    let voters: Vec<_> = field.sound.iter().filter(votes).copied().collect();
    let possible = field.possibly_sound();
    let report = &mut field.report;
    if conf_state.voters.is_empty() {
        // Who votes isn't known, so the members given are taken for all there are.
        let quorum = report.members.len() / 2 + 1;
        report.verdict = if possible >= quorum {
            Verdict::Unsupported
        } else {
            Verdict::Damaged
        };
        report.problems.push(
            "No member can be told to be sound, so there is nothing to start from.".to_owned(),
        );
        return;
    }
    let quorum = conf_state.voters.len() / 2 + 1;
    let count = format!(
        "{} of {} voting members",
        voters.len(),
        conf_state.voters.len()
    );
    report.quorum = Some(quorum);
    report.voting_members = Some(conf_state.voters.len());
    let absent = not_given(conf_state.voters.len(), report.members.len());
    if voters.len() < quorum {
        report.verdict = if voters.len() + possible >= quorum {
            Verdict::Unsupported
        } else {
            Verdict::Damaged
        };
        let verb = if possible > 0 {
            "can be told to be sound"
        } else {
            "are sound"
        };
        report.problems.push(format!(
            "{count} {verb}, and {quorum} are needed.{absent}{}",
            advice(&voters)
        ));
        return;
    }
    let order = Order::new(voters.clone(), quorum, field.unsound_voters);
    report.revision = Some(order.revision());
    report.start_first = order.start_first();
    if voters.len() < conf_state.voters.len() {
        report.verdict = Verdict::Degraded;
        report.problems.push(format!("{count} are sound: the cluster serves, and stands no further loss until the others have rejoined.{absent}"));
    }
    if report
        .members
        .iter()
        .any(|member| member.verdict != Verdict::Restorable)
    {
        report.verdict = report.verdict.max(Verdict::Degraded);
    }
}

/// How many of those that vote nobody looked at, at least: they may be sound as well.
fn not_given(voters: usize, given: usize) -> String {
    match voters.saturating_sub(given) {
        0 => String::new(),
        1 => format!(" 1 of the {voters} was not given."),
        count => format!(" {count} of the {voters} were not given."),
    }
}

/// Who can be saved where the set can't be started.
fn advice(sound: &[Participant]) -> String {
    let Some(best) = sound
        .iter()
        .max_by_key(|participant| participant.start.contents.revision)
    else {
        return " Choose another restore point.".to_owned();
    };
    format!(
        " Choose another restore point; or, as member {} is sound at revision {}, `etcdutl snapshot restore --skip-hash-check` with its member/snap/db begins a new cluster from it.",
        best.name(),
        best.start.contents.revision
    )
}

/// What the lengths of the sound voters' logs decide.
struct Order<'a> {
    /// By their logs, the shortest first.
    voters: Vec<Participant<'a>>,
    quorum: usize,
    /// How many votes of others anybody may get.
    other_votes: usize,
}

impl<'a> Order<'a> {
    fn new(mut voters: Vec<Participant<'a>>, quorum: usize, other_votes: usize) -> Self {
        voters.sort_by_key(|participant| (participant.start.last(), participant.start.committed()));
        Self {
            voters,
            quorum,
            other_votes,
        }
    }

    /// The member with the shortest log that can be elected: by itself, those whose logs are no longer, and
    /// whoever else votes.
    fn shortest_winner(&self) -> Option<&Participant<'a>> {
        self.voters
            .get(self.quorum.saturating_sub(self.other_votes + 1))
    }

    fn revision(&self) -> RevisionRange {
        let at_least = self
            .shortest_winner()
            .map_or(0, |winner| winner.start.revision().at_least);
        let at_most = self
            .voters
            .last()
            .map_or(at_least, |longest| longest.start.revision().at_most);
        RevisionRange {
            at_least,
            at_most: at_most.max(at_least),
        }
    }

    fn start_first(&self) -> Vec<String> {
        let committed = self
            .voters
            .iter()
            .map(|participant| participant.start.committed())
            .max();
        let shortest = self.shortest_winner().map(|winner| winner.start.last().1);
        if committed <= shortest {
            return Vec::new();
        }
        self.voters
            .iter()
            .rev()
            .take(self.quorum)
            .map(|participant| participant.name().to_owned())
            .collect()
    }
}

fn warn_of_age(report: &mut SetReport) {
    let newest = report
        .members
        .iter()
        .filter_map(|member| member.written_at)
        .max();
    for member in &mut report.members {
        if let (Some(newest), Some(written)) = (newest, member.written_at)
            && newest.duration_since(written) > AGE_MAX
        {
            let hours = newest.duration_since(written).as_hours();
            member.warning(format!(
                "Its data is {hours} h older than the newest member's."
            ));
        }
    }
}

fn warn_of_differences(field: &mut Field) {
    let Field { sound, report, .. } = field;
    let nodes: BTreeSet<_> = sound.iter().filter_map(Participant::nodes).collect();
    if nodes.len() > 1 {
        report.warnings.push("The members' /state files name different nodes: the snapshots were taken while a member was added or removed.".to_owned());
    }
    let versions: BTreeSet<_> = sound.iter().filter_map(Participant::version).collect();
    if let (Some(oldest), Some(newest)) = (versions.first(), versions.last())
        && oldest != newest
    {
        report.warnings.push(format!(
            "The members run etcd {oldest} to {newest}: the snapshots were taken during an upgrade."
        ));
    }
    let alarms: BTreeSet<_> = sound
        .iter()
        .flat_map(|participant| &participant.start.contents.alarms)
        .copied()
        .map(alarm_name)
        .collect();
    if !alarms.is_empty() {
        let alarms: Vec<_> = alarms.into_iter().collect();
        report
            .problems
            .push(format!("Alarms are raised: {}.", alarms.join(", ")));
    }
}
