//! What a plan is refused for, before anything is changed.

use std::collections::BTreeSet;

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::{CLUSTER_OWNED_PREFIX, ETCD_PREFIX, etcd_keys};
use etcd_backup_core::ids::{MemberKey, SnapshotId};
use etcd_backup_core::restore_tags::{KEY_LENGTH_MAX, Retirement, TAGS_MAX, tags_to_retire};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::standing::is_live;
use etcd_backup_core::volume::Volume;
use jiff::Timestamp;

use crate::choice::{self, Choice};
use crate::collect::{Situation, ZoneEvidence};
use crate::event::{MastersOption, Request};
use crate::exchange::{Exchange, MemberExchange};
use crate::masters;
use crate::tags;

/// Zones of members that aren't restored, or that the Region doesn't have.
///
/// # Errors
///
/// `InvalidEvent`.
pub fn unknown_zones(
    request: &Request,
    choice: &Choice,
    evidence: &ZoneEvidence,
) -> Result<(), Diagnostic> {
    for (member, zone) in &request.zones {
        if !choice.snapshots.keys().any(|key| key.member == *member) {
            return Err(Diagnostic::invalid_event(format!(
                "\"zones\" names {member}, which is none of the members restored: {}",
                choice::list(choice.snapshots.keys())
            )));
        }
        if !evidence.zones.contains(zone) {
            return Err(Diagnostic::invalid_event(format!(
                "\"zones\" puts {member} in {zone}, which is none of the Region's zones: {}",
                choice::list(evidence.zones.iter())
            )));
        }
    }
    Ok(())
}

/// What an exchange is refused for. Once it has begun, ending it comes first.
///
/// # Errors
///
/// `VolumeTagWrong`, `MastersRunning`, `TagLimit`; of masters that are to be replaced also
/// `MasterProtected`, `MasterWithoutGroup`, `VolumeWouldBeLost`.
pub fn exchange(
    request: &Request,
    exchange: &Exchange,
    situation: &Situation,
    settings: &Settings,
) -> Result<(), Diagnostic> {
    if !exchange.has_begun() {
        misfits(request, exchange, situation)?;
        for member in &exchange.members {
            too_many_tags_with_journal(exchange, member, settings)?;
        }
    }
    match request.masters {
        MastersOption::Leave => masters_running(request, exchange, situation),
        MastersOption::Replace => masters::refuse(exchange, situation),
    }
}

/// A volume whose etcd tag can't be parsed is still a candidate by the masters' filters, and stays
/// one beside the restored volume. The message has the command that mends it.
fn misfits(
    request: &Request,
    exchange: &Exchange,
    situation: &Situation,
) -> Result<(), Diagnostic> {
    let keys: BTreeSet<String> = exchange
        .etcd_clusters()
        .iter()
        .map(|name| format!("{ETCD_PREFIX}{name}"))
        .collect();
    let mut misfits = situation.misfits.iter();
    let misfit = misfits.find(|misfit| keys.iter().any(|key| misfit.volume.tags.contains_key(key)));
    let Some(misfit) = misfit else {
        return Ok(());
    };
    let id = &misfit.volume.id;
    let tags = etcd_keys(&misfit.volume.tags);
    let tags: Vec<_> = tags.iter().map(|key| format!("Key={key}")).collect();
    Err(Diagnostic::new(
        ErrorType::VolumeTagWrong,
        format!(
            "{id} is tagged for {}, but not so that it could be told whose it is ({}); masters would \
             find it beside the restored volume. Correct its tag, or take it off: aws ec2 delete-tags \
             --resources {id} --tags {}",
            request.cluster,
            misfit.problem,
            tags.join(" ")
        ),
    ))
}

/// protokube attaches a free candidate within a minute, also on a running master: restored
/// volumes would join live, newer peers.
fn masters_running(
    request: &Request,
    exchange: &Exchange,
    situation: &Situation,
) -> Result<(), Diagnostic> {
    let attached = exchange.leaving().flat_map(|volume| &volume.attachments);
    let instances: BTreeSet<_> = attached
        .map(|attachment| attachment.instance.as_str())
        .collect();
    let has_owned_tag = |volume: &Volume| {
        let tags = tags::original(volume);
        tags.keys().any(|key| key.starts_with(CLUSTER_OWNED_PREFIX))
    };
    let live = situation.cluster.members.values();
    let uses_etcd_manager = live
        .flat_map(|member| &member.volumes)
        .chain(exchange.leaving())
        .any(has_owned_tag);
    if instances.is_empty() || uses_etcd_manager || !exchange.is_pending() {
        return Ok(());
    }
    Err(Diagnostic::new(
        ErrorType::MastersRunning,
        format!(
            "{} has no kubernetes.io/cluster/… tags, so its masters run protokube, which attaches a \
             restored volume within a minute, beside live, newer peers; its etcd volumes are still \
             attached to {}. Say \"masters\": \"replace\", or stop all masters first (suspend their \
             autoscaling groups' launches, then terminate them), and send the event again",
            request.cluster,
            choice::list(instances.iter())
        ),
    ))
}

/// The journal stands beside the tags it remembers for a moment: better refused now than found out in
/// the middle of the exchange.
fn too_many_tags_with_journal(
    exchange: &Exchange,
    member: &MemberExchange,
    settings: &Settings,
) -> Result<(), Diagnostic> {
    let refuse = |what: String| Err(Diagnostic::new(ErrorType::TagLimit, what));
    let is_users = |key: &&String| !key.starts_with("aws:");
    for volume in member.leaving.iter().filter(|volume| is_live(volume)) {
        let journal = Retirement {
            restore_id: exchange.id.clone(),
            at: Timestamp::UNIX_EPOCH,
            replaced_by: Some("vol-00000000000000000".into()),
            was: tags_to_retire(&volume.tags, settings),
        };
        let journal = journal.tags();
        let keys: BTreeSet<_> = volume
            .tags
            .keys()
            .filter(is_users)
            .chain(journal.keys())
            .collect();
        if keys.len() > TAGS_MAX {
            return refuse(format!(
                "{} of {} has too many tags to remember them while it is retired ({} of at most \
                 {TAGS_MAX}): take {} that nobody needs off it",
                volume.id,
                member.key,
                keys.len(),
                keys.len() - TAGS_MAX
            ));
        }
        if let Some(key) = keys.iter().find(|key| key.chars().count() > KEY_LENGTH_MAX) {
            return refuse(format!(
                "{} of {} has a tag that can't be remembered, as {key} is longer than \
                 {KEY_LENGTH_MAX} characters",
                volume.id, member.key
            ));
        }
    }
    Ok(())
}

/// The new volume's tags stand beside its origin.
///
/// # Errors
///
/// `TagLimit`.
pub fn too_many_final_tags(
    key: &MemberKey,
    snapshot: &SnapshotId,
    count: usize,
) -> Result<(), Diagnostic> {
    match count > TAGS_MAX {
        true => Err(Diagnostic::new(
            ErrorType::TagLimit,
            format!(
                "the new volume of {key} would have {count} tags of at most {TAGS_MAX}: {snapshot} \
                 carries too many"
            ),
        )),
        false => Ok(()),
    }
}
