//! Managed snapshots that nobody will delete.
//!
//! DLM counts per volume, policy and schedule: when the volume is deleted or loses the target tag, or when
//! the policy is deleted or its schedule renamed, what was kept stays for ever. Masters' root volumes
//! carry the target tag as well: the snapshots that they left when their masters were replaced are counted
//! too, but separately.
//!
//! Invariant: what a restore may need is in no command. That is each etcd cluster's own latest restore
//! point, the latest of the cluster as a whole, the latest of each that isn't damaged or too skewed to be
//! taken, what an unfinished restore takes, and the last snapshot of each member. A snapshot whose tags don't
//! say whose it is, and whose volume is gone, may be a member's last. It may be so even where it looks like
//! a root volume's, as people put the tags that say so on data volumes as well.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::aws_cli;
use etcd_backup_core::discovery::{CLUSTER, Identity, NAME, cluster_of};
use etcd_backup_core::fleet::{Cluster, Member};
use etcd_backup_core::ids::{ClusterName, MemberKey, SnapshotId, VolumeId};
use etcd_backup_core::listing::Listed;
use etcd_backup_core::provenance::{Maker, Makers};
use etcd_backup_core::restore_point::{History, RunSnapshots};
use etcd_backup_core::snapshot::{DLM_SCHEDULE_NAME, Snapshot};
use etcd_backup_core::volume::Volume;

use super::Scope;
use super::clusters::SKEW_SECONDS_MAX;
use crate::finding::{Finding, Kind, Orphans, Subject};

/// How many ids a command holds.
const IDS_PER_COMMAND: usize = 50;
/// How many commands a finding holds; the count is exact.
const COMMANDS_MAX: usize = 4;
/// What kops tags a group's instances and root volumes with, and no etcd volume.
const INSTANCE_GROUP: &str = "kops.k8s.io/instancegroup";

/// What is orphaned of one cluster.
#[derive(Default)]
struct OfCluster<'a> {
    /// Of etcd volumes, and of what may have been one.
    of_etcd: Vec<&'a Snapshot>,
    of_root_volumes: Vec<&'a Snapshot>,
}

/// `snapshots_orphaned`, one per cluster. Without a policy there is nothing that would delete any
/// snapshot, which `policy_missing` says already.
pub fn check(scope: &Scope) -> Vec<Finding> {
    if scope.policy.is_none() {
        return Vec::new();
    }
    let targeted = targeted_volumes(scope);
    let etcd_volumes = etcd_volumes(scope);
    let mut by_cluster: BTreeMap<Option<ClusterName>, OfCluster> = BTreeMap::new();
    let makers = scope.inventory.makers(scope.settings);
    for (cluster, snapshot) in managed(scope) {
        if targeted.contains(&snapshot.volume_id) && !is_of_what_is_gone(&makers, snapshot) {
            continue;
        }
        let of_cluster = by_cluster.entry(cluster).or_default();
        if is_of_root_volume(snapshot) && !etcd_volumes.contains(&snapshot.volume_id) {
            of_cluster.of_root_volumes.push(snapshot);
        } else {
            of_cluster.of_etcd.push(snapshot);
        }
    }
    if by_cluster.is_empty() {
        return Vec::new();
    }
    let mut needed = needed_of_members(scope);
    needed.extend(of_unfinished_restores(scope));
    for of_cluster in by_cluster.values() {
        needed.extend(last_of_unknown(&of_cluster.of_etcd));
        needed.extend(last_of_unknown(&of_cluster.of_root_volumes));
    }
    by_cluster
        .into_iter()
        .map(|(cluster, orphans)| {
            let is_etcds = |orphan: &Snapshot| {
                is_surely_ours(scope, &makers, orphan) || etcd_volumes.contains(&orphan.volume_id)
            };
            finding(scope, cluster, &orphans, &needed, is_etcds)
        })
        .collect()
}

/// The volumes that DLM takes, and so the ones of which it deletes.
fn targeted_volumes<'a>(scope: &Scope<'a>) -> BTreeSet<&'a VolumeId> {
    let volumes = scope.inventory.volumes.iter();
    let targeted = volumes.filter(|volume| volume.exists() && scope.settings.targets(&volume.tags));
    targeted.map(|volume: &Volume| &volume.id).collect()
}

/// The volumes that are etcd's, or were, whatever their snapshots' tags say.
fn etcd_volumes<'a>(scope: &Scope<'a>) -> BTreeSet<&'a VolumeId> {
    let clusters = scope.fleet.clusters.values();
    let of_members = clusters.flat_map(Cluster::all_volumes);
    let unidentified_volumes = scope.fleet.unidentified_volumes.values().flatten();
    of_members
        .map(|(_, volume)| &volume.id)
        .chain(unidentified_volumes.map(|unidentified| &unidentified.volume.id))
        .collect()
}

/// All managed snapshots asked for, members' and others', with the cluster that each is of.
fn managed<'a>(
    scope: &Scope<'a>,
) -> impl Iterator<Item = (Option<ClusterName>, &'a Listed<Snapshot>)> {
    let members = scope.fleet.clusters.iter().flat_map(|(name, cluster)| {
        let members = cluster.members.values();
        let snapshots = members.flat_map(|member| &member.snapshots);
        snapshots.map(move |of_member| (Some(name.clone()), &of_member.snapshot))
    });
    let unidentified_volumes = scope.fleet.unidentified_volumes.values().flatten();
    let of_unidentified = unidentified_volumes.flat_map(|unidentified| &unidentified.snapshots);
    let others = of_unidentified.chain(&scope.fleet.unclaimed);
    let others = others.map(|snapshot| (cluster_of(&snapshot.tags), snapshot));
    members.chain(others.filter(|(cluster, _)| {
        scope
            .asked
            .is_none_or(|asked| cluster.as_ref().is_some_and(|name| asked.contains(name)))
    }))
}

/// Whether the policy that made a snapshot is gone, or has no schedule of that name any more. What a
/// person took of a volume that DLM takes is theirs to delete.
fn is_of_what_is_gone(makers: &Makers, snapshot: &Snapshot) -> bool {
    match makers.maker(snapshot) {
        Maker::FormerPolicy => true,
        Maker::FormerSchedule => snapshot.tags.contains_key(DLM_SCHEDULE_NAME),
        Maker::OurSchedule | Maker::ScheduleBesideOurs | Maker::Unnamed | Maker::Stranger => false,
    }
}

/// Whether more than the tags of TAGS_TO_ADD says that a snapshot is one of ours. Terraform's own example
/// adds the same, so that what a deleted policy of another team left of its own volumes carries them too.
fn is_surely_ours(scope: &Scope, makers: &Makers, snapshot: &Snapshot) -> bool {
    let tags = &snapshot.tags;
    match makers.maker(snapshot) {
        Maker::FormerPolicy
            if tags.get(DLM_SCHEDULE_NAME) == Some(&scope.settings.schedule_name) =>
        {
            true
        }
        Maker::FormerPolicy | Maker::Unnamed | Maker::Stranger => {
            Identity::of(tags).is_some() || scope.settings.targets(tags)
        }
        Maker::OurSchedule | Maker::ScheduleBesideOurs | Maker::FormerSchedule => true,
    }
}

/// kops tags a master's root volume like the master: the cluster, the role and the group's name, but no
/// etcd cluster. A snapshot of which less is known may be of an etcd volume.
fn is_of_root_volume(snapshot: &Snapshot) -> bool {
    let tags = &snapshot.tags;
    let (Some(name), Some(cluster)) = (tags.get(NAME), tags.get(CLUSTER)) else {
        return false;
    };
    let is_a_groups = name.ends_with(&format!(".masters.{cluster}"));
    Identity::of(tags).is_none()
        && !name.contains(".etcd-")
        && (is_a_groups || tags.contains_key(INSTANCE_GROUP))
}

fn finding(
    scope: &Scope,
    name: Option<ClusterName>,
    found: &OfCluster,
    needed: &BTreeSet<SnapshotId>,
    is_etcds: impl Fn(&Snapshot) -> bool,
) -> Finding {
    // While nobody has said yet whether a blank beginning was meant, all that was before may be needed.
    let history = name.as_ref().and_then(|name| scope.histories.get(name));
    let may_all_be_needed =
        history.is_some_and(|history| history.recreated(scope.now).next().is_some());
    let is_deletable = |orphan: &Snapshot| {
        !may_all_be_needed
            && is_etcds(orphan)
            && is_past_retention(scope, orphan)
            && !needed.contains(&orphan.id)
    };
    let subject = Subject {
        cluster: name,
        ..Subject::default()
    };
    let kind = Kind::SnapshotsOrphaned {
        orphans: orphans(scope, &found.of_etcd, is_deletable),
        root_volumes: orphans(scope, &found.of_root_volumes, is_deletable),
    };
    Finding::new(subject, kind)
}

fn orphans(scope: &Scope, all: &[&Snapshot], is_deletable: impl Fn(&Snapshot) -> bool) -> Orphans {
    let deletable = all.iter().filter(|orphan| is_deletable(orphan));
    let ids: Vec<&str> = deletable.map(|orphan| orphan.id.as_str()).collect();
    let delete = aws_cli::command(
        &scope.inventory.region,
        "ec2 delete-snapshot",
        format_args!("--snapshot-id $snapshot"),
    );
    let command = |ids: &[&str]| format!("for snapshot in {}; do {delete}; done", ids.join(" "));
    let commands = ids.chunks(IDS_PER_COMMAND).take(COMMANDS_MAX).map(command);
    Orphans {
        count: all.len(),
        size_gib: all.iter().map(|orphan| i64::from(orphan.size_gib)).sum(),
        commands: commands.collect(),
    }
}

/// Whether DLM would have deleted the snapshot by now. Younger ones are history that was promised.
fn is_past_retention(scope: &Scope, snapshot: &Snapshot) -> bool {
    let schedule = &scope.settings.schedule;
    let kept = schedule.interval() * (scope.settings.retain_count - 1);
    schedule.run_of(snapshot.started).at() < scope.due_run().at() - kept
}

/// What restores of the clusters, their etcd clusters or their members would begin with.
fn needed_of_members(scope: &Scope) -> BTreeSet<SnapshotId> {
    let clusters = scope.fleet.clusters.iter();
    clusters
        .flat_map(|(name, cluster)| {
            let members = cluster.members.values();
            let last = members.flat_map(|member| last_of(snapshots(member)));
            let last: Vec<SnapshotId> = last.collect();
            last.into_iter()
                .chain(of_restore_points(scope, name, cluster))
        })
        .collect()
}

fn of_restore_points(scope: &Scope, name: &ClusterName, cluster: &Cluster) -> Vec<SnapshotId> {
    let Some(history) = scope.histories.get(name) else {
        return Vec::new();
    };
    let each = cluster.etcd_clusters().into_iter();
    let each = each.map(|etcd_cluster| history.runs(&BTreeSet::from([etcd_cluster])));
    each.chain([scope.runs(name, cluster)])
        .flat_map(|runs| of_latest(history, &runs))
        .collect()
}

/// The snapshots of the latest restore points of each generation: whether what came after a blank
/// beginning is what should be there, only a person knows.
fn of_latest(history: &History, runs: &[RunSnapshots]) -> Vec<SnapshotId> {
    let generation = |(key, snapshot): (&&MemberKey, &&Snapshot)| {
        let generations = history.generations(key)?;
        Some(generations.of_snapshot(snapshot)?.number)
    };
    let mut by_generation: BTreeMap<Vec<Option<usize>>, Vec<&RunSnapshots>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.is_complete()) {
        let generations = run.snapshots.iter().map(generation).collect();
        by_generation.entry(generations).or_default().push(run);
    }
    by_generation
        .values()
        .flat_map(|runs| worth_going_back_to(runs))
        .flat_map(|run| run.snapshots.values())
        .map(|snapshot| snapshot.id.clone())
        .collect()
}

/// Of complete runs, newest first, those that a restore may have to go back to: the newest, and the newest
/// that isn't known as damaged or is even known as sound; and because restore refuses what was taken too far
/// apart, the same of those that were not.
fn worth_going_back_to<'a, 'b>(
    runs: &[&'a RunSnapshots<'b>],
) -> impl Iterator<Item = &'a RunSnapshots<'b>> {
    let near = runs
        .iter()
        .filter(|run| run.skew_seconds() <= SKEW_SECONDS_MAX);
    let near: Vec<&RunSnapshots> = near.copied().collect();
    [newest_by_verdict(runs), newest_by_verdict(&near)]
        .into_iter()
        .flatten()
        .flatten()
}

fn newest_by_verdict<'a, 'b>(runs: &[&'a RunSnapshots<'b>]) -> [Option<&'a RunSnapshots<'b>>; 3] {
    let newest = runs.first();
    let undamaged = runs.iter().find(|run| run.damaged().is_empty());
    let sound = runs.iter().find(|run| run.is_known_sound());
    [newest, undamaged, sound].map(|found| found.copied())
}

/// What unfinished restores are restoring: they keep their snapshots, however many runs have come since.
fn of_unfinished_restores(scope: &Scope) -> impl Iterator<Item = SnapshotId> {
    let records = scope.inventory.restores.unfinished_ones();
    let members = records.flat_map(|record| record.members.values());
    members.map(|member| member.snapshot.id.clone())
}

fn snapshots(member: &Member) -> impl DoubleEndedIterator<Item = &Snapshot> + Clone {
    member
        .snapshots
        .iter()
        .map(|of_member| &*of_member.snapshot)
}

/// The last one, and the last that a volume can be made from; of snapshots sorted by their start.
fn last_of<'a>(
    snapshots: impl DoubleEndedIterator<Item = &'a Snapshot> + Clone,
) -> impl Iterator<Item = SnapshotId> {
    let last = snapshots.clone().next_back();
    let usable = snapshots.rev().find(|snapshot| snapshot.is_usable());
    last.into_iter().chain(usable).map(|of| of.id.clone())
}

/// The same of volumes that are gone and may have been a member's: no tag of the snapshots tells.
fn last_of_unknown(orphans: &[&Snapshot]) -> Vec<SnapshotId> {
    let mut by_volume: BTreeMap<&VolumeId, Vec<&Snapshot>> = BTreeMap::new();
    for orphan in orphans {
        if Identity::of(&orphan.tags).and_then(Result::ok).is_none() {
            by_volume.entry(&orphan.volume_id).or_default().push(orphan);
        }
    }
    let mut last = Vec::new();
    for mut snapshots in by_volume.into_values() {
        snapshots.sort_by_key(|snapshot| snapshot.started);
        last.extend(last_of(snapshots.into_iter()));
    }
    last
}
