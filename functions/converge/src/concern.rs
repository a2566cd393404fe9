//! Whether a policy that Lifecycle Manager gave up on is any of this project's business: one of ours, or
//! one that snapshots an etcd volume. About other teams' policies it says nothing.
//!
//! Invariant: a policy of which this isn't known is a concern. Only one that is known to be another team's, or
//! known to be gone, is ignored: a deleted policy makes no more snapshots, and if one of ours is missing, the
//! audit reports it.

use etcd_backup_core::Tags;
use etcd_backup_core::aws::{AllMasters, AwsError, Filter, Storage, TaggedMaster};
use etcd_backup_core::discovery::ETCD_PREFIX;
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, Policies, namesakes, ours};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::Volume;

use crate::event::PolicyError;

/// What an event's policy is.
enum PolicyInError {
    Ours,
    /// Deleted, perhaps since; DLM is late to tell at times.
    Gone,
    /// It makes images, or copies what others share.
    OfNoVolume,
    Other(Box<OtherPolicy>),
}

/// A policy that isn't ours, and what it might take.
struct OtherPolicy {
    policy: LifecyclePolicy,
    /// All etcd volumes of the Region.
    volumes: Vec<Volume>,
    /// All masters, where the policy goes by instances.
    masters: Vec<TaggedMaster>,
}

/// Whether the policy is any of this project's business.
pub async fn is_concern<A>(aws: &A, settings: &Settings, error: &PolicyError) -> bool
where
    A: Policies + Storage + AllMasters,
{
    // The event doesn't always say which policy it is about.
    let Some(id) = &error.policy_id else {
        return true;
    };
    match find(aws, settings, &id.as_str().into()).await {
        Ok(PolicyInError::Ours) => true,
        Ok(PolicyInError::Gone | PolicyInError::OfNoVolume) => false,
        Ok(PolicyInError::Other(policy)) => policy.takes_etcd(),
        Err(error) => {
            tracing::warn!(policy_id = %id, "whether the policy takes etcd volumes is unknown: {error}");
            true
        }
    }
}

/// Reads the policy and what it might take.
async fn find<A>(aws: &A, settings: &Settings, id: &PolicyId) -> Result<PolicyInError, AwsError>
where
    A: Policies + Storage + AllMasters,
{
    let summaries = aws.policies().await?;
    let mut own = ours(&summaries, settings);
    own.extend(namesakes(&summaries, settings));
    if own.iter().any(|policy| policy.id == *id) {
        return Ok(PolicyInError::Ours);
    }
    let Some(summary) = summaries.iter().find(|policy| policy.id == *id) else {
        return Ok(PolicyInError::Gone);
    };
    if !summary.kind.snapshots_volumes() {
        return Ok(PolicyInError::OfNoVolume);
    }
    let Some(policy) = aws.policy(id).await? else {
        return Ok(PolicyInError::Gone);
    };
    let etcd = Filter::new("tag-key", [format!("{ETCD_PREFIX}*")]);
    let volumes = aws.volumes(&[etcd]).await?;
    let masters = if policy.definition.is_for_instances() {
        aws.all_masters().await?
    } else {
        Vec::new()
    };
    Ok(PolicyInError::Other(Box::new(OtherPolicy {
        policy,
        volumes,
        masters,
    })))
}

impl OtherPolicy {
    fn takes_etcd(&self) -> bool {
        self.volumes.iter().any(|volume| {
            let instance = self.instance_of(volume);
            self.policy.definition.takes(volume, instance)
        })
    }

    fn instance_of(&self, volume: &Volume) -> Option<&Tags> {
        let is_holder = |master: &&TaggedMaster| {
            let mut attachments = volume.attachments.iter();
            attachments.any(|attachment| attachment.instance == master.id)
        };
        self.masters
            .iter()
            .find(is_holder)
            .map(|master| &master.tags)
    }
}
