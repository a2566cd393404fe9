//! What the audit reads of an account: one listing of volumes, one of snapshots, the DLM policies.

use etcd_backup_core::aws::{AwsError, Storage};
use etcd_backup_core::fleet::{Fleet, snapshot_filters, volume_filters};
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, Policies, ours};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::Volume;
use jiff::Timestamp;

/// What an account holds.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Etcd volumes, and what restores left of them.
    pub volumes: Vec<Volume>,
    /// Snapshots that the schedule may have made.
    pub snapshots: Vec<Snapshot>,
    /// The DLM policies that are ours; one, if all is well.
    pub policies: Vec<LifecyclePolicy>,
}

/// Reads an account.
///
/// # Errors
///
/// When any page of any listing can't be read.
pub async fn collect(
    aws: &(impl Storage + Policies),
    settings: &Settings,
) -> Result<Inventory, AwsError> {
    let (volume_filters, snapshot_filters) = (volume_filters(), snapshot_filters(settings));
    let (volumes, snapshots, policies) = tokio::try_join!(
        aws.volumes(&volume_filters),
        aws.snapshots(&snapshot_filters),
        own_policies(aws, settings),
    )?;
    Ok(Inventory {
        volumes,
        snapshots,
        policies,
    })
}

async fn own_policies(
    aws: &impl Policies,
    settings: &Settings,
) -> Result<Vec<LifecyclePolicy>, AwsError> {
    let summaries = aws.policies().await?;
    let mut policies = Vec::new();
    for summary in ours(&summaries, settings) {
        policies.extend(aws.policy(&summary.id).await?);
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
