//! EC2's types and the core's, turned into one another.
//!
//! Invariant: what lacks something that EC2 always gives becomes `None`, which the caller makes an error or
//! leaves out; nothing is guessed.

use aws_sdk_ec2::types;
use aws_smithy_types::DateTime;
use etcd_backup_core::Tags;
use etcd_backup_core::aws::{Filter, InstanceState};
use etcd_backup_core::ids::VolumeId;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::tags::TagPool;
use etcd_backup_core::volume::{Attachment, Performance, Volume, VolumeState};
use jiff::Timestamp;

pub(super) fn attached_volumes(instance: &types::Instance) -> Vec<VolumeId> {
    let devices = instance.block_device_mappings().iter();
    let volumes = devices.filter_map(|device| device.ebs()?.volume_id());
    volumes.map(VolumeId::from).collect()
}

pub(super) fn sdk_filters(filters: &[Filter]) -> Vec<types::Filter> {
    filters
        .iter()
        .map(|filter| {
            types::Filter::builder()
                .name(&filter.name)
                .set_values(Some(filter.values.clone()))
                .build()
        })
        .collect()
}

pub(super) fn sdk_tags(tags: &Tags) -> Vec<types::Tag> {
    tags.iter()
        .map(|(key, value)| types::Tag::builder().key(key).value(value).build())
        .collect()
}

pub(super) fn core_tags(tags: &[types::Tag], pool: &mut TagPool) -> Tags {
    let pairs = tags.iter();
    pool.tags(pairs.filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or("")))))
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), time.subsec_nanos().try_into().ok()?).ok()
}

pub(super) fn core_volume(volume: &types::Volume, pool: &mut TagPool) -> Option<Volume> {
    let attachments = volume.attachments().iter().filter_map(|attachment| {
        Some(Attachment {
            instance: attachment.instance_id()?.into(),
            device: attachment.device().unwrap_or_default().to_owned(),
            attached_at: attachment.attach_time().and_then(timestamp),
            delete_on_termination: attachment.delete_on_termination().unwrap_or(false),
        })
    });
    let mut attachments: Vec<_> = attachments.collect();
    // Nearly every volume has one, so that room for three more each would add up.
    attachments.shrink_to_fit();
    Some(Volume {
        id: volume.volume_id()?.into(),
        state: volume_state(volume.state()?),
        created: timestamp(volume.create_time()?)?,
        zone: volume.availability_zone()?.into(),
        size_gib: volume.size()?,
        performance: Performance {
            volume_type: volume.volume_type()?.as_str().to_owned(),
            iops: volume.iops(),
            throughput: volume.throughput(),
        },
        encrypted: volume.encrypted().unwrap_or(false),
        kms_key_id: volume.kms_key_id().map(|key| pool.name(key)),
        // EC2 gives an empty string for a volume made blank.
        made_from: volume
            .snapshot_id()
            .filter(|id| !id.is_empty())
            .map(Into::into),
        attachments,
        tags: core_tags(volume.tags(), pool),
    })
}

fn volume_state(state: &types::VolumeState) -> VolumeState {
    match state {
        types::VolumeState::Creating => VolumeState::Creating,
        types::VolumeState::Available => VolumeState::Available,
        types::VolumeState::InUse => VolumeState::InUse,
        types::VolumeState::Deleting => VolumeState::Deleting,
        types::VolumeState::Deleted => VolumeState::Deleted,
        types::VolumeState::Error => VolumeState::Error,
        _ => VolumeState::Other,
    }
}

/// A state newer than this program counts as alive: better waited for than passed over.
pub(super) fn instance_state(state: &types::InstanceStateName) -> InstanceState {
    match state {
        types::InstanceStateName::Pending => InstanceState::Pending,
        types::InstanceStateName::Stopping => InstanceState::Stopping,
        types::InstanceStateName::Stopped => InstanceState::Stopped,
        types::InstanceStateName::ShuttingDown => InstanceState::ShuttingDown,
        types::InstanceStateName::Terminated => InstanceState::Terminated,
        _ => InstanceState::Running,
    }
}

pub(super) fn core_snapshot(snapshot: &types::Snapshot, pool: &mut TagPool) -> Option<Snapshot> {
    let started = timestamp(snapshot.start_time()?)?;
    let completed = snapshot.completion_time().and_then(timestamp);
    let seconds = completed.map(|completed| completed.duration_since(started).as_secs());
    Some(Snapshot {
        id: snapshot.snapshot_id()?.into(),
        volume_id: snapshot.volume_id()?.into(),
        state: snapshot_state(snapshot.state()?),
        state_message: snapshot
            .state_message()
            .filter(|text| !text.is_empty())
            .map(Box::from),
        started,
        completed_after_seconds: seconds.and_then(|seconds| u32::try_from(seconds).ok()),
        size_gib: snapshot.volume_size()?,
        encrypted: snapshot.encrypted().unwrap_or(false),
        kms_key_id: snapshot.kms_key_id().map(|key| pool.name(key)),
        archived: snapshot.storage_tier() == Some(&types::StorageTier::Archive),
        tags: core_tags(snapshot.tags(), pool),
    })
}

fn snapshot_state(state: &types::SnapshotState) -> SnapshotState {
    match state {
        types::SnapshotState::Pending => SnapshotState::Pending,
        types::SnapshotState::Completed => SnapshotState::Completed,
        types::SnapshotState::Error => SnapshotState::Error,
        _ => SnapshotState::Other,
    }
}
