//! Whether each member's history is whole, ends where it should, and carries the tags that a restore
//! needs.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::discovery::{
    CLUSTER, CLUSTER_OWNED_PREFIX, Identity, NAME, ROLE_CONTROL_PLANE, ROLE_MASTER,
};
use etcd_backup_core::fleet::{Cluster, Member, MemberSnapshot};
use etcd_backup_core::ids::{ClusterName, MemberKey, VolumeId};
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, PolicySchedule, PolicyState, our_schedule,
};
use etcd_backup_core::provenance::Maker;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::snapshot::{DLM_POLICY_ID, DLM_SCHEDULE_NAME, Snapshot, SnapshotState};
use jiff::SignedDuration;

use super::{Scope, runs};
use crate::finding::{Finding, Kind, RetentionCause, Subject};

/// How long a snapshot may be pending: EC2 takes hours for large volumes, not a day for etcd's.
const PENDING_MAX: SignedDuration = SignedDuration::from_hours(24);
/// How many runs a finding names; the count is exact.
const RUNS_NAMED_MAX: usize = 10;

/// `snapshot_gap`, `snapshot_stuck`, `retention_short`, `retention_exceeded`, `snapshot_tag_wrong`:
/// of members that have a volume.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        for (key, member) in &cluster.members {
            let Some(volume) = member.volumes.first() else {
                continue;
            };
            let kinds = [
                gap(scope, member),
                stuck(scope, member),
                short(scope, member),
                exceeded(scope, member),
                tag_wrong(scope, name, cluster, key, member),
            ];
            let subject = Subject::member(name, key).volume(&volume.id);
            let of_member = kinds.into_iter().flatten();
            findings.extend(of_member.map(|kind| Finding::new(subject.clone(), kind)));
        }
    }
    findings
}

/// The due run is left to `snapshot_missing`, and what is beyond retention to nobody: snapshots that
/// were orphaned by a restore stay for ever, while DLM rightly deletes those after them.
fn gap(scope: &Scope, member: &Member) -> Option<Kind> {
    let left = runs_left(scope, member);
    let (oldest, newest) = (*left.first()?, *left.last()?);
    let absent: Vec<Run> = inside_retention(scope, newest)
        .filter(|run| oldest < *run && *run < newest && !left.contains(run))
        .filter(|run| *run != scope.due_run() && runs::was_expected(scope, member, *run))
        .collect();
    (!absent.is_empty()).then(|| Kind::SnapshotGap {
        count: absent.len(),
        runs: absent.into_iter().take(RUNS_NAMED_MAX).collect(),
    })
}

/// The runs of which snapshots are kept, newest first. DLM deletes the oldest as soon as the newest is
/// there: they end with whichever is later, the newest snapshot's run or the due one.
fn inside_retention(scope: &Scope, newest: Run) -> impl Iterator<Item = Run> {
    let schedule = scope.settings.schedule;
    let last = scope.due_run().max(newest);
    std::iter::successors(Some(last), move |run| Some(schedule.before(*run)))
        .take(usize::try_from(scope.settings.retain_count).unwrap_or(0))
}

fn runs_left(scope: &Scope, member: &Member) -> BTreeSet<Run> {
    let snapshots = member.snapshots.iter();
    snapshots
        .map(|of_member| scope.settings.schedule.run_of(of_member.snapshot.started))
        .collect()
}

fn stuck(scope: &Scope, member: &Member) -> Option<Kind> {
    let is_stuck = |snapshot: &&Snapshot| {
        snapshot.state == SnapshotState::Pending
            && scope.now.duration_since(snapshot.started) >= PENDING_MAX
    };
    let all = member
        .snapshots
        .iter()
        .map(|of_member| &*of_member.snapshot);
    let stuck: Vec<&Snapshot> = all.filter(is_stuck).collect();
    let oldest = stuck.first()?;
    Some(Kind::SnapshotStuck {
        snapshot_id: oldest.id.clone(),
        started: oldest.started,
        count: stuck.len(),
    })
}

fn short(scope: &Scope, member: &Member) -> Option<Kind> {
    let schedule = &scope.settings.schedule;
    let oldest = &member.snapshots.first()?.snapshot;
    let newest = &member.snapshots.last()?.snapshot;
    let oldest_run = schedule.run_of(oldest.started);
    let count = inside_retention(scope, schedule.run_of(newest.started))
        .filter(|run| *run < oldest_run && runs::was_expected(scope, member, *run))
        .count();
    (count > 0).then(|| Kind::RetentionShort {
        count,
        oldest_snapshot: oldest.id.clone(),
        oldest_snapshot_started: oldest.started,
    })
}

/// A count that was lowered takes effect with the next run. DLM counts what carries the policy's id and
/// the name of its schedule: what a former name left is nobody's to delete, and an orphan; and what a further
/// schedule keeps makes none of ours fewer or more.
fn exceeded(scope: &Scope, member: &Member) -> Option<Kind> {
    let policy = scope.policy?;
    if !runs::is_judged(Some(policy), scope.due_run()) {
        return None;
    }
    let schedules = &policy.definition.schedules;
    let settings = scope.settings;
    let place = our_schedule(schedules, &settings.schedule_name, &settings.schedule)?;
    let schedule = &schedules[place];
    // DLM neither counts nor deletes the snapshots of a volume that is gone, or that it no longer targets.
    let volumes = member.volumes.iter();
    let targeted = volumes.filter(|volume| settings.targets(&volume.tags));
    let mut by_volume: BTreeMap<&VolumeId, usize> =
        targeted.map(|volume| (&volume.id, 0)).collect();
    for MemberSnapshot { snapshot, .. } in &member.snapshots {
        let tag = |key: &str| snapshot.tags.get(key).map(String::as_str);
        let is_by_policy = tag(DLM_POLICY_ID) == Some(policy.id.as_str());
        let is_by_schedule = tag(DLM_SCHEDULE_NAME).is_none_or(|name| name == schedule.name);
        let counted = by_volume.get_mut(&snapshot.volume_id);
        if let Some(count) = counted.filter(|_| is_by_policy && is_by_schedule) {
            *count += 1;
        }
    }
    let most = by_volume.into_values().max()?;
    // While DLM deletes an old snapshot, the new one is there already.
    let kept_max = settings.retain_count + 1;
    (most > usize::try_from(kept_max).ok()?).then(|| Kind::RetentionExceeded {
        count: most,
        retain_count: scope.settings.retain_count,
        cause: retention_cause(scope, policy, schedule),
    })
}

fn retention_cause(
    scope: &Scope,
    policy: &LifecyclePolicy,
    schedule: &PolicySchedule,
) -> RetentionCause {
    let keeps_more = |count: i32| count > scope.settings.retain_count;
    if policy.state != PolicyState::Enabled {
        RetentionCause::PolicyNotEnabled
    } else if schedule.retain.count.is_none_or(keeps_more) {
        RetentionCause::PolicyKeepsMore
    } else {
        RetentionCause::DeletionFails
    }
}

fn tag_wrong(
    scope: &Scope,
    name: &ClusterName,
    cluster: &Cluster,
    key: &MemberKey,
    member: &Member,
) -> Option<Kind> {
    let latest = latest_by_our_schedule(scope, member)?;
    let mut problems = discovery_problems(name, cluster, key, latest);
    // Snapshots from before a change of the policy carry the tags that it added then.
    let is_current = scope.policy.is_none_or(|policy| {
        policy
            .modified
            .is_none_or(|modified| modified <= latest.started)
    });
    if is_current {
        problems.extend(added_problems(scope, latest));
    }
    (!problems.is_empty()).then(|| Kind::SnapshotTagWrong {
        snapshot_id: latest.id.clone(),
        problems,
    })
}

/// The snapshot of the latest run that a restore would take. Other schedules of the policy, kept as they
/// are, may make one after it that carries other tags.
fn latest_by_our_schedule<'a>(scope: &'a Scope, member: &'a Member) -> Option<&'a Snapshot> {
    let last = &member.snapshots.last()?.snapshot;
    let run = scope.settings.schedule.run_of(last.started);
    let makers = scope.inventory.makers(scope.settings);
    let of_run = runs::snapshots_of(scope, member, run);
    let by_ours = of_run.filter(|snapshot| makers.maker(snapshot) == Maker::OurSchedule);
    by_ours.last().or(Some(last))
}

fn discovery_problems(
    name: &ClusterName,
    cluster: &Cluster,
    key: &MemberKey,
    snapshot: &Snapshot,
) -> Vec<String> {
    let tags = &snapshot.tags;
    let mut problems = Vec::new();
    match Identity::of(tags) {
        Some(Ok(identity)) => {
            let expected = identity.volume_name();
            if tags.get(NAME) != Some(&expected) {
                problems.push(format!("{NAME} should be {expected}"));
            }
        }
        Some(Err(problem)) => problems.push(problem.to_string()),
        None => problems.push(format!("the etcd tag of {key} is missing")),
    }
    if tags.get(CLUSTER).map(String::as_str) != Some(name.as_str()) {
        problems.push(format!("{CLUSTER} should be {name}"));
    }
    if !tags.contains_key(ROLE_MASTER) && !tags.contains_key(ROLE_CONTROL_PLANE) {
        problems.push(format!("{ROLE_MASTER} is missing"));
    }
    let owned = format!("{CLUSTER_OWNED_PREFIX}{name}");
    if !tags.contains_key(&owned) && latest_snapshots(cluster).any(|s| s.tags.contains_key(&owned))
    {
        problems.push(format!(
            "{owned} is missing, which other snapshots of the cluster carry"
        ));
    }
    problems
}

fn latest_snapshots(cluster: &Cluster) -> impl Iterator<Item = &Snapshot> {
    let latest = cluster
        .members
        .values()
        .filter_map(|member| member.snapshots.last());
    latest.map(|of_member| &*of_member.snapshot)
}

fn added_problems(scope: &Scope, snapshot: &Snapshot) -> Vec<String> {
    let wrong = scope
        .settings
        .tags_to_add
        .iter()
        .filter(|tag| snapshot.tags.get(&tag.key) != Some(&tag.value));
    wrong
        .map(|tag| format!("{}={} is missing", tag.key, tag.value))
        .collect()
}
