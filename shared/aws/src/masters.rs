//! A cluster's masters: their instances (EC2) and their groups (Auto Scaling).

use aws_sdk_autoscaling::types::{AutoScalingGroup, Filter};
use etcd_backup_core::aws::{AwsError, Master, Masters};
use etcd_backup_core::discovery;
use etcd_backup_core::ids::{ClusterName, ZoneName};

use crate::Aws;
use crate::error::aws_error;

impl Masters for Aws {
    async fn masters(&self, cluster: &ClusterName) -> Result<Vec<Master>, AwsError> {
        self.master_instances(cluster).await
    }

    async fn group_zones(&self, cluster: &ClusterName) -> Result<Vec<ZoneName>, AwsError> {
        let of_cluster = Filter::builder()
            .name(format!("tag:{}", discovery::CLUSTER))
            .values(cluster.as_str())
            .build();
        let mut pages = self
            .autoscaling
            .describe_auto_scaling_groups()
            .filters(of_cluster)
            .into_paginator()
            .items()
            .send();
        let mut zones = Vec::new();
        while let Some(group) = pages.next().await {
            let group = group.map_err(aws_error("autoscaling:DescribeAutoScalingGroups"))?;
            if is_control_plane(&group) {
                zones.extend(
                    group
                        .availability_zones()
                        .iter()
                        .map(|zone| zone.as_str().into()),
                );
            }
        }
        Ok(zones)
    }

    async fn zones(&self) -> Result<Vec<ZoneName>, AwsError> {
        self.availability_zones().await
    }
}

fn is_control_plane(group: &AutoScalingGroup) -> bool {
    group
        .tags()
        .iter()
        .filter_map(|tag| tag.key())
        .any(|key| key == discovery::ROLE_MASTER || key == discovery::ROLE_CONTROL_PLANE)
}
