//! Replacing the masters: launches suspended, all masters terminated, the outgoing volumes free; then the
//! exchange; then launches resumed. No restored member can so meet a live, newer peer.
//!
//! What is to be terminated, and what forbids it, is decided here, before anything dies. Which groups this
//! tool holds says the record, and beside it a tag on the group for a person to see.

use std::collections::BTreeSet;

use etcd_backup_core::aws::{InstanceState, Master, MasterGroup};
use etcd_backup_core::aws_cli;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{GroupName, InstanceId};
use etcd_backup_core::restore_record::RestoreRecord;
use etcd_backup_core::volume::Volume;

use super::exchange::{Exchange, Side, Volumes};
use super::list::{list, spaced};
use crate::collect::control_plane::ControlPlane;
use crate::collect::inventory::Inventory;

/// What comes next on the way to no master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MastersStep {
    /// Suspend these groups' launches.
    Suspend(Vec<GroupName>),
    /// Terminate these instances, all at once.
    Terminate(Vec<InstanceId>),
    /// Some are still on their way out, or outgoing volumes still attached.
    Wait,
}

/// The next step, or `None` when no master is left that could have, or find, an outgoing volume. It begins
/// anew whenever instances are seen: a launch may have been under way when launches were suspended.
pub fn next(
    exchange: &Exchange,
    volumes: &Volumes,
    control_plane: &ControlPlane,
) -> Option<MastersStep> {
    if !exchange.needs_masters_gone(volumes) {
        return None;
    }
    let launching = to_suspend(control_plane);
    if !launching.is_empty() {
        return Some(MastersStep::Suspend(launching));
    }
    let instances = to_terminate(control_plane);
    if !instances.is_empty() {
        return Some(MastersStep::Terminate(instances));
    }
    let groups = control_plane.groups.iter();
    let mut launching = groups.flat_map(|group| &group.launching);
    let mut masters = control_plane.masters.iter();
    let mut leaving = exchange.leaving(volumes);
    let is_waited_for = masters.any(|master| master.state == InstanceState::ShuttingDown)
        // Auto Scaling shows a launch before EC2 does.
        || launching.any(|id| control_plane.master(id).is_none())
        || leaving.any(|(_, volume)| !volume.attachments.is_empty());
    is_waited_for.then_some(MastersStep::Wait)
}

/// The instances that are terminated: every master that is alive, but for one that somebody stopped and
/// that no group would bring back.
pub fn to_terminate(control_plane: &ControlPlane) -> Vec<InstanceId> {
    let stays = |master: &&Master| {
        master.state == InstanceState::Stopped && control_plane.group_of(&master.id).is_none()
    };
    let alive = control_plane.alive().filter(|master| !stays(master));
    alive.map(|master| master.id.clone()).collect()
}

/// The groups that would launch what is terminated anew.
pub fn to_suspend(control_plane: &ControlPlane) -> Vec<GroupName> {
    let groups = control_plane.groups.iter();
    let launching = groups.filter(|group| !group.launches_suspended);
    launching.map(|group| group.name.clone()).collect()
}

/// The groups whose launches are suspended at the moment in this tool's name.
pub fn suspended_by_restore(
    record: Option<&RestoreRecord>,
    control_plane: &ControlPlane,
) -> Vec<GroupName> {
    let groups = control_plane.groups.iter();
    let ours = groups.filter(|group| group.launches_suspended && is_ours(record, group));
    ours.map(|group| group.name.clone()).collect()
}

/// The groups whose launches somebody else suspended: they are left so, and bring no new master.
pub fn suspended_by_others<'a>(
    record: Option<&RestoreRecord>,
    control_plane: &'a ControlPlane,
) -> Vec<&'a GroupName> {
    let groups = control_plane.groups.iter();
    let others = groups.filter(|group| group.launches_suspended && !is_ours(record, group));
    others.map(|group| &group.name).collect()
}

/// The groups to be resumed: those that are suspended in this tool's name, and those resumed already whose
/// tag still says otherwise.
pub fn to_resume(record: &RestoreRecord, control_plane: &ControlPlane) -> Vec<GroupName> {
    let groups = control_plane.groups.iter();
    let to_resume = groups.filter(|group| {
        group.suspended_by.is_some() || (group.launches_suspended && is_ours(Some(record), group))
    });
    to_resume.map(|group| group.name.clone()).collect()
}

/// The masters that run on the other side's volumes, if any of these groups brings a master on this side's as
/// soon as its launches are resumed: these must never be peers.
pub fn met_by_launches(
    record: &RestoreRecord,
    side: Side,
    resumed: &[GroupName],
    inventory: &Inventory,
) -> Vec<InstanceId> {
    let control_plane = &inventory.control_plane;
    if !brings_masters(resumed, control_plane) {
        return Vec::new();
    }
    let volumes = side.other().volume_ids(record).into_iter();
    let volumes = volumes.filter_map(|id| inventory.volumes.get(id));
    let attached = volumes.flat_map(|volume| &volume.attachments);
    let attached: BTreeSet<&InstanceId> = attached.map(|of| &of.instance).collect();
    let running = running(control_plane).filter(|master| attached.contains(&master.id));
    running.map(|master| master.id.clone()).collect()
}

/// Whether any of these groups, resumed, brings a master at once: it has fewer than it keeps.
fn brings_masters(groups: &[GroupName], control_plane: &ControlPlane) -> bool {
    let is_alive = |id: &&InstanceId| control_plane.master(id).is_some_and(Master::is_alive);
    let suspended = control_plane.groups.iter();
    let mut suspended =
        suspended.filter(|group| group.launches_suspended && groups.contains(&group.name));
    suspended.any(|group| {
        let alive = group.instances.iter().filter(is_alive).count();
        usize::try_from(group.desired_size).is_ok_and(|desired| alive < desired)
    })
}

fn running(control_plane: &ControlPlane) -> impl Iterator<Item = &Master> {
    let alive = control_plane.alive();
    alive.filter(|master| master.state != InstanceState::Stopped)
}

/// Masters that are left alone while what masters find changes must not meet those that launches bring which
/// this tool holds, and resumes in the end: none may run, as each may be about to attach.
///
/// # Errors
///
/// `MastersRunning`.
pub fn refuse_masters_left(
    record: &RestoreRecord,
    control_plane: &ControlPlane,
) -> Result<(), Diagnostic> {
    let left = to_resume(record, control_plane);
    let running: Vec<_> = running(control_plane).map(|master| &master.id).collect();
    if running.is_empty() || !brings_masters(&left, control_plane) {
        return Ok(());
    }
    Err(Diagnostic::new(
        ErrorType::MastersRunning,
        format!(
            "masters run ({}), and launches of {} are suspended in this tool's name: resumed at the end, \
             they would bring masters on other volumes beside these. Say \"masters\": \"replace\", so that \
             all stop first",
            list(running),
            list(left)
        ),
    ))
}

/// The same just before launches are resumed, whatever has become of masters since.
///
/// # Errors
///
/// `MastersRunning`.
pub fn refuse_resuming(
    record: &RestoreRecord,
    groups: &[GroupName],
    inventory: &Inventory,
    region: &str,
) -> Result<(), Diagnostic> {
    let side = Side::left_by(record.turn().direction);
    let met = met_by_launches(record, side, groups, inventory);
    if met.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::new(
        ErrorType::MastersRunning,
        format!(
            "masters run on volumes that are out of service now ({}), and masters that launches of {} \
             bring would be their peers on others. Terminate {} ({}), and send the same event again",
            list(&met),
            list(groups),
            if met.len() == 1 { "it" } else { "them" },
            aws_cli::command(
                region,
                "ec2 terminate-instances",
                format_args!("--instance-ids {}", spaced(&met))
            )
        ),
    ))
}

fn is_ours(record: Option<&RestoreRecord>, group: &MasterGroup) -> bool {
    group.suspended_by.is_some()
        || record.is_some_and(|record| record.suspended_groups.contains(&group.name))
}

/// What keeps the exchange from beginning.
pub fn waited_for(control_plane: &ControlPlane) -> Option<String> {
    let masters = control_plane.masters.iter();
    let shutting_down: Vec<_> = masters
        .filter(|master| master.state == InstanceState::ShuttingDown)
        .map(|master| &master.id)
        .collect();
    (!shutting_down.is_empty()).then(|| format!("{} are still shutting down", list(shutting_down)))
}

/// What couldn't be terminated, or would not come back, or be lost with it.
///
/// # Errors
///
/// `MasterProtected`, `MasterWithoutGroup`, `VolumeWouldBeLost`: nothing has died yet.
pub fn refuse_replacing(
    record: &RestoreRecord,
    exchange: &Exchange,
    inventory: &Inventory,
    region: &str,
) -> Result<(), Diagnostic> {
    if !exchange.needs_masters_gone(&inventory.volumes) {
        return Ok(());
    }
    let control_plane = &inventory.control_plane;
    let instances: BTreeSet<InstanceId> = to_terminate(control_plane).into_iter().collect();
    refuse_protected(&instances, control_plane, region)?;
    // Once launches are suspended, a group may show a launch that was under way later than EC2 does. Before
    // that, every master was seen in its group.
    if suspended_by_restore(Some(record), control_plane).is_empty() {
        refuse_without_group(&instances, exchange, inventory)?;
    }
    refuse_lost_volumes(inventory, region)
}

/// EC2 would terminate the masters of other zones and leave this one.
fn refuse_protected(
    instances: &BTreeSet<InstanceId>,
    control_plane: &ControlPlane,
    region: &str,
) -> Result<(), Diagnostic> {
    let protected: Vec<_> = instances.intersection(&control_plane.protected).collect();
    let Some(first) = protected.first() else {
        return Ok(());
    };
    Err(Diagnostic::new(
        ErrorType::MasterProtected,
        format!(
            "termination protection is on for {}, so that not all masters could be replaced; no master \
             was terminated. Take it off ({}) and send the event again",
            list(&protected),
            aws_cli::command(
                region,
                "ec2 modify-instance-attribute",
                format_args!("--instance-id {first} --no-disable-api-termination")
            )
        ),
    ))
}

/// What no group launched, no group brings back. It keeps its old volume also when it is rebooted or
/// stopped, so nothing but a person's decision helps.
fn refuse_without_group(
    instances: &BTreeSet<InstanceId>,
    exchange: &Exchange,
    inventory: &Inventory,
) -> Result<(), Diagnostic> {
    let control_plane = &inventory.control_plane;
    let is_without = |id: &&InstanceId| control_plane.group_of(id).is_none();
    let masters = instances.iter().filter(is_without).map(ToString::to_string);
    let will_let_go = |id: &InstanceId| {
        let is_gone = || {
            control_plane
                .master(id)
                .is_some_and(|master| !master.is_alive())
        };
        instances.contains(id) || is_gone()
    };
    let others = exchange
        .leaving(&inventory.volumes)
        .flat_map(|(_, volume)| {
            let attached = volume.attachments.iter();
            attached
                .filter(|attachment| !will_let_go(&attachment.instance))
                .map(|attachment| format!("{} (which holds {})", attachment.instance, volume.id))
        });
    let without: Vec<_> = masters.chain(others).collect();
    if without.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::new(
        ErrorType::MasterWithoutGroup,
        format!(
            "in no control-plane autoscaling group of the cluster, so that nothing would bring them back: {}; \
             no master was terminated. Stop them and detach their etcd volumes, or terminate them yourself, and \
             send the event again; start them when the answer is done",
            list(without)
        ),
    ))
}

/// Any etcd volume of the cluster, restored now or not: this tool loses none, and tells nobody to
/// terminate what would.
///
/// # Errors
///
/// `VolumeWouldBeLost`.
pub fn refuse_lost_volumes(inventory: &Inventory, region: &str) -> Result<(), Diagnostic> {
    let instances: BTreeSet<InstanceId> =
        to_terminate(&inventory.control_plane).into_iter().collect();
    let lost = |volume: &Volume| {
        let mut attachments = volume.attachments.iter();
        let attachment = attachments.find(|attachment| {
            attachment.delete_on_termination && instances.contains(&attachment.instance)
        });
        attachment.cloned()
    };
    let volumes = inventory.volumes.values();
    let lost: Vec<_> = volumes
        .filter_map(|volume| Some((&volume.id, lost(volume)?)))
        .collect();
    let Some((_, attachment)) = lost.first() else {
        return Ok(());
    };
    Err(Diagnostic::new(
        ErrorType::VolumeWouldBeLost,
        format!(
            "{} would be deleted with the master that it is attached to (DeleteOnTermination); no master \
             was terminated. Turn that off for each ({}), and send the event again",
            list(lost.iter().map(|(id, _)| id)),
            aws_cli::command(
                region,
                "ec2 modify-instance-attribute",
                format_args!(
                    "--instance-id {} --block-device-mappings \
                     'DeviceName={},Ebs={{DeleteOnTermination=false}}'",
                    attachment.instance, attachment.device
                )
            )
        ),
    ))
}
