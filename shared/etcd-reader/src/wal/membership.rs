//! Who votes, as raft knows it: a snapshot's state, and the changes that the log holds after it.
//!
//! Source: raft, `raftpb/raft.proto` (`ConfState`, `ConfChange`, `ConfChangeV2`).

use std::collections::BTreeSet;

use crate::protobuf::{Fields, Malformed};

/// Changes in one entry: etcd makes one at a time, and knows no members by the hundred.
const CHANGES_OF_ENTRY_MAX: usize = 100;

/// `raftpb.ConfState`: who votes and who only learns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfState {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) learners: BTreeSet<u64>,
}

impl ConfState {
    pub(crate) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let (mut voters, mut learners) = (Vec::new(), Vec::new());
        for field in Fields::new(message) {
            match field? {
                (1, value) => value.append_varints(&mut voters)?,
                (2, value) => value.append_varints(&mut learners)?,
                _ => {}
            }
        }
        Ok(Self {
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
        })
    }

    pub(crate) fn apply(&mut self, change: &ConfChange) {
        match *change {
            ConfChange::Add(id) => {
                self.learners.remove(&id);
                self.voters.insert(id);
            }
            ConfChange::AddLearner(id) => {
                self.voters.remove(&id);
                self.learners.insert(id);
            }
            ConfChange::Remove(id) => {
                self.voters.remove(&id);
                self.learners.remove(&id);
            }
            ConfChange::Update => {}
        }
    }
}

/// A change of who votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfChange {
    Add(u64),
    AddLearner(u64),
    Remove(u64),
    /// Of addresses alone.
    Update,
}

/// The changes that an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfChangeEntry {
    pub(crate) index: u64,
    pub(crate) changes: Vec<ConfChange>,
}

impl ConfChange {
    /// `raftpb.ConfChange`: type in field 2, node in field 3.
    pub(super) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Self::decode_fields(message, 2, 3)
    }

    /// `raftpb.ConfChangeV2`: a list of single changes in field 2.
    pub(super) fn decode_v2(message: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut changes = Vec::new();
        for field in Fields::new(message) {
            if let (2, value) = field? {
                changes.push(Self::decode_fields(value.bytes()?, 1, 2)?);
                if changes.len() > CHANGES_OF_ENTRY_MAX {
                    return Err(Malformed);
                }
            }
        }
        Ok(changes)
    }

    fn decode_fields(message: &[u8], kind_at: u64, node_at: u64) -> Result<Self, Malformed> {
        let (mut kind, mut node) = (0, 0);
        for field in Fields::new(message) {
            let (number, value) = field?;
            if number == kind_at {
                kind = value.varint()?;
            } else if number == node_at {
                node = value.varint()?;
            }
        }
        match kind {
            0 => Ok(Self::Add(node)),
            1 => Ok(Self::Remove(node)),
            2 => Ok(Self::Update),
            3 => Ok(Self::AddLearner(node)),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learner_is_added_promoted_and_removed() {
        let mut state = ConfState::decode(b"\x08\x01\x08\x02\x12\x01\x03").unwrap();
        assert_eq!(
            (state.voters.clone(), state.learners.clone()),
            ([1, 2].into(), [3].into())
        );
        state.apply(&ConfChange::decode(b"\x08\x07\x10\x00\x18\x03").unwrap());
        assert_eq!(
            (state.voters.clone(), state.learners.clone()),
            ([1, 2, 3].into(), [].into())
        );
        state.apply(&ConfChange::decode(b"\x10\x01\x18\x01").unwrap());
        state.apply(&ConfChange::decode(b"\x10\x02\x18\x02").unwrap());
        state.apply(&ConfChange::decode_v2(b"\x12\x04\x08\x03\x10\x04").unwrap()[0]);
        assert_eq!((state.voters, state.learners), ([2, 3].into(), [4].into()));
    }

    #[test]
    fn an_entry_of_more_changes_than_there_are_members_is_refused() {
        let change = b"\x12\x04\x08\x03\x10\x04";
        let of = |count: usize| ConfChange::decode_v2(&change.repeat(count));
        assert_eq!(of(100).unwrap().len(), 100);
        assert!(of(101).is_err());
    }
}
