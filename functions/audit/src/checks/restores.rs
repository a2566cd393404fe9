//! Whether a restore, or an undo, was left unfinished.

use std::collections::BTreeSet;

use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{ClusterName, GroupName, RestoreId};
use etcd_backup_core::standing::{self, Standing, Turn, is_live};
use etcd_backup_core::volume::{Volume, VolumeState};

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// `restore_unfinished`, one per restore.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let clusters = scope.fleet.clusters.iter();
    clusters
        .flat_map(|(name, cluster)| of_cluster(scope, name, cluster))
        .collect()
}

fn of_cluster(scope: &Scope, name: &ClusterName, cluster: &Cluster) -> Vec<Finding> {
    let turned = standing::being_turned(cluster);
    // One that failed is left behind by whatever came after it; it holds nobody up.
    let usable = cluster.unfinished.iter();
    let made = usable.filter(|(_, volume)| volume.state != VolumeState::Error);
    let mut restores: BTreeSet<RestoreId> =
        made.map(|(origin, _)| origin.restore_id.clone()).collect();
    restores.extend(turned.iter().map(|(standing, _)| standing.id.clone()));
    let suspended = scope.inventory.suspended_groups.iter();
    let suspended: Vec<_> = suspended
        .filter(|group| group.cluster.as_ref() == Some(name))
        .collect();
    // The exchange may be over, or not have begun, and launches be suspended.
    if restores.is_empty() {
        restores.extend(suspended.iter().map(|group| group.by.restore()));
    }
    let is_undo_by_group = suspended.iter().any(|group| group.by.is_undo());
    let groups: Vec<GroupName> = suspended.iter().map(|group| group.name.clone()).collect();
    restores
        .into_iter()
        .map(|id| {
            let of_it = turned.iter().find(|(standing, _)| standing.id == id);
            let turn = of_it.map(|(_, turn)| *turn);
            let turn = turn.or(is_undo_by_group.then_some(Turn::Undo));
            finding(scope, name, cluster, id, turn, &groups)
        })
        .collect()
}

fn finding(
    scope: &Scope,
    name: &ClusterName,
    cluster: &Cluster,
    restore_id: RestoreId,
    turn: Option<Turn>,
    suspended_groups: &[GroupName],
) -> Finding {
    let standing = Standing::of(cluster, &restore_id);
    let brought = || standing.iter().flat_map(Standing::brought);
    // What masters are to find in the end, and don't yet.
    let awaited: Vec<&Volume> = match turn {
        Some(Turn::Undo) => standing.iter().flat_map(Standing::replaced).collect(),
        Some(Turn::Redo) | None => brought().collect(),
    };
    let untagged = awaited.into_iter().filter(|volume| !is_live(volume));
    Finding::new(
        Subject {
            cluster: Some(name.clone()),
            ..Subject::default()
        },
        Kind::RestoreUnfinished {
            run: standing
                .as_ref()
                .and_then(|standing| standing.origin()?.run),
            began: brought()
                .map(|volume| volume.created)
                .min()
                .unwrap_or(scope.now),
            volume_ids: untagged.map(|volume| volume.id.clone()).collect(),
            suspended_groups: suspended_groups.to_vec(),
            is_undo: turn.is_some(),
            restore_id: match turn {
                Some(Turn::Redo) => restore_id.undo(),
                Some(Turn::Undo) | None => restore_id,
            },
        },
    )
}
