//! What a starting master would find: the masters' own filters, asked of EC2.
//!
//! Sources: etcd-manager `pkg/volumes/aws/volumes.go`, protokube `aws_volume.go`. Written anew from
//! those, so that it can judge what a restore did.

use aws_sdk_ec2::types::Filter;
use etcd_backup_core::ids::VolumeId;

use crate::emulated_aws::{EmulatedAws, answered};

/// The volumes that etcd-manager would take for its zone's member of an etcd cluster, whichever of
/// the two role tags its version filters on.
pub async fn etcd_manager_candidates(
    aws: &EmulatedAws,
    cluster: &str,
    etcd_cluster: &str,
    zone: &str,
) -> Vec<VolumeId> {
    let owned = format!("tag:kubernetes.io/cluster/{cluster}");
    let etcd_key = format!("k8s.io/etcd/{etcd_cluster}");
    let mut found = Vec::new();
    for role in ["tag:k8s.io/role/control-plane", "tag:k8s.io/role/master"] {
        let filters = [
            (owned.as_str(), "owned"),
            ("tag-key", etcd_key.as_str()),
            (role, "1"),
            ("availability-zone", zone),
        ];
        found.extend(volumes_where(aws, &filters).await);
    }
    found.sort();
    found.dedup();
    found
}

/// The volumes that protokube (kops <= 1.11) looks at in its zone: etcd volumes of all etcd
/// clusters, and the masters' root volumes, which it then passes over for want of an etcd tag.
pub async fn protokube_candidates(aws: &EmulatedAws, cluster: &str, zone: &str) -> Vec<VolumeId> {
    let filters = [
        ("tag:KubernetesCluster", cluster),
        ("tag-key", "k8s.io/role/master"),
        ("availability-zone", zone),
    ];
    volumes_where(aws, &filters).await
}

/// The ids of the volumes that all filters let through, sorted.
pub async fn volumes_where(aws: &EmulatedAws, filters: &[(&str, &str)]) -> Vec<VolumeId> {
    let filter =
        |(name, value): &(&str, &str)| Filter::builder().name(*name).values(*value).build();
    let pages = aws
        .ec2()
        .describe_volumes()
        .set_filters(Some(filters.iter().map(filter).collect()))
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await;
    let volumes = answered("DescribeVolumes", pages);
    let mut ids: Vec<VolumeId> = volumes
        .into_iter()
        .filter_map(|volume| volume.volume_id.map(VolumeId::from))
        .collect();
    ids.sort();
    ids
}
