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

use super::{Kops, ec2_tags};
use crate::candidates::volumes_where;
use crate::emulated_aws::{EmulatedAws, answered};

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

pub(super) async fn launch(aws: &EmulatedAws, kops: &Kops, member: &str, zone: &str) -> Master {
    let group = group_name(kops, member, zone);
    let mut tags = kops.master_tags();
    tags.insert("Name".to_owned(), group.clone());
    create_template(aws, &group, &tags).await;
    create_group(aws, &group, zone, &tags).await;
    let instance = instances_of(aws, &group).await.pop();
    let instance = instance.unwrap_or_else(|| panic!("{group} launched nothing"));
    let attached_to = [("attachment.instance-id", instance.as_str())];
    let root_volume = volumes_where(aws, &attached_to).await.remove(0);
    Master {
        member: member.to_owned(),
        zone: zone.to_owned(),
        group,
        instance,
        root_volume,
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

async fn create_template(aws: &EmulatedAws, name: &str, tags: &Tags) {
    let root_disk = RootDisk::builder()
        .volume_size(64)
        .volume_type(VolumeType::Gp3)
        .delete_on_termination(true);
    let tagged = |resource| {
        TemplateTags::builder()
            .resource_type(resource)
            .set_tags(Some(ec2_tags(tags)))
            .build()
    };
    let data = RequestLaunchTemplateData::builder()
        .image_id("ami-12345678")
        .instance_type(InstanceType::T3Medium)
        .block_device_mappings(
            BlockDevice::builder()
                .device_name("/dev/sda1")
                .ebs(root_disk.build())
                .build(),
        )
        .tag_specifications(tagged(ResourceType::Instance))
        .tag_specifications(tagged(ResourceType::Volume))
        .build();
    let request = aws.ec2().create_launch_template();
    let request = request
        .launch_template_name(name)
        .launch_template_data(data);
    answered("CreateLaunchTemplate", request.send().await);
}

async fn create_group(aws: &EmulatedAws, name: &str, zone: &str, tags: &Tags) {
    let template = LaunchTemplateSpecification::builder()
        .launch_template_name(name)
        .version("$Latest");
    let tag = |(key, value): (&String, &String)| {
        GroupTag::builder()
            .resource_id(name)
            .resource_type("auto-scaling-group")
            .key(key)
            .value(value)
            .propagate_at_launch(true)
            .build()
    };
    let request = aws
        .autoscaling()
        .create_auto_scaling_group()
        .auto_scaling_group_name(name)
        .launch_template(template.build())
        .min_size(1)
        .max_size(1)
        .availability_zones(zone)
        .set_tags(Some(tags.iter().map(tag).collect()));
    answered("CreateAutoScalingGroup", request.send().await);
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
