//! A cluster's control plane: its masters, the groups that bring them, and what tells their zones.

use std::collections::BTreeSet;

use etcd_backup_core::aws::{AwsError, Master, MasterGroup, Masters};
use etcd_backup_core::ids::{ClusterName, InstanceId, ZoneName};
use futures::future::try_join_all;

/// A cluster's masters and what brings them.
#[derive(Clone, Debug, Default)]
pub struct ControlPlane {
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

impl ControlPlane {
    /// Reads it. Whether an instance is protected doesn't change under a restore, so of those that
    /// `before` knows it isn't asked again.
    ///
    /// # Errors
    ///
    /// When a call fails.
    pub async fn read(
        aws: &impl Masters,
        cluster: &ClusterName,
        asks_protection: bool,
        before: &Self,
    ) -> Result<Self, AwsError> {
        let (masters, groups) = tokio::try_join!(aws.masters(cluster), aws.groups(cluster))?;
        let mut control_plane = Self {
            masters,
            groups,
            protected: before.protected.clone(),
        };
        if asks_protection {
            let is_new = |id: &&InstanceId| before.master(id).is_none();
            let alive = control_plane.alive().map(|master| &master.id);
            let asked = alive
                .filter(is_new)
                .map(async |id| Ok((id.clone(), aws.is_protected(id).await?)));
            let answers: Vec<(InstanceId, bool)> = try_join_all(asked).await?;
            let protected = answers
                .into_iter()
                .filter(|(_, is_protected)| *is_protected);
            control_plane.protected.extend(protected.map(|(id, _)| id));
        }
        Ok(control_plane)
    }

    /// The masters that run, or could run again.
    pub fn alive(&self) -> impl Iterator<Item = &Master> {
        self.masters.iter().filter(|master| master.is_alive())
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

    /// What it tells of zones, given the Region's.
    pub fn zone_evidence(&self, zones: Vec<ZoneName>) -> ZoneEvidence {
        let groups = self.groups.iter();
        ZoneEvidence {
            zones,
            of_masters: self.alive().map(|master| master.zone.clone()).collect(),
            of_groups: groups.flat_map(|group| group.zones.clone()).collect(),
        }
    }
}
