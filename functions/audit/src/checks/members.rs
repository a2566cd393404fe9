//! Whether every member has its volume, and only one.

use etcd_backup_core::discovery::Identity;
use etcd_backup_core::fleet::{Cluster, Member, UnidentifiedVolume};
use etcd_backup_core::ids::{ClusterName, MemberKey, VolumeId};
use etcd_backup_core::volume::Volume;

use super::{Scope, restores};
use crate::finding::{Finding, Kind, Subject};

/// How many volumes a finding names.
const IDS_NAMED_MAX: usize = 10;

/// `member_missing`, `member_duplicated`.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        let in_exchange = restores::in_exchange(scope, name);
        for (key, member) in &cluster.members {
            let subject = Subject::member(name, key);
            match &member.volumes[..] {
                [] if member.is_named
                    && !has_unidentified_volume(scope, name, key)
                    && !in_exchange.contains(key) =>
                {
                    findings.push(Finding::new(subject, missing(cluster, key, member)));
                }
                [] | [_] => {}
                volumes => findings.push(Finding::new(
                    subject,
                    Kind::MemberDuplicated {
                        count: volumes.len(),
                        volume_ids: first_ids(volumes.iter()),
                    },
                )),
            }
        }
    }
    findings
}

/// A member whose volume is there, but wrongly tagged, isn't missing: `volume_tag_wrong` says it.
fn has_unidentified_volume(scope: &Scope, name: &ClusterName, key: &MemberKey) -> bool {
    let unidentified = scope.fleet.unidentified_volumes_of(name).iter();
    let mut likely_members = unidentified.filter_map(UnidentifiedVolume::likely_member);
    likely_members.any(|likely| likely == *key)
}

fn missing(cluster: &Cluster, key: &MemberKey, member: &Member) -> Kind {
    Kind::MemberMissing {
        named_by: named_by(cluster, key),
        latest_snapshot: member
            .snapshots
            .last()
            .map(|of_member| of_member.snapshot.id.clone()),
    }
}

fn first_ids<'a>(volumes: impl Iterator<Item = &'a Volume>) -> Vec<VolumeId> {
    volumes
        .take(IDS_NAMED_MAX)
        .map(|volume| volume.id.clone())
        .collect()
}

fn named_by(cluster: &Cluster, key: &MemberKey) -> Vec<VolumeId> {
    let volumes = cluster
        .members_of(&key.etcd_cluster)
        .flat_map(|(_, member)| &member.volumes)
        .filter(|volume| {
            let identity = Identity::of(&volume.tags).and_then(Result::ok);
            identity.is_some_and(|identity| identity.etcd.members.contains(&key.member))
        });
    first_ids(volumes)
}
