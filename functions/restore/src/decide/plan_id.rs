//! What a plan showed, in one short text: plans are not stored, so this is what an event is compared by.
//!
//! Each part of the plan has digits of its own, so that a refusal can name the part that has changed. Time
//! plays no part, nor do tags that decide nothing.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{InstanceId, VolumeId};
use etcd_backup_core::restore_record::{MastersOption, RestoreRecord};
use sha2::{Digest, Sha256};

use super::list::list;
use super::masters;
use crate::collect::inventory::Inventory;
use crate::event::Request;

/// What every plan's id begins with.
const PREFIX: &str = "p";
/// Hexadecimal digits of each part.
const DIGITS: usize = 8;

/// What of a plan may change, in the order in which its id has them.
const PARTS: [&str; 5] = [
    "the snapshots",
    "the outgoing volumes",
    "the incoming volumes or their parameters",
    "the instances to be terminated",
    "the groups or the order of the start",
];

/// The id of what a record's last turn would do, as things are.
pub fn plan_id(record: &RestoreRecord, inventory: &Inventory) -> String {
    let digits = texts(record, inventory).map(|text| {
        let mut digits = hex::encode(Sha256::digest(text));
        digits.truncate(DIGITS);
        digits
    });
    format!("{PREFIX}-{}", digits.join("-"))
}

/// What differs from the plan with this id; `None` where nothing does.
pub fn changes(planned: &str, now: &str) -> Option<Vec<&'static str>> {
    if planned == now {
        return None;
    }
    let planned: Vec<&str> = planned.split('-').collect();
    let now: Vec<&str> = now.split('-').collect();
    if planned.len() != now.len() {
        return Some(PARTS.to_vec());
    }
    let parts = planned.iter().zip(&now).skip(1).zip(PARTS);
    let different = parts.filter(|((planned, now), _)| planned != now);
    Some(different.map(|(_, part)| part).collect())
}

/// A plan that is to be carried out must still be what it was; a turn that goes on does so by a plan that it
/// agreed to before, or by one of what is left of it. The record is to remember which.
///
/// # Errors
///
/// `PlanChanged`, saying what is different now.
pub fn agree(
    request: &Request,
    record: &mut RestoreRecord,
    inventory: &Inventory,
) -> Result<(), Diagnostic> {
    let Some(planned) = &request.plan_id else {
        return Ok(());
    };
    if record.turn().plan_ids.contains(planned) {
        return Ok(());
    }
    refuse_changed(planned, record, inventory)?;
    record.turn_mut().plan_ids.push(planned.clone());
    Ok(())
}

fn refuse_changed(
    planned: &str,
    record: &RestoreRecord,
    inventory: &Inventory,
) -> Result<(), Diagnostic> {
    let now = plan_id(record, inventory);
    let Some(changes) = changes(planned, &now) else {
        return Ok(());
    };
    let what = record.run.map_or_else(
        || "snapshots named by hand".to_owned(),
        |run| format!("the run of {run}"),
    );
    let outgoing = record.members.values().flat_map(|member| &member.outgoing);
    let instances = masters::to_terminate(&inventory.control_plane);
    Err(Diagnostic::new(
        ErrorType::PlanChanged,
        format!(
            "nothing was changed, as {} are not what the plan {planned} showed. Now it would be {what}, in the \
             place of {}{}, with {} to be terminated, as plan {now}. Look at the plan again, and send the event \
             that it shows",
            changes.join(", and "),
            list(outgoing.map(|volume| &volume.id)),
            lost(record),
            if record.turn().masters == MastersOption::Replace {
                list(instances)
            } else {
                "no instance".to_owned()
            },
        ),
    ))
}

/// A plan isn't stored, but of a volume that is gone its snapshot still tells.
fn lost(record: &RestoreRecord) -> String {
    let lost = record.members.iter();
    let lost = lost.filter(|(_, member)| member.outgoing.is_empty());
    let lost: Vec<String> = lost
        .map(|(key, member)| format!("{key} ({})", member.snapshot.volume_id))
        .collect();
    if lost.is_empty() {
        String::new()
    } else {
        format!(" (the volumes of {} are gone)", list(lost))
    }
}

fn texts(record: &RestoreRecord, inventory: &Inventory) -> [String; PARTS.len()] {
    let control_plane = &inventory.control_plane;
    let turn = record.turn();
    let is_there = |id: &VolumeId| inventory.volumes.contains_key(id);
    let members = || record.members.iter();
    let snapshots = members().map(|(key, member)| format!("{key} {}", member.snapshot.id));
    let outgoing = members().map(|(key, member)| {
        let outgoing = member.outgoing.iter();
        let there = outgoing.filter(|volume| is_there(&volume.id));
        let ids = there.map(|volume| volume.id.as_str());
        format!("{key} {}", ids.collect::<Vec<_>>().join(" "))
    });
    let incoming = members().map(|(key, member)| {
        let incoming = &member.incoming;
        format!(
            "{key} {:?} {} {} {:?} {} {:?} {:?}",
            incoming.volume_id.as_ref().filter(|id| is_there(id)),
            incoming.zone,
            incoming.size_gib,
            incoming.performance,
            incoming.encrypted,
            incoming.kms_key_id,
            incoming.initialization_rate_mib_s
        )
    });
    let replaces = turn.masters == MastersOption::Replace;
    let mut instances: Vec<InstanceId> = masters::to_terminate(control_plane);
    instances.retain(|_| replaces);
    instances.sort();
    let mut groups: Vec<_> = control_plane
        .groups
        .iter()
        .map(|group| &group.name)
        .collect();
    groups.retain(|_| replaces);
    groups.sort();
    let subject = format!(
        "{} {} {:?}",
        record.cluster,
        turn.direction.name(),
        turn.masters
    );
    let lines = |lines: Vec<String>| format!("{subject}\n{}", lines.join("\n"));
    [
        lines(snapshots.collect()),
        lines(outgoing.collect()),
        lines(incoming.collect()),
        lines(instances.iter().map(ToString::to_string).collect()),
        format!("{subject}\n{groups:?}\n{:?}", record.start_order),
    ]
}
