//! The snapshots and volumes that there are, and who made the snapshots.
//!
//! The table of restores isn't read: verify has no permission but what reading snapshots takes. Where
//! volumes were exchanged follows from the tags that restores leave.

use std::collections::BTreeMap;

use etcd_backup_core::aws::{AwsError, Filter, Storage};
use etcd_backup_core::discovery::Identity;
use etcd_backup_core::fleet::{Cluster, Fleet, cluster_filters, snapshot_filters, volume_filters};
use etcd_backup_core::ids::{ClusterName, SnapshotId, VolumeId};
use etcd_backup_core::lifecycle_policy::{Policies, ours};
use etcd_backup_core::provenance::Makers;
use etcd_backup_core::restore_tags;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use futures::future::try_join_all;

/// How many values one filter takes.
///
/// Source: EC2 API reference, "Listing and filtering".
const FILTER_VALUES_MAX: usize = 200;

/// What is there of one cluster.
///
/// # Errors
///
/// When a listing fails.
pub async fn cluster(
    aws: &(impl Storage + Policies),
    settings: &Settings,
    name: &ClusterName,
) -> Result<Cluster, AwsError> {
    let [by_cluster, by_owner] = cluster_filters(name);
    let of_restores = [Filter::new(
        format!("tag:{}", restore_tags::CLUSTER),
        [name.as_str()],
    )];
    let (makers, volumes, owned_volumes, restored_volumes, snapshots, owned_snapshots) = tokio::try_join!(
        makers(aws, settings),
        aws.volumes(&by_cluster),
        aws.volumes(&by_owner),
        aws.volumes(&of_restores),
        aws.snapshots(&by_cluster),
        aws.snapshots(&by_owner),
    )?;
    let volumes: BTreeMap<VolumeId, _> = [volumes, owned_volumes, restored_volumes]
        .into_iter()
        .flatten()
        .map(|volume| (volume.id.clone(), volume))
        .collect();
    // Snapshots whose tags fail are known by their volumes.
    let of_volumes = with(
        aws,
        "volume-id",
        volumes.keys().map(VolumeId::to_string).collect(),
    )
    .await?;
    let snapshots: BTreeMap<SnapshotId, Snapshot> = [snapshots, owned_snapshots, of_volumes]
        .into_iter()
        .flatten()
        .map(|snapshot| (snapshot.id.clone(), snapshot))
        .collect();
    let mut fleet = Fleet::new(
        volumes.into_values().collect(),
        snapshots.into_values().collect(),
        &makers,
    );
    Ok(fleet.clusters.remove(name).unwrap_or_default())
}

/// All clusters of the account and Region.
///
/// # Errors
///
/// When a listing fails.
pub async fn fleet(
    aws: &(impl Storage + Policies),
    settings: &Settings,
) -> Result<Fleet, AwsError> {
    let (volume_filters, snapshot_filters) = (volume_filters(), snapshot_filters(settings));
    let (makers, volumes, snapshots) = tokio::try_join!(
        makers(aws, settings),
        aws.volumes(&volume_filters),
        aws.snapshots(&snapshot_filters),
    )?;
    Ok(Fleet::new(volumes, snapshots, &makers))
}

/// Snapshots by their ids; those that don't exist are left out.
///
/// # Errors
///
/// When a listing fails.
pub async fn snapshots<'a>(
    aws: &impl Storage,
    ids: impl Iterator<Item = &'a SnapshotId>,
) -> Result<BTreeMap<SnapshotId, Snapshot>, AwsError> {
    let found = with(aws, "snapshot-id", ids.map(SnapshotId::to_string).collect()).await?;
    Ok(found
        .into_iter()
        .map(|snapshot| (snapshot.id.clone(), snapshot))
        .collect())
}

/// Whose a snapshot is, by its tags; where they fail, by its volume's.
///
/// # Errors
///
/// When a listing fails.
pub async fn identity(
    aws: &impl Storage,
    snapshot: &Snapshot,
) -> Result<Option<Identity>, AwsError> {
    if let Some(Ok(identity)) = Identity::of(&snapshot.tags) {
        return Ok(Some(identity));
    }
    let filter = [Filter::new("volume-id", [snapshot.volume_id.as_str()])];
    let volumes = aws.volumes(&filter).await?;
    let identities = volumes
        .iter()
        .filter_map(|volume| Identity::of(&volume.tags)?.ok());
    Ok(identities.into_iter().next())
}

async fn with(
    aws: &impl Storage,
    name: &str,
    values: Vec<String>,
) -> Result<Vec<Snapshot>, AwsError> {
    let filters: Vec<_> = values
        .chunks(FILTER_VALUES_MAX)
        .map(|values| [Filter::new(name, values.iter().cloned())])
        .collect();
    let listings = filters.iter().map(|filter| aws.snapshots(filter));
    Ok(try_join_all(listings)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

async fn makers(aws: &impl Policies, settings: &Settings) -> Result<Makers, AwsError> {
    let all = aws.policies().await?;
    let own = ours(&all, settings).into_iter();
    let own = try_join_all(own.map(|policy| aws.policy(&policy.id))).await?;
    let own: Vec<_> = own.into_iter().flatten().collect();
    Ok(Makers::new(
        all.iter().map(|policy| &policy.id),
        &own,
        settings,
    ))
}
