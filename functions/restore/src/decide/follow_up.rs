//! What the operator does next, in order, and what they should know: as data, to be shown.

use etcd_backup_core::aws::Master;
use etcd_backup_core::ids::{GroupName, InstanceId, MemberKey, VolumeId};
use etcd_backup_core::restore_point::History;
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord, RestoreStage};
use etcd_backup_core::volume::Volume;
use jiff::SignedDuration;

use super::exchange::Exchange;
use super::list::list;
use super::masters_find::MastersFind;
use super::{Context, events, masters, turn};
use crate::collect::control_plane::ControlPlane;
use crate::collect::inventory::Inventory;
use crate::collect::records::Records;

/// An unfinished restore older than this is most likely not what is wanted any more.
const OLD_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Have the plan carried out.
    Send {
        /// The event to send.
        event: String,
        /// What it does with the masters.
        masters: MastersOption,
    },
    /// Go on with what is unfinished, or give it up.
    GoOn {
        /// The event that goes on.
        event: String,
        /// The event that turns back.
        back: String,
    },
    /// Restore anew, as this can go neither on nor back.
    BeginAnew {
        /// The least that such an event says.
        event: String,
    },
    /// The last resort where launches are held.
    ResumeByHand(Vec<GroupName>),
    /// Masters in no group: they are stopped, and their retired volumes taken off them.
    StopMasters(Vec<InstanceId>),
    /// The same ones: they are started when the others come.
    StartStopped(Vec<InstanceId>),
    /// Have all masters replaced at once, the first ones before the others.
    TerminateMasters {
        /// The instances.
        instances: Vec<InstanceId>,
        /// The groups whose masters start later; none where all start at once.
        later: Vec<GroupName>,
        /// The members that start first.
        first: Vec<MemberKey>,
    },
    /// Nothing runs: the groups start masters, the first ones before the others.
    StartMasters {
        /// The members that start first; none where the order doesn't matter.
        first: Vec<MemberKey>,
    },
    /// See that the control plane is up.
    WaitUntilReady,
    /// Look for leases of masters that are gone.
    CheckEndpoints,
    /// Replace the nodes, which have seen what no longer exists.
    ReplaceNodes,
    /// The event that turns the restore back, or once more.
    WayBack(String),
    /// What nobody else deletes.
    Delete(Vec<VolumeId>),
}

/// What an answer is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The record, or the one that would be written.
    pub record: &'a RestoreRecord,
    /// How far it is, or `Planned` where that was asked.
    pub phase: RestoreStage,
    /// Whether it had ended before this invocation.
    pub was_over: bool,
    /// What a plan is known by.
    pub plan_id: Option<&'a str>,
    /// What masters' filters showed, where they were asked later than the inventory was read.
    pub found: Option<&'a MastersFind>,
}

/// What is to be done next.
pub fn next_steps(subject: Subject, inventory: &Inventory) -> Vec<NextStep> {
    let record = subject.record;
    match subject.phase {
        RestoreStage::Planned if subject.was_over => over(record, inventory),
        RestoreStage::Planned => planned(subject, inventory),
        RestoreStage::Done | RestoreStage::Undone => over(record, inventory),
        RestoreStage::Creating
        | RestoreStage::WaitingForMasters
        | RestoreStage::Exchanging
        | RestoreStage::Starting => {
            let is_given_up = record.abandoned_at.is_some();
            let step = if is_given_up || turn::is_stuck(record, inventory) {
                NextStep::BeginAnew {
                    event: format!("{{\"cluster\":\"{}\"}}", record.cluster),
                }
            } else {
                NextStep::GoOn {
                    event: events::to_go_on(record),
                    back: events::to_give_up(record),
                }
            };
            let mut steps = vec![step];
            let held = masters::held(Some(record), &inventory.control_plane);
            if !held.is_empty() {
                steps.push(NextStep::ResumeByHand(held));
            }
            steps
        }
    }
}

fn planned(subject: Subject, inventory: &Inventory) -> Vec<NextStep> {
    let record = subject.record;
    let masters = record.turn().masters;
    let event = event_of(record);
    let event = match subject.plan_id {
        Some(plan_id) => with_field(&event, "plan_id", plan_id),
        None => event,
    };
    let mut steps = vec![NextStep::Send { event, masters }];
    if masters == MastersOption::Leave {
        steps.extend(replace_masters(record, &inventory.control_plane));
    }
    steps
}

/// The event that a record's last turn is the deed of.
fn event_of(record: &RestoreRecord) -> String {
    match record.turn().direction {
        Direction::Restore if record.again => {
            let event = events::of_restore(record);
            event.replacen('{', "{\"again\":true,", 1)
        }
        _ => events::to_go_on(record),
    }
}

fn with_field(event: &str, field: &str, value: &str) -> String {
    let inner = event.trim_end_matches('}');
    // Only the last brace closes the event; those before it, if any, are its options' own.
    let closing = &event[inner.len()..];
    let kept = &closing[..closing.len().saturating_sub(1)];
    format!("{inner}{kept},\"{field}\":\"{value}\"}}")
}

fn over(record: &RestoreRecord, inventory: &Inventory) -> Vec<NextStep> {
    let direction = record.turn().direction;
    let exchange = Exchange::of(record);
    let volumes = &inventory.volumes;
    let control_plane = &inventory.control_plane;
    let is_old_in_use = exchange
        .leaving(volumes)
        .any(|(_, volume)| is_in_use(volume, control_plane));
    let mut coming = exchange.coming(volumes).peekable();
    let is_taken = !is_old_in_use
        && (coming.peek().is_none() || coming.all(|(_, volume, _)| !volume.attachments.is_empty()));
    let are_replaced = record.turn().masters == MastersOption::Replace && !is_old_in_use;
    let mut steps = Vec::new();
    if !is_taken && !are_replaced {
        steps.extend(replace_masters(record, control_plane));
    }
    steps.push(NextStep::WaitUntilReady);
    // What gave up a restore before anything was exchanged has changed nothing for the cluster.
    let was_exchanged =
        record.turns().any(|turn| turn.exchanged_at().is_some()) && record.was_ever_done();
    if direction != Direction::Undo || was_exchanged {
        steps.push(NextStep::CheckEndpoints);
        steps.push(NextStep::ReplaceNodes);
    }
    let masters = record.turn().masters;
    let (back, can_turn) = match direction {
        Direction::Undo => (
            Direction::Redo,
            record
                .members
                .values()
                .all(|member| member.incoming.volume_id.is_some()),
        ),
        Direction::Restore | Direction::Redo => (
            Direction::Undo,
            record
                .members
                .values()
                .all(|member| !member.outgoing.is_empty()),
        ),
    };
    if can_turn {
        steps.push(NextStep::WayBack(events::of_turn(record, back, masters)));
    }
    let left: Vec<VolumeId> = exchange
        .leaving(volumes)
        .map(|(_, volume)| volume.id.clone())
        .collect();
    if !left.is_empty() {
        steps.push(NextStep::Delete(left));
    }
    steps
}

/// Whether a master that lives has it; a rescue host that looks into one doesn't matter.
fn is_in_use(volume: &Volume, control_plane: &ControlPlane) -> bool {
    let mut attachments = volume.attachments.iter();
    attachments.any(|attachment| {
        let master = control_plane.master(&attachment.instance);
        master.is_some_and(Master::is_alive)
    })
}

/// One command for all: a restored member that meets a live, newer peer panics or loses entries. What is
/// in no group isn't terminated, as nothing would bring it back.
fn replace_masters(record: &RestoreRecord, control_plane: &ControlPlane) -> Vec<NextStep> {
    let (in_groups, others): (Vec<_>, Vec<_>) = control_plane
        .alive()
        .map(|master| master.id.clone())
        .partition(|id| control_plane.group_of(id).is_some());
    let is_ordered = record.turn().direction != Direction::Undo;
    let order = &record.start_order;
    let (first, later) = if is_ordered {
        (order.first.clone(), order.second_groups.clone())
    } else {
        (Vec::new(), Vec::new())
    };
    let mut steps = Vec::new();
    if !others.is_empty() {
        steps.push(NextStep::StopMasters(others.clone()));
    }
    if !in_groups.is_empty() {
        steps.push(NextStep::TerminateMasters {
            instances: in_groups,
            later,
            first,
        });
    } else if steps.is_empty() {
        steps.push(NextStep::StartMasters { first });
    }
    if !others.is_empty() {
        steps.push(NextStep::StartStopped(others));
    }
    steps
}

/// What the operator should know.
pub fn warnings(
    subject: Subject,
    inventory: &Inventory,
    records: &Records,
    context: Context,
) -> Vec<String> {
    let record = subject.record;
    let control_plane = &inventory.control_plane;
    let mut warnings = Vec::new();
    if record.turn().direction != Direction::Undo {
        warnings.extend(record.warnings.iter().cloned());
    }
    warnings.extend(without_way_back(record));
    warnings.extend(stale(subject, inventory, records, context));
    warnings.extend(gone(subject, inventory));
    warnings.extend(superseded(record, records));
    let by_others = masters::suspended_by_others(Some(record), control_plane);
    if !by_others.is_empty() {
        warnings.push(format!(
            "launches of {} were suspended by somebody else, and stay so: no master comes back there before \
             they are resumed",
            list(by_others)
        ));
    }
    let held = masters::held(Some(record), control_plane);
    if !held.is_empty() {
        warnings.push(format!(
            "launches of {} are suspended until this is done, or undone: no master comes back before",
            list(held)
        ));
    }
    if subject.phase == RestoreStage::WaitingForMasters {
        warnings.extend(masters::waited_for(control_plane));
    }
    warnings
}

fn without_way_back(record: &RestoreRecord) -> Option<String> {
    if record.turn().direction != Direction::Undo {
        return None;
    }
    let empty = record
        .members
        .iter()
        .filter(|(_, member)| member.outgoing.is_empty());
    let empty: Vec<_> = empty.map(|(key, _)| key).collect();
    (!empty.is_empty()).then(|| {
        format!(
            "{} had no volume when the restore began, and is left without one",
            list(empty)
        )
    })
}

/// An unfinished restore keeps its run, whatever has come since.
fn stale(
    subject: Subject,
    inventory: &Inventory,
    records: &Records,
    context: Context,
) -> Vec<String> {
    let record = subject.record;
    if !record.is_unfinished() || record.turn().direction != Direction::Restore {
        return Vec::new();
    }
    let way_out = format!("to give it up: {}", events::to_give_up(record));
    let mut warnings = Vec::new();
    if context.now.duration_since(record.started_at) > OLD_AFTER {
        warnings.push(format!(
            "this restore began at {} and is still unfinished; {way_out}",
            record.started_at
        ));
    }
    let names = record.etcd_clusters().cloned().collect();
    let schedule = &context.settings.schedule;
    let history = History::new(&inventory.cluster, records.exchanges(), schedule);
    let runs = history.runs(&names);
    let newer = runs
        .iter()
        .find(|run| run.is_complete() && record.run.is_some_and(|own| run.run > own));
    if let (Some(newer), Some(own)) = (newer, record.run) {
        warnings.push(format!(
            "a newer restore point has come since, of the run of {}; this restore keeps that of {own}; \
             {way_out}",
            newer.run
        ));
    }
    warnings
}

fn gone(subject: Subject, inventory: &Inventory) -> Option<String> {
    let record = subject.record;
    if record.is_unfinished() {
        return None;
    }
    let exchange = Exchange::of(record);
    let members = exchange.members.iter();
    let gone = members.filter(|member| {
        let coming = member.coming.map(|(id, _)| id);
        coming.is_some_and(|id| !inventory.volumes.contains_key(id))
    });
    let gone: Vec<_> = gone.map(|member| member.key).collect();
    (!gone.is_empty()).then(|| {
        format!(
            "the volumes that this has put in service for {} are gone since",
            list(gone)
        )
    })
}

fn superseded(record: &RestoreRecord, records: &Records) -> Option<String> {
    let newer = records
        .all()
        .take_while(|other| other.id != record.id)
        .filter(|other| !other.is_undone() && other.abandoned_at.is_none());
    let mut shares = newer.filter(|other| {
        let mut keys = other.members.keys();
        keys.any(|key| record.members.contains_key(key))
    });
    let is_recorded = records.all().any(|other| other.id == record.id);
    let later = shares.next().filter(|_| is_recorded)?;
    Some(format!(
        "restore {} has replaced its volumes since",
        later.id
    ))
}
