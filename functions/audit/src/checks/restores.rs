//! Whether a restore, or an undo, was left unfinished: by its record, and by launches that are still
//! suspended in a restore's name.

use std::collections::BTreeSet;

use etcd_backup_core::aws::SuspendedGroup;
use etcd_backup_core::aws_cli;
use etcd_backup_core::discovery::Identity;
use etcd_backup_core::ids::{ClusterName, GroupName, MemberKey, VolumeId};
use etcd_backup_core::restore_record::{Direction, MemberRecord, RestoreRecord};
use etcd_backup_core::volume::{Volume, VolumeState};

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// `restore_unfinished`, one per restore.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let recorded = scope.inventory.restores.clusters.keys();
    let recorded = recorded.filter_map(|name| of_record(scope, name));
    let suspended = scope.inventory.suspended_groups.iter();
    let names: BTreeSet<Option<&ClusterName>> =
        suspended.map(|group| group.cluster.as_ref()).collect();
    let unrecorded = names
        .into_iter()
        .filter_map(|name| of_groups_alone(scope, name));
    recorded.chain(unrecorded).collect()
}

fn of_record(scope: &Scope, name: &ClusterName) -> Option<Finding> {
    let record = unfinished(scope, name)?;
    let turn = record.turn();
    let members = record.members.values();
    let awaited = members.flat_map(|member| awaited(member, turn.direction));
    let untagged = awaited.filter(|id| !volume(scope, id).is_some_and(is_found_by_masters));
    Some(finding(
        Some(name),
        Kind::RestoreUnfinished {
            restore_id: record.id.clone(),
            direction: turn.direction,
            run: record.run,
            began: turn.started_at(),
            volume_ids: untagged.cloned().collect(),
            suspended_groups: suspended_groups(scope, Some(name)),
            resume_commands: Vec::new(),
        },
    ))
}

/// Launches that are suspended in the name of a restore that is over, or that no record is left of.
fn of_groups_alone(scope: &Scope, name: Option<&ClusterName>) -> Option<Finding> {
    if name.is_some_and(|name| unfinished(scope, name).is_some()) {
        return None;
    }
    let mut groups = scope.inventory.suspended_groups.iter();
    let group = groups.find(|group| group.cluster.as_ref() == name && is_asked(scope, group))?;
    let suspended_groups = suspended_groups(scope, name);
    let resume = |group: &GroupName| aws_cli::resume_launches(&scope.inventory.region, group);
    Some(finding(
        name,
        Kind::RestoreUnfinished {
            restore_id: group.by.clone(),
            direction: Direction::Restore,
            run: None,
            began: None,
            volume_ids: Vec::new(),
            resume_commands: suspended_groups.iter().map(resume).collect(),
            suspended_groups,
        },
    ))
}

fn finding(name: Option<&ClusterName>, kind: Kind) -> Finding {
    let subject = Subject {
        cluster: name.cloned(),
        ..Subject::default()
    };
    Finding::new(subject, kind)
}

/// A cluster's restore that has not ended.
pub fn unfinished<'a>(scope: &Scope<'a>, name: &ClusterName) -> Option<&'a RestoreRecord> {
    let is_asked = scope.asked.is_none_or(|asked| asked.contains(name));
    let record = scope.inventory.restores.unfinished(name);
    record.filter(|_| is_asked)
}

/// The members whose volumes an unfinished restore is exchanging: the outgoing ones are out of the
/// masters' sight, and the incoming ones, which are there, may not be in it yet. They are neither lost nor
/// missing.
pub fn in_exchange(scope: &Scope, name: &ClusterName) -> BTreeSet<MemberKey> {
    let Some(record) = unfinished(scope, name) else {
        return BTreeSet::new();
    };
    let turn = record.turn();
    if turn.exchanged_at().is_none() {
        return BTreeSet::new();
    }
    let is_there = |id: &VolumeId| {
        volume(scope, id)
            .is_some_and(|volume| volume.exists() && volume.state != VolumeState::Error)
    };
    let members = record.members.iter();
    let in_exchange = members.filter(|(_, member)| awaited(member, turn.direction).any(is_there));
    in_exchange.map(|(key, _)| key.clone()).collect()
}

/// The volumes of a member that masters are to find when the turn has ended.
fn awaited(member: &MemberRecord, direction: Direction) -> impl Iterator<Item = &VolumeId> {
    let returns = direction == Direction::Undo;
    let outgoing = member.outgoing.iter().map(|volume| &volume.id);
    let outgoing = outgoing.filter(move |_| returns);
    let incoming = member.incoming.volume_id.iter();
    outgoing.chain(incoming.filter(move |_| !returns))
}

fn volume<'a>(scope: &Scope<'a>, id: &VolumeId) -> Option<&'a Volume> {
    scope.inventory.restores.volumes.get(id)
}

fn is_found_by_masters(volume: &Volume) -> bool {
    Identity::of(&volume.tags).is_some()
}

fn suspended_groups(scope: &Scope, name: Option<&ClusterName>) -> Vec<GroupName> {
    let groups = scope.inventory.suspended_groups.iter();
    let of_cluster = groups.filter(|group| group.cluster.as_ref() == name);
    of_cluster.map(|group| group.name.clone()).collect()
}

fn is_asked(scope: &Scope, group: &SuspendedGroup) -> bool {
    scope.asked.is_none_or(|asked| {
        let cluster = group.cluster.as_ref();
        cluster.is_some_and(|cluster| asked.contains(cluster))
    })
}
