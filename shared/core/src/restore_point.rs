//! Restore points: runs that left a completed snapshot of every member, all of one timeline.
//!
//! A run's members are those that its own snapshots' etcd tags name, so that a cluster grown from one
//! master to three keeps its older restore points, and one that lost a member keeps its newer ones.
//!
//! [`History`] is computed once per cluster, in time linear in its snapshots, and copies none of them.

mod choice;
mod timeline;
mod verified;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use choice::{Alternative, Doubt, DoubtedMember};
pub use verified::{SkipReason, skip_reason};

use crate::fleet::{Cluster, MemberSnapshot};
use crate::generation::{Exchange, Generation, Generations, exchanges};
use crate::ids::{EtcdClusterName, MemberKey, MemberName};
use crate::schedule::{Run, Schedule};
use crate::snapshot::Snapshot;
use timeline::Candidate;

/// What one run left of the etcd clusters asked for.
#[derive(Clone, Debug)]
pub struct RunSnapshots<'a> {
    /// The scheduled time.
    pub run: Run,
    /// The best snapshot of each member that has one: of one timeline with the others', usable before
    /// others, earlier before later.
    pub snapshots: BTreeMap<&'a MemberKey, &'a Snapshot>,
    /// Members without a usable snapshot. An etcd cluster of which the run left nothing is
    /// represented by the members known of it from elsewhere.
    pub missing: BTreeSet<MemberKey>,
    /// Members whose snapshot is of a generation that began after another one, not long before the
    /// run: what is in it may be an empty etcd that `kops update cluster` made after a loss.
    pub doubtful: BTreeSet<&'a MemberKey>,
    /// Etcd clusters of which some snapshots are of before an exchange or a blank beginning, and some
    /// of after it: together they are no state that ever was.
    pub mixed: BTreeSet<&'a EtcdClusterName>,
}

/// What a cluster's snapshots tell: the generations of its members, and what each run left.
#[derive(Clone, Debug)]
pub struct History<'a> {
    cluster: &'a Cluster,
    generations: BTreeMap<&'a MemberKey, Generations<'a>>,
    /// By run, the earliest first, and etcd cluster.
    left: Vec<EtcdClusterRun<'a>>,
}

/// What one run left of one etcd cluster. An account has many, and most lack nothing.
#[derive(Clone, Debug)]
struct EtcdClusterRun<'a> {
    run: Run,
    etcd_cluster: &'a EtcdClusterName,
    snapshots: Box<[(&'a MemberKey, &'a Snapshot)]>,
    missing: Box<[MemberKey]>,
    doubtful: Box<[&'a MemberKey]>,
    is_mixed: bool,
}

/// A snapshot with the run and the member that it is of.
type Found<'a> = (Run, &'a MemberKey, &'a MemberSnapshot);

impl<'a> RunSnapshots<'a> {
    /// Whether it is a restore point: every member can be restored from it, to one state.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && !self.snapshots.is_empty() && self.mixed.is_empty()
    }

    /// Whether all of some of its members can be restored from it; others play no part.
    pub fn is_complete_of(&self, is_wanted: impl Fn(&MemberKey) -> bool) -> bool {
        let mut snapshots = self
            .snapshots
            .keys()
            .filter(|key| is_wanted(key))
            .peekable();
        snapshots.peek().is_some()
            && snapshots.all(|key| !self.mixed.contains(&key.etcd_cluster))
            && !self.missing.iter().any(is_wanted)
    }

    /// The start of its earliest snapshot: the restore point's time.
    pub fn earliest(&self) -> Option<Timestamp> {
        let starts = self.snapshots.values().map(|snapshot| snapshot.started);
        starts.min()
    }

    /// The start of its latest snapshot.
    pub fn latest(&self) -> Option<Timestamp> {
        let starts = self.snapshots.values().map(|snapshot| snapshot.started);
        starts.max()
    }

    /// Seconds between the earliest and the latest snapshot.
    pub fn skew_seconds(&self) -> i64 {
        skew_seconds(self.snapshots.values().copied())
    }

    fn new(run: Run) -> Self {
        Self {
            run,
            snapshots: BTreeMap::new(),
            missing: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            mixed: BTreeSet::new(),
        }
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

impl<'a> History<'a> {
    /// The history of a cluster, given the [`Exchange`]s that are recorded of it, each restore's in
    /// their order.
    pub fn new(cluster: &'a Cluster, recorded: Vec<Exchange>, schedule: &Schedule) -> Self {
        let exchanges = exchanges(cluster, recorded);
        let mut found: Vec<Found> = Vec::new();
        let mut generations = BTreeMap::new();
        for (key, member) in &cluster.members {
            generations.insert(key, Generations::of(cluster, key, member, &exchanges));
            found.extend(member.snapshots.iter().map(|of_member| {
                let run = schedule.run_of(of_member.snapshot.started);
                (run, key, of_member)
            }));
        }
        // Each member's snapshots are in this order already; the sort is stable, and fast for such runs.
        found.sort_by_key(|(run, ..)| *run);
        let is_together = |(run, key, _): &Found, (other_run, other_key, _): &Found| {
            run == other_run && key.etcd_cluster == other_key.etcd_cluster
        };
        let found = found.chunk_by(is_together);
        let left: Vec<_> = found
            .map(|found| EtcdClusterRun::of(found, &generations))
            .collect();
        Self {
            left,
            cluster,
            generations,
        }
    }

    /// All runs that left anything of the etcd clusters asked for, newest first.
    pub fn runs(&self, etcd_clusters: &BTreeSet<EtcdClusterName>) -> Vec<RunSnapshots<'a>> {
        let runs = self.left.chunk_by(|left, other| left.run == other.run);
        let runs = runs.rev().map(|left| self.run(left, etcd_clusters));
        runs.filter(|run| !run.snapshots.is_empty()).collect()
    }

    fn run(
        &self,
        left: &[EtcdClusterRun<'a>],
        etcd_clusters: &BTreeSet<EtcdClusterName>,
    ) -> RunSnapshots<'a> {
        let mut of_run = RunSnapshots::new(left[0].run);
        for name in etcd_clusters {
            let Some(left) = left.iter().find(|left| left.etcd_cluster == name) else {
                let members = self.cluster.members_of(name);
                of_run.missing.extend(members.map(|(key, _)| key.clone()));
                continue;
            };
            of_run.snapshots.extend(left.snapshots.iter().copied());
            of_run.missing.extend(left.missing.iter().cloned());
            of_run.doubtful.extend(left.doubtful.iter().copied());
            let mixed = left.is_mixed.then_some(left.etcd_cluster);
            of_run.mixed.extend(mixed);
        }
        of_run
    }

    /// The generations of a member.
    pub fn generations(&self, key: &MemberKey) -> Option<&Generations<'a>> {
        self.generations.get(key)
    }

    /// The members of which a live volume began a new generation within the last days, while
    /// snapshots of an earlier one were there.
    pub fn recreated(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a MemberKey, &Generation<'a>)> {
        let members = self.generations.iter();
        members.filter_map(move |(key, of_member)| Some((*key, of_member.recreated(now)?)))
    }
}

impl<'a> EtcdClusterRun<'a> {
    /// `found` is of one run and one etcd cluster, and never empty.
    fn of(found: &[Found<'a>], generations: &BTreeMap<&'a MemberKey, Generations<'a>>) -> Self {
        let (run, any, _) = found[0];
        let mut candidates: BTreeMap<&'a MemberKey, Vec<Candidate<'a>>> = BTreeMap::new();
        for (_, key, of_member) in found {
            let snapshot = &of_member.snapshot;
            let generations = generations.get(key);
            let service = generations.map(|generations| generations.service_of(snapshot));
            candidates.entry(key).or_default().push(Candidate {
                snapshot,
                service: service.unwrap_or_default(),
            });
        }
        let names: BTreeSet<&MemberName> = found
            .iter()
            .flat_map(|(.., of_member)| of_member.members.iter())
            .collect();
        let chosen = timeline::choose(&candidates, names.len());
        let is_doubtful = |(key, candidate): &(&&'a MemberKey, &Candidate)| {
            let generation = generations
                .get(**key)
                .and_then(|of_member| of_member.of_snapshot(candidate.snapshot));
            generation.is_some_and(|generation| generation.is_doubtful(run.at()))
        };
        Self {
            run,
            etcd_cluster: &any.etcd_cluster,
            missing: missing(&any.etcd_cluster, &names, &chosen),
            doubtful: chosen
                .iter()
                .filter(is_doubtful)
                .map(|(key, _)| *key)
                .collect(),
            is_mixed: timeline::is_mixed(chosen.values()),
            snapshots: chosen
                .into_iter()
                .map(|(key, candidate)| (key, candidate.snapshot))
                .collect(),
        }
    }
}

/// The members that a run's snapshots name and of which it left nothing usable.
fn missing(
    etcd_cluster: &EtcdClusterName,
    names: &BTreeSet<&MemberName>,
    chosen: &BTreeMap<&MemberKey, Candidate>,
) -> Box<[MemberKey]> {
    let usable: BTreeSet<&MemberName> = chosen
        .iter()
        .filter(|(_, candidate)| candidate.snapshot.is_usable())
        .map(|(key, _)| &key.member)
        .collect();
    names
        .difference(&usable)
        .map(|name| MemberKey::new(etcd_cluster, name))
        .collect()
}
