//! Undo and redo: one turn more of the same record. All members turn, or none does.
//!
//! Of a finished restore, the outgoing volumes come back and the incoming ones are retired. Of an unfinished
//! one, whatever was exchanged goes back, and the incoming volumes are given up: they stay, marked as
//! retired, as this tool deletes no volume. A redo is the restore's exchange once more.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::is_discovery_key;
use etcd_backup_core::ids::{MemberKey, VolumeId};
use etcd_backup_core::restore_record::{
    Direction, MastersOption, MemberRecord, RestoreRecord, RestoreStage, Turn,
};
use etcd_backup_core::volume::VolumeState;

use super::exchange::{Exchange, Volumes};
use super::list::list;
use super::masters_find::is_found;
use super::stage::is_usable;
use super::{Context, events, refusal};
use crate::collect::inventory::Inventory;
use crate::collect::records::Records;
use crate::event::Request;

/// The record with the turn that the event asks for.
///
/// # Errors
///
/// `UndoImpossible`, and what [`refusal::turn`] refuses.
pub fn begin(
    record: &RestoreRecord,
    request: &Request,
    records: &Records,
    inventory: &Inventory,
    context: Context,
) -> Result<RestoreRecord, Diagnostic> {
    let direction = request.direction();
    refuse_superseded(record, records)?;
    if direction == Direction::Redo {
        refuse_without_former(record, records)?;
    }
    for key in record.members.keys() {
        let way = match direction {
            Direction::Undo => way_back(record, key, &inventory.volumes),
            Direction::Redo | Direction::Restore => way_on(record, key, &inventory.volumes),
        };
        way?;
    }
    let mut turned = record.clone();
    if direction == Direction::Undo {
        complete_outgoing_tags(&mut turned, &inventory.volumes);
    }
    let first_stage = match request.masters {
        MastersOption::Leave => RestoreStage::Exchanging,
        MastersOption::Replace => RestoreStage::WaitingForMasters,
    };
    turned.later_turns.push(Turn {
        mounted_by: request.mounted_by.or(record.turn().mounted_by),
        gives_up: record.is_unfinished(),
        ..Turn::begin(direction, request.masters, first_stage, context.now)
    });
    refusal::turn(&turned, inventory, context.region)?;
    Ok(turned)
}

fn impossible(message: String) -> Diagnostic {
    Diagnostic::new(ErrorType::UndoImpossible, message)
}

/// A later restore of the same member has to be undone first.
fn refuse_superseded(record: &RestoreRecord, records: &Records) -> Result<(), Diagnostic> {
    let newer = records.all().take_while(|other| other.id != record.id);
    let is_in_place = |other: &&RestoreRecord| !other.is_undone() && other.abandoned_at.is_none();
    let shares = |other: &&RestoreRecord| {
        let mut keys = other.members.keys();
        keys.any(|key| record.members.contains_key(key))
    };
    match newer.filter(is_in_place).find(shares) {
        None => Ok(()),
        Some(later) => Err(impossible(format!(
            "restore {} has replaced volumes of {} since: undo that one first, with \"restore_id\": \"{}\"",
            later.id, record.id, later.id
        ))),
    }
}

/// What a restore replaced, another one may have brought: where that one is undone, it is redone first.
fn refuse_without_former(record: &RestoreRecord, records: &Records) -> Result<(), Diagnostic> {
    let replaced = record.members.values().flat_map(|member| &member.outgoing);
    let replaced: Vec<&VolumeId> = replaced.map(|volume| &volume.id).collect();
    let older = records.all().skip_while(|other| other.id != record.id);
    let brought_it = |other: &&RestoreRecord| {
        let mut members = other.members.values();
        let brought = |member: &MemberRecord| {
            let brought = member.incoming.volume_id.as_ref();
            brought.is_some_and(|id| replaced.contains(&id))
        };
        other.id != record.id && other.is_undone() && members.any(brought)
    };
    match older.into_iter().find(brought_it) {
        None => Ok(()),
        Some(former) => Err(impossible(format!(
            "restore {} replaced volumes of restore {}, which is undone: redo that one first, with \
             \"restore_id\": \"{}\"",
            record.id, former.id, former.id
        ))),
    }
}

/// Taking the restored volume from a member that has nothing else would make things worse. Of a restore
/// that was never finished it is the way it was before.
fn way_back(record: &RestoreRecord, key: &MemberKey, volumes: &Volumes) -> Result<(), Diagnostic> {
    let id = &record.id;
    let Some(member) = record.members.get(key) else {
        return Ok(());
    };
    let instead = if record.is_unfinished() {
        format!("Go on with it instead, with {}", events::to_go_on(record))
    } else {
        "Restore another point instead, with \"at\"".to_owned()
    };
    match member.outgoing.first() {
        None if record.was_ever_done() => Err(impossible(format!(
            "{key} had no volume before restore {id}, so there is nothing to go back to; nothing was \
             changed. {instead}"
        ))),
        Some(outgoing) if !volumes.contains_key(&outgoing.id) => Err(impossible(format!(
            "{}, the volume that {key} had before restore {id}, is gone, so there is nothing to go back to; \
             nothing was changed. {instead}",
            outgoing.id
        ))),
        _ => Ok(()),
    }
}

fn way_on(record: &RestoreRecord, key: &MemberKey, volumes: &Volumes) -> Result<(), Diagnostic> {
    let member = record.members.get(key);
    let id = member.and_then(|member| member.incoming.volume_id.as_ref());
    let is_there = |id: &&_| volumes.get(*id).is_some_and(is_usable);
    if id.is_some_and(|id| is_there(&id)) {
        return Ok(());
    }
    let what = id.map_or_else(
        || "was never made".to_owned(),
        |id| format!("({id}) is gone or unusable"),
    );
    Err(impossible(format!(
        "the volume that restore {} is to bring for {key} {what}; nothing was changed. Restore anew instead",
        record.id
    )))
}

/// What an undo or a redo puts in service, as far as it isn't shown: all members turn, or none does.
pub fn lost(record: &RestoreRecord, volumes: &Volumes) -> Vec<(VolumeId, MemberKey)> {
    if record.turn().direction == Direction::Restore {
        return Vec::new();
    }
    let exchange = Exchange::of(record);
    let coming = exchange
        .members
        .iter()
        .filter_map(|member| Some((member.coming?.0, member.key)));
    coming
        .filter(|(id, _)| !volumes.contains_key(*id))
        .map(|(id, key)| (id.clone(), key.clone()))
        .collect()
}

/// An undo or a redo that can't end, as these are gone.
pub fn lost_on_the_way(record: &RestoreRecord, lost: &[(VolumeId, MemberKey)]) -> Diagnostic {
    impossible(format!(
        "{} is gone since the {} began, so that it can't end: send {} to turn back",
        list(lost.iter().map(|(id, key)| format!("{id} of {key}"))),
        record.turn().direction.name(),
        events::to_give_up(record)
    ))
}

/// Whether a volume that failed, or is gone, is made anew: only as long as nothing of a restore's exchange is
/// done. From then on masters may run on the other incoming volumes.
pub fn can_make_anew(record: &RestoreRecord, volumes: &Volumes) -> bool {
    let turn = record.turn();
    let has_begun = || turn.exchanged_at().is_some() && Exchange::of(record).has_begun(volumes);
    turn.direction == Direction::Restore && !has_begun()
}

/// Whether an unfinished restore can go neither on nor back, as what either way needs is gone: a new one may
/// begin in its place.
pub fn is_stuck(record: &RestoreRecord, inventory: &Inventory) -> bool {
    if !record.is_unfinished() {
        return false;
    }
    let volumes = &inventory.volumes;
    let mut keys = record.members.keys();
    let mut members = record.members.values();
    let can_go_back = |key| way_back(record, key, volumes).is_ok();
    let can_come_in = |key| way_on(record, key, volumes).is_ok();
    let makes_anew = can_make_anew(record, volumes);
    let can_be_made = |member: &MemberRecord| {
        is_made(member, volumes) || (makes_anew && inventory.is_snapshot_there(&member.snapshot.id))
    };
    match record.turn().direction {
        Direction::Restore => !members.all(can_be_made) && !keys.all(can_go_back),
        Direction::Undo => !lost(record, volumes).is_empty() && !keys.all(can_come_in),
        Direction::Redo => !keys.clone().all(can_come_in) && !keys.all(can_go_back),
    }
}

/// Whether another restore may begin in the place of an unfinished one: of one that is stuck; and of one that
/// can't go back, and has failed to make what it still lacks, as where a snapshot's key is gone: its own
/// event alone may try that again.
pub fn gives_way(record: &RestoreRecord, inventory: &Inventory) -> bool {
    let volumes = &inventory.volumes;
    let is_there = |id: &VolumeId| {
        let volume = volumes.get(id);
        volume.is_some_and(|volume| volume.state != VolumeState::Error)
    };
    let has_failed = |member: &MemberRecord| {
        let incoming = &member.incoming;
        incoming.attempt > 0 && !incoming.volume_id.as_ref().is_some_and(is_there)
    };
    let fails = record.is_unfinished()
        && record.turn().direction == Direction::Restore
        && record.members.values().any(has_failed);
    let can_go_back = || {
        let mut keys = record.members.keys();
        keys.all(|key| way_back(record, key, volumes).is_ok())
    };
    is_stuck(record, inventory) || (fails && !can_go_back())
}

fn is_made(member: &MemberRecord, volumes: &Volumes) -> bool {
    let id = member.incoming.volume_id.as_ref();
    id.and_then(|id| volumes.get(id)).is_some_and(is_usable)
}

/// The refusal to go on with, or to turn, what can go neither way any more.
pub fn stuck(record: &RestoreRecord) -> Diagnostic {
    impossible(format!(
        "restore {} can go neither on nor back, as volumes and snapshots that either way needs are gone; \
         nothing was changed. A new restore may begin in its place: {{\"cluster\":\"{}\"}}, with what \
         else you want",
        record.id, record.cluster
    ))
}

/// Adds the discovery tags that a returning volume has been given since the restore: a refusal asks for them
/// where masters would not find the volume by the tags that it had.
fn complete_outgoing_tags(record: &mut RestoreRecord, volumes: &Volumes) {
    let cluster = record.cluster.clone();
    for (key, member) in &mut record.members {
        for outgoing in &mut member.outgoing {
            let is_enough = is_found(&cluster, &key.etcd_cluster, &outgoing.tags);
            let Some(volume) = volumes.get(&outgoing.id).filter(|_| !is_enough) else {
                continue;
            };
            for (tag, value) in &volume.tags {
                if is_discovery_key(tag) && !outgoing.tags.contains_key(tag) {
                    outgoing.tags.insert(tag.clone(), value.clone());
                }
            }
        }
    }
}
