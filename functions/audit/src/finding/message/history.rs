//! What is wrong with a member's snapshots.

use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::schedule::Run;
use jiff::Timestamp;

use super::first_of;
use crate::counted::counted;
use crate::finding::RetentionCause;

/// A member's newest managed snapshot, and when it was started.
type Latest<'a> = Option<(&'a SnapshotId, Timestamp)>;

/// A snapshot that carries neither is no backup to this audit, nor to a restore that isn't given its id.
const BY_HAND: &str =
    "take a snapshot by hand now, with the volume's own tags and those of TAGS_TO_ADD";

pub(super) fn missing(who: &str, volume: &str, run: Run, latest: Latest) -> String {
    format!(
        "The run of {run} left no snapshot of {who} ({volume}); {}. Check that the volume carries a target \
         tag and the DLM policy is enabled, or {BY_HAND}.",
        latest_text(latest)
    )
}

pub(super) fn failed(
    who: &str,
    volume: &str,
    run: Run,
    snapshot_id: &SnapshotId,
    state_message: Option<&str>,
) -> String {
    format!(
        "The snapshot {snapshot_id} of {who} ({volume}), made by the run of {run}, failed{}. \
         A restore has to go back to the run before; {BY_HAND}.",
        state_message
            .map(|text| format!(": {text}"))
            .unwrap_or_default()
    )
}

pub(super) fn not_judged(
    who: &str,
    volume: &str,
    run: Run,
    schedule_since: Timestamp,
    latest: Latest,
) -> String {
    format!(
        "The run of {run} isn't judged, as the schedule changed at {schedule_since:.0}; but {who} ({volume}) \
         has had no snapshot for two intervals: {}. Find out what keeps changing the schedule, and {BY_HAND}.",
        latest_text(latest)
    )
}

pub(super) fn gap(who: &str, count: usize, runs: &[Run]) -> String {
    let named = if runs.is_empty() {
        String::new()
    } else {
        format!(" ({})", first_of(count, runs))
    };
    format!(
        "{who} has no snapshot of {count} of the runs between its oldest and its newest{named}: there \
         is no going back to those. Nothing brings them back; find out what kept DLM from it."
    )
}

pub(super) fn stuck(who: &str, snapshot_id: &SnapshotId, started: Timestamp) -> String {
    format!(
        "The snapshot {snapshot_id} of {who}, started {started:.0}, is still pending after a day: it \
         can't be restored from. Ask AWS about this one, and {BY_HAND}."
    )
}

pub(super) fn short(
    who: &str,
    count: usize,
    oldest_snapshot: &SnapshotId,
    oldest_snapshot_started: Timestamp,
) -> String {
    format!(
        "The history of {who} ends too early: its oldest snapshot, {oldest_snapshot} of \
         {oldest_snapshot_started:.0}, is younger than {} inside retention. Find out what deleted the older \
         ones, or kept DLM from taking them.",
        counted(count, "expected run")
    )
}

pub(super) fn exceeded(
    who: &str,
    count: usize,
    retain_count: i32,
    cause: RetentionCause,
) -> String {
    let remedy = match cause {
        RetentionCause::PolicyNotEnabled => {
            "The policy isn't enabled, and DLM deletes nothing then: run converge."
        }
        RetentionCause::PolicyKeepsMore => {
            "The policy itself says another number: run converge, and find out what changed it."
        }
        RetentionCause::DeletionFails => {
            "Check that its role may delete snapshots, and that nothing has them locked or in use."
        }
    };
    format!(
        "DLM keeps {count} snapshots of the volume of {who}, though {retain_count} are asked for. {remedy}"
    )
}

pub(super) fn tag_wrong(who: &str, snapshot_id: &SnapshotId, problems: &[String]) -> String {
    format!(
        "The latest snapshot of {who}, {snapshot_id}, has wrong tags ({}): a restore may not find \
         it, or make a volume that masters don't find. Check the policy's copying of tags, and \
         correct the snapshot's.",
        problems.join("; ")
    )
}

fn latest_text(latest: Latest) -> String {
    match latest {
        Some((id, started)) => format!("its latest is {id} of {started:.0}"),
        None => "it has none at all".to_owned(),
    }
}
