//! From what was done, or was found, to the answer: the same shape for a restore, an undo and a look at
//! either.

use etcd_backup_core::aws::Master;
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::restore_tags::Origin;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::standing::{Standing, Turn, has_memory, is_live};
use etcd_backup_core::volume::{Volume, VolumeState};

use crate::answer::{MastersAnswer, MemberAnswer, RestoreAnswer, RestorePoint, usable};
use crate::collect::{FleetOfMasters, Situation};
use crate::event::{Action, MastersOption, Request};
use crate::execute::Progress;
use crate::next_steps::{self, Outlook};
use crate::plan::Plan;
use crate::step::{Phase, Work};
use crate::undo::{self, Undo};
use crate::{attempt, choice, masters};

/// What every answer needs beside the work.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The event.
    pub request: &'a Request,
    /// The settings.
    pub settings: &'a Settings,
    /// The Region, for commands.
    pub region: &'a str,
}

/// The answer to `plan`, `restore` and `undo`.
pub fn progress(frame: Frame, progress: &Progress, situation: &Situation) -> RestoreAnswer {
    match &progress.work {
        Work::Restore(plan) => restore(frame, plan, progress),
        Work::Undo(undo) => undone(frame, undo, progress, situation),
    }
}

fn restore(frame: Frame, plan: &Plan, progress: &Progress) -> RestoreAnswer {
    let (phase, id, cluster) = (progress.phase, &plan.restore_id, &plan.cluster);
    let several = plan.members.iter().filter(|member| member.old.len() > 1);
    let all_retired = several.map(|member| {
        format!(
            "{} has {} volumes that claim it; all of them are retired",
            member.key,
            member.old.len()
        )
    });
    let warnings = plan.choice.warnings.iter().cloned().chain(all_retired);
    let answer = RestoreAnswer {
        action: frame.request.action,
        cluster: cluster.clone(),
        restore_id: id.clone(),
        undo_id: None,
        phase,
        restore_point: RestorePoint::new(plan.choice.run, plan.choice.snapshots.values()),
        members: plan.members.iter().map(MemberAnswer::planned).collect(),
        masters: masters_answer(frame.request.masters, progress),
        next_steps: Vec::new(),
        warnings: warnings.collect(),
        text: String::new(),
    };
    let made = plan
        .members
        .iter()
        .filter_map(|member| member.made.as_ref());
    let old = plan.members.iter().flat_map(|member| &member.old);
    let is_old_in_use = is_in_use(old, &progress.fleet);
    let outlook = Outlook {
        is_finished: plan.is_finished,
        is_taken: !is_old_in_use && are_attached(made),
        is_old_in_use,
        ..Outlook::new(frame.region, frame.settings, &progress.fleet)
    };
    let headline = match phase {
        Phase::Planned | Phase::Done if plan.is_finished => format!(
            "Restore {id} of {cluster} is done already; \"again\": true would restore anew. Nothing was \
             changed."
        ),
        Phase::Planned => format!("Plan of restore {id} of {cluster}. Nothing was changed."),
        _ => headline(phase, &format!("Restore {id} of {cluster}")),
    };
    finish(answer, &outlook, &headline)
}

fn undone(frame: Frame, undo: &Undo, progress: &Progress, situation: &Situation) -> RestoreAnswer {
    let id = &undo.standing.id;
    let answer = RestoreAnswer {
        action: frame.request.action,
        cluster: frame.request.cluster.clone(),
        restore_id: id.clone(),
        undo_id: Some(id.undo()),
        phase: progress.phase,
        restore_point: restore_point(&undo.standing, situation),
        members: member_answers(&undo.standing, undo.turn == Turn::Undo),
        masters: masters_answer(frame.request.masters, progress),
        next_steps: Vec::new(),
        warnings: undo_warnings(undo),
        text: String::new(),
    };
    let coming = || undo.exchange.coming().map(|(volume, _)| volume);
    let is_old_in_use = is_in_use(undo.exchange.leaving(), &progress.fleet);
    let outlook = Outlook {
        turn: Some(undo.turn),
        is_old_in_use,
        // Where nothing was exchanged, masters have what they had all along.
        is_taken: !is_old_in_use && (coming().next().is_none() || are_attached(coming())),
        ..Outlook::new(frame.region, frame.settings, &progress.fleet)
    };
    finish(
        answer,
        &outlook,
        &headline(
            progress.phase,
            &what(&undo.standing, Some(undo.turn), frame),
        ),
    )
}

fn undo_warnings(undo: &Undo) -> Vec<String> {
    let without = undo.without_way_back().into_iter();
    let mut warnings: Vec<String> = without
        .map(|key| format!("{key} has no volume to go back to, and is left without one"))
        .collect();
    warnings.extend(superseded(&undo.standing));
    warnings
}

/// Whether masters have all of these; of none, nothing is known.
fn are_attached<'a>(volumes: impl Iterator<Item = &'a Volume>) -> bool {
    let mut volumes = volumes.peekable();
    volumes.peek().is_some() && volumes.all(|volume| !volume.attachments.is_empty())
}

/// Whether a master that lives has one of these; a rescue host that looks into one doesn't matter.
fn is_in_use<'a>(volumes: impl Iterator<Item = &'a Volume>, fleet: &FleetOfMasters) -> bool {
    let mut attached = volumes.flat_map(|volume| &volume.attachments);
    attached.any(|attachment| {
        let master = fleet.master(&attachment.instance);
        master.is_some_and(Master::is_alive)
    })
}

fn what(standing: &Standing, turn: Option<Turn>, frame: Frame) -> String {
    let (id, cluster) = (&standing.id, &frame.request.cluster);
    match turn {
        None => format!("Restore {id} of {cluster}"),
        Some(Turn::Undo) => format!("Undo of restore {id} of {cluster}"),
        Some(Turn::Redo) => format!(
            "Undo of {} of {cluster}, which puts restore {id} in place again",
            id.undo()
        ),
    }
}

fn member_answers(standing: &Standing, is_put_back: bool) -> Vec<MemberAnswer> {
    let answer = |(key, sides)| match is_put_back {
        true => MemberAnswer::put_back(standing, key, sides),
        false => MemberAnswer::brought(key, sides),
    };
    standing.members.iter().filter_map(answer).collect()
}

/// The answer to `status`.
///
/// # Errors
///
/// `RestoreNotFound`.
pub fn status(frame: Frame, situation: &Situation) -> Result<RestoreAnswer, Diagnostic> {
    let standing = undo::standing(frame.request, situation)?;
    let standing = with_what_it_will_replace(standing, &situation.cluster);
    let origin = standing.origin();
    let fleet = &situation.fleet_of_masters;
    // An undo may have suspended launches and not have written a journal yet.
    let mut suspended = fleet.suspended();
    let is_begun_undo =
        suspended.any(|group| group.suspended_by.as_ref() == Some(&standing.id.undo()));
    let turn = standing.turn().or(is_begun_undo.then_some(Turn::Undo));
    let is_put_back = turn == Some(Turn::Undo);
    let options = origin.as_ref().map(|origin| origin.options.as_str());
    let option = options.map_or(MastersOption::Leave, MastersOption::of_options);
    let phase = phase(&standing, turn, origin.as_ref(), option, fleet);
    let answer = RestoreAnswer {
        action: Action::Status,
        cluster: frame.request.cluster.clone(),
        restore_id: standing.id.clone(),
        undo_id: turn.map(|_| standing.id.undo()),
        phase,
        restore_point: restore_point(&standing, situation),
        members: member_answers(&standing, is_put_back),
        masters: MastersAnswer {
            option,
            terminate: Vec::new(),
            suspend: Vec::new(),
            suspended: masters::held(fleet),
        },
        next_steps: Vec::new(),
        warnings: status_warnings(&standing),
        text: String::new(),
    };
    let (in_service, out): (Vec<&Volume>, Vec<&Volume>) = match is_put_back {
        true => (standing.replaced().collect(), standing.brought().collect()),
        false => (
            standing
                .members
                .values()
                .filter_map(|sides| usable(&sides.brought))
                .collect(),
            standing.replaced().collect(),
        ),
    };
    let is_old_in_use = is_in_use(out.into_iter(), fleet);
    let outlook = Outlook {
        turn,
        is_old_in_use,
        // Where nothing is in service, terminating masters would bring nothing.
        is_taken: !is_old_in_use && are_attached(in_service.iter().copied())
            || in_service.is_empty(),
        options,
        ..Outlook::new(frame.region, frame.settings, fleet)
    };
    let what = what(&standing, turn, frame);
    Ok(finish(answer, &outlook, &headline(phase, &what)))
}

/// Before its exchange, no journal says yet whose place a new volume will take.
fn with_what_it_will_replace(mut standing: Standing, cluster: &Cluster) -> Standing {
    for (key, sides) in &mut standing.members {
        let is_waiting = !sides
            .brought
            .iter()
            .any(|volume| is_live(volume) || has_memory(volume));
        if let Some(member) = cluster.members.get(key)
            && is_waiting
            && sides.replaced.is_empty()
        {
            sides.replaced.clone_from(&member.volumes);
        }
    }
    standing
}

fn status_warnings(standing: &Standing) -> Vec<String> {
    let members = standing.members.iter();
    let gone: Vec<_> = members
        .filter(|(_, sides)| sides.brought.is_empty())
        .map(|(key, _)| key)
        .collect();
    let mut warnings = match gone.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "the restored volumes of {} are gone; undo puts the old ones back, or restore anew",
            choice::list(gone.iter())
        )],
    };
    warnings.extend(superseded(standing));
    warnings
}

fn superseded(standing: &Standing) -> Vec<String> {
    let later = standing.superseded_by();
    let warning = later.map(|later| format!("restore {later} has replaced its volumes since"));
    warning.into_iter().collect()
}

/// How far a restore is, told by the volumes and groups alone.
fn phase(
    standing: &Standing,
    turn: Option<Turn>,
    origin: Option<&Origin>,
    masters: MastersOption,
    fleet: &FleetOfMasters,
) -> Phase {
    match turn {
        Some(Turn::Undo) if standing.is_undone() && !fleet.is_suspended() => return Phase::Undone,
        Some(_) => return Phase::Exchanging,
        None => {}
    }
    if standing.superseded_by().is_some() {
        return Phase::Done;
    }
    let made: Vec<_> = standing
        .members
        .values()
        .filter_map(|sides| usable(&sides.brought))
        .collect();
    let is_ready = |state| matches!(state, VolumeState::Available | VolumeState::InUse);
    let lacks_some = origin.is_some_and(|origin| made.len() < origin.member_count);
    if lacks_some || !made.iter().all(|volume| is_ready(volume.state)) {
        return Phase::Creating;
    }
    let is_any_out = standing.replaced().any(|volume| !is_live(volume));
    let live = made.iter().filter(|volume| is_live(volume)).count();
    match live == made.len() && !fleet.is_suspended() {
        true => Phase::Done,
        false if live == 0 && !is_any_out && masters == MastersOption::Replace => {
            Phase::WaitingForMasters
        }
        false => Phase::Exchanging,
    }
}

fn restore_point(standing: &Standing, situation: &Situation) -> RestorePoint {
    let run = standing.origin().and_then(|origin| origin.run);
    let brought = standing
        .members
        .values()
        .filter_map(|sides| usable(&sides.brought));
    let snapshots: Vec<Snapshot> = brought
        .filter_map(|volume| attempt::source(situation, volume, run))
        .collect();
    RestorePoint::new(run, snapshots.iter())
}

fn masters_answer(option: MastersOption, progress: &Progress) -> MastersAnswer {
    let fleet = &progress.fleet;
    let are_to_go =
        option == MastersOption::Replace && progress.work.exchange().needs_masters_gone();
    let (terminate, suspend) = match are_to_go {
        true => (masters::doomed(fleet), masters::to_suspend(fleet)),
        false => (Vec::new(), Vec::new()),
    };
    MastersAnswer {
        option,
        terminate,
        suspend,
        suspended: masters::held(fleet),
    }
}

fn headline(phase: Phase, what: &str) -> String {
    match phase {
        Phase::Planned => format!("{what}: planned."),
        Phase::Creating => format!(
            "{what}: creating. The new volumes are not all available yet; the old ones are untouched."
        ),
        Phase::WaitingForMasters => format!(
            "{what}: waiting_for_masters. They are being terminated, or have been; the old volumes are \
             untouched."
        ),
        Phase::Exchanging => format!("{what}: exchanging. Tags are being moved."),
        Phase::Done => format!("{what}: done."),
        Phase::Undone => format!("{what}: undone."),
    }
}

/// The warnings and steps that follow from where it stands.
fn finish(mut answer: RestoreAnswer, outlook: &Outlook, headline: &str) -> RestoreAnswer {
    let by_others = masters::suspended_by_others(outlook.fleet);
    if !by_others.is_empty() {
        answer.warnings.push(format!(
            "launches of {} were suspended by somebody else, and stay so: no master comes back there \
             before they are resumed",
            choice::list(by_others.iter())
        ));
    }
    if !answer.masters.suspended.is_empty() {
        answer.warnings.push(format!(
            "launches of {} are suspended until this is done, or undone: no master comes back before",
            choice::list(answer.masters.suspended.iter()),
        ));
    }
    if answer.phase == Phase::WaitingForMasters {
        answer.warnings.extend(masters::waited_for(outlook.fleet));
    }
    answer.next_steps = next_steps::next_steps(outlook, &answer);
    answer.with_text(headline)
}
