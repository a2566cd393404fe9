//! What a restore, an undo or a redo is refused for, before anything is written and on its way.

use std::collections::BTreeSet;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::InstanceState;
use etcd_backup_core::aws_cli;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::{
    CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, Identity, ROLE_CONTROL_PLANE, ROLE_MASTER, etcd_keys,
};
use etcd_backup_core::ids::{EtcdClusterName, MemberKey, VolumeId};
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord};
use etcd_backup_core::restore_tags::{Retirement, TAGS_MAX, counts_as_tag};
use etcd_backup_core::volume::Volume;

use super::events;
use super::exchange::{Exchange, Volumes, WrongMember};
use super::list::{list, spaced};
use super::masters;
use super::masters_find::is_found;
use super::mounting;
use crate::collect::inventory::Inventory;

/// What a turn that is about to begin is refused for.
///
/// # Errors
///
/// `VolumeTagWrong`, `TagLimit`, and what [`masters`] are refused for.
pub fn turn(record: &RestoreRecord, inventory: &Inventory, region: &str) -> Result<(), Diagnostic> {
    unknown_volumes(record, &inventory.volumes, region)?;
    if !record.turn().gives_up {
        tags_to_come(record, &inventory.volumes, region)?;
    }
    too_many_tags(record, &inventory.volumes)?;
    masters(record, inventory, region)
}

/// What is refused for the masters' sake.
///
/// # Errors
///
/// `MastersRunning`, `VolumeWouldBeLost`; of masters that are to be replaced also `MasterProtected`,
/// `MasterWithoutGroup`.
pub fn masters(
    record: &RestoreRecord,
    inventory: &Inventory,
    region: &str,
) -> Result<(), Diagnostic> {
    let exchange = Exchange::of(record);
    match record.turn().masters {
        MastersOption::Replace => masters::refuse_replacing(record, &exchange, inventory, region),
        MastersOption::Leave => {
            if !exchange.changes_what_masters_find(&inventory.volumes) {
                return Ok(());
            }
            masters::refuse_masters_left(record, &inventory.control_plane)?;
            masters_running(record, &exchange, inventory)?;
            masters::refuse_lost_volumes(inventory, region)
        }
    }
}

/// The same while a turn is under way: once the exchange has begun, ending it comes first, and only dead
/// masters are never risked.
///
/// # Errors
///
/// As [`masters`].
pub fn masters_meanwhile(
    record: &RestoreRecord,
    inventory: &Inventory,
    region: &str,
) -> Result<(), Diagnostic> {
    let has_begun = Exchange::of(record).has_begun(&inventory.volumes);
    if has_begun && record.turn().masters == MastersOption::Leave {
        return Ok(());
    }
    masters(record, inventory, region)
}

/// A volume that masters would find beside the right one: one that is of no member restored, or of one but
/// neither leaves nor comes. Which of them was in use, only a person knows.
fn unknown_volumes(
    record: &RestoreRecord,
    volumes: &Volumes,
    region: &str,
) -> Result<(), Diagnostic> {
    let known: BTreeSet<&VolumeId> = record.volume_ids().collect();
    let unknown = volumes
        .values()
        .filter(|volume| !known.contains(&volume.id))
        .find_map(|volume| Some((volume, problem(record, volume)?)));
    let Some((volume, problem)) = unknown else {
        return Ok(());
    };
    let id = &volume.id;
    Err(Diagnostic::new(
        ErrorType::VolumeTagWrong,
        format!(
            "masters of {} would find {id} beside the right volume: {problem}. Correct its tags, or take \
             it out of their sight: {}",
            record.cluster,
            out_of_sight(volume, region)
        ),
    ))
}

/// The command that takes a volume out of the masters' sight.
pub fn out_of_sight(volume: &Volume, region: &str) -> String {
    let keys = etcd_keys(&volume.tags);
    let keys = keys.iter().map(|key| format!("Key={key}"));
    aws_cli::command(
        region,
        "ec2 delete-tags",
        format_args!("--resources {} --tags {}", volume.id, spaced(keys)),
    )
}

/// What is wrong with a volume that neither leaves nor comes; `None` where masters overlook it, or it is
/// another member's.
fn problem(record: &RestoreRecord, volume: &Volume) -> Option<String> {
    let is_in_sight = |name: &&EtcdClusterName| is_found(&record.cluster, name, &volume.tags);
    record.etcd_clusters().find(is_in_sight)?;
    match Identity::of(&volume.tags)? {
        Err(problem) => Some(format!("it doesn't say whose it is ({problem})")),
        Ok(identity) if identity.cluster != record.cluster => Some(format!(
            "it says that it is of {:?}, and is tagged {CLUSTER_OWNED_PREFIX}{} too",
            identity.cluster.as_str(),
            record.cluster
        )),
        Ok(identity) => {
            let key = identity.member_key();
            record.members.contains_key(&key).then(|| {
                format!("it claims {key}, and is neither the old volume nor the restored one")
            })
        }
    }
}

/// The tags to come, judged by the masters' own filters.
fn tags_to_come(record: &RestoreRecord, volumes: &Volumes, region: &str) -> Result<(), Diagnostic> {
    let is_undo = record.turn().direction == Direction::Undo;
    for (key, member) in &record.members {
        let tags = if is_undo {
            let Some(outgoing) = member.outgoing.first() else {
                continue;
            };
            &outgoing.tags
        } else {
            &member.incoming.tags
        };
        if is_found(&record.cluster, &key.etcd_cluster, tags) {
            continue;
        }
        // For a restore, the tags to correct are those of the live volumes: the new one is tagged as they
        // are.
        let mended: Vec<&VolumeId> = if is_undo {
            member.outgoing.iter().map(|volume| &volume.id).collect()
        } else {
            let is_live = |volume: &&Volume| !etcd_keys(&volume.tags).is_empty();
            let live = volumes.values().filter(is_live);
            live.map(|volume| &volume.id).collect()
        };
        return Err(not_to_be_found(record, key, tags, &mended, region));
    }
    Ok(())
}

fn not_to_be_found(
    record: &RestoreRecord,
    key: &MemberKey,
    tags: &Tags,
    mended: &[&VolumeId],
    region: &str,
) -> Diagnostic {
    let owner = format!("{CLUSTER_OWNED_PREFIX}{}", record.cluster);
    let mut missing = Vec::new();
    if tags.get(&owner).map(String::as_str) != Some(CLUSTER_OWNED) {
        missing.push(format!("Key={owner},Value={CLUSTER_OWNED}"));
    }
    let has_role = |role: &str| tags.get(role).is_some_and(|value| value == "1");
    if ![ROLE_MASTER, ROLE_CONTROL_PLANE].into_iter().any(has_role) {
        missing.push(format!("Key={ROLE_MASTER},Value=1"));
    }
    Diagnostic::new(
        ErrorType::VolumeTagWrong,
        format!(
            "masters of {} would not find the volume that comes for {key} by the tags that it would have. \
             Complete them, and send the event again: {}",
            record.cluster,
            aws_cli::command(
                region,
                "ec2 create-tags",
                format_args!("--resources {} --tags {}", spaced(mended), spaced(missing)),
            )
        ),
    )
}

/// What a volume that comes back has been given meanwhile stands beside what it gets again.
fn too_many_tags(record: &RestoreRecord, volumes: &Volumes) -> Result<(), Diagnostic> {
    let exchange = Exchange::of(record);
    for (member, volume, tags) in exchange.coming(volumes) {
        let journal: BTreeSet<String> = Retirement::keys(&volume.tags).into_iter().collect();
        let kept = volume.tags.keys().filter(|key| !journal.contains(*key));
        let keys: BTreeSet<&String> = kept
            .chain(tags.keys())
            .filter(|key| counts_as_tag(key))
            .collect();
        if keys.len() > TAGS_MAX {
            return Err(Diagnostic::new(
                ErrorType::TagLimit,
                format!(
                    "{} of {} would have {} tags of at most {TAGS_MAX}: take {} that nobody needs off it",
                    volume.id,
                    member.key,
                    keys.len(),
                    keys.len() - TAGS_MAX
                ),
            ));
        }
    }
    Ok(())
}

/// protokube attaches a free candidate within a minute, also on a running master: restored volumes would
/// join live, newer peers.
fn masters_running(
    record: &RestoreRecord,
    exchange: &Exchange,
    inventory: &Inventory,
) -> Result<(), Diagnostic> {
    let control_plane = &inventory.control_plane;
    let runs = |id: &etcd_backup_core::ids::InstanceId| {
        let master = control_plane.master(id);
        // An instance that isn't among the masters may be a wrongly tagged one.
        master.is_none_or(|master| master.is_alive() && master.state != InstanceState::Stopped)
    };
    let attached = exchange
        .leaving(&inventory.volumes)
        .flat_map(|(_, volume)| &volume.attachments)
        .map(|attachment| &attachment.instance);
    let instances: BTreeSet<_> = attached.filter(|id| runs(id)).collect();
    let mounted_by = record.turn().mounted_by;
    if instances.is_empty() || mounting::is_by_etcd_manager(&record.cluster, mounted_by, inventory)
    {
        return Ok(());
    }
    let why = match mounted_by {
        Some(_) => "protokube mounts its volumes",
        None => "nothing tells that etcd-manager mounts its volumes: it may be protokube",
    };
    Err(Diagnostic::new(
        ErrorType::MastersRunning,
        format!(
            "the etcd volumes of {} are attached to {}, which run, and {why}, which attaches a restored \
             volume within a minute, beside live, newer peers. Say \"masters\": \"replace\"; or stop all \
             masters first (suspend their autoscaling groups' launches, then terminate them); or, where \
             etcd-manager pods run on the masters, say \"mounted_by\": \"etcd-manager\"",
            record.cluster,
            list(instances)
        ),
    ))
}

/// What a restore brings is gone, or unusable, after its exchange has begun. Another volume in its place
/// might come beside members that run on the restored ones already, and are newer: it isn't made anew.
pub fn lost_in_exchange(record: &RestoreRecord, lost: &[String]) -> Diagnostic {
    Diagnostic::new(
        ErrorType::VolumeFailed,
        format!(
            "{} is lost, after the exchange has begun: it isn't made anew, as restored masters may run on the \
             others. Bring the old volumes back with {}, then restore again",
            list(lost),
            events::to_give_up(record)
        ),
    )
}

/// What masters find in the middle of an exchange, where it is not what they should: none, too many, or
/// another one.
pub fn candidates_wrong(wrong: &[WrongMember]) -> Diagnostic {
    let described = |member: &WrongMember| {
        let WrongMember { key, wanted, found } = member;
        match (wanted.first(), found.is_empty()) {
            (Some(wanted), true) => format!("{key}: none is found, {wanted} should be"),
            (Some(wanted), false) if found.contains(wanted) => {
                format!(
                    "{key}: too many are found ({}), {wanted} alone should be",
                    list(found)
                )
            }
            (Some(wanted), false) => {
                format!("{key}: {} is found in the place of {wanted}", list(found))
            }
            (None, _) => format!("{key}: {} is found, and none should be", list(found)),
        }
    };
    let is_any_missing = wrong.iter().any(|member| member.found.is_empty());
    let is_any_too_many = wrong.iter().any(|member| !member.found.is_empty());
    let mut advice = Vec::new();
    if is_any_missing {
        advice.push("put the discovery tags back that somebody takes off the right ones");
    }
    if is_any_too_many {
        advice.push("take the k8s.io/etcd/… tag off what should not be found");
    }
    Diagnostic::new(
        ErrorType::CandidatesWrong,
        format!(
            "masters would not find exactly the right one for each member: \
             {}. Before any master starts, {}; then send the same event again",
            wrong.iter().map(described).collect::<Vec<_>>().join("; "),
            advice.join(", and ")
        ),
    )
}
