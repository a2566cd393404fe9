//! The inventory: what is there of one cluster, and of no other.
//!
//! Invariants:
//!
//! - Listings are the cluster's alone, so that calls and memory don't grow with other clusters.
//! - The control plane is read before the volumes. Who sees outgoing volumes not exchanged yet then knows
//!   that the masters seen are from before the exchange.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::aws::{AwsError, Filter, Masters, Storage};
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::fleet::{Cluster, Fleet, Member, UnidentifiedVolume, cluster_filters};
use etcd_backup_core::ids::{ClusterName, SnapshotId, VolumeId};
use etcd_backup_core::lifecycle_policy::{Policies, ours};
use etcd_backup_core::provenance::Makers;
use etcd_backup_core::restore_record::Direction;
use etcd_backup_core::restore_tags;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::volume::Volume;
use futures::future::try_join_all;

use super::candidates;
use super::control_plane::{ControlPlane, ZoneEvidence};
use super::records::Records;
use crate::event::{Action, Request};

/// How many values one filter takes.
///
/// Source: EC2 API reference, "Listing and filtering".
const FILTER_VALUES_MAX: usize = 200;

/// What is there of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Every volume that masters could find, that a restore made or retired, or that a record names.
    pub volumes: BTreeMap<VolumeId, Volume>,
    /// Volumes and managed snapshots by member.
    pub cluster: Cluster,
    /// Volumes that claim to be the cluster's, with an etcd tag that doesn't tell whose.
    pub unidentified_volumes: Vec<UnidentifiedVolume>,
    /// The snapshots that the event names by hand, and those of an unfinished restore, as far as they exist.
    pub named_snapshots: BTreeMap<SnapshotId, Snapshot>,
    /// The volumes that the snapshots named by hand are of, as far as they are none of the above.
    pub named_volumes: BTreeMap<VolumeId, Volume>,
    /// Its masters and their groups.
    pub control_plane: ControlPlane,
    /// What tells zones; empty where nothing needs it.
    pub zone_evidence: ZoneEvidence,
}

/// Reads what an event needs to know.
///
/// # Errors
///
/// When a call fails.
pub async fn read(
    aws: &(impl Storage + Masters + Policies),
    settings: &Settings,
    request: &Request,
    records: &Records,
) -> Result<Inventory, Diagnostic> {
    let cluster = &request.cluster;
    let control_plane = async {
        if matches!(request.action, Action::List | Action::History) {
            return Ok(ControlPlane::default());
        }
        let before = ControlPlane::default();
        ControlPlane::read(aws, cluster, request.replaces_masters(), &before).await
    };
    let chooses = chooses_snapshots(request);
    let makers = async {
        if chooses {
            makers(aws, settings).await
        } else {
            Ok(Makers::new([], &[], settings))
        }
    };
    let (control_plane, makers, tagged, named) = tokio::try_join!(
        control_plane,
        makers,
        where_needed(chooses, snapshots_by_tags(aws, cluster)),
        named_snapshots(aws, request, records),
    )?;
    let volumes = volumes(aws, request, records).await?;
    let of_volumes = where_needed(chooses, snapshots_of(aws, volumes.keys())).await?;
    let named_volumes = named.iter().map(|snapshot| &snapshot.volume_id);
    let named_volumes = named_volumes.filter(|id| !volumes.contains_key(*id));
    let named_volumes = where_needed(
        request.snapshots.is_some(),
        volumes_by_id(aws, named_volumes),
    )
    .await?;
    let snapshots: BTreeMap<SnapshotId, Snapshot> = tagged
        .into_iter()
        .chain(of_volumes)
        .map(|snapshot| (snapshot.id.clone(), snapshot))
        .collect();
    let listed = volumes.values().cloned().collect();
    let mut fleet = Fleet::new(listed, snapshots.into_values().collect(), &makers);
    let mut inventory = Inventory {
        cluster: fleet.clusters.remove(cluster).unwrap_or_default(),
        unidentified_volumes: fleet
            .unidentified_volumes
            .remove(&Some(cluster.clone()))
            .unwrap_or_default(),
        volumes,
        named_volumes,
        named_snapshots: named
            .into_iter()
            .map(|snapshot| (snapshot.id.clone(), snapshot))
            .collect(),
        control_plane,
        zone_evidence: ZoneEvidence::default(),
    };
    if inventory.needs_zone_evidence(request) {
        let zones = aws.zones().await?;
        inventory.zone_evidence = inventory.control_plane.zone_evidence(zones);
    }
    Ok(inventory)
}

impl Inventory {
    /// Whether a snapshot that the event or an unfinished restore names exists.
    pub fn is_snapshot_there(&self, id: &SnapshotId) -> bool {
        self.named_snapshots.contains_key(id)
    }

    /// Whether a restore may have to find zones out, or the event names some.
    fn needs_zone_evidence(&self, request: &Request) -> bool {
        let restores = matches!(request.action, Action::Restore | Action::Plan)
            && request.direction() == Direction::Restore;
        let members = &self.cluster.members;
        let is_lost = |member: &Member| member.volumes.is_empty();
        let named = request.snapshots.iter().flat_map(|named| named.keys());
        let is_any_unknown = || named.into_iter().any(|key| !members.contains_key(key));
        restores && (!request.zones.is_empty() || members.values().any(is_lost) || is_any_unknown())
    }
}

/// Whether an event is about which snapshots there are: an undo or a redo makes no volume of any.
fn chooses_snapshots(request: &Request) -> bool {
    let turns = match request.action {
        Action::Undo | Action::Redo => true,
        Action::Plan => request.direction() != Direction::Restore,
        Action::List | Action::Restore | Action::Status | Action::History => false,
    };
    !turns
}

/// What a read gives, or nothing where it isn't needed.
async fn where_needed<T: Default>(
    is_needed: bool,
    read: impl Future<Output = Result<T, AwsError>>,
) -> Result<T, AwsError> {
    if is_needed {
        read.await
    } else {
        Ok(T::default())
    }
}

/// Who can have made a snapshot.
async fn makers(aws: &impl Policies, settings: &Settings) -> Result<Makers, AwsError> {
    let all = aws.policies().await?;
    let own = ours(&all, settings);
    let own = own.into_iter().map(|policy| aws.policy(&policy.id));
    let own: Vec<_> = try_join_all(own).await?.into_iter().flatten().collect();
    let existing = all.iter().map(|policy| &policy.id);
    Ok(Makers::new(existing, &own, settings))
}

async fn volumes(
    aws: &impl Storage,
    request: &Request,
    records: &Records,
) -> Result<BTreeMap<VolumeId, Volume>, AwsError> {
    let cluster = &request.cluster;
    let by_restores = [Filter::new(
        format!("tag:{}", restore_tags::CLUSTER),
        [cluster.as_str()],
    )];
    let (mut volumes, touched) =
        tokio::try_join!(candidates::read(aws, cluster), aws.volumes(&by_restores))?;
    volumes.extend(candidates::by_id(touched.into_iter()));
    let recorded = records.in_question(request);
    let recorded: BTreeSet<&VolumeId> = recorded.flat_map(|record| record.volume_ids()).collect();
    let missing = recorded.into_iter().filter(|id| !volumes.contains_key(*id));
    let missing = volumes_by_id(aws, missing).await?;
    volumes.extend(missing);
    Ok(volumes)
}

/// The volumes with these ids that exist.
///
/// # Errors
///
/// When a listing fails.
pub async fn volumes_by_id(
    aws: &impl Storage,
    ids: impl Iterator<Item = &VolumeId>,
) -> Result<BTreeMap<VolumeId, Volume>, AwsError> {
    // Asked for by a filter, a volume that is gone is left out; asked for by its id, it would be an error.
    let filters = filters("volume-id", ids.map(VolumeId::to_string).collect());
    let listings = filters.iter().map(|filter| aws.volumes(filter));
    let volumes = try_join_all(listings).await?;
    Ok(candidates::by_id(volumes.into_iter().flatten()))
}

async fn snapshots_by_tags(
    aws: &impl Storage,
    cluster: &ClusterName,
) -> Result<Vec<Snapshot>, AwsError> {
    let [by_cluster, by_owner] = cluster_filters(cluster);
    let (by_cluster, by_owner) =
        tokio::try_join!(aws.snapshots(&by_cluster), aws.snapshots(&by_owner))?;
    Ok([by_cluster, by_owner].concat())
}

/// Snapshots whose tags fail, or name another cluster, are known by their volumes.
async fn snapshots_of(
    aws: &impl Storage,
    volumes: impl Iterator<Item = &VolumeId>,
) -> Result<Vec<Snapshot>, AwsError> {
    let filters = filters("volume-id", volumes.map(VolumeId::to_string).collect());
    let listings = filters.iter().map(|filter| aws.snapshots(filter));
    let snapshots = try_join_all(listings).await?;
    Ok(snapshots.into_iter().flatten().collect())
}

/// Named by the event, or by an unfinished restore, which may have to make a volume of it yet.
async fn named_snapshots(
    aws: &impl Storage,
    request: &Request,
    records: &Records,
) -> Result<Vec<Snapshot>, AwsError> {
    let by_hand = request.snapshots.iter().flatten().map(|(_, id)| id);
    let unfinished = records.all().filter(|record| record.is_unfinished());
    let members = unfinished.flat_map(|record| record.members.values());
    let ids: BTreeSet<&SnapshotId> = by_hand
        .chain(members.map(|member| &member.snapshot.id))
        .collect();
    let ids = ids.into_iter().map(SnapshotId::to_string).collect();
    let filters = filters("snapshot-id", ids);
    let listings = filters.iter().map(|filter| aws.snapshots(filter));
    let snapshots = try_join_all(listings).await?;
    Ok(snapshots.into_iter().flatten().collect())
}

/// As many filters as the values need; none for none.
fn filters(name: &str, values: Vec<String>) -> Vec<[Filter; 1]> {
    let chunks = values.chunks(FILTER_VALUES_MAX);
    chunks
        .map(|values| [Filter::new(name, values.iter().cloned())])
        .collect()
}
