//! The choice of snapshots: one run for all members, or what a person named by hand.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::{Identity, cluster_of};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{EtcdClusterName, MemberKey, SnapshotId};
use etcd_backup_core::restore_point::{self, RunSnapshots, skew_seconds};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};

use crate::collect::Situation;
use crate::event::{Action, Request};

/// The snapshots to restore from.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The run that left them; `None` when a person named them.
    pub run: Option<Run>,
    /// By member.
    pub snapshots: BTreeMap<MemberKey, Snapshot>,
    /// What the operator should know of the choice.
    pub warnings: Vec<String>,
}

impl Choice {
    /// A choice that needs no warning.
    pub fn new(run: Option<Run>, snapshots: BTreeMap<MemberKey, Snapshot>) -> Self {
        Self {
            run,
            snapshots,
            warnings: Vec::new(),
        }
    }

    /// Seconds between the earliest and the latest snapshot.
    pub fn skew_seconds(&self) -> i64 {
        skew_seconds(self.snapshots.values())
    }
}

/// The etcd clusters that the event is about.
///
/// # Errors
///
/// `InvalidEvent` when it names one of which nothing is left.
pub fn etcd_clusters(
    request: &Request,
    cluster: &Cluster,
    settings: &Settings,
) -> Result<BTreeSet<EtcdClusterName>, Diagnostic> {
    let known = cluster.etcd_clusters();
    let Some(asked) = &request.etcd_clusters else {
        let current = cluster.current_etcd_clusters(settings.schedule.interval());
        return match known.difference(&current).next() {
            Some(stale) if request.action != Action::List => Err(lost_long_ago(&current, stale)),
            _ => Ok(known),
        };
    };
    match asked.iter().find(|name| !known.contains(name)) {
        Some(unknown) => Err(Diagnostic::invalid_event(format!(
            "\"etcd_clusters\" names {unknown}, of which nothing is left; there is {}",
            list(known.iter())
        ))),
        None => Ok(asked.clone()),
    }
}

/// Given up on purpose, or lost and not noticed: only the operator knows.
fn lost_long_ago(current: &BTreeSet<EtcdClusterName>, stale: &EtcdClusterName) -> Diagnostic {
    let names: Vec<String> = current.iter().map(|name| format!("\"{name}\"")).collect();
    Diagnostic::new(
        ErrorType::RestorePointDoubtful,
        format!(
            "{stale} has snapshots but no volume, and no snapshot as new as the others': say \
             \"etcd_clusters\": [{}] to leave it out, or [\"{stale}\"] to bring it back from its own \
             latest restore point",
            names.join(", ")
        ),
    )
}

/// Chooses. `pinned` is the run of an unfinished restore, which keeps it whatever came since.
///
/// # Errors
///
/// `NoRestorePoint`, `SkewTooLarge`, `RestorePointDoubtful`, or `InvalidEvent` where the event names
/// what isn't there or would leave members beside newer peers.
pub fn choose(
    request: &Request,
    situation: &Situation,
    settings: &Settings,
    pinned: Option<Run>,
) -> Result<Choice, Diagnostic> {
    let choice = match &request.snapshots {
        Some(named) => by_hand(request, situation, named)?,
        None => by_run(request, situation, settings, pinned)?,
    };
    refuse_members_left_out(request, &situation.cluster, &choice)?;
    refuse_skew(request, &choice)?;
    Ok(choice)
}

fn by_run(
    request: &Request,
    situation: &Situation,
    settings: &Settings,
    pinned: Option<Run>,
) -> Result<Choice, Diagnostic> {
    let cluster = &situation.cluster;
    let etcd_clusters = etcd_clusters(request, cluster, settings)?;
    refuse_unknown_members(request, cluster, &etcd_clusters)?;
    let runs = restore_point::runs(cluster, &etcd_clusters, &settings.schedule);
    let is_eligible = |run: &RunSnapshots| match (pinned, request.at) {
        (Some(pinned), _) => run.run == pinned,
        (None, Some(at)) => run.earliest().is_some_and(|earliest| earliest <= at),
        (None, None) => true,
    };
    let has_all = |run: &RunSnapshots| {
        let mut wanted = run
            .snapshots
            .keys()
            .chain(&run.missing)
            .filter(|key| request.wants(key));
        let any = run.snapshots.keys().any(|key| request.wants(key));
        any && wanted.all(|key| !run.missing.contains(key))
    };
    let eligible: Vec<_> = runs.iter().filter(|run| is_eligible(run)).collect();
    let Some(chosen) = eligible.iter().find(|run| has_all(run)) else {
        return Err(no_restore_point(request, &eligible, &runs));
    };
    if pinned.is_none() && request.at.is_none() {
        refuse_doubtful(chosen, &runs)?;
    }
    let wanted = chosen
        .snapshots
        .iter()
        .filter(|(key, _)| request.wants(key))
        .map(|(key, snapshot)| (key.clone(), snapshot.clone()));
    let newer = eligible.iter().filter(|run| run.run > chosen.run);
    Ok(Choice {
        warnings: newer
            .map(|run| {
                format!(
                    "the newer run of {} is not complete, so an older one is used: it lacks {}",
                    run.run,
                    lacks(run)
                )
            })
            .collect(),
        ..Choice::new(Some(chosen.run), wanted.collect())
    })
}

fn refuse_unknown_members(
    request: &Request,
    cluster: &Cluster,
    etcd_clusters: &BTreeSet<EtcdClusterName>,
) -> Result<(), Diagnostic> {
    let known: Vec<_> = cluster
        .members
        .keys()
        .filter(|key| etcd_clusters.contains(&key.etcd_cluster))
        .collect();
    let is_known = |name: &&String| {
        known
            .iter()
            .any(|key| key.member.as_str() == name.as_str() || key.to_string() == **name)
    };
    let mut asked = request.members.iter().flatten();
    match asked.find(|name| !is_known(name)) {
        Some(unknown) => Err(Diagnostic::invalid_event(format!(
            "\"members\" names {unknown}, which is no member; there is {}",
            list(known.iter())
        ))),
        None => Ok(()),
    }
}

fn no_restore_point(
    request: &Request,
    eligible: &[&RunSnapshots],
    runs: &[RunSnapshots],
) -> Diagnostic {
    let cluster = &request.cluster;
    let message = match (eligible.first(), runs.last()) {
        (Some(newest), _) => format!(
            "no run left a completed snapshot of every member of {cluster}; the newest, of {}, \
             lacks {}. See {{\"action\":\"list\",\"cluster\":\"{cluster}\"}}; \"etcd_clusters\", \"at\" or \"snapshots\" chooses",
            newest.run,
            lacks(newest)
        ),
        (None, Some(oldest)) => format!(
            "no run of {cluster} fits; the oldest left anything at {}",
            oldest
                .earliest()
                .map_or("an unknown time".to_owned(), |at| at.to_string())
        ),
        (None, None) => {
            format!("{cluster} has no managed snapshot; \"snapshots\" names others by hand")
        }
    };
    Diagnostic::new(ErrorType::NoRestorePoint, message)
}

fn refuse_doubtful(chosen: &RunSnapshots, runs: &[RunSnapshots]) -> Result<(), Diagnostic> {
    if chosen.doubtful.is_empty() {
        return Ok(());
    }
    let before = runs
        .iter()
        .find(|run| run.run < chosen.run && run.is_complete());
    let older = match before.and_then(|run| Some((run.run, run.latest()?))) {
        Some((run, latest)) => format!("\"at\": \"{latest}\" takes that of {run} before it"),
        None => "there is no complete one before it".to_owned(),
    };
    let newer = chosen
        .latest()
        .map(|at| format!(", \"at\": \"{at}\" takes it all the same"));
    Err(Diagnostic::new(
        ErrorType::RestorePointDoubtful,
        format!(
            "the latest restore point, of the run of {}, has snapshots of {} from other volumes than \
             before, and those were made blank: kops update may have made empty volumes after a loss; \
             {older}{}",
            chosen.run,
            list(chosen.doubtful.iter()),
            newer.unwrap_or_default()
        ),
    ))
}

fn by_hand(
    request: &Request,
    situation: &Situation,
    named: &BTreeMap<MemberKey, SnapshotId>,
) -> Result<Choice, Diagnostic> {
    let mut snapshots = BTreeMap::new();
    for (key, id) in named {
        let found = situation.by_hand.get(id);
        let snapshot = found.ok_or_else(|| {
            Diagnostic::invalid_event(format!(
                "{id}, named for {key}, is not a snapshot of this account and Region"
            ))
        })?;
        refuse_foreign(request, key, snapshot)?;
        let mut chosen = snapshots.iter();
        if let Some((other, _)) =
            chosen.find(|(_, other): &(&MemberKey, &Snapshot)| other.id == *id)
        {
            return Err(Diagnostic::invalid_event(format!(
                "{id} is named for both {other} and {key}"
            )));
        }
        snapshots.insert(key.clone(), snapshot.clone());
    }
    Ok(Choice::new(None, snapshots))
}

/// A snapshot without tags, as a copy has none, may be anybody's; one that says whose it is, is taken
/// at its word: peers' names hold the cluster's name, so that no other cluster could use it.
fn refuse_foreign(
    request: &Request,
    key: &MemberKey,
    snapshot: &Snapshot,
) -> Result<(), Diagnostic> {
    let id = &snapshot.id;
    if let Some(owner) = cluster_of(&snapshot.tags).filter(|owner| *owner != request.cluster) {
        return Err(Diagnostic::invalid_event(format!(
            "{id}, named for {key}, belongs to {owner}: a restore into another cluster can't work, as \
             etcd's peers are known by the cluster's name"
        )));
    }
    if let Some(Ok(identity)) = Identity::of(&snapshot.tags)
        && identity.member_key() != *key
    {
        return Err(Diagnostic::invalid_event(format!(
            "{id}, named for {key}, is of {}",
            identity.member_key()
        )));
    }
    if request
        .etcd_clusters
        .as_ref()
        .is_some_and(|asked| !asked.contains(&key.etcd_cluster))
    {
        return Err(Diagnostic::invalid_event(format!(
            "\"snapshots\" names {key}, which \"etcd_clusters\" leaves out"
        )));
    }
    match snapshot.is_usable() {
        true => Ok(()),
        false => Err(Diagnostic::new(
            ErrorType::NoRestorePoint,
            format!("{id}, named for {key}, is not completed, or is in the archive tier"),
        )),
    }
}

/// A restored member beside newer peers panics or loses entries, so leaving one out must be said.
fn refuse_members_left_out(
    request: &Request,
    cluster: &Cluster,
    choice: &Choice,
) -> Result<(), Diagnostic> {
    if request.partial {
        return Ok(());
    }
    let restored: BTreeSet<_> = choice
        .snapshots
        .keys()
        .map(|key| &key.etcd_cluster)
        .collect();
    let left_out: Vec<_> = cluster
        .members
        .iter()
        .filter(|(key, member)| restored.contains(&key.etcd_cluster) && !member.volumes.is_empty())
        .map(|(key, _)| key)
        .filter(|key| !choice.snapshots.contains_key(key))
        .collect();
    match left_out.is_empty() {
        true => Ok(()),
        false => Err(Diagnostic::invalid_event(format!(
            "the chosen snapshots leave out {}, which would stay beside restored, older peers; choose \
             others with \"at\" or \"snapshots\", or say \"partial\": true",
            list(left_out.iter())
        ))),
    }
}

fn refuse_skew(request: &Request, choice: &Choice) -> Result<(), Diagnostic> {
    let skew_seconds = choice.skew_seconds();
    if skew_seconds <= i64::from(request.skew_minutes_max) * 60 {
        return Ok(());
    }
    // Rounded up, so that the figure is one that would be enough.
    let skew_minutes = (skew_seconds + 59) / 60;
    Err(Diagnostic::new(
        ErrorType::SkewTooLarge,
        format!(
            "the members' snapshots{} were started {} minutes apart, more than {} allowed: etcd may \
             panic or lose entries. Choose an older restore point with \"at\", or raise \
             \"skew_minutes_max\" to {}",
            choice
                .run
                .map(|run| format!(" of the run of {run}"))
                .unwrap_or_default(),
            skew_minutes,
            request.skew_minutes_max,
            skew_minutes
        ),
    ))
}

/// The members that a run left nothing usable of, with what is wrong with what it left.
pub fn lacks(run: &RunSnapshots) -> String {
    let missing = run.missing.iter().map(|key| {
        let left = run.snapshots.get(key);
        let wrong = left.map(|snapshot| match snapshot.state {
            SnapshotState::Completed => format!("{} is in the archive tier", snapshot.id),
            SnapshotState::Pending => format!("{} is still pending", snapshot.id),
            SnapshotState::Error => format!("{} failed", snapshot.id),
            SnapshotState::Other => format!("{} isn't usable", snapshot.id),
        });
        wrong.map_or(key.to_string(), |wrong| format!("{key} ({wrong})"))
    });
    list(missing)
}

/// Items as a person lists them.
pub fn list<T: std::fmt::Display>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    match items.is_empty() {
        true => "nothing".to_owned(),
        false => items.join(", "),
    }
}
