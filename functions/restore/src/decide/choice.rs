//! The choice of snapshots: one run for all members, or what a person named by hand (`by_hand`).

mod by_hand;

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::event_time::in_seconds;
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{EtcdClusterName, MemberKey, SnapshotId};
use etcd_backup_core::restore_point::{History, RunSnapshots, skew_seconds};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::verdict::Verdict;
use jiff::Timestamp;

use super::list::list;
use super::skew;
use crate::collect::inventory::Inventory;
use crate::event::{Action, Request};

/// How many newer runs that aren't complete a choice warns of: with hourly runs, days are many.
const NEWER_RUNS_WARNED_OF_MAX: usize = 5;

/// The snapshots to restore from.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The run that left them; `None` when a person named them.
    pub run: Option<Run>,
    /// By member.
    pub snapshots: BTreeMap<MemberKey, Snapshot>,
    /// The time of the newest older restore point whose snapshots are as close together as they must be.
    pub older_close_enough: Option<Timestamp>,
    /// What the operator should know of the choice.
    pub warnings: Vec<String>,
}

impl Choice {
    /// A choice that needs no warning.
    pub fn new(run: Option<Run>, snapshots: BTreeMap<MemberKey, Snapshot>) -> Self {
        Self {
            run,
            snapshots,
            older_close_enough: None,
            warnings: Vec::new(),
        }
    }

    /// Seconds between the earliest and the latest snapshot.
    pub fn skew_seconds(&self) -> i64 {
        skew_seconds(self.snapshots.values())
    }

    /// Members of the etcd clusters restored that have a volume and are not restored: they stay beside older
    /// peers.
    pub fn members_left_out<'a>(&self, cluster: &'a Cluster) -> Vec<&'a MemberKey> {
        let keys = self.snapshots.keys();
        let restored: BTreeSet<_> = keys.map(|key| &key.etcd_cluster).collect();
        let members = cluster.members.iter();
        let left_out = members.filter(|(key, member)| {
            restored.contains(&key.etcd_cluster)
                && !self.snapshots.contains_key(*key)
                && !member.volumes.is_empty()
        });
        left_out.map(|(key, _)| key).collect()
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
        let current = cluster.current_etcd_clusters(&settings.schedule);
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

/// Chooses.
///
/// # Errors
///
/// `NoRestorePoint`, `SkewTooLarge`, `RestorePointDoubtful`, or `InvalidEvent` where the event names
/// what isn't there or would leave members beside newer peers.
pub fn choose(
    request: &Request,
    inventory: &Inventory,
    history: &History,
    settings: &Settings,
) -> Result<Choice, Diagnostic> {
    let mut choice = match &request.snapshots {
        Some(named) => by_hand::choose(request, inventory, history, named)?,
        None => by_run(request, inventory, history, settings)?,
    };
    refuse_members_left_out(request, &inventory.cluster, &choice)?;
    skew::refuse(request, &choice)?;
    choice.warnings.extend(damaged(request, &choice)?);
    Ok(choice)
}

fn by_run(
    request: &Request,
    inventory: &Inventory,
    history: &History,
    settings: &Settings,
) -> Result<Choice, Diagnostic> {
    let cluster = &inventory.cluster;
    let etcd_clusters = etcd_clusters(request, cluster, settings)?;
    refuse_unknown_members(request, cluster, &etcd_clusters)?;
    let runs = history.runs(&etcd_clusters);
    let is_eligible = |run: &RunSnapshots| {
        let is_early = |at| run.earliest().is_some_and(|earliest| earliest <= at);
        request.at.is_none_or(is_early)
    };
    let eligible: Vec<_> = runs.iter().filter(|run| is_eligible(run)).collect();
    let is_wanted = |key: &MemberKey| request.wants(key);
    let mut whole = eligible.iter().filter(|run| run.is_complete_of(is_wanted));
    let Some(chosen) = whole.next() else {
        return Err(no_restore_point(request, &eligible, &runs));
    };
    if request.at.is_none()
        && let Some(doubt) = history.doubt(chosen, &runs, is_wanted)
    {
        let error_type = ErrorType::RestorePointDoubtful;
        return Err(Diagnostic::new(error_type, doubt.to_string()));
    }
    let older = whole.find(|run| skew::is_close_enough(request, run));
    let later = history.later_generations(chosen, &runs, is_wanted);
    let wanted = chosen
        .snapshots
        .iter()
        .filter(|(key, _)| request.wants(key))
        .map(|(key, snapshot)| ((*key).clone(), (*snapshot).clone()));
    let newer = eligible.iter().filter(|run| run.run > chosen.run);
    let incomplete = newer.take(NEWER_RUNS_WARNED_OF_MAX).map(|run| {
        format!(
            "the newer run of {} is not complete, so an older one is used: it lacks {}",
            run.run,
            lacks(run)
        )
    });
    Ok(Choice {
        older_close_enough: older.and_then(|run| run.earliest()),
        warnings: incomplete
            .chain(before_blank(later.keys().copied()))
            .collect(),
        ..Choice::new(Some(chosen.run), wanted.collect())
    })
}

/// What was written since a member's volume was made blank is not in what was there before.
fn before_blank<'a>(members: impl Iterator<Item = &'a MemberKey>) -> Option<String> {
    let members: Vec<_> = members.collect();
    (!members.is_empty()).then(|| {
        format!(
            "the restore point is of before volumes of {} were made blank: what was written to them since is \
             not in it",
            list(members)
        )
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
                .map_or("an unknown time".to_owned(), in_seconds)
        ),
        (None, None) => {
            format!("{cluster} has no managed snapshot; \"snapshots\" names others by hand")
        }
    };
    Diagnostic::new(ErrorType::NoRestorePoint, message)
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
    let left_out = choice.members_left_out(cluster);
    if left_out.is_empty() {
        Ok(())
    } else {
        Err(Diagnostic::invalid_event(format!(
            "the chosen snapshots leave out {}, which would stay beside restored, older peers; choose \
             others with \"at\" or \"snapshots\", or say \"partial\": true",
            list(left_out.iter())
        )))
    }
}

/// What verify found, where it found an etcd cluster's snapshots damaged and the event takes them all the same. Its
/// tags say so of the etcd cluster: some of its members may be sound.
fn damaged(request: &Request, choice: &Choice) -> Result<Option<String>, Diagnostic> {
    let mut damaged: BTreeMap<&EtcdClusterName, Vec<&SnapshotId>> = BTreeMap::new();
    for (key, snapshot) in &choice.snapshots {
        if Verdict::of(snapshot) == Some(Verdict::Damaged) {
            let of_etcd_cluster = damaged.entry(&key.etcd_cluster).or_default();
            of_etcd_cluster.push(&snapshot.id);
        }
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    let damaged = damaged.into_iter();
    let damaged =
        list(damaged.map(|(etcd_cluster, ids)| format!("{etcd_cluster} damaged ({})", list(ids))));
    if request.allow_damaged {
        return Ok(Some(format!("verify found {damaged}")));
    }
    Err(Diagnostic::new(
        ErrorType::RestorePointDamaged,
        format!(
            "verify found {damaged}: etcd would not start from it. Choose another restore point \
             with \"at\" (see {{\"action\":\"list\",\"cluster\":\"{}\"}}), restore only what is sound with \
             \"etcd_clusters\", or say \"allow_damaged\": true",
            request.cluster
        ),
    ))
}

/// What a run has too little of to be a restore point: the members that it left nothing usable of, with
/// what is wrong with what it left, and one timeline for all.
pub fn lacks(run: &RunSnapshots) -> String {
    let mixed = run.mixed.iter().map(|etcd_cluster| {
        format!(
            "one timeline ({etcd_cluster}'s snapshots are from before and after an exchange, or new volumes)"
        )
    });
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
    list(missing.chain(mixed))
}
