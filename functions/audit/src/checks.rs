//! The checks: pure functions from what is there to what is wrong, one module per subject.

pub mod clusters;
pub mod members;
pub mod orphans;
pub mod policy;
pub mod restores;
pub mod runs;
pub mod snapshots;
pub mod volumes;

use etcd_backup_core::fleet::{Cluster, Fleet};
use etcd_backup_core::ids::{ClusterName, EtcdClusterName};
use etcd_backup_core::lifecycle_policy::LifecyclePolicy;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::Settings;
use jiff::Timestamp;

use crate::inventory::Inventory;

/// All that a check may look at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// All that was read.
    pub inventory: &'a Inventory,
    /// The volumes and snapshots of the clusters asked for.
    pub fleet: &'a Fleet,
    /// The policy that converge keeps.
    pub policy: Option<&'a LifecyclePolicy>,
    /// The clusters that the event asked for.
    pub asked: Option<&'a [ClusterName]>,
    /// The settings.
    pub settings: &'a Settings,
    /// The moment to judge as.
    pub now: Timestamp,
}

impl Scope<'_> {
    /// The latest run that is due.
    pub fn due_run(&self) -> Run {
        self.settings.due_run(self.now)
    }

    /// Whether an etcd cluster has lost every volume, with not even a wrongly tagged one left.
    pub fn is_lost(
        &self,
        name: &ClusterName,
        cluster: &Cluster,
        etcd_cluster: &EtcdClusterName,
    ) -> bool {
        let any_volume = cluster
            .members_of(etcd_cluster)
            .any(|(_, member)| !member.volumes.is_empty());
        let any_misfit = self.fleet.misfits_of(name).iter().any(|misfit| {
            misfit
                .likely_member()
                .is_some_and(|key| key.etcd_cluster == *etcd_cluster)
        });
        !any_volume && !any_misfit
    }
}
