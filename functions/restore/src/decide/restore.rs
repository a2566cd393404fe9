//! A new restore: from an event to the record that is written before anything is done.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::Tags;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{EtcdClusterName, GroupName, MemberKey, RestoreId, ZoneName};
use etcd_backup_core::restore_record::{
    Direction, MemberRecord, RestoreRecord, RestoreStage, Turn,
};
use etcd_backup_core::restore_tags::{self, Retirement};
use etcd_backup_core::volume::Volume;
use sha2::{Digest, Sha256};

use super::choice::Choice;
use super::incoming::Planner;
use super::list::list;
use super::tags::TagStyle;
use super::{Context, intent, refusal, start_order, zone};
use crate::collect::inventory::Inventory;
use crate::collect::records::Records;
use crate::event::Request;

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 12;

/// The record of the restore that the event asks for.
///
/// # Errors
///
/// What it is refused for.
pub fn plan(
    request: &Request,
    choice: &Choice,
    records: &Records,
    inventory: &Inventory,
    context: Context,
) -> Result<RestoreRecord, Diagnostic> {
    unknown_zones(request, choice, inventory)?;
    let zones = zones(request, choice, inventory, context)?;
    let id = restore_id(request, choice, records, inventory);
    let volumes = inventory.cluster.members.values();
    let planner = Planner {
        request,
        cluster: &inventory.cluster,
        choice,
        style: TagStyle::of(
            volumes
                .flat_map(|member| &member.volumes)
                .map(|volume| &volume.tags),
            choice.snapshots.values().map(|snapshot| &snapshot.tags),
        ),
        restore_id: &id,
        context,
    };
    let mut members = BTreeMap::new();
    for ((key, snapshot), zone) in choice.snapshots.iter().zip(zones.into_values()) {
        let old = live(inventory, key).first();
        let member = planner.member(key, snapshot, old, zone)?;
        members.insert(key.clone(), member);
    }
    let (start_order, order_warnings) = start_order::order(
        &members,
        &inventory.control_plane,
        request.start,
        request.partial && !choice.members_left_out(&inventory.cluster).is_empty(),
    );
    let warnings = choice
        .warnings
        .iter()
        .cloned()
        .chain(giving_up(records))
        .chain(warnings(&members, inventory))
        .chain(order_warnings);
    let record = RestoreRecord {
        id,
        cluster: request.cluster.clone(),
        event: request.options(),
        again: request.again,
        started_at: context.now,
        run: choice.run,
        warnings: warnings.collect(),
        members,
        start_order,
        suspended_groups: suspended_before(records, inventory),
        restore: Turn {
            mounted_by: request.mounted_by,
            ..Turn::begin(
                Direction::Restore,
                request.masters,
                RestoreStage::Creating,
                context.now,
            )
        },
        later_turns: Vec::new(),
        abandoned_at: None,
    };
    refusal::turn(&record, inventory, context.region)?;
    Ok(record)
}

/// The volumes that claim a member.
fn live<'a>(inventory: &'a Inventory, key: &MemberKey) -> &'a [Volume] {
    let member = inventory.cluster.members.get(key);
    member.map_or(&[], |member| &member.volumes)
}

/// Groups that an earlier restore suspended, which was given up, or of which there is no record any more:
/// this one resumes them.
fn suspended_before(records: &Records, inventory: &Inventory) -> Vec<GroupName> {
    // The record of a restore that ended names none.
    let of_newest = records.all().next();
    let of_newest = of_newest.map_or(&[][..], |record| &record.suspended_groups);
    let groups = inventory.control_plane.groups.iter();
    let suspended = groups.filter(|group| {
        group.suspended_by.is_some()
            || (group.launches_suspended && of_newest.contains(&group.name))
    });
    suspended.map(|group| group.name.clone()).collect()
}

fn giving_up(records: &Records) -> Option<String> {
    let given_up = &intent::given_up(records)?.record;
    Some(format!(
        "restore {} can't go back, and can't go on or has failed to, as volumes, snapshots or keys that either \
         way needs are gone: this one gives it up",
        given_up.id
    ))
}

/// Of a member's two volumes only a person knows which one was in use.
///
/// # Errors
///
/// `MemberDuplicated`, for a member that is asked for.
pub fn refuse_duplicated(
    request: &Request,
    inventory: &Inventory,
    region: &str,
) -> Result<(), Diagnostic> {
    let is_asked_for = |key: &MemberKey| {
        let is_named = |named: &BTreeMap<MemberKey, _>| named.contains_key(key);
        let is_of = |names: &BTreeSet<EtcdClusterName>| names.contains(&key.etcd_cluster);
        request.wants(key)
            && request.etcd_clusters.as_ref().is_none_or(is_of)
            && request.snapshots.as_ref().is_none_or(is_named)
    };
    let members = inventory.cluster.members.iter();
    for (key, member) in members.filter(|(key, _)| is_asked_for(key)) {
        if member.volumes.len() > 1 {
            return Err(duplicated(key, &member.volumes, region));
        }
    }
    Ok(())
}

fn duplicated(key: &MemberKey, live: &[Volume], region: &str) -> Diagnostic {
    let those = |is_out: fn(&Volume) -> bool| {
        let out: Vec<&Volume> = live.iter().filter(|volume| is_out(volume)).collect();
        (!out.is_empty() && out.len() < live.len()).then_some(out)
    };
    let is_free = |volume: &Volume| volume.attachments.is_empty();
    let is_retired = |volume: &Volume| Retirement::is_on(&volume.tags);
    let (which, spare, between) = match those(is_free).or_else(|| those(is_retired)) {
        Some(spare) => ("what was not, most likely by", spare, "; "),
        // Joined by OR, the commands fail where somebody pastes the whole, instead of running both.
        None => (
            "what was not, by only one of",
            live.iter().collect(),
            " OR ",
        ),
    };
    let commands = spare.iter();
    let commands = commands.map(|volume| refusal::out_of_sight(volume, region));
    Diagnostic::new(
        ErrorType::MemberDuplicated,
        format!(
            "{key} has {} volumes, and masters may use either: {}. Find out which one was in use, and take \
             out of their sight {which}: {}",
            live.len(),
            list(live.iter().map(described)),
            commands.collect::<Vec<_>>().join(between)
        ),
    )
}

fn described(volume: &Volume) -> String {
    let attached: Vec<_> = volume
        .attachments
        .iter()
        .map(|attachment| &attachment.instance)
        .collect();
    let where_to = if attached.is_empty() {
        "not attached".to_owned()
    } else {
        format!("attached to {}", list(attached))
    };
    format!("{} (created {}, {where_to})", volume.id, volume.created)
}

/// Zones of members that aren't restored, or that the Region doesn't have.
fn unknown_zones(
    request: &Request,
    choice: &Choice,
    inventory: &Inventory,
) -> Result<(), Diagnostic> {
    let known: BTreeSet<&ZoneName> = inventory.zone_evidence.zones.iter().collect();
    for (member, zone) in &request.zones {
        if !choice.snapshots.keys().any(|key| key.member == *member) {
            return Err(Diagnostic::invalid_event(format!(
                "\"zones\" names {member}, which is none of the members restored: {}",
                list(choice.snapshots.keys())
            )));
        }
        if !known.contains(zone) {
            return Err(Diagnostic::invalid_event(format!(
                "\"zones\" puts {member} in {zone}, which is none of the Region's zones: {}",
                list(known)
            )));
        }
    }
    Ok(())
}

/// Each member's zone: as the event says, else the old volume's, else by the rule for vanished ones.
fn zones(
    request: &Request,
    choice: &Choice,
    inventory: &Inventory,
    context: Context,
) -> Result<BTreeMap<MemberKey, ZoneName>, Diagnostic> {
    let mut zones = BTreeMap::new();
    let mut vanished = Vec::new();
    for key in choice.snapshots.keys() {
        let old = live(inventory, key).first().map(|volume| &volume.zone);
        match request.zones.get(&key.member).or(old) {
            Some(zone) => drop(zones.insert(key.clone(), zone.clone())),
            None => vanished.push(key.clone()),
        }
    }
    let evidence = &inventory.zone_evidence;
    let cluster = &inventory.cluster;
    let of_vanished =
        zone::zones_of_vanished(&vanished, &zones, cluster, context.region, evidence)?;
    zones.extend(of_vanished);
    Ok(zones)
}

/// Follows from what is restored and what that replaces, so that a plan can name it: the first that
/// neither a record nor a volume carries.
fn restore_id(
    request: &Request,
    choice: &Choice,
    records: &Records,
    inventory: &Inventory,
) -> RestoreId {
    let mut input = format!("cluster {}\n", request.cluster);
    for (key, snapshot) in &choice.snapshots {
        input += &format!("snapshot {key} {}\n", snapshot.id);
        for volume in live(inventory, key) {
            input += &format!("replaced {}\n", volume.id);
        }
    }
    let recorded = records.all().map(|record| record.id.clone());
    let volumes = inventory.volumes.values();
    let tagged = volumes.filter_map(|volume| restore_tags::restored_by(&volume.tags));
    let taken: BTreeSet<RestoreId> = recorded.chain(tagged).collect();
    let mut attempt = 0_u32;
    loop {
        let mut digits = hex::encode(Sha256::digest(format!("{input}attempt {attempt}\n")));
        digits.truncate(ID_DIGITS);
        let id = RestoreId::of_digits(&digits);
        if !taken.contains(&id) {
            return id;
        }
        attempt += 1;
    }
}

/// What a person would want to have known.
fn warnings(members: &BTreeMap<MemberKey, MemberRecord>, inventory: &Inventory) -> Vec<String> {
    let warnings = [
        empty_groups(inventory),
        unencrypted(members),
        sharing_a_zone(members),
        duplicated_elsewhere(members, inventory),
    ];
    warnings.into_iter().flatten().collect()
}

fn empty_groups(inventory: &Inventory) -> Option<String> {
    let groups = inventory.control_plane.groups.iter();
    let empty = groups.filter(|group| group.desired_size == 0);
    let empty: Vec<_> = empty.map(|group| &group.name).collect();
    (!empty.is_empty()).then(|| {
        format!(
            "the desired size of {} is 0: no master comes there before it is raised",
            list(empty)
        )
    })
}

fn unencrypted(members: &BTreeMap<MemberKey, MemberRecord>) -> Option<String> {
    let plain = members
        .iter()
        .filter(|(_, member)| !member.incoming.encrypted);
    let plain: Vec<_> = plain.map(|(key, _)| key).collect();
    (!plain.is_empty()).then(|| {
        format!(
            "the volumes of {} are not encrypted, as neither their snapshots nor the volumes that they \
             replace are (unless the account encrypts by default): \"volume\": {{\"kms_key_id\": …}} encrypts \
             them",
            list(plain)
        )
    })
}

/// As it was already is as it is meant.
fn sharing_a_zone(members: &BTreeMap<MemberKey, MemberRecord>) -> Option<String> {
    let mut by_zone: BTreeMap<(&EtcdClusterName, &ZoneName), Vec<(&MemberKey, bool)>> =
        BTreeMap::new();
    for (key, member) in members {
        let zone = &member.incoming.zone;
        let was_there = member.outgoing.iter().any(|volume| volume.zone == *zone);
        let shared = by_zone.entry((&key.etcd_cluster, zone)).or_default();
        shared.push((key, was_there));
    }
    let shared = by_zone.into_iter().filter(|(_, members)| {
        members.len() > 1 && members.iter().any(|(_, was_there)| !was_there)
    });
    let shared: Vec<String> = shared
        .map(|((_, zone), members)| {
            let keys: Vec<_> = members.iter().map(|(key, _)| key.to_string()).collect();
            format!("{} come into {zone}", keys.join(" and "))
        })
        .collect();
    (!shared.is_empty()).then(|| {
        format!(
            "{}: the zone must have as many masters, and takes as many members with it when it fails",
            shared.join("; ")
        )
    })
}

fn duplicated_elsewhere(
    members: &BTreeMap<MemberKey, MemberRecord>,
    inventory: &Inventory,
) -> Option<String> {
    let others = inventory.cluster.members.iter();
    let duplicated =
        others.filter(|(key, member)| !members.contains_key(*key) && member.volumes.len() > 1);
    let duplicated: Vec<_> = duplicated.map(|(key, _)| key).collect();
    (!duplicated.is_empty()).then(|| {
        format!(
            "{} has more than one volume, and isn't restored: masters may use either",
            list(duplicated)
        )
    })
}

/// The tags of a member's incoming volume from the moment it is made.
pub fn tags_at_creation(record: &RestoreRecord, key: &MemberKey) -> Tags {
    let mut tags = restore_tags::made_by(&record.id, &record.cluster, key);
    if let Some(member) = record.members.get(key) {
        tags.extend(super::tags::at_creation(&member.incoming.tags));
    }
    tags
}
