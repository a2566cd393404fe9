//! An EBS volume as this project sees it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Tags;
use crate::ids::{InstanceId, SnapshotId, VolumeId, ZoneName};

/// An EBS volume, as `DescribeVolumes` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// `vol-…`
    pub id: VolumeId,
    /// Its life cycle's state.
    pub state: VolumeState,
    /// When it was created.
    pub created: Timestamp,
    /// The availability zone it can be attached in.
    pub zone: ZoneName,
    /// Size in GiB.
    pub size_gib: i32,
    /// Type and provisioned performance.
    pub performance: Performance,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The ARN of the KMS key that it is encrypted with.
    pub kms_key_id: Option<Arc<str>>,
    /// The snapshot it was made from; `None` for a volume made blank.
    pub made_from: Option<SnapshotId>,
    /// The instances it is attached to (none, or one: etcd volumes are not multi-attach).
    pub attachments: Vec<Attachment>,
    /// All its tags.
    pub tags: Tags,
}

/// A volume's type and provisioned performance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performance {
    /// `gp3`, `gp2`, `io1`, `io2`, …
    pub volume_type: String,
    /// Provisioned I/O operations per second; `None` where the type takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iops: Option<i32>,
    /// Provisioned throughput in MiB/s; gp3 alone takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<i32>,
}

/// One attachment of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The instance.
    pub instance: InstanceId,
    /// The device name it is attached as: `/dev/xvdu`.
    pub device: String,
    /// Since when, as EC2 tells.
    pub attached_at: Option<Timestamp>,
    /// Whether the volume is deleted with the instance.
    pub delete_on_termination: bool,
}

/// A volume's state, as EC2 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeState {
    /// Not usable yet.
    Creating,
    /// Free to be attached.
    Available,
    /// Attached, or being attached.
    InUse,
    /// On its way out.
    Deleting,
    /// Gone; EC2 shows it for a while.
    Deleted,
    /// Creation failed, for example because the KMS key may not be used.
    Error,
    /// A state newer than this program.
    Other,
}

impl Volume {
    /// Whether the volume exists, as opposed to being deleted.
    pub fn exists(&self) -> bool {
        !matches!(self.state, VolumeState::Deleting | VolumeState::Deleted)
    }
}
