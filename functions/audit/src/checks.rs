//! The checks: pure functions from what is there to what is wrong, one module per subject.

pub mod clusters;
pub mod generations;
pub mod members;
pub mod orphans;
pub mod policy;
pub mod restores;
pub mod retired;
pub mod runs;
pub mod snapshots;
pub mod tag_room;
pub mod verdicts;
pub mod volumes;

use std::collections::BTreeMap;

use etcd_backup_core::fleet::{Cluster, Fleet, UnidentifiedVolume};
use etcd_backup_core::ids::{ClusterName, EtcdClusterName};
use etcd_backup_core::lifecycle_policy::LifecyclePolicy;
use etcd_backup_core::restore_point::{History, RunSnapshots};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::Settings;
use jiff::Timestamp;

use crate::inventory::Inventory;
use crate::recorded::RecordedRestores;

/// What the snapshots of each cluster tell, by its name.
pub type Histories<'a> = BTreeMap<&'a ClusterName, History<'a>>;

/// The histories of all clusters: most checks ask them, so they are worked out once. When volumes were
/// exchanged say the records; tags tell it where no record does.
pub fn histories<'a>(
    fleet: &'a Fleet,
    restores: &RecordedRestores,
    settings: &Settings,
) -> Histories<'a> {
    let clusters = fleet.clusters.iter();
    clusters
        .map(|(name, cluster)| {
            let exchanges = restores.exchanges(name);
            (name, History::new(cluster, exchanges, &settings.schedule))
        })
        .collect()
}

/// All that a check may look at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// All that was read.
    pub inventory: &'a Inventory,
    /// The volumes and snapshots of the clusters asked for.
    pub fleet: &'a Fleet,
    /// What those snapshots tell.
    pub histories: &'a Histories<'a>,
    /// The policy that converge keeps.
    pub policy: Option<&'a LifecyclePolicy>,
    /// The clusters that the event asked for.
    pub asked: Option<&'a [ClusterName]>,
    /// The settings.
    pub settings: &'a Settings,
    /// The moment to judge as.
    pub now: Timestamp,
}

impl<'a> Scope<'a> {
    /// The latest run that is due.
    pub fn due_run(&self) -> Run {
        self.settings.due_run(self.now)
    }

    /// All runs that left anything of the etcd clusters that a cluster uses, newest first.
    pub fn runs(&self, name: &ClusterName, cluster: &Cluster) -> Vec<RunSnapshots<'a>> {
        let etcd_clusters = cluster.current_etcd_clusters(&self.settings.schedule);
        let history = self.histories.get(name);
        history.map_or(Vec::new(), |history| history.runs(&etcd_clusters))
    }

    /// Whether an etcd cluster has lost every volume, with not even a wrongly tagged one left, nor one that
    /// an unfinished restore holds out of the masters' sight.
    pub fn is_lost(
        &self,
        name: &ClusterName,
        cluster: &Cluster,
        etcd_cluster: &EtcdClusterName,
    ) -> bool {
        let any_volume = cluster
            .members_of(etcd_cluster)
            .any(|(_, member)| !member.volumes.is_empty());
        let unidentified = self.fleet.unidentified_volumes_of(name).iter();
        let mut likely_members = unidentified.filter_map(UnidentifiedVolume::likely_member);
        let is_any_unidentified = likely_members.any(|key| key.etcd_cluster == *etcd_cluster);
        let in_exchange = || restores::in_exchange(self, name);
        !any_volume
            && !is_any_unidentified
            && !in_exchange()
                .iter()
                .any(|key| key.etcd_cluster == *etcd_cluster)
    }
}
