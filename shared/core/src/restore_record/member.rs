//! What a record says of one member: the snapshot that was chosen, and which volumes are exchanged.
//!
//! Invariant: it is complete enough that the incoming volume is made, and the outgoing ones are put back, from
//! it alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Direction, Turn, is_false};
use crate::Tags;
use crate::generation::{Incoming, MemberExchange};
use crate::ids::{SnapshotId, VolumeId, ZoneName};
use crate::verdict::Verdict;
use crate::volume::Performance;

/// One member of a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// What it is restored from.
    pub snapshot: SnapshotRecord,
    /// The volume that is made of that.
    pub incoming: IncomingVolume,
    /// The volumes that it takes the place of: one, or none where that was lost.
    pub outgoing: Vec<OutgoingVolume>,
}

/// A snapshot as it was when it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// `snap-…`
    pub id: SnapshotId,
    /// Its point in time.
    pub started_at: Timestamp,
    /// The volume that it was taken of.
    pub volume_id: VolumeId,
    /// What verify found in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verdict>,
    /// The revision that verify read in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Whether verify says that its member must start before the others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub starts_first: bool,
}

/// The volume that a restore makes for a member: all parameters of the call, so that a repeated one gives
/// the same volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncomingVolume {
    /// Where.
    pub zone: ZoneName,
    /// In GiB.
    pub size_gib: i32,
    /// Type and provisioned performance.
    #[serde(flatten)]
    pub performance: Performance,
    /// Whether it will be encrypted, by itself or because this says so.
    pub encrypted: bool,
    /// The key to ask for; `None` leaves it to EC2, which takes the snapshot's, else the account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// In MiB/s; `None` where EC2 reads blocks when they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization_rate_mib_s: Option<i32>,
    /// All tags that it ends with, but those by which the project knows it.
    pub tags: Tags,
    /// What the client tokens of its making begin with; the number of failed ones follows.
    pub client_token_base: String,
    /// How many calls before this one made a volume that failed or vanished, or were refused for their
    /// initialization rate: each takes a token of its own.
    #[serde(default)]
    pub attempt: u32,
    /// The volume, once it is known to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
    /// Volumes that were made for this and failed, or vanished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<VolumeId>,
}

/// A volume as it was when a restore began that takes it out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingVolume {
    /// `vol-…`
    pub id: VolumeId,
    /// Where it is.
    pub zone: ZoneName,
    /// In GiB.
    pub size_gib: i32,
    /// `gp3`, …
    pub volume_type: String,
    /// The snapshot it was made from; `None` for a volume made blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<SnapshotId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// All its tags, but those that only AWS writes.
    pub tags: Tags,
}

impl MemberRecord {
    /// What one of the record's turns does with its volumes.
    pub(super) fn exchange(&self, turn: &Turn) -> MemberExchange {
        let made = self.incoming.volume_id.iter();
        let was_there = self.outgoing.iter();
        let returns = turn.direction != Direction::Restore;
        if turn.direction == Direction::Undo {
            MemberExchange {
                outgoing: made.cloned().collect(),
                incoming: was_there
                    .map(|volume| Incoming {
                        volume: volume.id.clone(),
                        made_from: volume.made_from.clone(),
                        returns,
                    })
                    .collect(),
            }
        } else {
            MemberExchange {
                outgoing: was_there.map(|volume| volume.id.clone()).collect(),
                incoming: made
                    .map(|volume| Incoming {
                        volume: volume.clone(),
                        made_from: Some(self.snapshot.id.clone()),
                        returns,
                    })
                    .collect(),
            }
        }
    }
}
