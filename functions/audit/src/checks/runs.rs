//! Which runs are expected of a member, and what the due one left.
//!
//! Runs from before the schedule became what it is are not judged; but a schedule that keeps being changed
//! must not hide that a member isn't backed up any more.

use std::collections::BTreeSet;

use etcd_backup_core::fleet::Member;
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, SCHEDULE_SINCE};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use jiff::{SignedDuration, Timestamp};

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// How far apart the policy's creation, by DLM's clock, and its record, by the function's, may be.
const RECORDED_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// `snapshot_missing`, `snapshot_failed`, `due_run_not_judged`: of members that have a volume to be taken
/// a snapshot of.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        for (key, member) in &cluster.members {
            let Some(volume) = member.volumes.first() else {
                continue;
            };
            let judged = due_snapshot(scope, member, judged_run(scope, member));
            if let Some(kind) = judged.or_else(|| not_judged(scope, member)) {
                let subject = Subject::member(name, key).volume(&volume.id);
                findings.push(Finding::new(subject, kind));
            }
        }
    }
    findings
}

/// The run that a member's latest backup is judged by: the due one, unless DLM has rightly deleted its
/// snapshot because there are as many newer ones as are kept.
pub fn judged_run(scope: &Scope, member: &Member) -> Run {
    let due_run = scope.due_run();
    let newer: BTreeSet<Run> = member
        .snapshots
        .iter()
        .map(|of_member| scope.settings.schedule.run_of(of_member.snapshot.started))
        .filter(|run| *run > due_run)
        .collect();
    let kept = usize::try_from(scope.settings.retain_count).unwrap_or(usize::MAX);
    match newer.last() {
        Some(newest) if newer.len() >= kept => *newest,
        _ => due_run,
    }
}

fn due_snapshot(scope: &Scope, member: &Member, due_run: Run) -> Option<Kind> {
    let of_run: Vec<&Snapshot> = snapshots_of(scope, member, due_run).collect();
    if of_run
        .iter()
        .any(|snapshot| snapshot.state != SnapshotState::Error)
    {
        return None;
    }
    match of_run.last() {
        Some(failed) => is_judged(scope.policy, due_run).then(|| Kind::SnapshotFailed {
            run: due_run,
            snapshot_id: failed.id.clone(),
            state_message: failed.state_message.as_deref().map(str::to_owned),
        }),
        None => is_expected(scope, member, due_run).then(|| {
            let latest = member.snapshots.last().map(|of_member| &of_member.snapshot);
            Kind::SnapshotMissing {
                expected_after: due_run,
                latest_snapshot: latest.map(|snapshot| snapshot.id.clone()),
                latest_snapshot_started: latest.map(|snapshot| snapshot.started),
            }
        }),
    }
}

/// Where a change of the schedule excuses the due run. Counted from when the member's newest snapshot was
/// started, or else from when there could have been one. The run after it may be running only now, so
/// the run before the due one must have left nothing either.
fn not_judged(scope: &Scope, member: &Member) -> Option<Kind> {
    let due_run = scope.due_run();
    if !is_covered(scope, member, due_run) || is_judged(scope.policy, due_run) {
        return None;
    }
    let latest = member.snapshots.last().map(|of_member| &of_member.snapshot);
    let unbacked_since = match latest {
        Some(latest) => latest.started,
        None => scope.policy?.created.max(first_known_volume(member)?),
    };
    let schedule = scope.settings.schedule;
    let is_old = scope.now.duration_since(unbacked_since) > excused_for(scope, member)
        && unbacked_since < schedule.before(due_run).at();
    is_old.then_some(Kind::DueRunNotJudged {
        due_run,
        schedule_since: schedule_since(scope.policy?)?,
        latest_snapshot: latest.map(|snapshot| snapshot.id.clone()),
        latest_snapshot_started: latest.map(|snapshot| snapshot.started),
    })
}

/// How old a member's newest snapshot may be while a change excuses the due run: two intervals, of the
/// schedule as it is or, where its runs were rarer, as it was. Nothing records how it was, so it is derived
/// from how far apart the member's two newest snapshots are. Where a member has fewer, or they are further
/// apart than two runs ever are, it is as long as a loss is reported.
fn excused_for(scope: &Scope, member: &Member) -> SignedDuration {
    let schedule = scope.settings.schedule;
    let mut newest = member.snapshots.iter().rev();
    let (Some(latest), Some(before)) = (newest.next(), newest.next()) else {
        return schedule.loss_window();
    };
    let apart = latest
        .snapshot
        .started
        .duration_since(before.snapshot.started);
    (schedule.interval().max(apart) * 2).min(schedule.loss_window())
}

/// The member's snapshots that a run left.
pub fn snapshots_of<'a>(
    scope: &'a Scope,
    member: &'a Member,
    run: Run,
) -> impl Iterator<Item = &'a Snapshot> {
    member
        .snapshots
        .iter()
        .map(|of_member| &*of_member.snapshot)
        .filter(move |snapshot| scope.settings.schedule.run_of(snapshot.started) == run)
}

/// Whether a run should have left a snapshot of a member: from its first known volume's creation on,
/// and from the policy's creation or the member's oldest managed snapshot on, whichever is earlier,
/// never before the schedule became what it is.
///
/// So a policy made again today excuses nothing, and a new deployment doesn't report yesterday's runs.
pub fn is_expected(scope: &Scope, member: &Member, run: Run) -> bool {
    is_covered(scope, member, run) && is_judged(scope.policy, run)
}

/// The same of runs long past, of which there is no telling whether the schedule was the same then.
pub fn was_expected(scope: &Scope, member: &Member, run: Run) -> bool {
    let since = scope.policy.and_then(schedule_since);
    is_covered(scope, member, run) && since.is_none_or(|since| run.at() >= since)
}

fn is_covered(scope: &Scope, member: &Member, run: Run) -> bool {
    let oldest = member
        .snapshots
        .first()
        .map(|of_member| of_member.snapshot.started);
    let policy = scope.policy.map(|policy| policy.created);
    let Some(covered_since) = policy.into_iter().chain(oldest).min() else {
        return false;
    };
    let volume = first_known_volume(member);
    run.at() >= covered_since && volume.is_some_and(|volume| run.at() >= volume)
}

fn first_known_volume(member: &Member) -> Option<Timestamp> {
    let retired = member.retired.iter().map(|(_, volume)| volume);
    let volumes = member.volumes.iter().chain(retired);
    volumes.map(|volume| volume.created).min()
}

/// History from before the schedule became what it is, is judged by nobody. Of the due run, a record as
/// old as the policy itself says no more than that the policy was made then, which excuses nothing: else
/// making a deleted policy again would hide what its absence cost.
pub fn is_judged(policy: Option<&LifecyclePolicy>, run: Run) -> bool {
    policy.is_none_or(|policy| {
        schedule_since(policy).is_none_or(|since| {
            let is_of_creation = since.duration_since(policy.created).abs() < RECORDED_WITHIN;
            is_of_creation || run.at() >= since
        })
    })
}

fn schedule_since(policy: &LifecyclePolicy) -> Option<Timestamp> {
    policy.tags.get(SCHEDULE_SINCE)?.parse().ok()
}
