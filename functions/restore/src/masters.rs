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
    let launching = to_suspend(fleet);
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

/// The groups that would launch what is terminated anew.
pub fn to_suspend(fleet: &FleetOfMasters) -> Vec<GroupName> {
    let launching = fleet
        .groups
        .iter()
        .filter(|group| !group.launches_suspended);
    launching.map(|group| group.name.clone()).collect()
}

/// The groups whose launches somebody else suspended: they are left so, and bring no new master.
pub fn suspended_by_others(fleet: &FleetOfMasters) -> Vec<&GroupName> {
    let others = fleet
        .groups
        .iter()
        .filter(|group| group.launches_suspended && group.suspended_by.is_none());
    others.map(|group| &group.name).collect()
}

/// The groups whose launches are suspended in a restore's name. One that somebody resumed by hand may
/// carry its tag still.
pub fn held(fleet: &FleetOfMasters) -> Vec<GroupName> {
    let held = fleet.suspended().filter(|group| group.launches_suspended);
    held.map(|group| group.name.clone()).collect()
}

/// What keeps the exchange from beginning.
pub fn waited_for(fleet: &FleetOfMasters) -> Vec<String> {
    let leaving = fleet.masters.iter();
    let leaving: Vec<_> = leaving
        .filter(|master| master.state == InstanceState::ShuttingDown)
        .map(|master| &master.id)
        .collect();
    match leaving.is_empty() {
        true => Vec::new(),
        false => vec![format!("{} are still shutting down", list(leaving.iter()))],
    }
}

/// The groups that a restore has marked as suspended, and that are to be resumed.
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
    let is_own = |group: &&MasterGroup| {
        group.launches_suspended && group.suspended_by.as_ref() == Some(&exchange.id)
    };
    if !fleet.groups.iter().any(|group| is_own(&group)) {
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

#[cfg(test)]
mod tests {
    use etcd_backup_core::Tags;
    use etcd_backup_core::discovery::{CLUSTER, ROLE_MASTER};
    use etcd_backup_core::volume::{Attachment, Performance, VolumeState};

    use super::*;
    use crate::exchange::MemberExchange;

    fn tags() -> Tags {
        [
            (CLUSTER, "k8s.mycompany.tld"),
            (ROLE_MASTER, "1"),
            ("k8s.io/etcd/main", "a/a"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    fn volume(id: &str, tags: Tags, attached_to: Option<&str>) -> Volume {
        let attachment = attached_to.map(|instance| Attachment {
            instance: instance.into(),
            device: "/dev/xvdu".to_owned(),
            delete_on_termination: false,
        });
        Volume {
            id: id.into(),
            state: VolumeState::Available,
            created: "2026-11-22T07:30:00Z".parse().unwrap(),
            zone: "eu-west-2a".into(),
            size_gib: 20,
            performance: Performance {
                volume_type: "gp3".to_owned(),
                iops: None,
                throughput: None,
            },
            encrypted: false,
            made_from: None,
            attachments: attachment.into_iter().collect(),
            tags,
        }
    }

    fn exchange(old: Volume, new: Volume) -> Exchange {
        Exchange {
            id: "r-1f2e3d4c5b6a".into(),
            members: vec![MemberExchange {
                key: "main/a".parse().unwrap(),
                leaving: vec![old],
                coming: vec![(new, tags())],
            }],
        }
    }

    /// Nothing exchanged yet, the old volume free or not.
    fn pending(attached_to: Option<&str>) -> Exchange {
        let old = volume("vol-old", tags(), attached_to);
        exchange(old, volume("vol-new", Tags::new(), None))
    }

    fn fleet(state: InstanceState, launches_suspended: bool) -> FleetOfMasters {
        let master = |id: &str, state| Master {
            id: id.into(),
            zone: "eu-west-2a".into(),
            state,
        };
        FleetOfMasters {
            masters: vec![
                master("i-a", state),
                master("i-gone", InstanceState::Terminated),
            ],
            groups: vec![MasterGroup {
                name: "master-a".into(),
                zones: vec!["eu-west-2a".into()],
                instances: vec!["i-a".into()],
                launching: Vec::new(),
                launches_suspended,
                suspended_by: None,
            }],
            protected: BTreeSet::new(),
        }
    }

    #[test]
    fn launches_stop_then_masters_then_it_waits_for_volumes() {
        let exchange = pending(Some("i-a"));
        let next = |state, suspended| next(&exchange, &fleet(state, suspended));
        let suspend = MastersStep::Suspend(vec!["master-a".into()]);
        let terminate = MastersStep::Terminate(vec!["i-a".into()]);
        assert_eq!(next(InstanceState::Running, false), Some(suspend));
        assert_eq!(next(InstanceState::Running, true), Some(terminate));
        for state in [InstanceState::ShuttingDown, InstanceState::Terminated] {
            assert_eq!(next(state, true), Some(MastersStep::Wait), "{state:?}");
        }
    }

    #[test]
    fn a_launch_that_was_under_way_is_waited_for_and_terminated() {
        let exchange = pending(None);
        let mut fleet = fleet(InstanceState::Terminated, true);
        assert_eq!(next(&exchange, &fleet), None);
        fleet.groups[0].launching.push("i-late".into());
        assert_eq!(
            next(&exchange, &fleet),
            Some(MastersStep::Wait),
            "EC2 doesn't show it yet"
        );
        fleet.masters.push(Master {
            id: "i-late".into(),
            zone: "eu-west-2a".into(),
            state: InstanceState::Pending,
        });
        let terminate = MastersStep::Terminate(vec!["i-late".into()]);
        assert_eq!(next(&exchange, &fleet), Some(terminate));
    }

    #[test]
    fn once_a_new_volume_is_tagged_no_master_dies_any_more() {
        let old = volume("vol-old", Tags::new(), None);
        let new = volume("vol-new", tags(), None);
        let running = fleet(InstanceState::Running, false);
        assert_eq!(next(&exchange(old, new.clone()), &running), None);
        let still_attached = volume("vol-old", Tags::new(), Some("i-a"));
        let mut half_way = exchange(still_attached, new.clone());
        assert_eq!(next(&half_way, &running), None, "the exchange is over");
        let untagged = (volume("vol-other", Tags::new(), None), tags());
        half_way.members[0].coming.push(untagged);
        let suspend = MastersStep::Suspend(vec!["master-a".into()]);
        assert_eq!(next(&half_way, &running), Some(suspend));
    }
}
