//! Which restore an event is about, and whether anything is to be done for it. Only the records decide this,
//! and whether masters find what the newest restore brought.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::restore_record::{Direction, RestoreRecord};
use jiff::{SignedDuration, Timestamp};

use super::exchange::{Side, masters_find, wrong_members};
use super::{events, same_event, turn};
use crate::collect::inventory::Inventory;
use crate::collect::records::{KnownRecord, Records};
use crate::event::Request;

/// How long after its end the same event is the same restore.
const SAME_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// How long `again` counts as said once: the longest that Lambda and the AWS CLI retry a lost answer.
const AGAIN_ONCE_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// What an event that changes something means.
#[derive(Clone, Copy, Debug)]
pub enum Intent<'a> {
    /// A new restore.
    Begin,
    /// A new turn of this one.
    Turn(&'a KnownRecord),
    /// To go on with the turn that this one is in.
    GoOn(&'a KnownRecord),
    /// To hear once more how this one ended.
    Repeat(&'a KnownRecord),
}

/// What the event means.
///
/// # Errors
///
/// `RestoreInProgress`, `RestoreNotFound`, `UndoImpossible`.
pub fn of<'a>(
    request: &Request,
    records: &'a Records,
    inventory: &Inventory,
    now: Timestamp,
) -> Result<Intent<'a>, Diagnostic> {
    match request.direction() {
        Direction::Restore => restore(request, records, inventory, now),
        Direction::Undo => undo(request, records, inventory),
        Direction::Redo => redo(request, records, inventory),
    }
}

fn restore<'a>(
    request: &Request,
    records: &'a Records,
    inventory: &Inventory,
    now: Timestamp,
) -> Result<Intent<'a>, Diagnostic> {
    if let Some(unfinished) = unfinished(records) {
        let record = &unfinished.record;
        if turn::is_stuck(record, inventory) {
            return Ok(Intent::Begin);
        }
        let is_same = same_event::is_of(request, record, inventory) && !record.is_put_back();
        return if is_same {
            go_on(request, unfinished)
        } else if turn::gives_way(record, inventory) {
            Ok(Intent::Begin)
        } else {
            Err(in_progress(record))
        };
    }
    let newest = records.0.first();
    Ok(match newest {
        Some(known) if is_the_same(request, &known.record, inventory, now) => Intent::Repeat(known),
        _ => Intent::Begin,
    })
}

/// Whether a finished restore, the newest, is what the event asks for.
fn is_the_same(
    request: &Request,
    record: &RestoreRecord,
    inventory: &Inventory,
    now: Timestamp,
) -> bool {
    let Some(ended_at) = record.turn().ended_at else {
        return false;
    };
    let is_fresh = if request.again {
        record.again && now.duration_since(ended_at) <= AGAIN_ONCE_WITHIN
    } else {
        now.duration_since(ended_at) <= SAME_WITHIN
    };
    let is_in_service = || {
        let found = masters_find(record, &inventory.volumes);
        wrong_members(record, Side::Incoming, &found).is_empty()
    };
    is_fresh
        && record.abandoned_at.is_none()
        && !record.is_put_back()
        && same_event::is_of(request, record, inventory)
        && is_in_service()
}

/// The restore that an undo or a redo is about, where nothing stands in its way.
fn to_be_turned<'a>(
    request: &Request,
    records: &'a Records,
    inventory: &Inventory,
) -> Result<&'a KnownRecord, Diagnostic> {
    let known = asked_for(request, records)?;
    refuse_other_unfinished(&known.record, records)?;
    refuse_stuck(&known.record, inventory)?;
    Ok(known)
}

fn undo<'a>(
    request: &Request,
    records: &'a Records,
    inventory: &Inventory,
) -> Result<Intent<'a>, Diagnostic> {
    let known = to_be_turned(request, records, inventory)?;
    let record = &known.record;
    match (record.is_unfinished(), record.turn().direction) {
        (true, Direction::Undo) => go_on(request, known),
        (false, Direction::Undo) => Ok(Intent::Repeat(known)),
        (_, Direction::Restore | Direction::Redo) => Ok(Intent::Turn(known)),
    }
}

fn redo<'a>(
    request: &Request,
    records: &'a Records,
    inventory: &Inventory,
) -> Result<Intent<'a>, Diagnostic> {
    let known = to_be_turned(request, records, inventory)?;
    let record = &known.record;
    match (record.is_unfinished(), record.turn().direction) {
        (true, Direction::Redo) => go_on(request, known),
        (true, Direction::Restore) => Err(in_progress(record)),
        (_, Direction::Undo) => Ok(Intent::Turn(known)),
        (false, Direction::Restore | Direction::Redo) => Ok(Intent::Repeat(known)),
    }
}

/// What was given up, or may be, as it can go neither way.
fn refuse_stuck(record: &RestoreRecord, inventory: &Inventory) -> Result<(), Diagnostic> {
    if record.abandoned_at.is_some() || turn::is_stuck(record, inventory) {
        return Err(turn::stuck(record));
    }
    Ok(())
}

/// The restore that a new one is to be written beside as given up: the unfinished one, as none begins beside
/// one that can go on or back.
pub fn given_up(records: &Records) -> Option<&KnownRecord> {
    unfinished(records)
}

/// A turn is gone on with as it was begun: masters that were to be left must not die by another event, as by
/// the restore's own while its redo replaces them.
fn go_on<'a>(request: &Request, known: &'a KnownRecord) -> Result<Intent<'a>, Diagnostic> {
    if known.record.turn().masters == request.masters {
        Ok(Intent::GoOn(known))
    } else {
        Err(in_progress(&known.record))
    }
}

/// The restore that `status`, `undo` or `redo` is about: the one named, else the unfinished one, else the
/// newest.
///
/// # Errors
///
/// `RestoreNotFound`.
pub fn asked_for<'a>(
    request: &Request,
    records: &'a Records,
) -> Result<&'a KnownRecord, Diagnostic> {
    let found = match &request.restore_id {
        Some(id) => records.0.iter().find(|known| known.record.id == *id),
        None => unfinished(records).or_else(|| records.0.first()),
    };
    found.ok_or_else(|| {
        let cluster = &request.cluster;
        let message = match &request.restore_id {
            Some(id) => format!(
                "no restore {id} of {cluster} is recorded; {{\"action\":\"history\",\"cluster\":\
                 \"{cluster}\"}} lists those that are"
            ),
            None => format!(
                "no restore of {cluster} is recorded. Where the table of restores was lost, the volumes' \
                 etcd-backup/ tags tell what was replaced: the runbook says how to go back by hand"
            ),
        };
        Diagnostic::new(ErrorType::RestoreNotFound, message)
    })
}

/// The restore that is unfinished: there is one at most, as none begins before it is over or given up.
pub fn unfinished(records: &Records) -> Option<&KnownRecord> {
    records.0.iter().find(|known| known.record.is_unfinished())
}

fn refuse_other_unfinished(record: &RestoreRecord, records: &Records) -> Result<(), Diagnostic> {
    match unfinished(records) {
        Some(other) if other.record.id != record.id => Err(in_progress(&other.record)),
        _ => Ok(()),
    }
}

/// Something else is unfinished, and how to go on with it, or to give it up.
pub fn in_progress(record: &RestoreRecord) -> Diagnostic {
    let (id, turn) = (&record.id, record.turn());
    let what = match turn.direction {
        Direction::Restore => format!("restore {id}"),
        Direction::Undo => format!("the undo of restore {id}"),
        Direction::Redo => format!("the redo of restore {id}"),
    };
    let since = turn
        .started_at()
        .map(|at| format!(", begun at {at:.0},"))
        .unwrap_or_default();
    Diagnostic::new(
        ErrorType::RestoreInProgress,
        format!(
            "{what} of {}{since} is unfinished (phase {}): go on with it first, with {}; or {} with {}",
            record.cluster,
            record.stage().name(),
            events::to_go_on(record),
            if turn.direction == Direction::Undo {
                "take it back"
            } else {
                "give it up"
            },
            events::to_give_up(record)
        ),
    )
}
