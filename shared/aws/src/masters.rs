//! A cluster's masters: their instances (EC2) and their groups (Auto Scaling).

use aws_sdk_autoscaling::types::{AutoScalingGroup, Filter};
use etcd_backup_core::aws::{AwsError, Groups, Master, Masters, SuspendedGroup};
use etcd_backup_core::discovery;
use etcd_backup_core::ids::{ClusterName, ZoneName};
use etcd_backup_core::restore_tags::SUSPENDED_BY;

use crate::Aws;
use crate::error::aws_error;

impl Masters for Aws {
    async fn masters(&self, cluster: &ClusterName) -> Result<Vec<Master>, AwsError> {
        self.master_instances(cluster).await
    }

    async fn group_zones(&self, cluster: &ClusterName) -> Result<Vec<ZoneName>, AwsError> {
        let of_cluster = format!("tag:{}", discovery::CLUSTER);
        let groups = self.groups(&of_cluster, cluster.as_str()).await?;
        let masters = groups.iter().filter(|group| is_control_plane(group));
        let zones = masters.flat_map(|group| group.availability_zones());
        Ok(zones.map(|zone| zone.as_str().into()).collect())
    }

    async fn zones(&self) -> Result<Vec<ZoneName>, AwsError> {
        self.availability_zones().await
    }
}

impl Groups for Aws {
    async fn suspended_groups(&self) -> Result<Vec<SuspendedGroup>, AwsError> {
        let groups = self.groups("tag-key", SUSPENDED_BY).await?;
        let suspended = groups.iter().filter_map(|group| {
            let tag = group
                .tags()
                .iter()
                .find(|tag| tag.key() == Some(SUSPENDED_BY))?;
            Some(SuspendedGroup {
                name: group.auto_scaling_group_name()?.to_owned(),
                by: tag.value()?.into(),
            })
        });
        Ok(suspended.collect())
    }
}

impl Aws {
    async fn groups(&self, filter: &str, value: &str) -> Result<Vec<AutoScalingGroup>, AwsError> {
        let filter = Filter::builder().name(filter).values(value).build();
        let mut pages = self
            .autoscaling
            .describe_auto_scaling_groups()
            .filters(filter)
            .into_paginator()
            .items()
            .send();
        let mut groups = Vec::new();
        while let Some(group) = pages.next().await {
            groups.push(group.map_err(aws_error("autoscaling:DescribeAutoScalingGroups"))?);
        }
        Ok(groups)
    }
}

fn is_control_plane(group: &AutoScalingGroup) -> bool {
    group
        .tags()
        .iter()
        .filter_map(|tag| tag.key())
        .any(|key| key == discovery::ROLE_MASTER || key == discovery::ROLE_CONTROL_PLANE)
}
