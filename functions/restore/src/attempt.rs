//! Which restore an event is about: one that is unfinished, one that is finished, or a new one.

use std::collections::BTreeMap;

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::{Cluster, Member};
use etcd_backup_core::ids::{MemberKey, RestoreId, VolumeId};
use etcd_backup_core::restore_tags::Origin;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::standing::{Standing, Turn, being_turned, is_live};
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
    /// Whether a live volume made from a chosen snapshot, of which nothing else is known, is taken for
    /// its work: it was begun, and not to do again what was done before.
    pub adopts_forgetful: bool,
    /// Whether the live volumes are its work already.
    pub is_finished: bool,
    /// By member, how many client tokens this invocation found used up by volumes that are gone.
    pub used_up: BTreeMap<MemberKey, u32>,
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
        if let Some((other, turn)) = being_turned(cluster) {
            return Err(undo_in_progress(request, &other.id, turn));
        }
        if let Some((origin, _)) = begun(cluster) {
            if !request.has_options(&origin.options) {
                return Err(restore_in_progress(request, cluster, origin));
            }
            return Ok(Self {
                restore_id: origin.restore_id.clone(),
                choice: begun_choice(request, situation, settings, origin)?,
                adopts_forgetful: !request.was_again(&origin.options),
                is_finished: false,
                used_up: BTreeMap::new(),
            });
        }
        let choice = choice::choose(request, situation, settings, None)?;
        let attempt = finished(request, situation, &choice, now).unwrap_or_else(|| Self {
            restore_id: new_restore_id(request, cluster, &choice),
            choice,
            adopts_forgetful: false,
            is_finished: false,
            used_up: BTreeMap::new(),
        });
        refuse_while_launches_are_suspended(request, situation, &attempt)?;
        Ok(attempt)
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
pub fn begun(cluster: &Cluster) -> Option<&(Origin, Volume)> {
    let usable = |(_, volume): &&(Origin, Volume)| volume.state != VolumeState::Error;
    cluster.unfinished.iter().rfind(usable)
}

/// What an unfinished restore restores. Once all its volumes are there, they alone tell: whatever
/// became of the snapshots since, or of the etcd clusters without a volume, plays no part any more.
fn begun_choice(
    request: &Request,
    situation: &Situation,
    settings: &Settings,
    origin: &Origin,
) -> Result<Choice, Diagnostic> {
    let made = identity::own_work(&situation.cluster, &origin.restore_id);
    if made.len() >= origin.member_count {
        let sources = made.into_iter().filter_map(|(key, volume)| {
            let source = source(situation, volume, origin.run)?;
            Some((key, source))
        });
        return Ok(Choice::new(origin.run, sources.collect()));
    }
    let cant_be_chosen_again = |why: String| {
        Diagnostic::new(
            ErrorType::NoRestorePoint,
            format!(
                "restore {} can't go on: {why}; {}",
                origin.restore_id,
                way_out(&situation.cluster, origin)
            ),
        )
    };
    let choice = choice::choose(request, situation, settings, origin.run)
        .map_err(|error| cant_be_chosen_again(error.message))?;
    match made.keys().find(|key| !choice.snapshots.contains_key(*key)) {
        Some(lost) => Err(cant_be_chosen_again(format!(
            "its run no longer has {lost}"
        ))),
        None => Ok(choice),
    }
}

/// The snapshot that a volume was made from; of one deleted since, as much as the volume tells.
pub fn source(situation: &Situation, volume: &Volume, run: Option<Run>) -> Option<Snapshot> {
    let id = volume.made_from.as_ref()?;
    let members = situation.cluster.members.values();
    let known = members
        .flat_map(|member| &member.snapshots)
        .map(|of_member| &of_member.snapshot);
    let known = known
        .chain(situation.by_hand.values())
        .find(|snapshot| snapshot.id == *id);
    Some(known.cloned().unwrap_or_else(|| Snapshot {
        id: id.clone(),
        volume_id: volume.id.clone(),
        state: SnapshotState::Completed,
        state_message: None,
        started: run.map_or(volume.created, Run::at),
        size_gib: volume.size_gib,
        encrypted: volume.encrypted,
        archived: false,
        tags: volume.tags.clone(),
    }))
}

/// A restore whose exchange is over and whose groups aren't resumed isn't over. Of one that no volume
/// tells of any more nothing is left but to resume them, which any other does at its end.
fn refuse_while_launches_are_suspended(
    request: &Request,
    situation: &Situation,
    attempt: &Attempt,
) -> Result<(), Diagnostic> {
    let suspended = situation.fleet_of_masters.suspended();
    let by = suspended.filter_map(|group| group.suspended_by.as_ref());
    let mut others = by.filter(|by| **by != attempt.restore_id);
    match others.find(|by| Standing::of(&situation.cluster, &by.restore()).is_some()) {
        None => Ok(()),
        Some(other) if other.is_undo() => {
            Err(undo_in_progress(request, &other.restore(), Turn::Undo))
        }
        Some(other) => Err(Diagnostic::new(
            ErrorType::RestoreInProgress,
            format!(
                "restore {other} of {} has suspended launches of the masters' groups and not resumed \
                 them yet: send its event again to go on with it, or {{\"action\":\"undo\",\
                 \"cluster\":\"{}\",\"restore_id\":\"{other}\"}}",
                request.cluster, request.cluster
            ),
        )),
    }
}

/// An undo, or an undo's undo, is in the middle of its exchange.
pub fn undo_in_progress(request: &Request, restore: &RestoreId, turn: Turn) -> Diagnostic {
    let cluster = &request.cluster;
    let (what, id) = match turn {
        Turn::Undo => (format!("the undo of {restore}"), restore.clone()),
        Turn::Redo => (format!("the undo of {}", restore.undo()), restore.undo()),
    };
    Diagnostic::new(
        ErrorType::RestoreInProgress,
        format!(
            "{what} is unfinished: go on with it first, with {{\"action\":\"undo\",\
             \"cluster\":\"{cluster}\",\"restore_id\":\"{id}\"}}"
        ),
    )
}

/// Another restore is unfinished.
pub fn restore_in_progress(request: &Request, cluster: &Cluster, origin: &Origin) -> Diagnostic {
    Diagnostic::new(
        ErrorType::RestoreInProgress,
        format!(
            "restore {} of {} is unfinished and was asked for with other options ({}): send that event \
             again to go on with it; {}",
            origin.restore_id,
            request.cluster,
            origin.options,
            way_out(cluster, origin)
        ),
    )
}

/// How to be rid of an unfinished restore.
fn way_out(cluster: &Cluster, origin: &Origin) -> String {
    let standing = Standing::of(cluster, &origin.restore_id);
    let is_exchanging = standing.is_some_and(|standing| {
        standing.brought().any(is_live) || standing.replaced().any(|volume| !is_live(volume))
    });
    let done_so_far = match is_exchanging {
        true => "puts the old volumes' tags back",
        false => "gives its new volumes up; it has exchanged nothing yet",
    };
    format!(
        "or {{\"action\":\"undo\",\"cluster\":\"{}\"}} {done_so_far}",
        origin.cluster
    )
}

/// The finished restore that the event repeats, told by the live volumes of every chosen member.
///
/// They are its work if they were made from the chosen snapshots; or if the event leaves the choice
/// open and what was chosen was taken of the volumes that the restore replaced: a run that came in the
/// meantime doesn't make a retry of the same event a new restore.
fn finished(
    request: &Request,
    situation: &Situation,
    choice: &Choice,
    now: Timestamp,
) -> Option<Attempt> {
    let cluster = &situation.cluster;
    let mut makers: BTreeMap<RestoreId, Timestamp> = BTreeMap::new();
    let mut all_from_chosen = true;
    let mut run = choice.run;
    let mut snapshots = BTreeMap::new();
    for (key, chosen) in &choice.snapshots {
        let member = cluster.members.get(key)?;
        let [live] = &member.volumes[..] else {
            return None;
        };
        let made_from = live.made_from.as_ref()?;
        let origin = Origin::of(&live.tags);
        let maker = maker(member, live, origin.as_ref());
        let mut suspended = situation.fleet_of_masters.suspended();
        let has_options = |origin: &Origin| request.has_options(&origin.options);
        let is_unfinished = origin.as_ref().is_some_and(has_options)
            && suspended.any(|group| group.suspended_by == maker);
        if request.again
            && !is_unfinished
            && !was_said_again_just_now(request, origin.as_ref(), live, now)
        {
            return None;
        }
        if *made_from != chosen.id
            && (maker.is_none() || !is_retry(request, chosen, live, origin.as_ref()))
        {
            return None;
        }
        all_from_chosen &= *made_from == chosen.id;
        run = origin.map_or(run, |origin| origin.run);
        snapshots.insert(key.clone(), source(situation, live, run)?);
        makers.extend(maker.map(|maker| (maker, live.created)));
    }
    // Several restores may have done it together; only what was made from the chosen snapshots counts
    // then. Where nothing remembers any, nothing was replaced, and kops took the origins off.
    if makers.len() > 1 && !all_from_chosen {
        return None;
    }
    let newest = makers.into_iter().max_by_key(|(_, made)| *made);
    let restore_id = newest.map_or_else(
        || identity::restore_id(&request.cluster, cluster, &choice.snapshots, &[]),
        |(maker, _)| maker,
    );
    Some(Attempt {
        restore_id,
        choice: Choice::new(run, snapshots),
        adopts_forgetful: false,
        is_finished: true,
        used_up: BTreeMap::new(),
    })
}

/// The restore that made a volume. kops may have taken the origin off it; what it replaced remembers.
fn maker(member: &Member, live: &Volume, origin: Option<&Origin>) -> Option<RestoreId> {
    let remembered = member
        .retired
        .iter()
        .find(|(by, _)| !by.restore_id.is_undo() && by.replaced_by.as_ref() == Some(&live.id));
    origin
        .map(|origin| origin.restore_id.clone())
        .or(remembered.map(|(by, _)| by.restore_id.clone()))
}

fn is_retry(request: &Request, chosen: &Snapshot, live: &Volume, origin: Option<&Origin>) -> bool {
    // With equal options; `at` leaves open which runs have come to their end meanwhile.
    let has_options = origin.is_some_and(|origin| request.has_options(&origin.options));
    request.snapshots.is_none() && has_options && chosen.volume_id != live.id
}

fn was_said_again_just_now(
    request: &Request,
    origin: Option<&Origin>,
    live: &Volume,
    now: Timestamp,
) -> bool {
    let said_again = origin.is_some_and(|origin| request.was_again(&origin.options));
    said_again && now.duration_since(live.created) < AGAIN_ONCE_WITHIN
}

fn new_restore_id(request: &Request, cluster: &Cluster, choice: &Choice) -> RestoreId {
    let chosen = choice
        .snapshots
        .keys()
        .filter_map(|key| cluster.members.get(key));
    let replaced: Vec<VolumeId> = chosen
        .flat_map(|member| &member.volumes)
        .map(|volume| volume.id.clone())
        .collect();
    identity::restore_id(&request.cluster, cluster, &choice.snapshots, &replaced)
}
