//! A cluster's masters: their instances (EC2) and their groups (Auto Scaling).

use aws_sdk_autoscaling::types::{AutoScalingGroup, Filter, LifecycleState, Tag, TagDescription};
use etcd_backup_core::Tags;
use etcd_backup_core::aws::{
    AwsError, Groups, Master, MasterGroup, MasterWriter, Masters, SuspendedGroup,
};
use etcd_backup_core::discovery;
use etcd_backup_core::ids::{ClusterName, GroupName, InstanceId, RestoreId, ZoneName};
use etcd_backup_core::restore_tags::SUSPENDED_BY;

use crate::Aws;
use crate::error::{aws_error, incomplete};

/// The process that brings new instances; all others of a group go on.
const LAUNCH: &str = "Launch";
/// What Auto Scaling calls a group where tags are concerned.
const RESOURCE_TYPE: &str = "auto-scaling-group";

impl Masters for Aws {
    async fn masters(&self, cluster: &ClusterName) -> Result<Vec<Master>, AwsError> {
        self.master_instances(cluster).await
    }

    async fn groups(&self, cluster: &ClusterName) -> Result<Vec<MasterGroup>, AwsError> {
        let of_cluster = format!("tag:{}", discovery::CLUSTER);
        let groups = self.described_groups(&of_cluster, cluster.as_str()).await?;
        let masters = groups.iter().filter(|group| is_control_plane(group));
        let complete = |group| master_group(group).ok_or_else(|| incomplete(DESCRIBE_GROUPS));
        masters.map(complete).collect()
    }

    async fn zones(&self) -> Result<Vec<ZoneName>, AwsError> {
        self.availability_zones().await
    }

    async fn is_protected(&self, instance: &InstanceId) -> Result<bool, AwsError> {
        self.termination_is_disabled(instance).await
    }
}

impl MasterWriter for Aws {
    async fn mark_suspended(&self, groups: &[GroupName], by: &RestoreId) -> Result<(), AwsError> {
        let tags = groups.iter().map(|group| suspended_by(group, Some(by)));
        let request = self.autoscaling().create_or_update_tags();
        let answer = request.set_tags(Some(tags.collect())).send().await;
        answer
            .map(drop)
            .map_err(aws_error("autoscaling:CreateOrUpdateTags"))
    }

    async fn unmark_suspended(&self, groups: &[GroupName]) -> Result<(), AwsError> {
        let tags = groups.iter().map(|group| suspended_by(group, None));
        let request = self.autoscaling().delete_tags();
        let answer = request.set_tags(Some(tags.collect())).send().await;
        answer
            .map(drop)
            .map_err(aws_error("autoscaling:DeleteTags"))
    }

    async fn suspend_launches(&self, group: &GroupName) -> Result<(), AwsError> {
        let request = self.autoscaling().suspend_processes();
        let request = request.auto_scaling_group_name(group.as_str());
        let answer = request.scaling_processes(LAUNCH).send().await;
        answer
            .map(drop)
            .map_err(aws_error("autoscaling:SuspendProcesses"))
    }

    async fn resume_launches(&self, group: &GroupName) -> Result<(), AwsError> {
        let request = self.autoscaling().resume_processes();
        let request = request.auto_scaling_group_name(group.as_str());
        let answer = request.scaling_processes(LAUNCH).send().await;
        answer
            .map(drop)
            .map_err(aws_error("autoscaling:ResumeProcesses"))
    }

    async fn terminate(&self, instances: &[InstanceId]) -> Result<(), AwsError> {
        self.terminate_instances(instances).await
    }
}

impl Groups for Aws {
    async fn suspended_groups(&self) -> Result<Vec<SuspendedGroup>, AwsError> {
        let groups = self.described_groups("tag-key", SUSPENDED_BY).await?;
        let suspended = groups.iter().filter(|group| is_suspended(group));
        let suspended = suspended.filter_map(|group| {
            Some(SuspendedGroup {
                name: group.auto_scaling_group_name()?.into(),
                cluster: tag(group, discovery::CLUSTER).map(Into::into),
                by: tag(group, SUSPENDED_BY)?.into(),
            })
        });
        Ok(suspended.collect())
    }

    async fn with_launches_suspended(
        &self,
        groups: &[GroupName],
    ) -> Result<Vec<GroupName>, AwsError> {
        let mut found = Vec::new();
        for names in groups.chunks(GROUP_NAMES_MAX) {
            let names = names.iter().map(GroupName::to_string).collect();
            let mut pages = self
                .autoscaling()
                .describe_auto_scaling_groups()
                .set_auto_scaling_group_names(Some(names))
                .into_paginator()
                .items()
                .send();
            while let Some(group) = pages.next().await {
                let group = group.map_err(aws_error(DESCRIBE_GROUPS))?;
                if is_suspended(&group) {
                    found.extend(group.auto_scaling_group_name.map(Into::into));
                }
            }
        }
        Ok(found)
    }
}

/// How many groups one call takes by name; by default a page has as many.
const GROUP_NAMES_MAX: usize = 50;
const DESCRIBE_GROUPS: &str = "autoscaling:DescribeAutoScalingGroups";

impl Aws {
    async fn described_groups(
        &self,
        filter: &str,
        value: &str,
    ) -> Result<Vec<AutoScalingGroup>, AwsError> {
        let filter = Filter::builder().name(filter).values(value).build();
        let mut pages = self
            .autoscaling()
            .describe_auto_scaling_groups()
            .filters(filter)
            .into_paginator()
            .items()
            .send();
        let mut groups = Vec::new();
        while let Some(group) = pages.next().await {
            groups.push(group.map_err(aws_error(DESCRIBE_GROUPS))?);
        }
        Ok(groups)
    }
}

fn is_control_plane(group: &AutoScalingGroup) -> bool {
    let roles = [discovery::ROLE_MASTER, discovery::ROLE_CONTROL_PLANE];
    roles.iter().any(|role| tag(group, role).is_some())
}

fn is_suspended(group: &AutoScalingGroup) -> bool {
    let mut processes = group.suspended_processes().iter();
    processes.any(|process| process.process_name() == Some(LAUNCH))
}

fn tag<'a>(group: &'a AutoScalingGroup, key: &str) -> Option<&'a str> {
    let found = group.tags().iter().find(|tag| tag.key() == Some(key));
    found.and_then(TagDescription::value)
}

fn core_tags(tags: &[TagDescription]) -> Tags {
    let pair = |tag: &TagDescription| {
        let value = tag.value().unwrap_or_default().to_owned();
        Some((tag.key()?.to_owned(), value))
    };
    tags.iter().filter_map(pair).collect()
}

/// The tag to write, or without a value the one to take off.
fn suspended_by(group: &GroupName, by: Option<&RestoreId>) -> Tag {
    Tag::builder()
        .resource_id(group.as_str())
        .resource_type(RESOURCE_TYPE)
        .key(SUSPENDED_BY)
        .set_value(by.map(RestoreId::to_string))
        .propagate_at_launch(false)
        .build()
}

fn master_group(group: &AutoScalingGroup) -> Option<MasterGroup> {
    let ids = |is_wanted: &dyn Fn(&LifecycleState) -> bool| {
        let instances = group.instances().iter();
        let wanted = instances.filter(|instance| instance.lifecycle_state().is_some_and(is_wanted));
        wanted
            .filter_map(|instance| Some(instance.instance_id()?.into()))
            .collect()
    };
    Some(MasterGroup {
        name: group.auto_scaling_group_name()?.into(),
        zones: group
            .availability_zones()
            .iter()
            .map(|zone| zone.as_str().into())
            .collect(),
        desired_size: group.desired_capacity().unwrap_or(0),
        instances: ids(&|_| true),
        launching: ids(&|state| {
            use LifecycleState::{Pending, PendingProceed, PendingWait};
            matches!(state, Pending | PendingProceed | PendingWait)
        }),
        launches_suspended: is_suspended(group),
        suspended_by: tag(group, SUSPENDED_BY).map(Into::into),
        tags: core_tags(group.tags()),
    })
}
