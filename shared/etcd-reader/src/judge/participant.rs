//! The members that take part in a set, and what is said of the others.

use super::member::examine;
use super::report::{SetReport, Verdict};
use super::start::Start;
use crate::member::Member;
use crate::version::Version;

/// A member that was found sound so far.
#[derive(Clone, Copy)]
pub(super) struct Participant<'a> {
    /// Where it is in the list of members.
    pub(super) at: usize,
    pub(super) member: &'a Member,
    pub(super) start: Start<'a>,
}

impl<'a> Participant<'a> {
    pub(super) fn name(&self) -> &'a str {
        &self.member.context.member
    }

    pub(super) fn id(&self) -> u64 {
        self.start.log.node_id
    }

    /// The cluster's token, where `/state` tells it.
    pub(super) fn token(&self) -> Option<String> {
        let state = self.member.layout.as_ref().ok()?.state()?;
        Some(state.cluster.as_ref()?.token.clone())
    }

    /// The nodes that `/state` names.
    pub(super) fn nodes(&self) -> Option<Vec<String>> {
        let state = self.member.layout.as_ref().ok()?.state()?;
        Some(state.cluster.as_ref()?.nodes.clone())
    }

    pub(super) fn version(&self) -> Option<Version> {
        Version::parse(&self.member.layout.as_ref().ok()?.state()?.etcd_version)
    }
}

/// A set while it is judged.
pub(super) struct Field<'a> {
    pub(super) report: SetReport,
    /// Who may start and vote as it should.
    pub(super) sound: Vec<Participant<'a>>,
    /// Members that aren't sound, or of which nobody knows, and that may vote all the same.
    pub(super) unsound_voters: usize,
    /// Of those taken out, how many may be sound at most where members that couldn't be read side with
    /// them: nobody can tell who is right without them.
    pub(super) disputed: usize,
}

impl<'a> Field<'a> {
    pub(super) fn new(members: &'a [Member]) -> Self {
        let report = SetReport {
            etcd_cluster: members
                .first()
                .map(|member| member.context.etcd_cluster.clone())
                .unwrap_or_default(),
            verdict: Verdict::Restorable,
            cluster_id: None,
            revision: None,
            quorum: None,
            voting_members: None,
            start_first: Vec::new(),
            members: members.iter().map(examine).collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let sound = members.iter().enumerate().filter_map(|(at, member)| {
            let start = Start::of(member)?;
            let sound = report.members[at].verdict <= Verdict::Degraded;
            sound.then_some(Participant { at, member, start })
        });
        let sound = sound.collect();
        let unsound_voters = unsupported(&report);
        Self {
            report,
            sound,
            unsound_voters,
            disputed: 0,
        }
    }

    /// Takes out a member that doesn't start, or whose votes don't count here.
    pub(super) fn exclude(&mut self, at: usize, problem: impl Into<String>) {
        self.sound.retain(|participant| participant.at != at);
        self.report.members[at].problem(Verdict::Damaged, problem);
    }

    /// Takes out a member that starts and votes.
    pub(super) fn exclude_voter(&mut self, at: usize, problem: impl Into<String>) {
        self.exclude(at, problem);
        self.unsound_voters += 1;
    }

    /// How many voters there may be beside those that are sound, at most. What is in dispute is settled
    /// by members that couldn't be read, or never.
    pub(super) fn possibly_sound(&self) -> usize {
        let unknown = unsupported(&self.report);
        if unknown == 0 {
            0
        } else {
            unknown + self.disputed
        }
    }

    /// The member with the longest log.
    pub(super) fn newest(&self) -> Option<Participant<'a>> {
        self.sound
            .iter()
            .copied()
            .max_by_key(|participant| participant.start.last())
    }
}

/// Members of which nothing can be told.
pub(super) fn unsupported(report: &SetReport) -> usize {
    report
        .members
        .iter()
        .filter(|member| member.verdict == Verdict::Unsupported)
        .count()
}
