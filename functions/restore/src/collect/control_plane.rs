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
    /// Those of which EC2 was asked that.
    pub asked: BTreeSet<InstanceId>,
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
    /// Reads it. Whether an instance is protected doesn't change under a restore, so of those of which it
    /// was asked `before` it isn't asked again.
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
            asked: before.asked.clone(),
        };
        if asks_protection {
            let to_ask = control_plane.to_ask();
            let calls = to_ask.iter().map(|id| aws.is_protected(id));
            let answers = try_join_all(calls).await?;
            let protected = to_ask.iter().zip(answers);
            let protected = protected.filter(|(_, is_protected)| *is_protected);
            let protected: Vec<_> = protected.map(|(id, _)| id.clone()).collect();
            control_plane.protected.extend(protected);
            control_plane.asked.extend(to_ask);
        }
        Ok(control_plane)
    }

    /// The masters of which it isn't known yet whether EC2 refuses to terminate them.
    fn to_ask(&self) -> Vec<InstanceId> {
        let alive = self.alive().map(|master| &master.id);
        alive
            .filter(|id| !self.asked.contains(*id))
            .cloned()
            .collect()
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

    /// The zones of the Region, of the masters and of the groups, from which a vanished volume's zone follows.
    pub fn zone_evidence(&self, zones: Vec<ZoneName>) -> ZoneEvidence {
        let groups = self.groups.iter();
        ZoneEvidence {
            zones,
            of_masters: self.alive().map(|master| master.zone.clone()).collect(),
            of_groups: groups.flat_map(|group| group.zones.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::aws::InstanceState;

    use super::*;

    #[test]
    fn termination_protection_is_asked_of_masters_it_was_not_asked_of_before() {
        let master = |id: &str, state| Master {
            id: id.into(),
            zone: "eu-west-2a".into(),
            state,
        };
        let mut read = ControlPlane {
            masters: vec![
                master("i-a", InstanceState::Running),
                master("i-b", InstanceState::Stopped),
                master("i-c", InstanceState::Terminated),
            ],
            ..ControlPlane::default()
        };
        assert_eq!(read.to_ask(), ["i-a", "i-b"].map(InstanceId::from));
        read.asked.insert("i-a".into());
        assert_eq!(read.to_ask(), ["i-b"].map(InstanceId::from));
    }
}
