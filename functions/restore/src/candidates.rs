//! What a starting master would find: the volumes that the masters' own filters give.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::aws::{AwsError, Filter, Storage};
use etcd_backup_core::discovery::{
    CLUSTER, CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, ETCD_PREFIX, Identity, ROLE_CONTROL_PLANE,
    ROLE_MASTER,
};
use etcd_backup_core::ids::{ClusterName, EtcdClusterName, MemberKey, VolumeId};
use etcd_backup_core::volume::Volume;

/// The volumes that etcd-manager or protokube would consider for some etcd clusters of a cluster.
///
/// # Errors
///
/// When a listing fails.
pub async fn candidates(
    aws: &impl Storage,
    cluster: &ClusterName,
    etcd_clusters: &BTreeSet<EtcdClusterName>,
) -> Result<Vec<Volume>, AwsError> {
    // etcd-manager asks for the master role up to kops 1.25, for the control plane's from 1.26.
    let (by_master, by_control_plane) = (
        etcd_manager_filters(cluster, etcd_clusters, ROLE_MASTER),
        etcd_manager_filters(cluster, etcd_clusters, ROLE_CONTROL_PLANE),
    );
    let by_protokube = [
        Filter::new(format!("tag:{CLUSTER}"), [cluster.as_str()]),
        Filter::new("tag-key", [ROLE_MASTER]),
    ];
    let (by_master, by_control_plane, by_protokube) = tokio::try_join!(
        aws.volumes(&by_master),
        aws.volumes(&by_control_plane),
        aws.volumes(&by_protokube),
    )?;
    let found = [by_master, by_control_plane, by_protokube].concat();
    let by_id: BTreeMap<VolumeId, Volume> = found
        .into_iter()
        .map(|volume| (volume.id.clone(), volume))
        .collect();
    let of_etcd = |volume: &Volume| {
        etcd_clusters
            .iter()
            .any(|name| volume.tags.contains_key(&format!("{ETCD_PREFIX}{name}")))
    };
    Ok(by_id.into_values().filter(of_etcd).collect())
}

fn etcd_manager_filters(
    cluster: &ClusterName,
    etcd_clusters: &BTreeSet<EtcdClusterName>,
    role: &str,
) -> [Filter; 3] {
    let etcd_keys = etcd_clusters
        .iter()
        .map(|name| format!("{ETCD_PREFIX}{name}"));
    [
        Filter::new(
            format!("tag:{CLUSTER_OWNED_PREFIX}{cluster}"),
            [CLUSTER_OWNED],
        ),
        Filter::new("tag-key", etcd_keys),
        Filter::new(format!("tag:{role}"), ["1"]),
    ]
}

/// Which members would not find exactly the volume made for them, and what they would find: what says
/// it is theirs, and what carries their etcd cluster's tag in their zone without saying whose it is.
pub fn wrong<'a>(
    candidates: &[Volume],
    wanted: impl Iterator<Item = (&'a MemberKey, &'a Volume)>,
) -> Vec<(MemberKey, Vec<VolumeId>)> {
    wanted
        .filter_map(|(key, wanted)| {
            let is_theirs = |volume: &&Volume| match Identity::of(&volume.tags) {
                Some(Ok(identity)) => identity.member_key() == *key,
                Some(Err(_)) => {
                    let etcd_key = format!("{ETCD_PREFIX}{}", key.etcd_cluster);
                    volume.zone == wanted.zone && volume.tags.contains_key(&etcd_key)
                }
                None => false,
            };
            let found: Vec<VolumeId> = candidates
                .iter()
                .filter(is_theirs)
                .map(|volume| volume.id.clone())
                .collect();
            (found != [wanted.id.clone()]).then(|| (key.clone(), found))
        })
        .collect()
}
