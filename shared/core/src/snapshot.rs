//! An EBS snapshot as this project sees it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::Tags;
use crate::ids::{SnapshotId, VolumeId};

/// The tag in which DLM writes the name of the schedule that made a snapshot.
///
/// Source: Amazon EBS user guide, "Automate backups with Amazon Data Lifecycle Manager", tags.
pub const DLM_SCHEDULE_NAME: &str = "aws:dlm:lifecycle-schedule-name";
/// The tag in which DLM writes the id of the policy that made a snapshot.
pub const DLM_POLICY_ID: &str = "aws:dlm:lifecycle-policy-id";

/// An EBS snapshot, as `DescribeSnapshots` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `snap-…`
    pub id: SnapshotId,
    /// The volume it was taken of; that volume may be gone.
    pub volume_id: VolumeId,
    /// Its state.
    pub state: SnapshotState,
    /// Why it failed, when EC2 says so.
    pub state_message: Option<Box<str>>,
    /// Its point in time: what the volume held at this moment is in it.
    pub started: Timestamp,
    /// How long after that all of it was written, in seconds; `None` before, and where EC2 doesn't tell. An
    /// account has so many snapshots that a second time of each would be felt.
    pub completed_after_seconds: Option<u32>,
    /// The size of the volume in GiB.
    pub size_gib: i32,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The ARN of the KMS key that it is encrypted with.
    pub kms_key_id: Option<Arc<str>>,
    /// Whether it is in the archive tier: it must be restored from there before a volume can be made.
    pub archived: bool,
    /// All its tags.
    pub tags: Tags,
}

/// A snapshot's state, as EC2 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// Still being written; it can last for hours.
    Pending,
    /// Usable.
    Completed,
    /// Failed.
    Error,
    /// Being brought back from the archive or the recycle bin, or a state newer than this program.
    Other,
}

impl Snapshot {
    /// When all of it was written; `None` before, and where EC2 doesn't tell.
    pub fn completed(&self) -> Option<Timestamp> {
        let seconds = self.completed_after_seconds?;
        Some(self.started + SignedDuration::from_secs(i64::from(seconds)))
    }

    /// Whether a volume can be made from it.
    pub fn is_usable(&self) -> bool {
        self.state == SnapshotState::Completed && !self.archived
    }
}
