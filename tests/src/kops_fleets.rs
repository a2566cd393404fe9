//! Fleets that are not of the tests' own making: what kops' golden outputs say that kops makes.
//!
//! `tests/fleets/fleets.json` holds the facts, and where each was read. The goldens' Regions don't
//! exist here: a fleet is moved into the emulated one, zone by zone, its members' names with it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::VolumeType;
use etcd_backup_core::Tags;
use etcd_backup_core::discovery::{EtcdTag, ROLE_CONTROL_PLANE, ROLE_MASTER};
use etcd_backup_core::ids::{InstanceId, MemberKey, VolumeId};
use serde::Deserialize;

use crate::emulated_aws::{EmulatedAws, REGION};
use crate::fleet::{Cluster, Disk, Group, Kops, Master, Style, attach, create_volume};

const FLEETS: &str = include_str!("../fleets/fleets.json");
/// The Regions of the goldens, none of which is the emulated one.
const GOLDEN_REGIONS: [&str; 2] = ["us-test-1", "us-west-2"];

/// One fleet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KopsFleet {
    /// The newest version and the golden: `1.20 update_cluster/ha`.
    pub name: String,
    /// The oldest and the newest version of kops that make it so.
    pub versions: Vec<String>,
    /// Whether the tags follow the rule that other goldens show, as this one has none.
    pub derived: bool,
    /// The commit of kops it was read at.
    pub commit: String,
    /// The golden.
    pub file: String,
    /// The cluster's name.
    pub cluster: String,
    /// Its etcd volumes.
    pub volumes: Vec<KopsVolume>,
    /// Its autoscaling groups, those of the nodes and bastions too.
    pub groups: Vec<KopsGroup>,
}

/// An etcd volume.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KopsVolume {
    /// Its zone.
    pub zone: String,
    /// Its size in GiB.
    pub size_gib: i32,
    /// `gp2`, `gp3`
    #[serde(rename = "type")]
    pub volume_type: String,
    /// Provisioned I/O operations per second.
    #[serde(default)]
    pub iops: Option<i32>,
    /// Provisioned throughput in MiB/s.
    #[serde(default)]
    pub throughput: Option<i32>,
    /// Whether it is encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// Its tags.
    pub tags: Tags,
}

/// An autoscaling group.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KopsGroup {
    /// Its name.
    pub name: String,
    /// The zones that it launches in.
    pub zones: Vec<String>,
    /// How many instances it has.
    pub size: i32,
    /// The root volumes of its instances.
    pub root: KopsRoot,
    /// Its tags, and its instances'.
    pub tags: Tags,
}

/// The root volume of a group's instances.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KopsRoot {
    /// Its size in GiB.
    pub size_gib: i32,
    /// `gp2`, `gp3`
    #[serde(rename = "type")]
    pub volume_type: String,
    /// Whether it is encrypted.
    #[serde(default)]
    pub encrypted: bool,
    /// Whether it outlives its instance.
    #[serde(default)]
    pub kept: bool,
    /// Whether it carries the group's tags.
    #[serde(default)]
    pub tagged: bool,
}

/// All the fleets, in the emulated Region.
///
/// # Panics
///
/// When the file of facts can't be read.
pub fn kops_fleets() -> Vec<KopsFleet> {
    let moved = GOLDEN_REGIONS
        .iter()
        .fold(FLEETS.to_owned(), |text, region| {
            text.replace(region, REGION)
        });
    serde_json::from_str(&moved).expect("tests/fleets/fleets.json")
}

/// The fleets, packed into as few accounts as can hold them: one account has no two clusters of a name.
pub fn kops_accounts() -> Vec<Vec<KopsFleet>> {
    let mut accounts: Vec<Vec<KopsFleet>> = Vec::new();
    for fleet in kops_fleets() {
        let is_free = |account: &&mut Vec<KopsFleet>| {
            account.iter().all(|other| other.cluster != fleet.cluster)
        };
        match accounts.iter_mut().find(is_free) {
            Some(account) => account.push(fleet),
            None => accounts.push(vec![fleet]),
        }
    }
    accounts
}

impl KopsFleet {
    /// Makes it: volumes, all autoscaling groups with what they launch, the etcd volumes attached to
    /// masters of their zones.
    pub async fn seed(&self, aws: &EmulatedAws) -> Cluster {
        let mut masters = Vec::new();
        for group in &self.groups {
            let instances = group.launch(aws).await;
            if group.is_control_plane() {
                masters.extend(instances.into_iter().map(|instance| (group, instance)));
            }
        }
        let mut volumes = BTreeMap::new();
        for volume in &self.volumes {
            let id = create_volume(aws, &volume.zone, &volume.disk(), &volume.tags).await;
            volumes.insert(volume.member(), id);
        }
        let masters = self.attach_to_masters(aws, &volumes, masters).await;
        Cluster {
            kops: self.as_kops(),
            volumes,
            masters,
        }
    }

    /// Members of a zone to masters of the zone, each its own: the goldens don't tell which.
    async fn attach_to_masters(
        &self,
        aws: &EmulatedAws,
        volumes: &BTreeMap<MemberKey, VolumeId>,
        mut free: Vec<(&KopsGroup, InstanceId)>,
    ) -> Vec<Master> {
        let etcd_clusters = self.etcd_clusters();
        let mut masters = Vec::new();
        for (member, zone) in self.members() {
            let is_there = |(group, _): &(&KopsGroup, InstanceId)| group.zones.contains(&zone);
            let found = free.iter().position(is_there);
            let (group, instance) = free.remove(found.unwrap_or_else(|| {
                panic!("{}: no master is left in {zone} for {member}", self.name)
            }));
            for (index, etcd_cluster) in etcd_clusters.iter().enumerate() {
                let key = MemberKey::new(&etcd_cluster.as_str().into(), &member.as_str().into());
                if let Some(volume) = volumes.get(&key) {
                    attach(aws, volume, &instance, index).await;
                }
            }
            masters.push(Master::of(aws, &member, &zone, &group.name, instance).await);
        }
        masters
    }

    /// The same in the words of the fleets that the tests make themselves.
    fn as_kops(&self) -> Kops {
        let has = |key: &str| {
            let mut volumes = self.volumes.iter();
            volumes.any(|volume| volume.tags.contains_key(key))
        };
        let owned = format!("kubernetes.io/cluster/{}", self.cluster);
        Kops {
            cluster: self.cluster.clone(),
            members: self.members(),
            etcd_clusters: self.etcd_clusters(),
            style: if has(&owned) {
                Style::New {
                    control_plane: has(ROLE_CONTROL_PLANE),
                }
            } else {
                Style::Old
            },
            encrypted: self.volumes.iter().any(|volume| volume.encrypted),
            cloud_labels: Vec::new(),
        }
    }

    /// Members and their zones.
    pub fn members(&self) -> Vec<(String, String)> {
        let member =
            |volume: &KopsVolume| (volume.member().member.to_string(), volume.zone.clone());
        let members: BTreeSet<_> = self.volumes.iter().map(member).collect();
        members.into_iter().collect()
    }

    /// `main`, `events`, …
    pub fn etcd_clusters(&self) -> Vec<String> {
        let name = |volume: &KopsVolume| volume.member().etcd_cluster.to_string();
        let names: BTreeSet<_> = self.volumes.iter().map(name).collect();
        names.into_iter().collect()
    }
}

impl KopsVolume {
    /// Whose it is.
    ///
    /// # Panics
    ///
    /// When its tags don't tell.
    pub fn member(&self) -> MemberKey {
        let mut tags = self.tags.iter();
        let parsed = tags.find_map(|(key, value)| EtcdTag::parse(key, value));
        let tag = parsed.and_then(Result::ok);
        let tag = tag.unwrap_or_else(|| panic!("no etcd tag: {:?}", self.tags));
        MemberKey::new(&tag.etcd_cluster, &tag.member)
    }

    fn disk(&self) -> Disk {
        Disk {
            size_gib: self.size_gib,
            volume_type: VolumeType::from(self.volume_type.as_str()),
            iops: self.iops,
            throughput: self.throughput,
            encrypted: self.encrypted,
        }
    }
}

impl KopsGroup {
    /// Whether its instances are masters; those that run an API server alone are none.
    pub fn is_control_plane(&self) -> bool {
        [ROLE_MASTER, ROLE_CONTROL_PLANE]
            .iter()
            .any(|role| self.tags.contains_key(role))
    }

    async fn launch(&self, aws: &EmulatedAws) -> Vec<InstanceId> {
        let group = Group {
            name: self.name.clone(),
            zones: self.zones.clone(),
            size: self.size,
            root: Disk {
                size_gib: self.root.size_gib,
                volume_type: VolumeType::from(self.root.volume_type.as_str()),
                iops: None,
                throughput: None,
                encrypted: self.root.encrypted,
            },
            root_is_kept: self.root.kept,
            root_is_tagged: self.root.tagged,
            tags: self.tags.clone(),
        };
        group.launch(aws).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fleet_is_read_and_moved() {
        let fleets = kops_fleets();
        assert_eq!(fleets.len(), 80);
        let volumes: usize = fleets.iter().map(|fleet| fleet.volumes.len()).sum();
        assert_eq!(volumes, 296);
        let names: BTreeSet<_> = fleets.iter().map(|fleet| &fleet.name).collect();
        assert_eq!(names.len(), 80);
        for fleet in &fleets {
            let zones = fleet.members().into_iter().map(|(_, zone)| zone);
            for zone in zones {
                assert!(zone.starts_with(REGION), "{}: {zone}", fleet.name);
            }
        }
    }

    #[test]
    fn an_account_has_no_two_clusters_of_a_name() {
        let accounts = kops_accounts();
        assert_eq!(accounts.iter().map(Vec::len).sum::<usize>(), 80);
        for account in accounts {
            let names: BTreeSet<_> = account.iter().map(|fleet| &fleet.cluster).collect();
            assert_eq!(names.len(), account.len());
        }
    }
}
