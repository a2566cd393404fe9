//! A master: launch template, autoscaling group of one zone, the instance and root volume it brings.

use aws_sdk_autoscaling::types::{LaunchTemplateSpecification, Tag as GroupTag};
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplateBlockDeviceMappingRequest as BlockDevice,
    LaunchTemplateEbsBlockDeviceRequest as RootDisk,
    LaunchTemplateTagSpecificationRequest as TemplateTags, RequestLaunchTemplateData, ResourceType,
    VolumeType,
};
use etcd_backup_core::Tags;
use etcd_backup_core::ids::{InstanceId, VolumeId};

use super::{Disk, Kops, ec2_tags};
use crate::candidates::volumes_where;
use crate::emulated_aws::{EmulatedAws, answered};

/// What kops' images call the root volume's device here.
const ROOT_DEVICE: &str = "/dev/sda1";

/// One master of a cluster.
#[derive(Clone, Debug)]
pub struct Master {
    /// Its member's name, in every etcd cluster.
    pub member: String,
    /// Its zone.
    pub zone: String,
    /// Its autoscaling group.
    pub group: String,
    /// The instance that the group launched.
    pub instance: InstanceId,
    /// That instance's root volume, tagged like an etcd volume but for the etcd tag.
    pub root_volume: VolumeId,
}

/// An autoscaling group, and the launch template that it launches by.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub name: String,
    pub zones: Vec<String>,
    pub size: i32,
    pub root: Disk,
    /// Whether root volumes outlive their instances.
    pub root_is_kept: bool,
    /// Whether root volumes carry the tags too.
    pub root_is_tagged: bool,
    /// The group's tags and its instances'.
    pub tags: Tags,
}

pub(super) async fn launch(aws: &EmulatedAws, kops: &Kops, member: &str, zone: &str) -> Master {
    let name = group_name(kops, member, zone);
    let mut tags = kops.master_tags();
    tags.insert("Name".to_owned(), name.clone());
    let group = Group {
        name,
        zones: vec![zone.to_owned()],
        size: 1,
        root: Disk {
            size_gib: 64,
            volume_type: VolumeType::Gp3,
            iops: None,
            throughput: None,
            encrypted: false,
        },
        root_is_kept: false,
        root_is_tagged: true,
        tags,
    };
    let instance = group.launch(aws).await.pop();
    let instance = instance.unwrap_or_else(|| panic!("{} launched nothing", group.name));
    Master::of(aws, member, zone, &group.name, instance).await
}

impl Master {
    /// The master that an instance is; no volume but the root volume is attached to it yet.
    pub(crate) async fn of(
        aws: &EmulatedAws,
        member: &str,
        zone: &str,
        group: &str,
        instance: InstanceId,
    ) -> Self {
        let attached_to = [
            ("attachment.instance-id", instance.as_str()),
            ("attachment.device", ROOT_DEVICE),
        ];
        let root_volume = volumes_where(aws, &attached_to).await.remove(0);
        Self {
            member: member.to_owned(),
            zone: zone.to_owned(),
            group: group.to_owned(),
            instance,
            root_volume,
        }
    }
}

impl Group {
    /// Makes the launch template and the group, and gives what it launched.
    pub(crate) async fn launch(&self, aws: &EmulatedAws) -> Vec<InstanceId> {
        self.create_template(aws).await;
        self.create_group(aws).await;
        instances_of(aws, &self.name).await
    }

    async fn create_template(&self, aws: &EmulatedAws) {
        let root_disk = RootDisk::builder()
            .volume_size(self.root.size_gib)
            .volume_type(self.root.volume_type.clone())
            .encrypted(self.root.encrypted)
            .delete_on_termination(!self.root_is_kept);
        let tagged = |resource| {
            TemplateTags::builder()
                .resource_type(resource)
                .set_tags(Some(ec2_tags(&self.tags)))
                .build()
        };
        let root_tags = self.root_is_tagged.then(|| tagged(ResourceType::Volume));
        let specifications = [tagged(ResourceType::Instance)]
            .into_iter()
            .chain(root_tags);
        let data = RequestLaunchTemplateData::builder()
            .image_id("ami-12345678")
            .instance_type(InstanceType::T3Medium)
            .block_device_mappings(
                BlockDevice::builder()
                    .device_name(ROOT_DEVICE)
                    .ebs(root_disk.build())
                    .build(),
            )
            .set_tag_specifications(Some(specifications.collect()))
            .build();
        let request = aws.ec2().create_launch_template();
        let request = request
            .launch_template_name(&self.name)
            .launch_template_data(data);
        answered("CreateLaunchTemplate", request.send().await);
    }

    async fn create_group(&self, aws: &EmulatedAws) {
        let template = LaunchTemplateSpecification::builder()
            .launch_template_name(&self.name)
            .version("$Latest");
        let tag = |(key, value): (&String, &String)| {
            GroupTag::builder()
                .resource_id(&self.name)
                .resource_type("auto-scaling-group")
                .key(key)
                .value(value)
                .propagate_at_launch(true)
                .build()
        };
        let request = aws
            .autoscaling()
            .create_auto_scaling_group()
            .auto_scaling_group_name(&self.name)
            .launch_template(template.build())
            .min_size(self.size)
            .max_size(self.size)
            .set_availability_zones(Some(self.zones.clone()))
            .set_tags(Some(self.tags.iter().map(tag).collect()));
        answered("CreateAutoScalingGroup", request.send().await);
    }
}

/// kops names a master's group by its zone, and by number too where a zone has several.
fn group_name(kops: &Kops, member: &str, zone: &str) -> String {
    let mut there = kops.members.iter().filter(|(_, other)| other == zone);
    let number = there.clone().position(|(name, _)| name == member);
    let cluster = &kops.cluster;
    match (there.nth(1), number) {
        (Some(_), Some(index)) => format!("master-{zone}-{}.masters.{cluster}", index + 1),
        _ => format!("master-{zone}.masters.{cluster}"),
    }
}

/// The instances that a group has.
pub(super) async fn instances_of(aws: &EmulatedAws, group: &str) -> Vec<InstanceId> {
    let request = aws.autoscaling().describe_auto_scaling_groups();
    let answer = request.auto_scaling_group_names(group).send().await;
    let groups = answered("DescribeAutoScalingGroups", answer);
    let instances = groups
        .auto_scaling_groups()
        .iter()
        .flat_map(|group| group.instances());
    instances
        .filter_map(|instance| instance.instance_id().map(Into::into))
        .collect()
}
