//! What restore reads before it decides: the cluster's volumes and snapshots, its masters and their
//! groups, and, only where a vanished volume leaves the zone open, what else tells the zone.
//!
//! Invariant: masters are read before volumes. Who sees old volumes not exchanged yet then knows that
//! the masters seen are from before the exchange, whatever another invocation does in between.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::aws::{AwsError, Filter, Master, MasterGroup, Masters, Storage};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::{Cluster, Fleet, Misfit, snapshot_filters, volume_filters};
use etcd_backup_core::ids::{InstanceId, SnapshotId, ZoneName};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::Snapshot;

use crate::event::{MastersOption, Request};

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
    /// Its masters.
    pub fleet_of_masters: FleetOfMasters,
}

/// A cluster's masters and what brings them.
#[derive(Clone, Debug, Default)]
pub struct FleetOfMasters {
    /// The instances, terminated ones too as long as EC2 shows them.
    pub masters: Vec<Master>,
    /// Their autoscaling groups.
    pub groups: Vec<MasterGroup>,
    /// Those of the masters that EC2 refuses to terminate; read only where they are to be replaced.
    pub protected: BTreeSet<InstanceId>,
}

/// What tells the zone of a volume that is gone.
#[derive(Clone, Debug, Default)]
pub struct ZoneEvidence {
    /// The Region's zones.
    pub zones: Vec<ZoneName>,
    /// The zones of the cluster's live masters, one entry each.
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
    let (snapshots, by_hand, fleet_of_masters) = tokio::try_join!(
        aws.snapshots(&snapshot_filters),
        named_by_hand(aws, request),
        fleet_of_masters(aws, request, FleetOfMasters::default()),
    )?;
    let volumes = aws.volumes(&volume_filters).await?;
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
        fleet_of_masters,
    })
}

impl Situation {
    /// The same with volumes and masters as they are now; snapshots don't change under a restore, and
    /// masters only matter where they are replaced, or launches are suspended.
    ///
    /// # Errors
    ///
    /// When the listing fails.
    pub async fn refreshed(
        self,
        aws: &(impl Storage + Masters),
        settings: &Settings,
        request: &Request,
    ) -> Result<Self, AwsError> {
        let before = self.fleet_of_masters;
        let groups_matter = request.masters == MastersOption::Replace || before.is_suspended();
        let fleet_of_masters = match groups_matter {
            true => fleet_of_masters(aws, request, before).await?,
            false => before,
        };
        let volumes = aws.volumes(&volume_filters()).await?;
        let mut fleet = Fleet::new(volumes, self.snapshots.clone(), settings);
        Ok(Self {
            misfits: fleet
                .misfits
                .remove(&Some(request.cluster.clone()))
                .unwrap_or_default(),
            cluster: fleet.clusters.remove(&request.cluster).unwrap_or_default(),
            fleet_of_masters,
            snapshots: self.snapshots,
            by_hand: self.by_hand,
        })
    }
}

impl FleetOfMasters {
    /// The masters that run, or could run again.
    pub fn alive(&self) -> impl Iterator<Item = &Master> {
        self.masters.iter().filter(|master| master.is_alive())
    }

    /// The groups whose launches a restore suspended.
    pub fn suspended(&self) -> impl Iterator<Item = &MasterGroup> {
        self.groups
            .iter()
            .filter(|group| group.suspended_by.is_some())
    }

    /// Whether a restore suspended any launches.
    pub fn is_suspended(&self) -> bool {
        self.suspended().next().is_some()
    }

    /// A master by its id.
    pub fn master(&self, id: &InstanceId) -> Option<&Master> {
        self.masters.iter().find(|master| master.id == *id)
    }

    /// The group that an instance is in.
    pub fn group_of(&self, instance: &InstanceId) -> Option<&MasterGroup> {
        let mut groups = self.groups.iter();
        groups.find(|group| group.instances.contains(instance))
    }
}

/// Whether an instance is protected doesn't change under a restore, so each is asked of once.
async fn fleet_of_masters(
    aws: &impl Masters,
    request: &Request,
    before: FleetOfMasters,
) -> Result<FleetOfMasters, AwsError> {
    let (masters, groups) =
        tokio::try_join!(aws.masters(&request.cluster), aws.groups(&request.cluster))?;
    let mut fleet = FleetOfMasters {
        masters,
        groups,
        protected: before.protected,
    };
    if request.masters == MastersOption::Replace {
        let is_new = |id: &&InstanceId| !before.masters.iter().any(|master| master.id == **id);
        let alive = fleet.alive().map(|master| &master.id).filter(is_new);
        let asked = alive.map(async |id| Ok((id.clone(), aws.is_protected(id).await?)));
        let answers: Vec<_> = futures::future::try_join_all(asked).await?;
        let protected = answers
            .into_iter()
            .filter(|(_, is_protected)| *is_protected);
        fleet.protected.extend(protected.map(|(id, _)| id));
    }
    Ok(fleet)
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
    fleet: &FleetOfMasters,
) -> Result<ZoneEvidence, AwsError> {
    let groups = fleet.groups.iter();
    Ok(ZoneEvidence {
        zones: aws.zones().await?,
        of_masters: fleet.alive().map(|master| master.zone.clone()).collect(),
        of_groups: groups.flat_map(|group| group.zones.clone()).collect(),
    })
}
