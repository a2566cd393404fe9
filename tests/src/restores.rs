//! Judging what a restore did: which volumes it brought, and what masters find now.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_autoscaling::types::AutoScalingGroup;
use aws_sdk_dynamodb::types::AttributeValue;
use etcd_backup_core::Tags;
use etcd_backup_core::ids::VolumeId;
use serde_json::Value;

use crate::emulated_aws::{EmulatedAws, RESTORES_TABLE, answered};
use crate::fleet::Cluster;
use crate::lambda::Function;

/// A volume as EC2 shows it, as far as a restore may or may not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownVolume {
    /// `available`, `in-use`, …
    pub state: String,
    /// All its tags.
    pub tags: Tags,
    /// Its zone.
    pub zone: String,
    /// The snapshot it was made from.
    pub snapshot: Option<String>,
    /// Whether it is attached.
    pub is_attached: bool,
}

/// The restore function, whose clock is the emulated one.
pub async fn restore_function(aws: &EmulatedAws) -> Function {
    Function::start_in_emulated_time(aws, "restore", &[]).await
}

/// Takes away the lease that a killed invocation left, which would otherwise be waited for.
///
/// # Panics
///
/// When DynamoDB says no.
pub async fn forget_lease(aws: &EmulatedAws, cluster: &str) {
    let key = |value: &str| AttributeValue::S(value.to_owned());
    let request = aws.dynamodb().delete_item().table_name(RESTORES_TABLE);
    let request = request.key("cluster", key(cluster)).key("id", key("lease"));
    answered("DeleteItem", request.send().await);
}

/// All volumes.
///
/// # Panics
///
/// When EC2 says no.
pub async fn volumes(aws: &EmulatedAws) -> BTreeMap<VolumeId, ShownVolume> {
    let listed = aws.ec2().describe_volumes().into_paginator().items().send();
    let listed = answered(
        "DescribeVolumes",
        listed.collect::<Result<Vec<_>, _>>().await,
    );
    let shown = |volume: aws_sdk_ec2::types::Volume| {
        let tags = volume.tags().iter();
        let tags = tags.filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())));
        let shown = ShownVolume {
            state: volume.state()?.as_str().to_owned(),
            tags: tags.collect(),
            zone: volume.availability_zone()?.to_owned(),
            snapshot: volume
                .snapshot_id()
                .filter(|id| !id.is_empty())
                .map(str::to_owned),
            is_attached: !volume.attachments().is_empty(),
        };
        Some((VolumeId::from(volume.volume_id()?), shown))
    };
    listed.into_iter().filter_map(shown).collect()
}

/// The volume of each member (`main/a`), as an answer has it.
///
/// # Panics
///
/// When it has members without a name.
pub fn answered_volumes(answer: &Value) -> BTreeMap<String, VolumeId> {
    let members = answer["members"].as_array();
    let members = members.unwrap_or_else(|| panic!("no members: {answer}"));
    let named = |member: &Value| {
        let name = |field: &str| member[field].as_str().map(str::to_owned);
        let key = format!("{}/{}", name("etcd_cluster")?, name("member")?);
        Some((key, VolumeId::from(name("volume_id")?)))
    };
    members.iter().filter_map(named).collect()
}

/// What masters of the cluster find for each member (`main/a`) in its zone, by the filters of
/// etcd-manager's both roles and of protokube; members for which nothing is found are left out.
pub async fn found_by_masters(
    aws: &EmulatedAws,
    cluster: &Cluster,
) -> BTreeMap<String, BTreeSet<VolumeId>> {
    let mut found = BTreeMap::<_, BTreeSet<VolumeId>>::new();
    for place in aws.found().await {
        let mut members = cluster.kops.members.iter();
        let is_there = members.any(|(name, zone)| *name == place.member && *zone == place.zone);
        if place.cluster == cluster.name() && is_there {
            let key = format!("{}/{}", place.etcd_cluster, place.member);
            found.entry(key).or_default().extend(place.volumes);
        }
    }
    found
}

/// The groups of the cluster's masters.
pub async fn groups(aws: &EmulatedAws, cluster: &Cluster) -> Vec<AutoScalingGroup> {
    let described = aws
        .autoscaling()
        .describe_auto_scaling_groups()
        .into_paginator()
        .items()
        .send();
    let described = described.collect::<Result<Vec<_>, _>>().await;
    let mut groups = answered("DescribeAutoScalingGroups", described);
    let names: Vec<&str> = cluster
        .masters
        .iter()
        .map(|master| master.group.as_str())
        .collect();
    groups.retain(|group| {
        group
            .auto_scaling_group_name()
            .is_some_and(|name| names.contains(&name))
    });
    groups
}

/// The names of those whose launches are suspended.
pub async fn suspended_groups(aws: &EmulatedAws, cluster: &Cluster) -> BTreeSet<String> {
    let mut suspended = aws.suspended_groups().await;
    suspended.retain(|name| cluster.masters.iter().any(|master| master.group == *name));
    suspended.into_iter().collect()
}
