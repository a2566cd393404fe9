//! Which restore an event is about: one that is unfinished, one that is finished, or a new one.

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{MemberKey, RestoreId, VolumeId};
use etcd_backup_core::restore_tags::Origin;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::{Volume, VolumeState};
use jiff::{SignedDuration, Timestamp};

use crate::choice::{self, Choice};
use crate::collect::Situation;
use crate::event::Request;
use crate::identity;

/// How long `again` counts as said once: the longest that Lambda and the AWS CLI retry a lost answer.
const AGAIN_ONCE_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// The restore that an event is about.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its id.
    pub restore_id: RestoreId,
    /// What it restores.
    pub choice: Choice,
    /// Whether the live volumes are its work already.
    pub is_finished: bool,
}

impl Attempt {
    /// Finds the unfinished restore that the event continues, or the finished one that it repeats;
    /// else it is a new one.
    ///
    /// # Errors
    ///
    /// `RestoreInProgress` where a different one is unfinished; whatever [`choice::choose`] refuses.
    pub fn of(
        request: &Request,
        situation: &Situation,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Self, Diagnostic> {
        let cluster = &situation.cluster;
        if let Some((origin, _)) = begun(cluster) {
            if !request.has_options(&origin.options) {
                return Err(restore_in_progress(request, cluster, origin));
            }
            return Ok(Self {
                restore_id: origin.restore_id.clone(),
                choice: choice::choose(request, situation, settings, origin.run)?,
                is_finished: false,
            });
        }
        let choice = choice::choose(request, situation, settings, None)?;
        let finished = finished(request, cluster, &choice, now);
        Ok(Self {
            is_finished: finished.is_some(),
            restore_id: finished.unwrap_or_else(|| new_restore_id(request, cluster, &choice)),
            choice,
        })
    }

    /// Whether something beside the volumes and snapshots is needed to tell zones, or to check them.
    pub fn needs_zone_evidence(&self, request: &Request, situation: &Situation) -> bool {
        let vanished = |key: &MemberKey| {
            let member = situation.cluster.members.get(key);
            member.is_none_or(|member| member.volumes.is_empty())
        };
        !request.zones.is_empty() || self.choice.snapshots.keys().any(vanished)
    }
}

/// A volume that an unfinished restore made; the newest, should there be several restores.
fn begun(cluster: &Cluster) -> Option<&(Origin, Volume)> {
    let usable = |(_, volume): &&(Origin, Volume)| volume.state != VolumeState::Error;
    cluster.unfinished.iter().rfind(usable)
}

fn restore_in_progress(request: &Request, cluster: &Cluster, origin: &Origin) -> Diagnostic {
    let volumes = cluster.unfinished.iter().filter(|(other, _)| other.restore_id == origin.restore_id);
    let ids: Vec<&str> = volumes.map(|(_, volume)| volume.id.as_str()).collect();
    Diagnostic::new(
        ErrorType::RestoreInProgress,
        format!(
            "restore {} of {} is unfinished and was asked for with other options ({}): send that event \
             again to go on with it. To give it up before anything was exchanged, delete its new \
             volumes ({})",
            origin.restore_id,
            request.cluster,
            origin.options,
            ids.join(" ")
        ),
    )
}

/// The restore whose work the live volumes are, if they were made from the chosen snapshots.
fn finished(
    request: &Request,
    cluster: &Cluster,
    choice: &Choice,
    now: Timestamp,
) -> Option<RestoreId> {
    let mut restore_id = None;
    for (key, snapshot) in &choice.snapshots {
        let member = cluster.members.get(key)?;
        let [live] = &member.volumes[..] else {
            return None;
        };
        let origin = Origin::of(&live.tags);
        let said_again_just_now = origin.as_ref().is_some_and(|origin| {
            request.was_again(&origin.options) && now.duration_since(live.created) < AGAIN_ONCE_WITHIN
        });
        if live.made_from.as_ref() != Some(&snapshot.id) || (request.again && !said_again_just_now) {
            return None;
        }
        // kops may have taken the origin off the live volume; what it replaced remembers it too.
        let remembered = member.retired.iter().find(|(by, _)| by.replaced_by == live.id);
        restore_id = restore_id
            .or(origin.map(|origin| origin.restore_id))
            .or(remembered.map(|(by, _)| by.restore_id.clone()));
    }
    Some(restore_id.unwrap_or_else(|| {
        identity::restore_id(&request.cluster, cluster, &choice.snapshots, &[])
    }))
}

fn new_restore_id(request: &Request, cluster: &Cluster, choice: &Choice) -> RestoreId {
    let chosen = choice.snapshots.keys().filter_map(|key| cluster.members.get(key));
    let replaced: Vec<VolumeId> =
        chosen.flat_map(|member| &member.volumes).map(|volume| volume.id.clone()).collect();
    identity::restore_id(&request.cluster, cluster, &choice.snapshots, &replaced)
}

