//! The volumes among which masters find theirs.

use std::collections::BTreeMap;

use etcd_backup_core::aws::{AwsError, Filter, Storage};
use etcd_backup_core::discovery::{CLUSTER, CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, ETCD_PREFIX};
use etcd_backup_core::ids::{ClusterName, VolumeId};
use etcd_backup_core::volume::Volume;

/// The filters of the two listings that hold whatever etcd-manager or protokube would find: each of
/// theirs asks for one of these clusters' tags, and for more ([`crate::decide::discovery`] has it all).
pub fn filters(cluster: &ClusterName) -> [Vec<Filter>; 2] {
    let of_etcd = || Filter::new("tag-key", [format!("{ETCD_PREFIX}*")]);
    [
        vec![
            Filter::new(format!("tag:{CLUSTER}"), [cluster.as_str()]),
            of_etcd(),
        ],
        vec![
            Filter::new(
                format!("tag:{CLUSTER_OWNED_PREFIX}{cluster}"),
                [CLUSTER_OWNED],
            ),
            of_etcd(),
        ],
    ]
}

/// Lists them.
///
/// # Errors
///
/// When a listing fails.
pub async fn read(
    aws: &impl Storage,
    cluster: &ClusterName,
) -> Result<BTreeMap<VolumeId, Volume>, AwsError> {
    let [by_cluster, by_owner] = filters(cluster);
    let (by_cluster, by_owner) =
        tokio::try_join!(aws.volumes(&by_cluster), aws.volumes(&by_owner))?;
    Ok(by_id(by_cluster.into_iter().chain(by_owner)))
}

/// Those that exist, by id.
pub fn by_id(volumes: impl Iterator<Item = Volume>) -> BTreeMap<VolumeId, Volume> {
    let existing = volumes.filter(Volume::exists);
    existing.map(|volume| (volume.id.clone(), volume)).collect()
}
