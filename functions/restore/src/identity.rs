//! How a restore knows its own work.
//!
//! The AWS CLI asks again with a new request id when it has waited for 60 seconds, and Lambda retries
//! by itself: so a restore's id and its volumes' client tokens follow from what it does, never from
//! the request. The same restore asked for twice makes the same calls, and EC2 gives the same volumes.

use std::collections::BTreeMap;

use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{ClusterName, MemberKey, RestoreId, VolumeId};
use etcd_backup_core::restore_tags::Origin;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::{Volume, VolumeState};
use sha2::{Digest, Sha256};

/// Hexadecimal digits of an id.
const DIGITS: usize = 12;

/// The id of the restore of these snapshots in place of these volumes: the first that no volume of an
/// earlier attempt, since retired again, carries.
pub fn restore_id(
    name: &ClusterName,
    cluster: &Cluster,
    snapshots: &BTreeMap<MemberKey, Snapshot>,
    replaced: &[VolumeId],
) -> RestoreId {
    let mut input = format!("cluster {name}\n");
    for (key, snapshot) in snapshots {
        input += &format!("snapshot {key} {}\n", snapshot.id);
    }
    let mut replaced: Vec<_> = replaced.iter().collect();
    replaced.sort();
    for volume in replaced {
        input += &format!("replaced {volume}\n");
    }
    let was_retired = |id: &RestoreId| {
        let retired = cluster.members.values().flat_map(|member| &member.retired);
        retired
            .filter_map(|(_, volume)| Origin::of(&volume.tags))
            .any(|origin| origin.restore_id == *id)
    };
    let mut attempt = 0;
    loop {
        let id = RestoreId::from(format!(
            "r-{}",
            digest(&format!("{input}attempt {attempt}\n"))
        ));
        if !was_retired(&id) {
            return id;
        }
        attempt += 1;
    }
}

/// The token that makes a repeated CreateVolume give the volume made first. A volume that ended in
/// `error` has used its token up.
pub fn client_token(cluster: &Cluster, restore_id: &RestoreId, key: &MemberKey) -> String {
    let failed = failed(cluster, restore_id).filter(|(origin, _)| origin.member == *key);
    format!(
        "{restore_id}-{}",
        digest(&format!("{key} after {}", failed.count()))
    )
}

/// The volumes of a restore that ended in `error`.
pub fn failed<'a>(
    cluster: &'a Cluster,
    restore_id: &'a RestoreId,
) -> impl Iterator<Item = &'a (Origin, Volume)> {
    cluster.unfinished.iter().filter(move |(origin, volume)| {
        origin.restore_id == *restore_id && volume.state == VolumeState::Error
    })
}

fn digest(input: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(input));
    digits.truncate(DIGITS);
    digits
}
