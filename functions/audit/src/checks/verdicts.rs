//! verify's verdict on the latest restore point: damage, or no verdict where one is due.

use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::restore_point::{RunSnapshots, skip_reason};
use etcd_backup_core::settings::VerifyMode;
use etcd_backup_core::verdict::Verdict;
use jiff::SignedDuration;

use super::Scope;
use super::clusters::is_given_up;
use crate::finding::{Finding, Kind, Subject};

/// How long a verdict may take: several hourly sweeps.
const VERDICT_AFTER_MAX: SignedDuration = SignedDuration::from_hours(6);

/// How much older than the latest restore point one may be that stands for it: all of a day's runs but
/// the latest's own of the day before.
const STANDS_FOR_NEWER_MAX: SignedDuration = SignedDuration::from_hours(24);

/// `restore_point_damaged` and `restore_point_unverified`, one per cluster; of a cluster that was given up
/// nobody restores anything, and its snapshots stay for ever.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let clusters = scope.fleet.clusters.iter();
    let clusters = clusters.filter(|(name, cluster)| !is_given_up(scope, name, cluster));
    let kinds = clusters.filter_map(|(name, cluster)| {
        let runs = scope.runs(name, cluster);
        let latest = runs.iter().find(|run| run.is_complete())?;
        let kind = damaged(last_known(scope, latest, &runs), &runs)
            .or_else(|| unverified(scope, latest, &runs))?;
        Some((name, kind))
    });
    kinds.map(|(name, kind)| finding(name, kind)).collect()
}

fn finding(name: &ClusterName, kind: Kind) -> Finding {
    let subject = Subject {
        cluster: Some(name.clone()),
        ..Subject::default()
    };
    Finding::new(subject, kind)
}

/// The run whose verdict is the latest restore point's, as far as anybody knows. Where runs are frequent,
/// the latest is often one that verify hasn't come to yet, or leaves out; damage found shortly before
/// would be missed by each audit.
fn last_known<'a, 'b>(
    scope: &Scope,
    latest: &'a RunSnapshots<'b>,
    runs: &'a [RunSnapshots<'b>],
) -> &'a RunSnapshots<'b> {
    let has_any = |run: &RunSnapshots| {
        let mut snapshots = run.snapshots.values();
        snapshots.any(|snapshot| Verdict::of(snapshot).is_some())
    };
    if is_off(scope) || has_any(latest) {
        return latest;
    }
    let is_recent =
        |run: &&RunSnapshots| latest.run.at().duration_since(run.run.at()) < STANDS_FOR_NEWER_MAX;
    let mut recent = runs
        .iter()
        .filter(|run| run.is_complete())
        .filter(is_recent);
    recent.find(|run| has_any(run)).unwrap_or(latest)
}

/// Without the setting nobody says that verify is there at all.
fn is_off(scope: &Scope) -> bool {
    scope.settings.verify.unwrap_or(VerifyMode::Off) == VerifyMode::Off
}

fn damaged(run: &RunSnapshots, runs: &[RunSnapshots]) -> Option<Kind> {
    let etcd_clusters = run.damaged();
    if etcd_clusters.is_empty() {
        return None;
    }
    let mut complete = runs.iter().filter(|run| run.is_complete());
    let undamaged = complete.find(|run| run.is_known_sound());
    Some(Kind::RestorePointDamaged {
        run: run.run,
        etcd_clusters: etcd_clusters.into_iter().cloned().collect(),
        latest_undamaged: undamaged.map(|run| run.run),
        latest_undamaged_at: undamaged.and_then(RunSnapshots::latest),
    })
}

fn unverified(scope: &Scope, latest: &RunSnapshots, runs: &[RunSnapshots]) -> Option<Kind> {
    let mode = scope.settings.verify.unwrap_or(VerifyMode::Off);
    let started = latest.latest()?;
    // Large first snapshots take hours to complete, and verify can't read them before that.
    let ends = latest
        .snapshots
        .values()
        .map(|of| of.completed().unwrap_or(of.started));
    let is_overdue = scope.now.duration_since(ends.max()?) >= VERDICT_AFTER_MAX;
    (is_overdue && skip_reason(latest, runs, mode).is_none()).then_some(
        Kind::RestorePointUnverified {
            run: latest.run,
            latest_snapshot_started: started,
        },
    )
}
