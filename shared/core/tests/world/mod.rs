//! A small account to break things in: volumes of one cluster's members, what DLM made of them, and the
//! policy that did.

#![allow(dead_code)] // Each test binary uses some of it.

pub mod cluster;

use etcd_backup_core::Tags;
use etcd_backup_core::ids::{MemberKey, PolicyId};
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, PolicyDefinition, PolicySchedule, PolicyState,
};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{DLM_POLICY_ID, DLM_SCHEDULE_NAME, Snapshot, SnapshotState};
use etcd_backup_core::volume::{Performance, Volume, VolumeState};
use jiff::Timestamp;

pub const CLUSTER: &str = "k8s.mycompany.tld";
pub const OUR_POLICY: &str = "policy-ours";
pub const OUR_SCHEDULE: &str = "Daily 2 week etcd snapshots";

pub fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Settings of which some are set.
pub fn settings(variables: &[(&str, &str)]) -> Settings {
    let value = |name: &str| variables.iter().find(|(key, _)| *key == name);
    Settings::from_variables(&|name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
}

/// A policy with schedules of these names.
pub fn policy(id: &str, schedules: &[&str]) -> LifecyclePolicy {
    let schedule = |name: &&str| PolicySchedule {
        name: (*name).to_owned(),
        ..PolicySchedule::default()
    };
    LifecyclePolicy {
        id: id.into(),
        description: "etcd data lifecycle policy".into(),
        state: PolicyState::Enabled,
        status_message: None,
        created: at("2026-01-01T00:00:00Z"),
        modified: None,
        definition: PolicyDefinition {
            schedules: schedules.iter().map(schedule).collect(),
            ..PolicyDefinition::default()
        },
        tags: Tags::new(),
    }
}

pub fn policy_ids(ids: &[&str]) -> Vec<PolicyId> {
    ids.iter().map(|id| PolicyId::from(*id)).collect()
}

/// What kops writes on a member's volume; `key` is `main/a`, `members` is `a,b,c`.
pub fn discovery_tags(key: &str, members: &str) -> Tags {
    let key: MemberKey = key.parse().unwrap();
    let (etcd_cluster, member) = (&key.etcd_cluster, &key.member);
    Tags::from([
        ("KubernetesCluster".to_owned(), CLUSTER.to_owned()),
        (
            format!("kubernetes.io/cluster/{CLUSTER}"),
            "owned".to_owned(),
        ),
        ("k8s.io/role/master".to_owned(), "1".to_owned()),
        (
            format!("k8s.io/etcd/{etcd_cluster}"),
            format!("{member}/{members}"),
        ),
        (
            "Name".to_owned(),
            format!("{member}.etcd-{etcd_cluster}.{CLUSTER}"),
        ),
    ])
}

/// A blank volume.
pub fn volume(id: &str, tags: Tags, created: &str) -> Volume {
    Volume {
        id: id.into(),
        state: VolumeState::InUse,
        created: at(created),
        zone: "eu-west-2a".into(),
        size_gib: 20,
        performance: Performance {
            volume_type: "gp3".into(),
            iops: Some(3000),
            throughput: Some(125),
        },
        encrypted: true,
        kms_key_id: None,
        made_from: None,
        attachments: Vec::new(),
        tags,
    }
}

/// A completed snapshot that our schedule made of a volume with these tags.
pub fn snapshot(id: &str, volume_id: &str, volume_tags: &Tags, started: Timestamp) -> Snapshot {
    let mut tags = volume_tags.clone();
    for (key, value) in [
        ("SnapshotCreator", "DLM"),
        (DLM_POLICY_ID, OUR_POLICY),
        (DLM_SCHEDULE_NAME, OUR_SCHEDULE),
    ] {
        tags.insert(key.to_owned(), value.to_owned());
    }
    Snapshot {
        id: id.into(),
        volume_id: volume_id.into(),
        state: SnapshotState::Completed,
        state_message: None,
        started,
        completed_after_seconds: None,
        size_gib: 20,
        encrypted: true,
        kms_key_id: None,
        archived: false,
        tags,
    }
}
