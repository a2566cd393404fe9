//! Whether masters let go of the volumes that a restore took out of service.
//!
//! etcd goes on writing to the volume that its master has attached, whatever the tags say by now. A
//! restore that leaves the masters alone ends with steps for a person; where those were forgotten, what
//! is written from then on is on no volume that a new master finds, and in no snapshot.

use std::collections::BTreeSet;

use etcd_backup_core::aws::TaggedMaster;
use etcd_backup_core::discovery::Identity;
use etcd_backup_core::ids::{ClusterName, VolumeId};

use super::Scope;
use crate::finding::{Finding, Kind, Subject};
use crate::recorded::{ClusterRestores, TakenOut};

/// `masters_on_retired_volumes`, one per cluster.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let clusters = scope.inventory.restores.clusters.iter();
    let asked = clusters.filter(|(name, _)| scope.asked.is_none_or(|asked| asked.contains(name)));
    asked
        .filter_map(|(name, restores)| of_cluster(scope, name, restores))
        .collect()
}

fn of_cluster(scope: &Scope, name: &ClusterName, restores: &ClusterRestores) -> Option<Finding> {
    let masters = scope.inventory.masters.iter();
    let alive = masters.filter(|master| master.state.is_alive());
    let attached: Vec<(&TaggedMaster, &VolumeId, &TakenOut)> = alive
        .flat_map(|master| {
            let volumes = master.volumes.iter();
            volumes.filter_map(move |id| Some((master, id, restores.out_of_service.get(id)?)))
        })
        .filter(|(_, id, _)| !is_back_by_hand(scope, id))
        .collect();
    let (_, _, taken_out) = attached.first()?;
    let subject = Subject {
        cluster: Some(name.clone()),
        ..Subject::default()
    };
    let instances: BTreeSet<_> = attached.iter().map(|(master, _, _)| &master.id).collect();
    let volumes: BTreeSet<_> = attached.iter().map(|(_, id, _)| *id).collect();
    Some(Finding::new(
        subject,
        Kind::MastersOnRetiredVolumes {
            restore_id: taken_out.restore_id.clone(),
            direction: taken_out.direction,
            instance_ids: instances.into_iter().cloned().collect(),
            volume_ids: volumes.into_iter().cloned().collect(),
        },
    ))
}

/// Whether somebody has put a volume back into the masters' sight without a restore's knowing. One that
/// they find beside the right one is `member_duplicated`.
fn is_back_by_hand(scope: &Scope, id: &VolumeId) -> bool {
    let mut volumes = scope.inventory.volumes.iter();
    let volume = volumes.find(|volume| volume.id == *id);
    volume.is_some_and(|volume| Identity::of(&volume.tags).is_some())
}
