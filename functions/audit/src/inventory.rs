//! What the audit reads of an account: one listing of volumes, one of snapshots, the DLM policies.

use std::collections::BTreeSet;

use etcd_backup_core::aws::{AwsError, Filter, Groups, Storage, SuspendedGroup};
use etcd_backup_core::discovery::ETCD_PREFIX;
use etcd_backup_core::fleet::{Fleet, snapshot_filters};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, Policies, PolicyKind, PolicyState, PolicySummary, ours,
};
use etcd_backup_core::restore_tags::PREFIX;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::Volume;
use jiff::Timestamp;

/// What an account holds.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Etcd volumes, what restores left of them, and whatever else DLM takes.
    pub volumes: Vec<Volume>,
    /// Snapshots that the schedule may have made.
    pub snapshots: Vec<Snapshot>,
    /// The DLM policies that are ours; one, if all is well.
    pub policies: Vec<LifecyclePolicy>,
    /// Other people's enabled policies that take snapshots.
    pub other_policies: Vec<LifecyclePolicy>,
    /// All policies there are.
    pub policy_ids: BTreeSet<PolicyId>,
    /// Autoscaling groups whose launches a restore suspended; read only where a volume tells of one.
    pub suspended_groups: Vec<SuspendedGroup>,
}

/// Reads an account.
///
/// # Errors
///
/// When any page of any listing can't be read.
pub async fn collect(
    aws: &(impl Storage + Policies + Groups),
    settings: &Settings,
) -> Result<Inventory, AwsError> {
    let (volume_filters, snapshot_filters) = (volume_filters(settings), snapshot_filters(settings));
    let (volumes, snapshots, summaries) = tokio::try_join!(
        aws.volumes(&volume_filters),
        aws.snapshots(&snapshot_filters),
        aws.policies(),
    )?;
    let own: BTreeSet<&PolicyId> = ours(&summaries, settings)
        .into_iter()
        .map(|policy| &policy.id)
        .collect();
    let is_other = |policy: &&PolicySummary| {
        policy.kind == PolicyKind::Snapshots
            && policy.state == PolicyState::Enabled
            && !own.contains(&policy.id)
    };
    let others = summaries.iter().filter(is_other).map(|policy| &policy.id);
    let knows_of_restore = |volume: &Volume| volume.tags.keys().any(|key| key.starts_with(PREFIX));
    let suspended_groups = match volumes.iter().any(knows_of_restore) {
        true => aws.suspended_groups().await?,
        false => Vec::new(),
    };
    Ok(Inventory {
        policies: details(aws, own.iter().copied()).await?,
        other_policies: details(aws, others).await?,
        policy_ids: summaries.iter().map(|policy| policy.id.clone()).collect(),
        volumes,
        snapshots,
        suspended_groups,
    })
}

/// Any volume that is etcd's, a restore's or DLM's business, and not thousands of strangers'.
fn volume_filters(settings: &Settings) -> Vec<Filter> {
    let ours = [ETCD_PREFIX, PREFIX].map(|prefix| format!("{prefix}*"));
    let targets = settings.target_tags.iter().map(|tag| tag.key.clone());
    vec![Filter::new("tag-key", ours.into_iter().chain(targets))]
}

async fn details<'a>(
    aws: &impl Policies,
    ids: impl Iterator<Item = &'a PolicyId>,
) -> Result<Vec<LifecyclePolicy>, AwsError> {
    let mut policies = Vec::new();
    for id in ids {
        policies.extend(aws.policy(id).await?);
    }
    Ok(policies)
}

impl Inventory {
    /// The policy that converge keeps: the oldest of ours.
    pub fn policy(&self) -> Option<&LifecyclePolicy> {
        self.policies.iter().min_by_key(|policy| policy.created)
    }

    /// Volumes and snapshots sorted by cluster and member, without snapshots yet to come at `now`.
    pub fn fleet(&self, settings: &Settings, now: Timestamp) -> Fleet {
        let started = self
            .snapshots
            .iter()
            .filter(|snapshot| snapshot.started <= now);
        Fleet::new(self.volumes.clone(), started.cloned().collect(), settings)
    }
}
