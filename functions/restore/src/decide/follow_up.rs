//! What the operator does next, in order: as data, to be shown.

use etcd_backup_core::aws::{InstanceState, Master};
use etcd_backup_core::ids::{GroupName, InstanceId, MemberKey, VolumeId};
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord, RestoreStage};
use etcd_backup_core::volume::Volume;

use super::exchange::{Exchange, Volumes};
use super::masters_find::MastersFind;
use super::{events, masters, turn};
use crate::collect::control_plane::ControlPlane;
use crate::collect::inventory::Inventory;

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
    /// The last resort where launches are suspended by a restore.
    ResumeByHand(Vec<GroupName>),
    /// What was restored is gone: restore once more.
    RestoreAgain {
        /// The least that such an event says.
        event: String,
    },
    /// Masters in no group: they are stopped, and their retired volumes taken off them.
    StopMasters(Vec<InstanceId>),
    /// The same ones: they are started when the others come.
    StartStopped {
        /// Those that start first.
        first: Vec<InstanceId>,
        /// Those that start later; none where all start at once.
        later: Vec<InstanceId>,
    },
    /// Have all masters replaced at once, the first ones before the others.
    TerminateMasters {
        /// The instances.
        instances: Vec<InstanceId>,
        /// The groups whose masters start first.
        groups: Vec<GroupName>,
        /// The groups whose masters start later; none where all start at once.
        later: Vec<GroupName>,
        /// The members that start first.
        first: Vec<MemberKey>,
    },
    /// The first masters are there: let the others come.
    LetOthersCome {
        /// The groups whose masters start now.
        groups: Vec<GroupName>,
        /// The members that started first.
        first: Vec<MemberKey>,
    },
    /// Nothing runs: the groups start masters, the first ones before the others.
    StartMasters {
        /// The members that start first; none where the order doesn't matter.
        first: Vec<MemberKey>,
        /// The groups of those whose launches are suspended.
        groups: Vec<GroupName>,
        /// The groups of the others whose launches are suspended.
        later: Vec<GroupName>,
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
        RestoreStage::Planned if subject.was_over => after_end(record, inventory),
        RestoreStage::Planned => planned(subject, inventory),
        RestoreStage::Done | RestoreStage::Undone => after_end(record, inventory),
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
            let suspended = masters::suspended_by_restore(Some(record), &inventory.control_plane);
            if !suspended.is_empty() {
                steps.push(NextStep::ResumeByHand(suspended));
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
        let control_plane = &inventory.control_plane;
        let groups = masters::to_suspend(control_plane);
        steps.extend(replace_masters(record, control_plane, groups));
    }
    steps
}

/// The event that a record's last turn carries out.
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

/// What follows a turn that has ended: masters, the cluster's state, the way back, and what is left over.
fn after_end(record: &RestoreRecord, inventory: &Inventory) -> Vec<NextStep> {
    let exchange = Exchange::of(record);
    let is_gone = !gone(record, inventory).is_empty();
    let mut steps = Vec::new();
    if is_gone {
        steps.push(NextStep::RestoreAgain {
            event: events::of_restore(record).replacen('{', "{\"action\":\"plan\",", 1),
        });
    } else {
        steps.extend(bring_masters(record, &exchange, inventory));
        steps.push(NextStep::WaitUntilReady);
        // What gave up a restore before anything was exchanged has changed nothing for the cluster.
        let was_exchanged =
            record.turns().any(|turn| turn.exchanged_at().is_some()) && record.was_ever_done();
        if record.turn().direction != Direction::Undo || was_exchanged {
            steps.push(NextStep::CheckEndpoints);
            steps.push(NextStep::ReplaceNodes);
        }
    }
    steps.extend(way_back(record).map(NextStep::WayBack));
    let left_over = left_over(record, &exchange, &inventory.volumes);
    if !left_over.is_empty() && !is_gone {
        steps.push(NextStep::Delete(left_over));
    }
    steps
}

/// What brings masters on the volumes that are in service now; nothing where all have theirs, or where the
/// turn itself replaced the masters.
fn bring_masters(
    record: &RestoreRecord,
    exchange: &Exchange,
    inventory: &Inventory,
) -> Vec<NextStep> {
    let volumes = &inventory.volumes;
    let control_plane = &inventory.control_plane;
    let is_old_in_use = exchange
        .leaving(volumes)
        .any(|(_, volume)| is_in_use(volume, control_plane));
    let coming = || exchange.coming(volumes);
    let is_attached = |volume: &Volume| !volume.attachments.is_empty();
    let is_taken = !is_old_in_use && coming().all(|(_, volume, _)| is_attached(volume));
    let are_replaced = record.turn().masters == MastersOption::Replace && !is_old_in_use;
    // Masters that have a volume of those that came are the new ones.
    let have_begun_to_come = !is_old_in_use && coming().any(|(_, volume, _)| is_attached(volume));
    if have_begun_to_come && !is_taken {
        let_others_come(record, control_plane)
    } else if !is_taken && !are_replaced {
        // Launches that are suspended by now are so by these steps, most likely.
        let groups = control_plane.groups.iter();
        let groups = groups.map(|group| group.name.clone()).collect();
        replace_masters(record, control_plane, groups)
    } else {
        Vec::new()
    }
}

/// The event that turns back, or once more; none where a member has no volume to go back to.
fn way_back(record: &RestoreRecord) -> Option<String> {
    let mut members = record.members.values();
    let (back, can_turn) = if record.turn().direction == Direction::Undo {
        let can_turn = members.all(|member| member.incoming.volume_id.is_some());
        (Direction::Redo, can_turn)
    } else {
        let can_turn = members.all(|member| !member.outgoing.is_empty());
        (Direction::Undo, can_turn)
    };
    can_turn.then(|| events::of_turn(record, back, record.turn().masters))
}

/// The volumes that are out of service, and those that failed.
fn left_over(record: &RestoreRecord, exchange: &Exchange, volumes: &Volumes) -> Vec<VolumeId> {
    let members = record.members.values();
    let failed = members
        .flat_map(|member| &member.incoming.failed)
        .filter(|id| volumes.contains_key(*id));
    let leaving = exchange.leaving(volumes).map(|(_, volume)| &volume.id);
    leaving.chain(failed).cloned().collect()
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
/// in no group isn't terminated, as nothing would bring it back. What is on its way out is waited for like
/// the others.
fn replace_masters(
    record: &RestoreRecord,
    control_plane: &ControlPlane,
    groups: Vec<GroupName>,
) -> Vec<NextStep> {
    let leaves = |master: &&Master| master.state == InstanceState::ShuttingDown;
    let leaving = control_plane.masters.iter().filter(leaves);
    let (mut in_groups, others): (Vec<_>, Vec<_>) = control_plane
        .alive()
        .partition(|master| control_plane.group_of(&master.id).is_some());
    in_groups.extend(leaving);
    let (first, later) = start_order(record);
    let (later, groups) = groups.into_iter().partition(|group| later.contains(group));
    let ids = |masters: &[&Master]| masters.iter().map(|master| master.id.clone()).collect();
    let mut steps = Vec::new();
    if !others.is_empty() {
        steps.push(NextStep::StopMasters(ids(&others)));
    }
    if !in_groups.is_empty() {
        steps.push(NextStep::TerminateMasters {
            instances: ids(&in_groups),
            groups,
            later,
            first: first.clone(),
        });
    } else if steps.is_empty() {
        let is_suspended = |name: &GroupName| {
            let mut groups = control_plane.groups.iter();
            groups.any(|group| group.name == *name && group.launches_suspended)
        };
        let suspended = |groups: Vec<GroupName>| groups.into_iter().filter(is_suspended).collect();
        steps.push(NextStep::StartMasters {
            first: first.clone(),
            groups: suspended(groups),
            later: suspended(later),
        });
    }
    if !others.is_empty() {
        let zones: Vec<_> = first
            .iter()
            .filter_map(|key| Some(&record.members.get(key)?.incoming.zone))
            .collect();
        let starts_first = |master: &&&Master| zones.is_empty() || zones.contains(&&master.zone);
        let (first, later): (Vec<&Master>, Vec<&Master>) =
            others.iter().partition(|master| starts_first(master));
        steps.push(NextStep::StartStopped {
            first: ids(&first),
            later: ids(&later),
        });
    }
    steps
}

/// The members that start first, and the groups whose masters start later; none where all start at once.
fn start_order(record: &RestoreRecord) -> (Vec<MemberKey>, Vec<GroupName>) {
    let order = &record.start_order;
    if record.turn().direction == Direction::Undo {
        return (Vec::new(), Vec::new());
    }
    (order.first.clone(), order.second_groups.clone())
}

/// Groups that start first and aren't let come yet go before the others.
fn let_others_come(record: &RestoreRecord, control_plane: &ControlPlane) -> Vec<NextStep> {
    let (first, later) = start_order(record);
    let groups = control_plane.groups.iter();
    let suspended = groups.filter(|group| group.launches_suspended);
    let suspended = suspended.map(|group| group.name.clone());
    let (second, mut groups): (Vec<_>, Vec<_>) = suspended.partition(|group| later.contains(group));
    if groups.is_empty() {
        groups = second;
    }
    let stopped = control_plane.alive().filter(|master| {
        master.state == InstanceState::Stopped && control_plane.group_of(&master.id).is_none()
    });
    let stopped: Vec<InstanceId> = stopped.map(|master| master.id.clone()).collect();
    let mut steps = Vec::new();
    if !groups.is_empty() {
        steps.push(NextStep::LetOthersCome { groups, first });
    }
    if !stopped.is_empty() {
        steps.push(NextStep::StartStopped {
            first: Vec::new(),
            later: stopped,
        });
    }
    steps
}

/// The members of which what a turn that has ended put in service is gone.
pub fn gone<'r>(record: &'r RestoreRecord, inventory: &Inventory) -> Vec<&'r MemberKey> {
    if record.is_unfinished() {
        return Vec::new();
    }
    let exchange = Exchange::of(record);
    let members = exchange.members.iter();
    let gone = members.filter(|member| {
        let coming = member.coming.map(|(id, _)| id);
        coming.is_some_and(|id| !inventory.volumes.contains_key(id))
    });
    gone.map(|member| member.key).collect()
}
