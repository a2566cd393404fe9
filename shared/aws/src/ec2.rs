//! EC2: volumes, snapshots, masters and zones.

mod conversion;
mod snapshot_pages;

use aws_config::retry::RetryConfig;
use aws_sdk_ec2::operation::describe_snapshots::DescribeSnapshotsOutput;
use aws_sdk_ec2::operation::describe_volumes::DescribeVolumesOutput;
use aws_sdk_ec2::types;
use etcd_backup_core::Tags;
use etcd_backup_core::aws::{
    AllMasters, AwsError, Filter, Master, NewVolume, SnapshotTagger, Storage, TaggedMaster,
    VolumeWriter,
};
use etcd_backup_core::discovery;
use etcd_backup_core::ids::{ClusterName, InstanceId, SnapshotId, VolumeId, ZoneName};
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::tags::TagPool;
use etcd_backup_core::volume::Volume;

use self::conversion::{
    attached_volumes, core_snapshot, core_tags, core_volume, instance_state, sdk_filters, sdk_tags,
};
use self::snapshot_pages::ReadSnapshotPages;
use crate::Aws;
use crate::error::{aws_error, incomplete};
use crate::listing::{self, Page, PageRequest, Parts};

/// The largest page that EC2 gives.
const PAGE_SIZE: i32 = 1000;
/// Snapshots are many times as many as volumes: with these parts, the listings of an audit cost at most
/// twenty calls more than they have pages.
const SNAPSHOT_PARTS: Parts = listing::SIXTEENTHS;
const VOLUME_PARTS: Parts = &[
    &['0', '1', '2', '3', '4', '5', '6', '7'],
    &['8', '9', 'a', 'b', 'c', 'd', 'e', 'f'],
];
const DESCRIBE_INSTANCES: &str = "ec2:DescribeInstances";
const DESCRIBE_VOLUMES: &str = "ec2:DescribeVolumes";

impl Storage for Aws {
    async fn volumes(&self, filters: &[Filter]) -> Result<Vec<Volume>, AwsError> {
        let mut pool = TagPool::default();
        let page = async |request: PageRequest| {
            let call = self
                .ec2()
                .describe_volumes()
                .set_filters(Some(part_filters(filters, "volume-id", "vol", &request)))
                .max_results(PAGE_SIZE)
                .set_next_token(request.token)
                .customize()
                .config_override(retry_config_override(request.is_retried));
            call.send().await.map_err(aws_error(DESCRIBE_VOLUMES))
        };
        let read = |page: DescribeVolumesOutput| {
            let volumes = page.volumes().iter();
            let volumes = volumes.map(|volume| core_volume(volume, &mut pool));
            Ok(Page {
                items: all(volumes, DESCRIBE_VOLUMES)?,
                next: next_token(page.next_token()),
            })
        };
        listing::whole(parts(filters, "volume-id", VOLUME_PARTS), page, read).await
    }

    async fn is_volume_gone(&self, volume: &VolumeId) -> Result<bool, AwsError> {
        let call = self.ec2().describe_volumes().volume_ids(volume.as_str());
        match call.send().await.map_err(aws_error(DESCRIBE_VOLUMES)) {
            Ok(answer) => {
                let mut pool = TagPool::default();
                let volumes = answer.volumes().iter();
                let mut volumes = volumes.filter_map(|volume| core_volume(volume, &mut pool));
                Ok(!volumes.any(|volume| volume.exists()))
            }
            Err(error) if error.is("InvalidVolume.NotFound") => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn snapshots(&self, filters: &[Filter]) -> Result<Vec<Snapshot>, AwsError> {
        const OPERATION: &str = "ec2:DescribeSnapshots";
        let mut pool = TagPool::default();
        let page = async |request: PageRequest| {
            let call = self
                .ec2()
                .describe_snapshots()
                .owner_ids("self")
                .set_filters(Some(part_filters(filters, "snapshot-id", "snap", &request)))
                .max_results(PAGE_SIZE)
                .set_next_token(request.token)
                .customize()
                .interceptor(ReadSnapshotPages)
                .config_override(retry_config_override(request.is_retried));
            call.send().await.map_err(aws_error(OPERATION))
        };
        let read = |page: DescribeSnapshotsOutput| {
            let snapshots = page.snapshots().iter();
            let snapshots = snapshots.map(|snapshot| core_snapshot(snapshot, &mut pool));
            Ok(Page {
                items: all(snapshots, OPERATION)?,
                next: next_token(page.next_token()),
            })
        };
        listing::whole(parts(filters, "snapshot-id", SNAPSHOT_PARTS), page, read).await
    }
}

/// The parts of a listing; none where it asks for ids by itself: of two filters of one name EC2 takes what
/// either lets pass.
fn parts(filters: &[Filter], id: &str, parts: Parts) -> Parts {
    if filters.iter().any(|filter| filter.name == id) {
        &[]
    } else {
        parts
    }
}

/// All items of a page; an answer that lacks what EC2 always gives is an error.
fn all<Item>(
    items: impl Iterator<Item = Option<Item>>,
    operation: &'static str,
) -> Result<Vec<Item>, AwsError> {
    let items: Option<Vec<Item>> = items.collect();
    items.ok_or_else(|| incomplete(operation))
}

/// The filters of a listing, or of the part of it whose ids end in a digit.
fn part_filters(
    filters: &[Filter],
    id_filter: &str,
    prefix: &str,
    request: &PageRequest,
) -> Vec<types::Filter> {
    let part = request.last_digits.map(|digits| {
        let patterns = digits.iter().map(|digit| format!("{prefix}-*{digit}"));
        Filter::new(id_filter, patterns)
    });
    sdk_filters(&filters.iter().cloned().chain(part).collect::<Vec<_>>())
}

/// EC2 gives an empty token after some last pages.
fn next_token(token: Option<&str>) -> Option<String> {
    token.filter(|token| !token.is_empty()).map(str::to_owned)
}

/// Tries again as the client does, or fails at once.
fn retry_config_override(is_retried: bool) -> aws_sdk_ec2::config::Builder {
    let config = aws_sdk_ec2::config::Config::builder();
    if is_retried {
        config
    } else {
        config.retry_config(RetryConfig::disabled())
    }
}

impl AllMasters for Aws {
    async fn all_masters(&self) -> Result<Vec<TaggedMaster>, AwsError> {
        let found = self.instances(&[master_filter()]).await?;
        let mut pool = TagPool::default();
        let master = |instance: &types::Instance| {
            Some(TaggedMaster {
                id: instance.instance_id()?.into(),
                state: instance_state(instance.state()?.name()?),
                volumes: attached_volumes(instance),
                tags: core_tags(instance.tags(), &mut pool),
            })
        };
        let masters = found.iter().map(master).collect::<Option<_>>();
        masters.ok_or_else(|| incomplete(DESCRIBE_INSTANCES))
    }
}

impl VolumeWriter for Aws {
    async fn create_volume(&self, volume: &NewVolume) -> Result<VolumeId, AwsError> {
        const OPERATION: &str = "ec2:CreateVolume";
        let tags = types::TagSpecification::builder()
            .resource_type(types::ResourceType::Volume)
            .set_tags(Some(sdk_tags(&volume.tags)))
            .build();
        let created = self
            .ec2()
            .create_volume()
            .snapshot_id(volume.snapshot_id.as_str())
            .availability_zone(volume.zone.as_str())
            .size(volume.size_gib)
            .volume_type(volume.performance.volume_type.as_str().into())
            .set_iops(volume.performance.iops)
            .set_throughput(volume.performance.throughput)
            // EC2 accepts a key only together with `encrypted`.
            .set_encrypted(volume.kms_key_id.as_ref().map(|_| true))
            .set_kms_key_id(volume.kms_key_id.clone())
            .set_volume_initialization_rate(volume.initialization_rate_mib_s)
            .client_token(&volume.client_token)
            .tag_specifications(tags)
            .send()
            .await
            .map_err(aws_error(OPERATION))?;
        Ok(created
            .volume_id()
            .ok_or_else(|| incomplete(OPERATION))?
            .into())
    }

    async fn tag_volume(&self, volume: &VolumeId, tags: &Tags) -> Result<(), AwsError> {
        self.ec2()
            .create_tags()
            .resources(volume.as_str())
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map_err(aws_error("ec2:CreateTags"))?;
        Ok(())
    }

    async fn untag_volumes(&self, volumes: &[VolumeId], keys: &[String]) -> Result<(), AwsError> {
        // A tag that is named without a value is deleted whatever its value is.
        let tags = keys
            .iter()
            .map(|key| types::Tag::builder().key(key).build());
        self.ec2()
            .delete_tags()
            .set_resources(Some(volumes.iter().map(VolumeId::to_string).collect()))
            .set_tags(Some(tags.collect()))
            .send()
            .await
            .map_err(aws_error("ec2:DeleteTags"))?;
        Ok(())
    }
}

impl SnapshotTagger for Aws {
    async fn tag_snapshot(&self, snapshot: &SnapshotId, tags: &Tags) -> Result<(), AwsError> {
        let request = self.ec2().create_tags().resources(snapshot.as_str());
        let answer = request.set_tags(Some(sdk_tags(tags))).send().await;
        answer.map(drop).map_err(aws_error("ec2:CreateTags"))
    }
}

impl Aws {
    pub(crate) async fn master_instances(
        &self,
        cluster: &ClusterName,
    ) -> Result<Vec<Master>, AwsError> {
        let of_cluster = Filter::new(format!("tag:{}", discovery::CLUSTER), [cluster.as_str()]);
        let found = self.instances(&[of_cluster, master_filter()]).await?;
        let master = |instance: &types::Instance| {
            Some(Master {
                id: instance.instance_id()?.into(),
                zone: instance.placement()?.availability_zone()?.into(),
                state: instance_state(instance.state()?.name()?),
            })
        };
        let masters = found.iter().map(master).collect::<Option<_>>();
        masters.ok_or_else(|| incomplete(DESCRIBE_INSTANCES))
    }

    async fn instances(&self, filters: &[Filter]) -> Result<Vec<types::Instance>, AwsError> {
        let mut pages = self
            .ec2()
            .describe_instances()
            .set_filters(Some(sdk_filters(filters)))
            .into_paginator()
            .page_size(PAGE_SIZE)
            .items()
            .send();
        let mut instances = Vec::new();
        while let Some(reservation) = pages.next().await {
            let reservation = reservation.map_err(aws_error(DESCRIBE_INSTANCES))?;
            instances.extend(reservation.instances.unwrap_or_default());
        }
        Ok(instances)
    }

    pub(crate) async fn termination_is_disabled(
        &self,
        instance: &InstanceId,
    ) -> Result<bool, AwsError> {
        let answer = self
            .ec2()
            .describe_instance_attribute()
            .instance_id(instance.as_str())
            .attribute(types::InstanceAttributeName::DisableApiTermination)
            .send()
            .await
            .map_err(aws_error("ec2:DescribeInstanceAttribute"))?;
        let attribute = answer.disable_api_termination();
        Ok(attribute.and_then(|value| value.value()).unwrap_or(false))
    }

    pub(crate) async fn terminate_instances(
        &self,
        instances: &[InstanceId],
    ) -> Result<(), AwsError> {
        let ids = instances.iter().map(InstanceId::to_string).collect();
        let request = self.ec2().terminate_instances().set_instance_ids(Some(ids));
        let answer = request.send().await;
        answer
            .map(drop)
            .map_err(aws_error("ec2:TerminateInstances"))
    }

    pub(crate) async fn availability_zones(&self) -> Result<Vec<ZoneName>, AwsError> {
        let answer = self
            .ec2()
            .describe_availability_zones()
            .send()
            .await
            .map_err(aws_error("ec2:DescribeAvailabilityZones"))?;
        let zones = answer.availability_zones().iter();
        Ok(zones
            .filter_map(|zone| zone.zone_name())
            .map(ZoneName::from)
            .collect())
    }
}

fn master_filter() -> Filter {
    let roles = [discovery::ROLE_MASTER, discovery::ROLE_CONTROL_PLANE];
    Filter::new("tag-key", roles)
}
