//! Restore points: runs that left a completed snapshot of every member.
//!
//! A run's members are those that its own snapshots' etcd tags name, so that a cluster grown from one
//! master to three keeps its older restore points, and one that lost a member keeps its newer ones.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::fleet::{Cluster, MemberSnapshot};
use crate::ids::{EtcdClusterName, MemberKey};
use crate::restore_tags::is_restored;
use crate::schedule::{Run, Schedule};
use crate::snapshot::Snapshot;

/// What one run left of the etcd clusters asked for.
#[derive(Clone, Debug)]
pub struct RunSnapshots {
    /// The scheduled time.
    pub run: Run,
    /// The best snapshot of each member that has one: usable before others, earlier before later.
    pub snapshots: BTreeMap<MemberKey, Snapshot>,
    /// Members without a usable snapshot. An etcd cluster of which the run left nothing is
    /// represented by the members known of it from elsewhere.
    pub missing: BTreeSet<MemberKey>,
    /// Members whose snapshot comes from another volume than the run's before, made blank: what is
    /// in it may be an empty etcd that `kops update cluster` made after a loss.
    pub doubtful: BTreeSet<MemberKey>,
}

impl RunSnapshots {
    /// Whether every member can be restored from it.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && !self.snapshots.is_empty()
    }

    /// The start of its earliest snapshot: the restore point's time.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.snapshots
            .values()
            .map(|snapshot| snapshot.started)
            .min()
    }

    /// The start of its latest snapshot.
    pub fn latest(&self) -> Option<Timestamp> {
        self.snapshots
            .values()
            .map(|snapshot| snapshot.started)
            .max()
    }

    /// Seconds between the earliest and the latest snapshot.
    pub fn skew_seconds(&self) -> i64 {
        skew_seconds(self.snapshots.values())
    }
}

/// Seconds between the earliest and the latest start of some snapshots.
pub fn skew_seconds<'a>(snapshots: impl Iterator<Item = &'a Snapshot> + Clone) -> i64 {
    let starts = snapshots.map(|snapshot| snapshot.started);
    match (starts.clone().min(), starts.max()) {
        (Some(earliest), Some(latest)) => latest.duration_since(earliest).as_secs(),
        _ => 0,
    }
}

/// All runs that left anything of the etcd clusters asked for, newest first.
pub fn runs(
    cluster: &Cluster,
    etcd_clusters: &BTreeSet<EtcdClusterName>,
    schedule: &Schedule,
) -> Vec<RunSnapshots> {
    let mut by_run: BTreeMap<Run, BTreeMap<MemberKey, Vec<&MemberSnapshot>>> = BTreeMap::new();
    for (key, member) in &cluster.members {
        if !etcd_clusters.contains(&key.etcd_cluster) {
            continue;
        }
        for snapshot in &member.snapshots {
            let run = by_run
                .entry(schedule.run_of(snapshot.snapshot.started))
                .or_default();
            run.entry(key.clone()).or_default().push(snapshot);
        }
    }
    by_run
        .into_iter()
        .rev()
        .map(|(run, left)| run_snapshots(cluster, etcd_clusters, schedule, run, &left))
        .collect()
}

fn run_snapshots(
    cluster: &Cluster,
    etcd_clusters: &BTreeSet<EtcdClusterName>,
    schedule: &Schedule,
    run: Run,
    left: &BTreeMap<MemberKey, Vec<&MemberSnapshot>>,
) -> RunSnapshots {
    let snapshots: BTreeMap<MemberKey, Snapshot> = left
        .iter()
        .filter_map(|(key, of_member)| Some((key.clone(), best(of_member)?.clone())))
        .collect();
    let missing = etcd_clusters
        .iter()
        .flat_map(|etcd_cluster| members_in_run(cluster, etcd_cluster, left))
        .filter(|key| !snapshots.get(key).is_some_and(Snapshot::is_usable))
        .collect();
    let doubtful = snapshots
        .iter()
        .filter(|(key, snapshot)| is_doubtful(cluster, key, snapshot, schedule, run))
        .map(|(key, _)| key.clone())
        .collect();
    RunSnapshots {
        run,
        snapshots,
        missing,
        doubtful,
    }
}

fn best<'a>(of_member: &[&'a MemberSnapshot]) -> Option<&'a Snapshot> {
    of_member
        .iter()
        .map(|of_member| &of_member.snapshot)
        .min_by_key(|snapshot| (!snapshot.is_usable(), snapshot.started))
}

/// The members of an etcd cluster that a run should have left snapshots of.
fn members_in_run(
    cluster: &Cluster,
    etcd_cluster: &EtcdClusterName,
    left: &BTreeMap<MemberKey, Vec<&MemberSnapshot>>,
) -> BTreeSet<MemberKey> {
    let named: BTreeSet<MemberKey> = left
        .iter()
        .filter(|(key, _)| key.etcd_cluster == *etcd_cluster)
        .flat_map(|(_, of_member)| of_member)
        .flat_map(|of_member| &of_member.members)
        .map(|name| MemberKey::new(etcd_cluster, name))
        .collect();
    match named.is_empty() {
        true => cluster
            .members_of(etcd_cluster)
            .map(|(key, _)| key.clone())
            .collect(),
        false => named,
    }
}

/// See [`RunSnapshots::doubtful`].
fn is_doubtful(
    cluster: &Cluster,
    key: &MemberKey,
    snapshot: &Snapshot,
    schedule: &Schedule,
    run: Run,
) -> bool {
    let Some(member) = cluster.members.get(key) else {
        return false;
    };
    let from_another_volume = member
        .snapshots
        .iter()
        .rfind(|earlier| schedule.run_of(earlier.snapshot.started) < run)
        .is_some_and(|earlier| earlier.snapshot.volume_id != snapshot.volume_id);
    let retired = member.retired.iter().map(|(_, volume)| volume);
    let volume = member
        .volumes
        .iter()
        .chain(retired)
        .find(|volume| volume.id == snapshot.volume_id);
    // Of a volume that is gone only its snapshot's tags are left, copied from it; where kops had taken
    // ours off it, the volume that it replaced remembers.
    let mut journals = member.retired.iter().map(|(by, _)| &by.replaced_by);
    let is_known = journals.any(|by| by.as_ref() == Some(&snapshot.volume_id));
    let made_blank = match volume {
        Some(volume) => volume.made_from.is_none(),
        None => !is_restored(&snapshot.tags) && !is_known,
    };
    from_another_volume && made_blank
}
