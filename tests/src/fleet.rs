//! Fleets as kops makes them, seeded over the same HTTP as everything else.
//!
//! Source of the tags: kops `upup/pkg/fi/cloudup` (volumes, launch templates, autoscaling groups).
//! Each master comes from an autoscaling group of one zone, its root volume carries
//! `k8s.io/role/master` too, and one more volume per etcd cluster is attached to it.

mod masters;
mod strangers;

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification, VolumeType};
use etcd_backup_core::Tags;
use etcd_backup_core::ids::{InstanceId, MemberKey, VolumeId};

use crate::candidates::{etcd_manager_candidates, volumes_where};
use crate::emulated_aws::{EmulatedAws, answered};
pub(crate) use masters::Group;
pub use masters::Master;
pub use strangers::strangers;

/// The size of an etcd volume: kops' default.
pub const VOLUME_SIZE_GIB: i32 = 20;

/// Which tags a version of kops sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// kops 1.12 and newer: `kubernetes.io/cluster/<name>` is there.
    New {
        /// kops 1.26 and newer: `k8s.io/role/control-plane` beside `k8s.io/role/master`.
        control_plane: bool,
    },
    /// kops up to 1.8: `KubernetesCluster` alone names the cluster.
    Old,
}

/// A cluster to seed.
#[derive(Clone, Debug)]
pub struct Kops {
    /// The cluster's name.
    pub cluster: String,
    /// Members and their zones, one master each.
    pub members: Vec<(String, String)>,
    /// `main`, `events`, …
    pub etcd_clusters: Vec<String>,
    /// Which tags.
    pub style: Style,
    /// Whether the etcd volumes are encrypted.
    pub encrypted: bool,
    /// Tags of the organisation's own, on every volume.
    pub cloud_labels: Vec<(String, String)>,
}

/// A seeded cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What it was seeded as.
    pub kops: Kops,
    /// The etcd volumes by member: `main/a`.
    pub volumes: BTreeMap<MemberKey, VolumeId>,
    /// The masters, in the order of the members.
    pub masters: Vec<Master>,
}

impl Kops {
    /// Three masters in three zones, members `a`, `b` and `c` of `main` and `events`.
    pub fn new(cluster: &str) -> Self {
        let member = |letter: &str| (letter.to_owned(), format!("eu-west-2{letter}"));
        Self {
            cluster: cluster.to_owned(),
            members: ["a", "b", "c"].map(member).into(),
            etcd_clusters: ["main", "events"].map(str::to_owned).into(),
            style: Style::New {
                control_plane: false,
            },
            encrypted: false,
            cloud_labels: vec![("environment".to_owned(), "production".to_owned())],
        }
    }

    /// The same as an old kops made it, members named by their zones.
    pub fn old(cluster: &str) -> Self {
        let mut kops = Self::new(cluster);
        kops.style = Style::Old;
        for (member, zone) in &mut kops.members {
            member.clone_from(zone);
        }
        kops
    }

    /// With other members: `&[("a", "eu-west-2a")]`.
    pub fn members(self, members: &[(&str, &str)]) -> Self {
        let owned = |(member, zone): &(&str, &str)| ((*member).to_owned(), (*zone).to_owned());
        Self {
            members: members.iter().map(owned).collect(),
            ..self
        }
    }

    /// With other etcd clusters.
    pub fn etcd_clusters(self, names: &[&str]) -> Self {
        Self {
            etcd_clusters: names.iter().map(|name| (*name).to_owned()).collect(),
            ..self
        }
    }

    /// With other tags.
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// With encrypted etcd volumes.
    pub fn encrypted(self) -> Self {
        Self {
            encrypted: true,
            ..self
        }
    }

    /// Makes it.
    pub async fn seed(self, aws: &EmulatedAws) -> Cluster {
        let mut masters = Vec::new();
        let mut volumes = BTreeMap::new();
        for (member, zone) in &self.members {
            let master = masters::launch(aws, &self, member, zone).await;
            for (index, etcd_cluster) in self.etcd_clusters.iter().enumerate() {
                let tags = self.volume_tags(etcd_cluster, member);
                let volume = etcd_volume(aws, zone, self.encrypted, &tags).await;
                attach(aws, &volume, &master.instance, index).await;
                let key = MemberKey {
                    etcd_cluster: etcd_cluster.as_str().into(),
                    member: member.as_str().into(),
                };
                volumes.insert(key, volume);
            }
            masters.push(master);
        }
        Cluster {
            kops: self,
            volumes,
            masters,
        }
    }

    /// The tags of one etcd volume.
    pub fn volume_tags(&self, etcd_cluster: &str, member: &str) -> Tags {
        let members: Vec<&str> = self.members.iter().map(|(name, _)| name.as_str()).collect();
        let mut tags = self.master_tags();
        tags.insert(
            format!("k8s.io/etcd/{etcd_cluster}"),
            format!("{member}/{}", members.join(",")),
        );
        let name = format!("{member}.etcd-{etcd_cluster}.{}", self.cluster);
        tags.insert("Name".to_owned(), name);
        tags.extend(self.cloud_labels.iter().cloned());
        tags
    }

    /// The tags that everything of a master carries.
    fn master_tags(&self) -> Tags {
        let mut tags = Tags::new();
        let mut tag = |key: String, value: &str| tags.insert(key, value.to_owned());
        tag("KubernetesCluster".to_owned(), &self.cluster);
        tag("k8s.io/role/master".to_owned(), "1");
        if let Style::New { control_plane } = self.style {
            tag(format!("kubernetes.io/cluster/{}", self.cluster), "owned");
            if control_plane {
                tag("k8s.io/role/control-plane".to_owned(), "1");
            }
        }
        tags
    }
}

impl Cluster {
    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.kops.cluster
    }

    /// The volume of `main/a`.
    ///
    /// # Panics
    ///
    /// When there is no such member.
    pub fn volume(&self, member: &str) -> &VolumeId {
        let key: MemberKey = member.parse().unwrap_or_else(|problem| panic!("{problem}"));
        let volume = self.volumes.get(&key);
        volume.unwrap_or_else(|| panic!("{} has no member {member}", self.name()))
    }

    /// The etcd volumes by the members' names, as answers have them.
    pub fn volumes_by_name(&self) -> BTreeMap<String, VolumeId> {
        let volumes = self.volumes.iter();
        volumes
            .map(|(key, id)| (key.to_string(), id.clone()))
            .collect()
    }

    /// The zone of a member of any etcd cluster.
    ///
    /// # Panics
    ///
    /// When there is no such member.
    pub fn zone(&self, member: &str) -> &str {
        let mut members = self.kops.members.iter();
        let found = members.find(|(name, _)| name == member);
        let (_, zone) = found.unwrap_or_else(|| panic!("{} has no member {member}", self.name()));
        zone
    }

    /// The instances that the masters' groups have now.
    pub async fn instances(&self, aws: &EmulatedAws) -> Vec<InstanceId> {
        let mut instances = Vec::new();
        for master in &self.masters {
            instances.extend(masters::instances_of(aws, &master.group).await);
        }
        instances
    }

    /// Has each group's instance do what etcd-manager does when it starts: it takes what is attached
    /// already, else the first free volume that it finds. Gives what each instance then has.
    pub async fn boot_masters(&self, aws: &EmulatedAws) -> BTreeMap<InstanceId, Vec<VolumeId>> {
        let mut taken = BTreeMap::new();
        for master in &self.masters {
            for instance in masters::instances_of(aws, &master.group).await {
                let mut own = Vec::new();
                for (index, etcd_cluster) in self.kops.etcd_clusters.iter().enumerate() {
                    let found =
                        etcd_manager_candidates(aws, self.name(), etcd_cluster, &master.zone).await;
                    let attached = [("attachment.instance-id", instance.as_str())];
                    let attached = volumes_where(aws, &attached).await;
                    let free = volumes_where(aws, &[("status", "available")]).await;
                    if let Some(volume) = found.iter().find(|volume| attached.contains(volume)) {
                        own.push(volume.clone());
                    } else if let Some(volume) = found.iter().find(|volume| free.contains(volume)) {
                        attach(aws, volume, &instance, index).await;
                        own.push(volume.clone());
                    }
                }
                taken.insert(instance, own);
            }
        }
        taken
    }

    /// The etcd volumes are gone, though they were attached: a total loss.
    pub async fn lose_volumes(&self, aws: &EmulatedAws) {
        for volume in self.volumes.values() {
            self.lose_volume(aws, volume).await;
        }
    }

    /// One volume is gone, attached or not.
    pub async fn lose_volume(&self, aws: &EmulatedAws, volume: &VolumeId) {
        aws.lose_volume(volume).await;
    }
}

/// What a volume is made as.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub size_gib: i32,
    pub volume_type: VolumeType,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    pub encrypted: bool,
}

/// Makes a volume with these tags: kops' size and type, one zone.
pub async fn etcd_volume(aws: &EmulatedAws, zone: &str, encrypted: bool, tags: &Tags) -> VolumeId {
    let disk = Disk {
        size_gib: VOLUME_SIZE_GIB,
        volume_type: VolumeType::Gp3,
        iops: Some(3000),
        throughput: Some(125),
        encrypted,
    };
    create_volume(aws, zone, &disk, tags).await
}

pub(crate) async fn create_volume(
    aws: &EmulatedAws,
    zone: &str,
    disk: &Disk,
    tags: &Tags,
) -> VolumeId {
    let request = aws
        .ec2()
        .create_volume()
        .availability_zone(zone)
        .size(disk.size_gib)
        .volume_type(disk.volume_type.clone())
        .set_iops(disk.iops)
        .set_throughput(disk.throughput)
        .encrypted(disk.encrypted)
        .set_tag_specifications(tag_specifications(ResourceType::Volume, tags));
    let volume = answered("CreateVolume", request.send().await);
    volume.volume_id.expect("a new volume has an id").into()
}

/// kops' device names: /dev/xvdu for the first etcd cluster, and so on.
pub(crate) async fn attach(
    aws: &EmulatedAws,
    volume: &VolumeId,
    instance: &InstanceId,
    index: usize,
) {
    let letter = char::from(b"uvwxyz"[index]);
    let request = aws
        .ec2()
        .attach_volume()
        .volume_id(volume.as_str())
        .instance_id(instance.as_str())
        .device(format!("/dev/xvd{letter}"));
    answered("AttachVolume", request.send().await);
}

/// `None` where there are no tags: EC2 refuses an empty specification.
fn tag_specifications(resource: ResourceType, tags: &Tags) -> Option<Vec<TagSpecification>> {
    let specification = TagSpecification::builder()
        .resource_type(resource)
        .set_tags(Some(ec2_tags(tags)))
        .build();
    (!tags.is_empty()).then(|| vec![specification])
}

fn ec2_tags(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build();
    tags.iter().map(tag).collect()
}
