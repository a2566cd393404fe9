//! AWS as the functions need it: narrow traits, implemented over the SDK in one other crate.
//!
//! No SDK type appears here. Listings are whole: an implementation reads every page, and fails when
//! any page fails, so that a half-seen account can't be mistaken for a whole one.

#![allow(async_fn_in_trait)] // Called through generics alone; nothing needs the futures' bounds named.

use std::fmt;

use thiserror::Error;

use crate::Tags;
use crate::alert::Alert;
use crate::ids::{ClusterName, GroupName, InstanceId, RestoreId, SnapshotId, VolumeId, ZoneName};
use crate::snapshot::Snapshot;
use crate::volume::{Performance, Volume};

/// A call that AWS refused, or that got no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct AwsError {
    /// Service and operation: `ec2:CreateVolume`.
    pub operation: &'static str,
    /// AWS's error code: `RequestLimitExceeded`. `None` when there was no answer.
    pub code: Option<String>,
    /// AWS's message, or what went wrong on the way.
    pub message: String,
    /// The request's id, for AWS support.
    pub request_id: Option<String>,
    /// Whether the call certainly did nothing. A lost answer or a server fault leaves it open.
    pub certainly_refused: bool,
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation, message, ..
        } = self;
        match &self.code {
            Some(code) => write!(f, "{operation} failed with {code}: {message}")?,
            None => write!(f, "{operation} got no answer: {message}")?,
        }
        match &self.request_id {
            Some(request_id) => write!(f, " (AWS request id {request_id})"),
            None => Ok(()),
        }
    }
}

impl AwsError {
    /// Whether AWS answered with this error code.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// One filter of a Describe call: the attribute has any of the values (`*` and `?` match as in EC2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// `tag-key`, `tag:<key>`, `availability-zone`, …
    pub name: String,
    /// Any of these.
    pub values: Vec<String>,
}

impl Filter {
    /// A filter on one attribute.
    pub fn new<V: Into<String>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self {
            name: name.into(),
            values: values.into_iter().map(Into::into).collect(),
        }
    }
}

/// Reading volumes and snapshots.
pub trait Storage {
    /// The volumes that match all the filters.
    async fn volumes(&self, filters: &[Filter]) -> Result<Vec<Volume>, AwsError>;
    /// Whether EC2, asked for a volume by its id, says that it doesn't exist.
    async fn is_volume_gone(&self, volume: &VolumeId) -> Result<bool, AwsError>;
    /// The account's own snapshots that match all the filters.
    async fn snapshots(&self, filters: &[Filter]) -> Result<Vec<Snapshot>, AwsError>;
}

/// A volume to be made from a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVolume {
    /// What it is made from.
    pub snapshot_id: SnapshotId,
    /// Where.
    pub zone: ZoneName,
    /// In GiB; never less than the snapshot's.
    pub size_gib: i32,
    /// Type and provisioned performance.
    pub performance: Performance,
    /// The key to encrypt it with; `None` leaves encryption to EC2, which takes the snapshot's key, else
    /// the account's default, else none.
    pub kms_key_id: Option<String>,
    /// How fast its blocks are brought from S3, in MiB/s; `None` when they are first read.
    pub initialization_rate_mib_s: Option<i32>,
    /// The tags it carries from the moment it exists.
    pub tags: Tags,
    /// Makes a repeated call give the same volume; at most 64 ASCII characters.
    pub client_token: String,
}

/// Making volumes and writing their tags.
pub trait VolumeWriter {
    /// Makes a volume; a repeated call with the same token gives the one made first.
    async fn create_volume(&self, volume: &NewVolume) -> Result<VolumeId, AwsError>;
    /// Sets tags on a volume.
    async fn tag_volume(&self, volume: &VolumeId, tags: &Tags) -> Result<(), AwsError>;
    /// Removes tags, whatever their values, from several volumes.
    async fn untag_volumes(&self, volumes: &[VolumeId], keys: &[String]) -> Result<(), AwsError>;
}

/// Writing the tags of snapshots.
pub trait SnapshotTagger {
    /// Sets tags on a snapshot.
    async fn tag_snapshot(&self, snapshot: &SnapshotId, tags: &Tags) -> Result<(), AwsError>;
}

/// A master: an EC2 instance of a cluster's control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// `i-…`
    pub id: InstanceId,
    /// Where it runs.
    pub zone: ZoneName,
    /// Its life cycle's state.
    pub state: InstanceState,
}

impl Master {
    /// Whether it runs, or can run again: it isn't terminated, nor about to be.
    pub fn is_alive(&self) -> bool {
        self.state.is_alive()
    }
}

/// An instance's state, as EC2 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Being launched.
    Pending,
    /// Up.
    Running,
    /// Being stopped; its volumes stay attached.
    Stopping,
    /// Stopped; its volumes stay attached.
    Stopped,
    /// Being terminated; its volumes stay attached until it is.
    ShuttingDown,
    /// Gone; EC2 shows it for about an hour.
    Terminated,
}

impl InstanceState {
    /// Whether the instance runs, or can run again: it isn't terminated, nor about to be.
    pub fn is_alive(self) -> bool {
        !matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

/// An autoscaling group of a cluster's masters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterGroup {
    /// The group's name.
    pub name: GroupName,
    /// The zones that it launches in; one, as kops makes them.
    pub zones: Vec<ZoneName>,
    /// How many instances it keeps.
    pub desired_size: i32,
    /// Its instances.
    pub instances: Vec<InstanceId>,
    /// Those of them that it is still launching; EC2 may not show them yet.
    pub launching: Vec<InstanceId>,
    /// Whether its `Launch` process is suspended, by whomever.
    pub launches_suspended: bool,
    /// The restore that suspended it, by its tag on the group; what an operator suspended has none.
    pub suspended_by: Option<RestoreId>,
    /// All its tags.
    pub tags: Tags,
}

/// Finding a cluster's masters, and where they can be.
pub trait Masters {
    /// The cluster's masters, terminated ones too as long as EC2 shows them.
    async fn masters(&self, cluster: &ClusterName) -> Result<Vec<Master>, AwsError>;
    /// The cluster's control-plane autoscaling groups.
    async fn groups(&self, cluster: &ClusterName) -> Result<Vec<MasterGroup>, AwsError>;
    /// The Region's availability zones.
    async fn zones(&self) -> Result<Vec<ZoneName>, AwsError>;
    /// Whether EC2 refuses to terminate an instance (`DisableApiTermination`).
    async fn is_protected(&self, instance: &InstanceId) -> Result<bool, AwsError>;
}

/// Replacing a cluster's masters.
pub trait MasterWriter {
    /// Tags groups as suspended by a restore.
    async fn mark_suspended(&self, groups: &[GroupName], by: &RestoreId) -> Result<(), AwsError>;
    /// Takes that tag off.
    async fn unmark_suspended(&self, groups: &[GroupName]) -> Result<(), AwsError>;
    /// Suspends a group's `Launch` process: what terminates isn't replaced.
    async fn suspend_launches(&self, group: &GroupName) -> Result<(), AwsError>;
    /// Resumes it: the group launches what it lacks.
    async fn resume_launches(&self, group: &GroupName) -> Result<(), AwsError>;
    /// Terminates instances. EC2 may terminate some and refuse others.
    async fn terminate(&self, instances: &[InstanceId]) -> Result<(), AwsError>;
}

/// An autoscaling group whose launches a restore suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspendedGroup {
    /// The group's name.
    pub name: GroupName,
    /// The cluster that it belongs to, by its tags.
    pub cluster: Option<ClusterName>,
    /// The restore that did it, by its tag on the group.
    pub by: RestoreId,
}

/// Finding autoscaling groups that a restore left suspended.
pub trait Groups {
    /// The groups tagged as suspended by a restore.
    async fn suspended_groups(&self) -> Result<Vec<SuspendedGroup>, AwsError>;
    /// Those of these groups whose launches are suspended, tagged or not.
    async fn with_launches_suspended(
        &self,
        groups: &[GroupName],
    ) -> Result<Vec<GroupName>, AwsError>;
}

/// A master of whichever cluster, with its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedMaster {
    /// `i-…`
    pub id: InstanceId,
    /// Its life cycle's state.
    pub state: InstanceState,
    /// The volumes that it has attached.
    pub volumes: Vec<VolumeId>,
    /// All its tags.
    pub tags: Tags,
}

/// Finding the masters of all clusters.
pub trait AllMasters {
    /// The instances with a master's role, terminated ones too as long as EC2 shows them.
    async fn all_masters(&self) -> Result<Vec<TaggedMaster>, AwsError>;
}

/// Answering CloudFormation.
pub trait Responder {
    /// Puts a body to a pre-signed address.
    async fn respond(&self, url: &str, body: &str) -> Result<(), AwsError>;
}

/// Telling people.
pub trait Alerts {
    /// Publishes an alert to a topic and gives the message's id.
    async fn publish(&self, topic_arn: &str, alert: &Alert) -> Result<String, AwsError>;
}
