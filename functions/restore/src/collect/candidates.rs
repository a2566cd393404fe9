//! The volumes among which masters find theirs.

use std::collections::BTreeMap;

use etcd_backup_core::aws::{AwsError, Storage};
use etcd_backup_core::fleet::cluster_filters;
use etcd_backup_core::ids::{ClusterName, VolumeId};
use etcd_backup_core::volume::Volume;

/// Lists them.
///
/// # Errors
///
/// When a listing fails.
pub async fn read(
    aws: &impl Storage,
    cluster: &ClusterName,
) -> Result<BTreeMap<VolumeId, Volume>, AwsError> {
    let [by_cluster, by_owner] = cluster_filters(cluster);
    let (by_cluster, by_owner) =
        tokio::try_join!(aws.volumes(&by_cluster), aws.volumes(&by_owner))?;
    Ok(by_id(by_cluster.into_iter().chain(by_owner)))
}

/// Those that exist, by id.
pub fn by_id(volumes: impl Iterator<Item = Volume>) -> BTreeMap<VolumeId, Volume> {
    let existing = volumes.filter(Volume::exists);
    existing.map(|volume| (volume.id.clone(), volume)).collect()
}
