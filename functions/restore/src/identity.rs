//! How a restore knows its own work.
//!
//! The AWS CLI asks again with a new request id when it has waited for 60 seconds, and Lambda retries
//! by itself: so a restore's id and its volumes' client tokens follow from what it does, never from
//! the request. The same restore asked for twice makes the same calls, and EC2 gives the same volumes.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::aws::NewVolume;
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
    // By the origin, or where kops has taken that off by the undo's journal.
    let was_retired = |id: &RestoreId| {
        let mut retired = cluster.members.values().flat_map(|member| &member.retired);
        retired.any(|(by, volume)| {
            let origin = Origin::of(&volume.tags);
            origin.is_some_and(|origin| origin.restore_id == *id) || by.restore_id == id.undo()
        })
    };
    let mut attempt = 0;
    loop {
        let id = RestoreId::of_digits(&digest(&format!("{input}attempt {attempt}\n")));
        if !was_retired(&id) {
            return id;
        }
        attempt += 1;
    }
}

/// The token that makes a repeated CreateVolume give the volume made first.
///
/// A token is used up when its volume failed, or was deleted: `used_up` counts those that this
/// invocation found so, beside the failed ones that are still there. All that decides how the volume is
/// made is in the token, so that a corrected event doesn't meet the token of the event before.
pub fn client_token(
    cluster: &Cluster,
    volume: &NewVolume,
    origin: &Origin,
    used_up: u32,
) -> String {
    let failed =
        failed(cluster, &origin.restore_id).filter(|(other, _)| other.member == origin.member);
    let made_how = digest(&format!(
        "{} {} {} {} {:?} {:?}",
        origin.member,
        volume.snapshot_id,
        volume.zone,
        volume.size_gib,
        volume.performance,
        volume.tags
    ));
    let number = failed.count() + usize::try_from(used_up).unwrap_or(0);
    format!("{}-{made_how}-{number}", origin.restore_id)
}

/// The member's volume that a restore made, tagged already or not.
pub fn made<'a>(
    cluster: &'a Cluster,
    restore_id: &RestoreId,
    key: &MemberKey,
) -> Option<&'a Volume> {
    let member = cluster.members.get(key);
    // kops may have taken the origin off a tagged one; what it replaced remembers it too.
    let is_ours = |volume: &Volume| {
        Origin::of(&volume.tags).is_some_and(|origin| origin.restore_id == *restore_id)
            || member.is_some_and(|member| {
                let mut retired = member.retired.iter();
                retired.any(|(by, _)| {
                    by.restore_id == *restore_id && by.replaced_by.as_ref() == Some(&volume.id)
                })
            })
    };
    let live = member.map_or(&[][..], |member| &member.volumes);
    let untagged = cluster.unfinished.iter().filter(|(origin, volume)| {
        origin.restore_id == *restore_id
            && origin.member == *key
            && volume.state != VolumeState::Error
    });
    live.iter()
        .find(|volume| is_ours(volume))
        .or_else(|| untagged.map(|(_, volume)| volume).next())
}

/// All that a restore has made so far, by member.
pub fn own_work<'a>(
    cluster: &'a Cluster,
    restore_id: &RestoreId,
) -> BTreeMap<MemberKey, &'a Volume> {
    let untagged = cluster.unfinished.iter().map(|(origin, _)| &origin.member);
    let keys: BTreeSet<&MemberKey> = cluster.members.keys().chain(untagged).collect();
    let made = |key: &MemberKey| Some((key.clone(), made(cluster, restore_id, key)?));
    keys.into_iter().filter_map(made).collect()
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
