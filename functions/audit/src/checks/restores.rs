//! Whether a restore, or an undo, was left unfinished.

use std::collections::BTreeSet;

use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{ClusterName, GroupName, RestoreId};
use etcd_backup_core::standing::{self, Standing, is_live};
use etcd_backup_core::volume::Volume;

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
    let undone = standing::being_undone(cluster);
    let made = cluster.unfinished.iter();
    let mut restores: BTreeSet<RestoreId> =
        made.map(|(origin, _)| origin.restore_id.clone()).collect();
    restores.extend(undone.clone());
    let suspended = scope.inventory.suspended_groups.iter();
    let suspended: Vec<_> = suspended
        .filter(|group| group.cluster.as_ref() == Some(name))
        .collect();
    // The exchange may be over and launches suspended still. An undo suspends them in its own name.
    if restores.is_empty() {
        restores.extend(suspended.iter().map(|group| group.by.clone()));
    }
    let groups: Vec<GroupName> = suspended.iter().map(|group| group.name.clone()).collect();
    restores
        .into_iter()
        .map(|id| finding(scope, name, cluster, id, undone.as_ref(), &groups))
        .collect()
}

fn finding(
    scope: &Scope,
    name: &ClusterName,
    cluster: &Cluster,
    restore_id: RestoreId,
    undone: Option<&RestoreId>,
    suspended_groups: &[GroupName],
) -> Finding {
    let standing = Standing::of(cluster, &restore_id);
    let members = || {
        standing
            .iter()
            .flat_map(|standing| standing.members.values())
    };
    let brought = || members().flat_map(|sides| &sides.brought);
    let is_undo = undone == Some(&restore_id);
    // What masters are to find in the end, and don't yet.
    let awaited: Vec<&Volume> = match is_undo {
        true => members().flat_map(|sides| &sides.replaced).collect(),
        false => brought().collect(),
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
            is_undo,
            restore_id,
        },
    )
}
