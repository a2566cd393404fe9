//! Replacing the masters: launches suspended, all masters terminated, the old volumes free; then the
//! exchange; then launches resumed. No restored member can so meet a live, newer peer.
//!
//! What is to be terminated, and what forbids it, is decided here, before anything dies.

use std::collections::BTreeSet;

use etcd_backup_core::aws::{InstanceState, Master, MasterGroup};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{GroupName, InstanceId};
use etcd_backup_core::volume::Volume;

use crate::choice::list;
use crate::collect::{FleetOfMasters, Situation};
use crate::exchange::Exchange;

/// What comes next on the way to no master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MastersStep {
    /// Tag these groups, then suspend their launches.
    Suspend(Vec<GroupName>),
    /// Terminate these instances, all at once.
    Terminate(Vec<InstanceId>),
    /// Some are still on their way out, or old volumes still attached.
    Wait,
}

/// The next step, or `None` when no master is left that could have, or find, an old volume. It begins
/// anew whenever instances are seen: a launch may have been under way when launches were suspended.
pub fn next(exchange: &Exchange, fleet: &FleetOfMasters) -> Option<MastersStep> {
    if !exchange.needs_masters_gone() {
        return None;
    }
    let launching = fleet
        .groups
        .iter()
        .filter(|group| !group.launches_suspended);
    let launching: Vec<_> = launching.map(|group| group.name.clone()).collect();
    if !launching.is_empty() {
        return Some(MastersStep::Suspend(launching));
    }
    let doomed = doomed(fleet);
    if !doomed.is_empty() {
        return Some(MastersStep::Terminate(doomed));
    }
    let mut launching = fleet.groups.iter().flat_map(|group| &group.launching);
    let mut masters = fleet.masters.iter();
    let mut out = exchange.leaving();
    let is_waited_for = masters.any(|master| master.state == InstanceState::ShuttingDown)
        || launching.any(|id| fleet.master(id).is_none())
        || out.any(|volume| !volume.attachments.is_empty());
    is_waited_for.then_some(MastersStep::Wait)
}

/// The instances that are terminated: every master that is alive, but for one that somebody stopped and
/// that no group would bring back.
pub fn doomed(fleet: &FleetOfMasters) -> Vec<InstanceId> {
    let is_parked = |master: &&Master| {
        master.state == InstanceState::Stopped && fleet.group_of(&master.id).is_none()
    };
    let doomed = fleet.alive().filter(|master| !is_parked(master));
    doomed.map(|master| master.id.clone()).collect()
}

/// The groups whose launches somebody else suspended: they are left so, and bring no new master.
pub fn suspended_by_others(fleet: &FleetOfMasters) -> Vec<&GroupName> {
    let others = fleet
        .groups
        .iter()
        .filter(|group| group.launches_suspended && group.suspended_by.is_none());
    others.map(|group| &group.name).collect()
}

/// The groups whose launches a restore suspended, and that are to be resumed.
pub fn to_resume(fleet: &FleetOfMasters) -> Vec<GroupName> {
    fleet
        .suspended()
        .map(|group: &MasterGroup| group.name.clone())
        .collect()
}

/// What would be lost by terminating the masters, or couldn't be terminated, or would not come back.
///
/// # Errors
///
/// `MasterProtected`, `MasterWithoutGroup`, `VolumeWouldBeLost`: nothing has died yet.
pub fn refuse(exchange: &Exchange, situation: &Situation) -> Result<(), Diagnostic> {
    let fleet = &situation.fleet_of_masters;
    let doomed: BTreeSet<InstanceId> = match exchange.needs_masters_gone() {
        true => doomed(fleet).into_iter().collect(),
        false => return Ok(()),
    };
    refuse_protected(&doomed, fleet)?;
    // A group may show a launch that was under way later than EC2 does; it was whole before.
    if !fleet.is_suspended() {
        refuse_without_group(&doomed, exchange, fleet)?;
    }
    refuse_lost_volumes(&doomed, situation)
}

/// EC2 would terminate the masters of other zones and leave this one.
fn refuse_protected(
    doomed: &BTreeSet<InstanceId>,
    fleet: &FleetOfMasters,
) -> Result<(), Diagnostic> {
    let protected: Vec<_> = doomed.intersection(&fleet.protected).collect();
    match protected.first() {
        None => Ok(()),
        Some(first) => Err(Diagnostic::new(
            ErrorType::MasterProtected,
            format!(
                "termination protection is on for {}, so that not all masters could be replaced; no \
                 master was terminated. Take it off (aws ec2 modify-instance-attribute --instance-id \
                 {first} --no-disable-api-termination) and send the event again",
                list(protected.iter())
            ),
        )),
    }
}

/// What no group launched, no group brings back. It keeps its old volume also when it is rebooted or
/// stopped, so nothing but a person's decision helps.
fn refuse_without_group(
    doomed: &BTreeSet<InstanceId>,
    exchange: &Exchange,
    fleet: &FleetOfMasters,
) -> Result<(), Diagnostic> {
    let masters = doomed
        .iter()
        .filter(|id| fleet.group_of(id).is_none())
        .map(|id| id.to_string());
    let will_let_go = |id: &InstanceId| {
        doomed.contains(id) || fleet.master(id).is_some_and(|master| !master.is_alive())
    };
    let strangers = exchange.leaving().flat_map(|volume| {
        let attached = volume.attachments.iter();
        attached
            .filter(|attachment| !will_let_go(&attachment.instance))
            .map(|attachment| format!("{} (which holds {})", attachment.instance, volume.id))
    });
    let without: Vec<_> = masters.chain(strangers).collect();
    match without.is_empty() {
        true => Ok(()),
        false => Err(Diagnostic::new(
            ErrorType::MasterWithoutGroup,
            format!(
                "{} is in no control-plane autoscaling group of the cluster, so that nothing would \
                 bring it back; no master was terminated. Stop it and detach its etcd volumes, or \
                 terminate it yourself, and send the event again; start it when the answer is done",
                list(without.iter())
            ),
        )),
    }
}

/// Any etcd volume of the cluster, restored now or not: the tool loses none.
fn refuse_lost_volumes(
    doomed: &BTreeSet<InstanceId>,
    situation: &Situation,
) -> Result<(), Diagnostic> {
    let would_go = |volume: &&Volume| {
        let mut attachments = volume.attachments.iter();
        attachments.any(|attachment| {
            attachment.delete_on_termination && doomed.contains(&attachment.instance)
        })
    };
    let misfits = situation.misfits.iter().map(|misfit| &misfit.volume);
    let of_cluster = situation.cluster.all_volumes().map(|(_, volume)| volume);
    let lost: Vec<_> = of_cluster.chain(misfits).filter(would_go).collect();
    let Some(attachment) = lost.first().and_then(|volume| volume.attachments.first()) else {
        return Ok(());
    };
    Err(Diagnostic::new(
        ErrorType::VolumeWouldBeLost,
        format!(
            "{} would be deleted with the instance (DeleteOnTermination); no master was terminated. \
             Turn that off for each (aws ec2 modify-instance-attribute --instance-id {} \
             --block-device-mappings 'DeviceName={},Ebs={{DeleteOnTermination=false}}'), and send the \
             event again",
            list(lost.iter().map(|volume| &volume.id)),
            attachment.instance,
            attachment.device,
        ),
    ))
}
