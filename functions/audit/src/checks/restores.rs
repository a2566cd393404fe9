//! Whether a restore was left unfinished.

use std::collections::BTreeMap;

use etcd_backup_core::ids::{ClusterName, RestoreId};
use etcd_backup_core::restore_tags::Origin;
use etcd_backup_core::volume::Volume;

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// `restore_unfinished`, one per restore.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        let mut restores: BTreeMap<&RestoreId, Vec<&(Origin, Volume)>> = BTreeMap::new();
        for made in &cluster.unfinished {
            restores.entry(&made.0.restore_id).or_default().push(made);
        }
        for (restore_id, made) in restores {
            findings.push(finding(scope, name, restore_id, &made));
        }
    }
    findings
}

fn finding(
    scope: &Scope,
    name: &ClusterName,
    restore_id: &RestoreId,
    made: &[&(Origin, Volume)],
) -> Finding {
    let suspended = scope.inventory.suspended_groups.iter();
    let of_restore = suspended.filter(|group| group.by == *restore_id);
    Finding::new(
        Subject {
            cluster: Some(name.clone()),
            ..Subject::default()
        },
        Kind::RestoreUnfinished {
            restore_id: restore_id.clone(),
            run: made.iter().find_map(|(origin, _)| origin.run),
            began: made
                .iter()
                .map(|(_, volume)| volume.created)
                .min()
                .unwrap_or(scope.now),
            volume_ids: made.iter().map(|(_, volume)| volume.id.clone()).collect(),
            suspended_groups: of_restore.map(|group| group.name.clone()).collect(),
        },
    )
}
