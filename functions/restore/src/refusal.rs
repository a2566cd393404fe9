//! What a plan is refused for, before anything is changed.

use std::collections::BTreeSet;

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::{CLUSTER_OWNED_PREFIX, ETCD_PREFIX, etcd_keys};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::restore_tags::{KEY_LENGTH_MAX, Retirement, TAGS_MAX, tags_to_retire};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::Volume;
use jiff::Timestamp;

use crate::choice::{self, Choice};
use crate::collect::{Situation, ZoneEvidence};
use crate::event::Request;
use crate::plan::{MemberPlan, Plan};
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

/// A volume whose etcd tag can't be parsed is still a candidate by the masters' filters, and stays
/// one beside the restored volume. Once the exchange has begun, ending it comes first.
///
/// # Errors
///
/// `VolumeTagWrong`, with the command that mends it.
pub fn misfits(plan: &Plan, situation: &Situation) -> Result<(), Diagnostic> {
    let has_begun = plan.members.iter().any(|member| {
        member.is_tagged()
            || member
                .old
                .iter()
                .any(|volume| Retirement::of(&volume.tags).is_some())
    });
    let keys: BTreeSet<String> = plan
        .members
        .iter()
        .map(|member| format!("{ETCD_PREFIX}{}", member.key.etcd_cluster))
        .collect();
    let mut misfits = situation.misfits.iter();
    let misfit = misfits.find(|misfit| keys.iter().any(|key| misfit.volume.tags.contains_key(key)));
    match misfit {
        Some(misfit) if !has_begun => Err(Diagnostic::new(
            ErrorType::VolumeTagWrong,
            format!(
                "{} is tagged for {}, but not so that it could be told whose it is ({}); masters \
                 would find it beside the restored volume. Correct its tag, or take it off: aws ec2 \
                 delete-tags --resources {} --tags {}",
                misfit.volume.id,
                plan.cluster,
                misfit.problem,
                misfit.volume.id,
                choice::list(
                    etcd_keys(&misfit.volume.tags)
                        .iter()
                        .map(|key| format!("Key={key}"))
                )
                .replace(", ", " ")
            ),
        )),
        _ => Ok(()),
    }
}

/// protokube attaches a free candidate within a minute, also on a running master: restored
/// volumes would join live, newer peers.
///
/// # Errors
///
/// `MastersRunning`.
pub fn masters_running(plan: &Plan, cluster: &Cluster) -> Result<(), Diagnostic> {
    let old = || plan.members.iter().flat_map(|member| &member.old);
    let attached: Vec<_> = old()
        .filter(|volume| !volume.attachments.is_empty())
        .collect();
    let volumes = cluster.members.values().flat_map(|member| &member.volumes);
    let has_owned_tag = |volume: &Volume| {
        let tags = tags::original(volume);
        tags.keys().any(|key| key.starts_with(CLUSTER_OWNED_PREFIX))
    };
    let is_finished = plan.members.iter().all(MemberPlan::is_exchanged);
    let uses_etcd_manager = volumes.chain(old()).any(has_owned_tag);
    if attached.is_empty() || uses_etcd_manager || is_finished {
        return Ok(());
    }
    let instances: BTreeSet<_> = attached
        .iter()
        .flat_map(|volume| &volume.attachments)
        .map(|attachment| attachment.instance.as_str())
        .collect();
    Err(Diagnostic::new(
        ErrorType::MastersRunning,
        format!(
            "{} has no kubernetes.io/cluster/… tags, so its masters run protokube, which attaches a \
             restored volume within a minute, beside live, newer peers; its etcd volumes are still \
             attached to {}. Stop all masters first (suspend their autoscaling groups' launches, \
             then terminate them), and send the event again",
            plan.cluster,
            choice::list(instances.iter())
        ),
    ))
}

/// The journal stands beside the tags it remembers for a moment, and the new volume's tags beside its
/// origin: better refused now than found out in the middle of the exchange.
///
/// # Errors
///
/// `TagLimit`.
pub fn too_many_tags(member: &MemberPlan, settings: &Settings) -> Result<(), Diagnostic> {
    let refuse = |what: String| Err(Diagnostic::new(ErrorType::TagLimit, what));
    let is_users = |key: &&String| !key.starts_with("aws:");
    for volume in member.to_retire() {
        let journal = Retirement {
            restore_id: "r-000000000000".into(),
            at: Timestamp::UNIX_EPOCH,
            replaced_by: "vol-00000000000000000".into(),
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
    match member.final_tags.len() + member.new.tags.len() {
        count if count > TAGS_MAX => refuse(format!(
            "the new volume of {} would have {count} tags of at most {TAGS_MAX}: {} carries too many",
            member.key, member.snapshot.id
        )),
        _ => Ok(()),
    }
}
