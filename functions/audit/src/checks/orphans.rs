//! Managed snapshots that nobody will delete.
//!
//! DLM counts per volume and policy: when the volume is deleted or loses the target tag, or the policy
//! is deleted, what it kept stays for ever. Root volumes carry the target tag as well, so what they
//! left when their masters were replaced counts too.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::discovery::cluster_of;
use etcd_backup_core::fleet::Cluster;
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
    let cluster = name
        .as_ref()
        .and_then(|name| scope.fleet.clusters.get(name));
    let needed = cluster
        .map(|cluster| needed(scope, cluster))
        .unwrap_or_default();
    let may_all_be_needed = cluster.is_some_and(has_volume_made_blank);
    let deletable = orphans.iter().filter(|orphan| {
        !may_all_be_needed && is_past_retention(scope, orphan) && !needed.contains(&orphan.id)
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

/// Whether DLM would have deleted the snapshot by now. Younger ones are history that was promised.
fn is_past_retention(scope: &Scope, snapshot: &Snapshot) -> bool {
    let schedule = &scope.settings.schedule;
    let kept = schedule.interval() * (scope.settings.retain_count - 1);
    schedule.run_of(snapshot.started).at() < scope.due_run().at() - kept
}

/// Whether a member's volume was made blank though there are snapshots of another: `kops update` makes
/// such volumes after a loss, and then the snapshots from before it are all that is left.
fn has_volume_made_blank(cluster: &Cluster) -> bool {
    cluster.members.values().any(|member| {
        member
            .volumes
            .iter()
            .filter(|volume| volume.made_from.is_none())
            .any(|volume| {
                let mut snapshots = member.snapshots.iter();
                snapshots.any(|of_member| of_member.snapshot.volume_id != volume.id)
            })
    })
}

/// The snapshots that the cluster's latest restore point is made of.
fn needed(scope: &Scope, cluster: &Cluster) -> BTreeSet<SnapshotId> {
    let schedule = &scope.settings.schedule;
    let etcd_clusters = cluster.current_etcd_clusters(schedule.interval());
    let runs = restore_point::runs(cluster, &etcd_clusters, schedule);
    let latest = runs.into_iter().find(|run| run.is_complete());
    let snapshots = latest
        .into_iter()
        .flat_map(|run| run.snapshots.into_values());
    snapshots.map(|snapshot| snapshot.id).collect()
}
