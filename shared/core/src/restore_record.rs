//! The record of a restore: what it means to do, written before anything is done.
//!
//! It is the body of one item of [`crate::restore_table`], as JSON in the layout [`LAYOUT`]. What was done
//! is read from AWS itself; the record holds what AWS can't tell: which volumes are exchanged for which,
//! with all tags that the outgoing ones had, which way the exchange goes at the moment, and which groups'
//! launches are suspended for it.
//!
//! Invariants:
//!
//! - A record is written before what it names is done: a volume that masters use, a group or an
//!   instance is touched only if the record names it already.
//! - What an undo needs to put a volume back as it was is in the record, and nowhere else.
//! - A record begins with the turn of the restore itself; its last turn is under way until it has ended.
//! - A layout that this program doesn't know is an error, never a guess.

mod member;
mod turn;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use self::member::{IncomingVolume, MemberRecord, OutgoingVolume, SnapshotRecord};
pub use self::turn::{Direction, MastersOption, MountedBy, RestoreStage, StageEntry, Turn};
use crate::generation::Exchange;
use crate::ids::{ClusterName, EtcdClusterName, GroupName, MemberKey, RestoreId, VolumeId};
use crate::restore_table::StoredRecord;
use crate::schedule::Run;

/// The layout of bodies that this program writes, and the only one that it reads.
pub const LAYOUT: u32 = 1;

/// One restore, with all that became of it since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreRecord {
    /// The restore's id.
    pub id: RestoreId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The options of the event that began it, defaults filled in but for those that depend on what is there:
    /// events are the same if these are.
    pub event: Value,
    /// Whether that event said `again`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub again: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// The run whose snapshots were chosen; `None` where a person named them.
    pub run: Option<Run>,
    /// Member by member.
    pub members: BTreeMap<MemberKey, MemberRecord>,
    /// In which order its masters start.
    #[serde(default)]
    pub start_order: StartOrder,
    /// The groups whose launches it may have suspended and not resumed: named here before the call, and
    /// taken out after the launches were resumed.
    #[serde(default, rename = "held_groups")]
    pub suspended_groups: Vec<GroupName>,
    /// The turn of the restore itself.
    pub restore: Turn,
    /// Each undo and redo since; the last one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later_turns: Vec<Turn>,
    /// What the operator was to know when it began, and has been since.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// When it was given up for another restore, as it could go neither on nor back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned_at: Option<Timestamp>,
}

/// In which order a restore's masters start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOrder {
    /// The members that start first, a quorum with the newest among them; empty where the order doesn't
    /// matter, or can't be kept.
    pub first: Vec<MemberKey>,
    /// The groups whose masters they are.
    pub first_groups: Vec<GroupName>,
    /// The groups that are resumed when those have their volumes.
    pub second_groups: Vec<GroupName>,
}

/// A record that can't be read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A newer version of this program wrote it.
    #[error(
        "the record {number} is in layout {found}, and this program knows {LAYOUT}: deploy the newer version again"
    )]
    Layout {
        /// Which of the cluster's.
        number: u32,
        /// Its layout.
        found: u32,
    },
    /// Somebody changed it by hand.
    #[error("the record {number} can't be read: {source}")]
    Body {
        /// Which of the cluster's.
        number: u32,
        /// What is wrong.
        source: serde_json::Error,
    },
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl RestoreRecord {
    /// Reads a record as the table gives it.
    ///
    /// # Errors
    ///
    /// Where it is of another layout, or isn't what was written.
    pub fn read(stored: &StoredRecord) -> Result<Self, RecordError> {
        let number = stored.number.0;
        if stored.layout != LAYOUT {
            let found = stored.layout;
            return Err(RecordError::Layout { number, found });
        }
        let body_error = |source| RecordError::Body { number, source };
        serde_json::from_str(&stored.body).map_err(body_error)
    }

    /// The body to be stored.
    ///
    /// # Errors
    ///
    /// None in practice: every key of it is a string.
    pub fn body(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The turn that counts.
    pub fn turn(&self) -> &Turn {
        self.later_turns.last().unwrap_or(&self.restore)
    }

    /// The same, to be changed.
    pub fn turn_mut(&mut self) -> &mut Turn {
        self.later_turns.last_mut().unwrap_or(&mut self.restore)
    }

    /// All turns, the restore itself first.
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = &Turn> {
        std::iter::once(&self.restore).chain(&self.later_turns)
    }

    /// Whether it neither ended nor was given up.
    pub fn is_unfinished(&self) -> bool {
        self.abandoned_at.is_none() && self.turn().ended_at.is_none()
    }

    /// Whether its volumes are, or are about to be, out of service again.
    pub fn is_put_back(&self) -> bool {
        self.turn().direction == Direction::Undo
    }

    /// Whether an undo of it has ended and nothing came since.
    pub fn is_undone(&self) -> bool {
        self.is_put_back() && !self.is_unfinished()
    }

    /// Whether its incoming volumes were in service at any time.
    pub fn was_ever_done(&self) -> bool {
        let mut turns = self.turns();
        turns.any(|turn| turn.direction != Direction::Undo && turn.ended_at.is_some())
    }

    /// How far its last turn is.
    pub fn stage(&self) -> RestoreStage {
        self.turn().stage()
    }

    /// When the restore itself ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.restore.ended_at
    }

    /// When a turn that goes this way ended last.
    pub fn turned_at(&self, direction: Direction) -> Option<Timestamp> {
        let mut ended = self
            .turns()
            .rev()
            .filter(|turn| turn.direction == direction);
        ended.find_map(|turn| turn.ended_at)
    }

    /// The etcd clusters that it is of.
    pub fn etcd_clusters(&self) -> impl Iterator<Item = &EtcdClusterName> {
        let mut last = None;
        let names = self.members.keys().map(|key| &key.etcd_cluster);
        // Keys are sorted by etcd cluster, so equal names are neighbours.
        names.filter(move |name| last.replace(*name) != Some(*name))
    }

    /// The exchanges of volumes that its turns made, in their order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let mut exchanges: Vec<Exchange> = Vec::new();
        for turn in self.turns() {
            // An undo of what was never exchanged exchanges nothing.
            let is_first_undo = turn.direction == Direction::Undo && exchanges.is_empty();
            let Some(at) = turn.exchanged_at().filter(|_| !is_first_undo) else {
                continue;
            };
            let members = self.members.iter();
            let members = members.map(|(key, member)| (key.clone(), member.exchange(turn)));
            exchanges.push(Exchange {
                id: self.id.clone(),
                at,
                members: members.collect(),
            });
        }
        exchanges
    }

    /// Every volume that it brings, or takes out of service.
    pub fn volume_ids(&self) -> impl Iterator<Item = &VolumeId> {
        self.members.values().flat_map(|member| {
            let outgoing = member.outgoing.iter().map(|volume| &volume.id);
            member.incoming.volume_id.iter().chain(outgoing)
        })
    }
}

#[cfg(test)]
mod tests;
