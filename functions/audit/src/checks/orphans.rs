//! Managed snapshots that nobody will delete.
//!
//! DLM counts per volume and policy: when the volume is deleted or loses the target tag, or the policy
//! is deleted, what it kept stays for ever. Root volumes carry the target tag as well, so what they
//! left when their masters were replaced counts too.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::discovery::cluster_of;
use etcd_backup_core::ids::{ClusterName, SnapshotId, VolumeId};
use etcd_backup_core::restore_point;
use etcd_backup_core::snapshot::{DLM_POLICY_ID, Snapshot};
use etcd_backup_core::volume::Volume;

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// How many ids a command holds.
const IDS_PER_COMMAND: usize = 50;
/// How many commands a finding holds; the count is exact.
const COMMANDS_MAX: usize = 4;

/// `snapshots_orphaned`, one per cluster. Without a policy there is nothing that would delete any
/// snapshot, which `policy_missing` says already.
pub fn check(scope: &Scope) -> Vec<Finding> {
    if scope.policy.is_none() {
        return Vec::new();
    }
    let targeted: BTreeSet<&VolumeId> = scope
        .inventory
        .volumes
        .iter()
        .filter(|volume| volume.exists() && scope.settings.targets(&volume.tags))
        .map(|volume: &Volume| &volume.id)
        .collect();
    let mut orphans: BTreeMap<Option<ClusterName>, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in scope
        .inventory
        .snapshots
        .iter()
        .filter(|s| is_in_scope(scope, s))
    {
        if is_orphaned(scope, &targeted, snapshot) {
            orphans
                .entry(cluster_of(&snapshot.tags))
                .or_default()
                .push(snapshot);
        }
    }
    orphans
        .into_iter()
        .map(|(cluster, orphans)| finding(scope, cluster, &orphans))
        .collect()
}

fn is_in_scope(scope: &Scope, snapshot: &Snapshot) -> bool {
    let cluster = cluster_of(&snapshot.tags);
    let is_asked = scope
        .asked
        .is_none_or(|asked| cluster.is_some_and(|cluster| asked.contains(&cluster)));
    is_asked
        && snapshot.started <= scope.now
        && snapshot.is_managed(scope.settings)
        && !snapshot.volume_id.is_of_a_copy()
}

fn is_orphaned(scope: &Scope, targeted: &BTreeSet<&VolumeId>, snapshot: &Snapshot) -> bool {
    let policy = snapshot.tags.get(DLM_POLICY_ID);
    let policy_is_gone = policy.is_some_and(|id| {
        !scope
            .inventory
            .policy_ids
            .iter()
            .any(|existing| existing.as_str() == id)
    });
    policy_is_gone || !targeted.contains(&snapshot.volume_id)
}

fn finding(scope: &Scope, name: Option<ClusterName>, orphans: &[&Snapshot]) -> Finding {
    let needed = name.as_ref().map(|name| needed(scope, name));
    let deletable = orphans.iter().filter(|orphan| match &needed {
        // A cluster that has lost volumes is restored from these.
        Some(None) => false,
        Some(Some(needed)) => !needed.contains(&orphan.id),
        None => true,
    });
    let ids: Vec<&str> = deletable.map(|orphan| orphan.id.as_str()).collect();
    let command = |ids: &[&str]| {
        format!(
            "for snapshot in {}; do aws ec2 delete-snapshot --snapshot-id $snapshot; done",
            ids.join(" ")
        )
    };
    Finding::new(
        Subject {
            cluster: name,
            ..Subject::default()
        },
        Kind::SnapshotsOrphaned {
            count: orphans.len(),
            size_gib: orphans
                .iter()
                .map(|orphan| i64::from(orphan.size_gib))
                .sum(),
            commands: ids
                .chunks(IDS_PER_COMMAND)
                .take(COMMANDS_MAX)
                .map(command)
                .collect(),
        },
    )
}

/// The snapshots that the cluster's latest restore point is made of; `None` where a volume is missing,
/// so that any may be needed.
fn needed(scope: &Scope, name: &ClusterName) -> Option<BTreeSet<SnapshotId>> {
    let cluster = scope.fleet.clusters.get(name)?;
    let etcd_clusters = cluster.current_etcd_clusters(scope.settings.schedule.interval());
    let has_all_volumes = etcd_clusters.iter().all(|etcd_cluster| {
        let mut members = cluster
            .members_of(etcd_cluster)
            .filter(|(_, member)| member.is_named);
        members.all(|(_, member)| !member.volumes.is_empty())
            && !scope.is_lost(name, cluster, etcd_cluster)
    });
    if !has_all_volumes {
        return None;
    }
    let runs = restore_point::runs(cluster, &etcd_clusters, &scope.settings.schedule);
    let latest = runs.into_iter().find(|run| run.is_complete())?;
    Some(
        latest
            .snapshots
            .into_values()
            .map(|snapshot| snapshot.id)
            .collect(),
    )
}
