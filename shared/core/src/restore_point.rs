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

pub use choice::{Doubt, DoubtedMember, Way};
pub use verified::{Unneeded, unneeded};

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
    runs: BTreeMap<Run, BTreeMap<&'a EtcdClusterName, Left<'a>>>,
}

/// What one run left of one etcd cluster.
#[derive(Clone, Debug)]
struct Left<'a> {
    snapshots: Vec<(&'a MemberKey, &'a Snapshot)>,
    missing: Vec<MemberKey>,
    doubtful: Vec<&'a MemberKey>,
    is_mixed: bool,
}

/// All that one run left of one etcd cluster, by member.
type Found<'a> = BTreeMap<&'a MemberKey, Vec<&'a MemberSnapshot>>;

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
        let mut found: BTreeMap<Run, BTreeMap<&EtcdClusterName, Found>> = BTreeMap::new();
        let mut generations = BTreeMap::new();
        for (key, member) in &cluster.members {
            generations.insert(key, Generations::of(cluster, key, member, &exchanges));
            for of_member in &member.snapshots {
                let run = schedule.run_of(of_member.snapshot.started);
                let of_run = found.entry(run).or_default();
                let of_etcd_cluster = of_run.entry(&key.etcd_cluster).or_default();
                of_etcd_cluster.entry(key).or_default().push(of_member);
            }
        }
        let left = |run: Run, found: BTreeMap<&'a EtcdClusterName, Found<'a>>| {
            let found = found.into_iter();
            let left = found.map(|(name, found)| (name, Left::of(run, &found, &generations)));
            (run, left.collect())
        };
        let runs = found.into_iter().map(|(run, found)| left(run, found));
        Self {
            runs: runs.collect(),
            cluster,
            generations,
        }
    }

    /// All runs that left anything of the etcd clusters asked for, newest first.
    pub fn runs(&self, etcd_clusters: &BTreeSet<EtcdClusterName>) -> Vec<RunSnapshots<'a>> {
        let runs = self.runs.iter().rev();
        let runs = runs.map(|(run, left)| self.run(*run, left, etcd_clusters));
        runs.filter(|run| !run.snapshots.is_empty()).collect()
    }

    fn run(
        &self,
        run: Run,
        left: &BTreeMap<&'a EtcdClusterName, Left<'a>>,
        etcd_clusters: &BTreeSet<EtcdClusterName>,
    ) -> RunSnapshots<'a> {
        let mut of_run = RunSnapshots::new(run);
        for name in etcd_clusters {
            let Some((name, left)) = left.get_key_value(name) else {
                let members = self.cluster.members_of(name);
                of_run.missing.extend(members.map(|(key, _)| key.clone()));
                continue;
            };
            of_run.snapshots.extend(left.snapshots.iter().copied());
            of_run.missing.extend(left.missing.iter().cloned());
            of_run.doubtful.extend(left.doubtful.iter().copied());
            of_run.mixed.extend(left.is_mixed.then_some(*name));
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

impl<'a> Left<'a> {
    fn of(
        run: Run,
        found: &Found<'a>,
        generations: &BTreeMap<&'a MemberKey, Generations<'a>>,
    ) -> Self {
        let candidates: BTreeMap<_, Vec<_>> = found
            .iter()
            .map(|(key, found)| {
                let of_member = generations.get(key);
                let candidate = |of: &&'a MemberSnapshot| Candidate {
                    snapshot: &of.snapshot,
                    service: of_member
                        .map(|of_member| of_member.service_of(&of.snapshot))
                        .unwrap_or_default(),
                };
                (*key, found.iter().map(candidate).collect())
            })
            .collect();
        let names: BTreeSet<&MemberName> = found
            .values()
            .flatten()
            .flat_map(|of_member| &of_member.members)
            .collect();
        let chosen = timeline::choose(&candidates, names.len());
        let is_doubtful = |(key, candidate): &(&&'a MemberKey, &Candidate)| {
            let generation = generations
                .get(**key)
                .and_then(|of_member| of_member.of_snapshot(candidate.snapshot));
            generation.is_some_and(|generation| generation.is_doubtful(run.at()))
        };
        Self {
            missing: missing(found, &names, &chosen),
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
    found: &Found,
    names: &BTreeSet<&MemberName>,
    chosen: &BTreeMap<&MemberKey, Candidate>,
) -> Vec<MemberKey> {
    let usable: BTreeSet<&MemberName> = chosen
        .iter()
        .filter(|(_, candidate)| candidate.snapshot.is_usable())
        .map(|(key, _)| &key.member)
        .collect();
    let Some((any, _)) = found.first_key_value() else {
        return Vec::new();
    };
    names
        .difference(&usable)
        .map(|name| MemberKey::new(&any.etcd_cluster, name))
        .collect()
}
