//! What restore reads before it decides: the cluster's volumes and snapshots, its masters, and, only
//! where a vanished volume leaves the zone open, what else tells the zone.

use std::collections::BTreeMap;

use etcd_backup_core::aws::{AwsError, Filter, Master, Masters, Storage};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::{Cluster, Fleet, Misfit, snapshot_filters, volume_filters};
use etcd_backup_core::ids::{SnapshotId, ZoneName};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;

use crate::event::Request;

/// What is there of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// All managed snapshots, as listed.
    snapshots: Vec<Snapshot>,
    /// Its volumes and managed snapshots.
    pub cluster: Cluster,
    /// Volumes that claim to be its, with an etcd tag that doesn't tell whose.
    pub misfits: Vec<Misfit>,
    /// The snapshots that the event names by hand, as far as they exist.
    pub by_hand: BTreeMap<SnapshotId, Snapshot>,
    /// Its masters that are not terminated.
    pub masters: Vec<Master>,
}

/// What tells the zone of a volume that is gone.
#[derive(Clone, Debug, Default)]
pub struct ZoneEvidence {
    /// The Region's zones.
    pub zones: Vec<ZoneName>,
    /// The zones of the cluster's masters, one entry each.
    pub of_masters: Vec<ZoneName>,
    /// The zones of its control-plane groups, one entry a group and zone.
    pub of_groups: Vec<ZoneName>,
}

/// Reads what is there.
///
/// # Errors
///
/// `ClusterNotFound` where nothing of the cluster is left; `AwsError` when a listing fails.
pub async fn collect(
    aws: &(impl Storage + Masters),
    settings: &Settings,
    request: &Request,
) -> Result<Situation, Diagnostic> {
    let (volume_filters, snapshot_filters) = (volume_filters(), snapshot_filters(settings));
    let (volumes, snapshots, by_hand, masters) = tokio::try_join!(
        aws.volumes(&volume_filters),
        aws.snapshots(&snapshot_filters),
        named_by_hand(aws, request),
        aws.masters(&request.cluster),
    )?;
    let mut fleet = Fleet::new(volumes, snapshots.clone(), settings);
    let cluster = fleet.clusters.remove(&request.cluster);
    let misfits = fleet.misfits.remove(&Some(request.cluster.clone()));
    if cluster.is_none() && misfits.is_none() && by_hand.is_empty() {
        return Err(cluster_not_found(request, &fleet));
    }
    Ok(Situation {
        snapshots,
        misfits: misfits.unwrap_or_default(),
        cluster: cluster.unwrap_or_default(),
        by_hand: by_hand
            .into_iter()
            .map(|snapshot| (snapshot.id.clone(), snapshot))
            .collect(),
        masters,
    })
}

impl Situation {
    /// The same with the volumes as they are now; snapshots don't change under a restore.
    ///
    /// # Errors
    ///
    /// When the listing fails.
    pub async fn refreshed(
        self,
        aws: &impl Storage,
        settings: &Settings,
        request: &Request,
    ) -> Result<Self, AwsError> {
        let volumes = aws.volumes(&volume_filters()).await?;
        let mut fleet = Fleet::new(volumes, self.snapshots.clone(), settings);
        Ok(Self {
            misfits: fleet
                .misfits
                .remove(&Some(request.cluster.clone()))
                .unwrap_or_default(),
            cluster: fleet.clusters.remove(&request.cluster).unwrap_or_default(),
            ..self
        })
    }
}

async fn named_by_hand(aws: &impl Storage, request: &Request) -> Result<Vec<Snapshot>, AwsError> {
    match &request.snapshots {
        // A filter, not ids: an id that doesn't exist is then left out rather than an error of AWS's.
        Some(named) => {
            let ids = named.values().map(SnapshotId::to_string);
            aws.snapshots(&[Filter::new("snapshot-id", ids)]).await
        }
        None => Ok(Vec::new()),
    }
}

fn cluster_not_found(request: &Request, fleet: &Fleet) -> Diagnostic {
    let known: Vec<&str> = fleet.clusters.keys().map(|name| name.as_str()).collect();
    let known = match known.is_empty() {
        true => "no cluster has any here; check the account and the Region".to_owned(),
        false => format!("clusters that have some: {}", known.join(", ")),
    };
    Diagnostic::new(
        ErrorType::ClusterNotFound,
        format!(
            "no etcd volume and no managed snapshot of {} exists in this account and Region; {known}",
            request.cluster
        ),
    )
}

/// Reads what tells zones.
///
/// # Errors
///
/// When a listing fails.
pub async fn zone_evidence(
    aws: &impl Masters,
    request: &Request,
    masters: &[Master],
) -> Result<ZoneEvidence, AwsError> {
    let (zones, groups) = tokio::try_join!(aws.zones(), aws.group_zones(&request.cluster))?;
    Ok(ZoneEvidence {
        zones,
        of_masters: masters.iter().map(|master| master.zone.clone()).collect(),
        of_groups: groups,
    })
}
