//! What the operator should know, beside what to do next.

use etcd_backup_core::event_time::in_seconds;
use etcd_backup_core::restore_point::{History, RunSnapshots};
use etcd_backup_core::restore_record::{Direction, RestoreRecord, RestoreStage};
use jiff::SignedDuration;

use super::follow_up::{Subject, gone};
use super::list::list;
use super::{Context, events, masters};
use crate::collect::inventory::Inventory;
use crate::collect::records::Records;

/// An unfinished restore older than this is most likely not what is wanted any more.
const OLD_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What the operator should know.
pub fn warnings(
    subject: Subject,
    inventory: &Inventory,
    records: &Records,
    context: Context,
) -> Vec<String> {
    let record = subject.record;
    let control_plane = &inventory.control_plane;
    let mut warnings = Vec::new();
    if record.turn().direction != Direction::Undo {
        warnings.extend(record.warnings.iter().cloned());
    }
    warnings.extend(without_way_back(record));
    warnings.extend(stale(subject, inventory, records, context));
    let gone = gone(record, inventory);
    if !gone.is_empty() {
        warnings.push(format!(
            "the volumes that this has put in service for {} are gone since",
            list(gone)
        ));
    }
    warnings.extend(superseded(record, records));
    let by_others = masters::suspended_by_others(Some(record), control_plane);
    if !by_others.is_empty() {
        warnings.push(format!(
            "launches of {} were suspended by somebody else, and stay so: no master comes back there before \
             they are resumed",
            list(by_others)
        ));
    }
    let suspended = masters::suspended_by_restore(Some(record), control_plane);
    if !suspended.is_empty() {
        warnings.push(format!(
            "launches of {} are suspended until this is done, or undone: no master comes back before",
            list(suspended)
        ));
    }
    if subject.phase == RestoreStage::WaitingForMasters {
        warnings.extend(masters::waited_for(control_plane));
    }
    warnings
}

fn without_way_back(record: &RestoreRecord) -> Option<String> {
    if record.turn().direction != Direction::Undo {
        return None;
    }
    let empty = record
        .members
        .iter()
        .filter(|(_, member)| member.outgoing.is_empty());
    let empty: Vec<_> = empty.map(|(key, _)| key).collect();
    (!empty.is_empty()).then(|| {
        format!(
            "{} had no volume when the restore began, and is left without one",
            list(empty)
        )
    })
}

/// An unfinished restore keeps its run, whatever has come since.
fn stale(
    subject: Subject,
    inventory: &Inventory,
    records: &Records,
    context: Context,
) -> Vec<String> {
    let record = subject.record;
    let is_recorded = records.all().any(|other| other.id == record.id);
    let is_restore = record.turn().direction == Direction::Restore;
    if !is_recorded || !is_restore || !record.is_unfinished() {
        return Vec::new();
    }
    let way_out = format!("to give it up: {}", events::to_give_up(record));
    let mut warnings = Vec::new();
    if context.now.duration_since(record.started_at) > OLD_AFTER {
        warnings.push(format!(
            "this restore began at {} and is still unfinished; {way_out}",
            in_seconds(record.started_at)
        ));
    }
    let names = record.etcd_clusters().cloned().collect();
    let schedule = &context.settings.schedule;
    let history = History::new(&inventory.cluster, records.exchanges(), schedule);
    let runs = history.runs(&names);
    // With `at`, what was newer then was left aside on purpose.
    let has_at = record.event.get("at").is_some();
    let is_newer = |run: &RunSnapshots| {
        let is_later = record.run.is_some_and(|own| run.run > own);
        is_later && (!has_at || run.run.at() > record.started_at)
    };
    let newer = runs.iter().find(|run| run.is_complete() && is_newer(run));
    if let (Some(newer), Some(own)) = (newer, record.run) {
        warnings.push(format!(
            "a newer restore point has come since, of the run of {}; this restore keeps that of {own}; \
             {way_out}",
            newer.run
        ));
    }
    warnings
}

/// Whether a later restore has replaced what this one brought, and which.
pub fn superseded(record: &RestoreRecord, records: &Records) -> Option<String> {
    let newer = records
        .all()
        .take_while(|other| other.id != record.id)
        .filter(|other| !other.is_undone() && other.abandoned_at.is_none());
    let mut shares = newer.filter(|other| {
        let mut keys = other.members.keys();
        keys.any(|key| record.members.contains_key(key))
    });
    let is_recorded = records.all().any(|other| other.id == record.id);
    let later = shares.next().filter(|_| is_recorded)?;
    Some(format!(
        "restore {} has replaced its volumes since",
        later.id
    ))
}
