//! What a member brings into a start: its identity, its log and its database, where both are sound.
//!
//! Source: etcd, `server/etcdserver/bootstrap.go`, `storage.go`; raft, `raft.go` (`loadState`, which
//! panics at a commit index beyond the log).

use std::collections::BTreeSet;

use super::report::RevisionRange;
use crate::member::{Data, Member};
use crate::mvcc::Contents;
use crate::snap::Snapshot;
use crate::wal::{ConfState, Log};

/// A member whose database and log were read whole.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) log: &'a Log,
    pub(super) snapshot: &'a Snapshot,
    pub(super) contents: &'a Contents,
}

impl<'a> Start<'a> {
    pub(super) fn of(member: &'a Member) -> Option<Self> {
        let Data {
            log,
            start,
            database,
            ..
        } = member.data.as_ref()?;
        Some(Self {
            log: log.as_ref().ok()?,
            snapshot: &start.as_ref()?.as_ref().ok()?.snapshot,
            contents: &database.as_ref().ok()?.contents,
        })
    }

    /// The log's last entry, as raft compares logs: first the term, then the index.
    pub(super) fn last(&self) -> (u64, u64) {
        let snapshot = (self.snapshot.term, self.snapshot.index);
        self.log
            .entries
            .last()
            .filter(|(_, index)| *index > self.snapshot.index)
            .unwrap_or(snapshot)
    }

    /// The index up to which the member knows entries as committed. The log's own may lag behind.
    pub(super) fn committed(&self) -> u64 {
        self.log
            .hard_state
            .commit
            .max(self.contents.meta.consistent_index)
    }

    /// The revision after the start, where this member's log is the one that the cluster goes on with.
    pub(super) fn revision(&self) -> RevisionRange {
        let growth = self
            .log
            .entries
            .growth_after(self.contents.meta.consistent_index);
        // With an alarm, etcd refuses what would be written.
        let at_least = if self.contents.alarms.is_empty() {
            growth.at_least
        } else {
            0
        };
        let revision = self.contents.revision;
        RevisionRange {
            at_least: revision.saturating_add(at_least),
            at_most: revision.saturating_add(growth.at_most),
        }
    }

    /// Who votes and who learns, as of the last committed change.
    pub(super) fn conf_state(&self) -> ConfState {
        let mut state = self.snapshot.conf_state.clone();
        self.apply_changes(&mut state, self.snapshot.index);
        if state.voters.is_empty() {
            // A snapshot record of before etcd 3.5 doesn't say who votes.
            let learns = |id: &u64| self.contents.members[id].learner;
            let (learners, voters) = self.contents.members.keys().partition(|id| learns(id));
            state = ConfState { voters, learners };
        }
        state
    }

    /// The members that the membership's own record knows: the database from etcd 3.6 on, before that the
    /// v2 store. None where there is no record yet, as before the first snapshot.
    pub(super) fn recorded_members(&self, in_database: bool) -> Option<BTreeSet<u64>> {
        let (recorded, as_of) = if in_database {
            let ids: BTreeSet<_> = self.contents.members.keys().copied().collect();
            (
                Some(ids).filter(|ids| !ids.is_empty())?,
                self.contents.meta.consistent_index,
            )
        } else {
            (self.snapshot.v2_members.clone()?, self.snapshot.index)
        };
        let mut state = ConfState {
            voters: recorded,
            ..ConfState::default()
        };
        self.apply_changes(&mut state, as_of);
        Some(state.voters.into_iter().chain(state.learners).collect())
    }

    /// Applies the committed changes of members after an index.
    fn apply_changes(&self, state: &mut ConfState, after: u64) {
        let committed = self.committed();
        let changes = self
            .log
            .conf_changes
            .iter()
            .filter(|entry| entry.index > after && entry.index <= committed);
        changes
            .flat_map(|entry| &entry.changes)
            .for_each(|change| state.apply(change));
    }

    /// The node name that the membership's record has for an id, where it is known.
    pub(super) fn node_name(&self, id: u64) -> Option<&'a str> {
        self.contents
            .members
            .get(&id)
            .map(|member| member.name.as_str())
            .filter(|name| !name.is_empty())
    }
}
