//! Which snapshots an event is about.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::{Identity, cluster_of};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{ClusterName, EtcdClusterName, MemberKey, SnapshotId};
use etcd_backup_core::restore_point::{History, RunSnapshots, SkipReason, skip_reason};
use etcd_backup_core::schedule::{Run, Schedule};
use etcd_backup_core::settings::{Settings, VerifyMode};
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::verdict::Verdict;
use jiff::Timestamp;

use super::earlier::Earlier;
use super::tags::takes_verdict;
use crate::collect::members::Target;

/// Snapshots that are judged together.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The cluster; `None` where nothing tells.
    pub cluster: Option<ClusterName>,
    /// The run that left them; `None` where they are not all of one, or not those that restore takes of it.
    pub run: Option<Run>,
    /// By member.
    pub targets: Vec<Target>,
    /// What is known of each member from an older snapshot.
    pub earlier: BTreeMap<MemberKey, Earlier>,
    /// The etcd clusters of which all members are there, of one run: only of these a verdict is one on a
    /// restore point, and written down.
    pub whole: BTreeSet<EtcdClusterName>,
    /// Whether one member is judged by itself, as its snapshot alone was asked for and isn't all that there is
    /// of its etcd cluster. Others are judged as the set that etcd would be started from.
    pub is_alone: bool,
}

/// What is to be done about a snapshot that was completed.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Its run is complete.
    Verify(Box<Chosen>),
    /// EC2 doesn't show yet what it told.
    Again,
    /// Nothing, and why.
    Nothing(String),
}

/// Which restore points are read without a person's asking: each one, unless a setting says otherwise. Who
/// runs verify without the template wants verdicts, and has said nothing of fewer.
pub fn mode(settings: &Settings) -> VerifyMode {
    settings.verify.unwrap_or(VerifyMode::All)
}

/// The latest restore point, or the latest at or before a moment.
///
/// # Errors
///
/// `ClusterNotFound`, `NoRestorePoint`.
pub fn restore_point(
    name: &ClusterName,
    cluster: &Cluster,
    schedule: &Schedule,
    at: Option<Timestamp>,
) -> Result<Chosen, Diagnostic> {
    refuse_unknown(name, cluster)?;
    let history = History::new(cluster, Vec::new(), schedule);
    let runs = history.runs(&etcd_clusters(cluster, schedule));
    let is_early = |run: &&RunSnapshots| {
        at.is_none_or(|at| run.earliest().is_some_and(|earliest| earliest <= at))
    };
    let chosen = runs.iter().filter(is_early).find(|run| run.is_complete());
    let chosen = chosen.ok_or_else(|| {
        let when = at.map_or(String::new(), |at| format!(" at or before {at}"));
        Diagnostic::new(
            ErrorType::NoRestorePoint,
            format!(
                "no run{when} left a completed snapshot of every member of {name}: restore's \
                 {{\"action\":\"list\",\"cluster\":\"{name}\"}} shows what there is; \"snapshots\" names some by hand"
            ),
        )
    })?;
    Ok(of_run(name, cluster, chosen))
}

/// Snapshots that a person named.
///
/// # Errors
///
/// `InvalidEvent` where one doesn't exist, or says itself that it is another's.
pub fn by_hand(
    name: &ClusterName,
    cluster: &Cluster,
    schedule: &Schedule,
    found: &BTreeMap<SnapshotId, Snapshot>,
    named: &BTreeMap<MemberKey, SnapshotId>,
) -> Result<Chosen, Diagnostic> {
    let mut targets = Vec::new();
    for (key, id) in named {
        let snapshot = found
            .get(id)
            .ok_or_else(|| not_found(&format!("snapshots.{key}"), id))?;
        refuse_foreign(name, key, snapshot)?;
        if let Some(twice) = targets
            .iter()
            .find(|target: &&Target| target.snapshot.id == *id)
        {
            let other = twice.key.as_ref().map(ToString::to_string);
            return Err(Diagnostic::invalid_event(format!(
                "\"snapshots\" names {id} for both {} and {key}",
                other.unwrap_or_default()
            )));
        }
        targets.push(Target {
            key: Some(key.clone()),
            snapshot: snapshot.clone(),
        });
    }
    let history = History::new(cluster, Vec::new(), schedule);
    Ok(Chosen {
        cluster: Some(name.clone()),
        run: run(&history, &targets),
        whole: whole(&history, &targets),
        is_alone: false,
        earlier: earlier(cluster, &targets),
        targets,
    })
}

/// One member by itself.
pub fn alone(
    snapshot: Snapshot,
    identity: Option<&Identity>,
    cluster: &Cluster,
    schedule: &Schedule,
) -> Chosen {
    let targets = vec![Target {
        key: identity.map(Identity::member_key),
        snapshot,
    }];
    let history = History::new(cluster, Vec::new(), schedule);
    let whole = whole(&history, &targets);
    Chosen {
        cluster: identity.map(|identity| identity.cluster.clone()),
        run: run(&history, &targets),
        is_alone: whole.is_empty(),
        whole,
        earlier: BTreeMap::new(),
        targets,
    }
}

/// Whether a snapshot that was completed makes its run complete, and the run is to be verified.
pub fn completed(
    name: &ClusterName,
    cluster: &Cluster,
    settings: &Settings,
    mode: VerifyMode,
    id: &SnapshotId,
) -> Asked {
    let members = cluster.members.values();
    let mut snapshots = members.flat_map(|member| &member.snapshots);
    let Some(named) = snapshots.find(|of| of.snapshot.id == *id) else {
        return Asked::Nothing(format!("{id} is none of the backups of {name}"));
    };
    if named.snapshot.state == SnapshotState::Pending {
        return Asked::Again;
    }
    let schedule = &settings.schedule;
    let history = History::new(cluster, Vec::new(), schedule);
    let runs = history.runs(&etcd_clusters(cluster, schedule));
    let of_snapshot = schedule.run_of(named.snapshot.started);
    let Some(run) = runs.iter().find(|run| run.run == of_snapshot) else {
        return Asked::Nothing(format!("{id} is of no etcd cluster that {name} still uses"));
    };
    if !run.is_complete() {
        return Asked::Nothing(format!(
            "the run of {of_snapshot} of {name} isn't complete yet"
        ));
    }
    match skip_reason(run, &runs, mode) {
        Some(why) => Asked::Nothing(format!("{} of {name}", in_words(why))),
        None => Asked::Verify(Box::new(of_run(name, cluster, run))),
    }
}

/// The latest restore point, where it is to be verified, has no verdict yet, and can be given one.
pub fn left_over(
    name: &ClusterName,
    cluster: &Cluster,
    settings: &Settings,
    mode: VerifyMode,
) -> Option<Chosen> {
    let schedule = &settings.schedule;
    let history = History::new(cluster, Vec::new(), schedule);
    let runs = history.runs(&etcd_clusters(cluster, schedule));
    let latest = runs.iter().find(|run| run.is_complete())?;
    let mut snapshots = latest.snapshots.values();
    // A run of which no snapshot can take a verdict would be read again each hour for nothing.
    let is_open = snapshots.any(|of| Verdict::of(of).is_none() && takes_verdict(&of.tags));
    (is_open && skip_reason(latest, &runs, mode).is_none()).then(|| of_run(name, cluster, latest))
}

fn in_words(skip_reason: SkipReason) -> &'static str {
    match skip_reason {
        SkipReason::Verified => "there is a verdict already on that run",
        SkipReason::OfThatDay => {
            "VERIFY is daily, and there is a verdict already on a run of that day"
        }
        SkipReason::Off => "VERIFY is off: nothing is verified by itself, that run neither",
    }
}

/// Those in use, as the audit counts them; all where none is, as after a loss long ago.
fn etcd_clusters(cluster: &Cluster, schedule: &Schedule) -> BTreeSet<EtcdClusterName> {
    let current = cluster.current_etcd_clusters(schedule);
    if current.is_empty() {
        cluster.etcd_clusters()
    } else {
        current
    }
}

fn of_run(name: &ClusterName, cluster: &Cluster, run: &RunSnapshots) -> Chosen {
    let snapshots = run.snapshots.iter();
    let targets: Vec<Target> = snapshots
        .map(|(key, snapshot)| Target {
            key: Some((*key).clone()),
            snapshot: (*snapshot).clone(),
        })
        .collect();
    Chosen {
        cluster: Some(name.clone()),
        run: Some(run.run),
        whole: run
            .snapshots
            .keys()
            .map(|key| key.etcd_cluster.clone())
            .collect(),
        is_alone: false,
        earlier: earlier(cluster, &targets),
        targets,
    }
}

fn earlier(cluster: &Cluster, targets: &[Target]) -> BTreeMap<MemberKey, Earlier> {
    let of_target = targets.iter().filter_map(|target| {
        let key = target.key.as_ref()?;
        let member = cluster.members.get(key)?;
        let snapshots = member.snapshots.iter().map(|of| &*of.snapshot);
        Some((
            key.clone(),
            Earlier::of(snapshots, target.snapshot.started)?,
        ))
    });
    of_target.collect()
}

/// The run whose restore point all of the snapshots are of. The hour of their start isn't enough: of two
/// snapshots that one run left of a member, restore takes one.
fn run(history: &History, targets: &[Target]) -> Option<Run> {
    let keys = targets.iter().filter_map(|target| target.key.as_ref());
    let runs = history.runs(&keys.map(|key| key.etcd_cluster.clone()).collect());
    let is_of = |run: &RunSnapshots, target: &Target| {
        let key = target.key.as_ref();
        let taken = key.and_then(|key| run.snapshots.get(key));
        taken.is_some_and(|taken| taken.id == target.snapshot.id)
    };
    let mut runs = runs.iter();
    let run = runs.find(|run| targets.iter().all(|target| is_of(run, target)));
    run.map(|run| run.run)
}

/// The etcd clusters of which the snapshots are a restore point: all that one run left of its members, as
/// restore would take them, and no other. What the snapshots say of themselves isn't enough: their tags
/// may be lost, and one may be of another hour.
fn whole(history: &History, targets: &[Target]) -> BTreeSet<EtcdClusterName> {
    let mut chosen: BTreeMap<&EtcdClusterName, BTreeMap<&MemberKey, &SnapshotId>> = BTreeMap::new();
    for target in targets {
        if let Some(key) = &target.key {
            let of_etcd_cluster = chosen.entry(&key.etcd_cluster).or_default();
            of_etcd_cluster.insert(key, &target.snapshot.id);
        }
    }
    let is_whole = |name: &EtcdClusterName, chosen: &BTreeMap<&MemberKey, &SnapshotId>| {
        let runs = history.runs(&[name.clone()].into());
        runs.iter().any(|run| {
            let left = run.snapshots.iter();
            let left: BTreeMap<_, _> = left.map(|(key, snapshot)| (*key, &snapshot.id)).collect();
            run.is_complete() && left == *chosen
        })
    };
    let whole = chosen
        .iter()
        .filter(|(name, chosen)| is_whole(name, chosen));
    whole.map(|(name, _)| (*name).clone()).collect()
}

fn refuse_unknown(name: &ClusterName, cluster: &Cluster) -> Result<(), Diagnostic> {
    if !cluster.members.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::new(
        ErrorType::ClusterNotFound,
        format!(
            "neither an etcd volume nor a managed snapshot of {name} is in this account and Region; check \
             the name, or name snapshots by hand in \"snapshots\""
        ),
    ))
}

fn refuse_foreign(
    name: &ClusterName,
    key: &MemberKey,
    snapshot: &Snapshot,
) -> Result<(), Diagnostic> {
    let id = &snapshot.id;
    if let Some(owner) = cluster_of(&snapshot.tags).filter(|owner| owner != name) {
        return Err(Diagnostic::invalid_event(format!(
            "{id}, which \"snapshots\" names for {key}, belongs to {owner}"
        )));
    }
    match Identity::of(&snapshot.tags) {
        Some(Ok(identity)) if identity.member_key() != *key => {
            Err(Diagnostic::invalid_event(format!(
                "{id}, which \"snapshots\" names for {key}, is of {}",
                identity.member_key()
            )))
        }
        _ => Ok(()),
    }
}

/// A snapshot that a field of the event names, and that isn't there.
pub fn not_found(field: &str, id: &SnapshotId) -> Diagnostic {
    Diagnostic::invalid_event(format!(
        "\"{field}\" is {id}, which is not a snapshot of this account and Region"
    ))
}
