//! Accounts of any size as the audit reads them, clean until a test breaks something.

use audit::inventory::Inventory;
use etcd_backup_core::Tags;
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, PolicyDefinition, PolicyState};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::{Performance, Volume, VolumeState};
use jiff::{SignedDuration, Timestamp};

/// Five minutes past the due run.
pub const NOW: &str = "2026-11-22T07:35:00Z";

/// The settings that nobody set.
pub fn settings() -> Settings {
    settings_with(&[])
}

/// Settings of which some are set.
pub fn settings_with(variables: &[(&str, &str)]) -> Settings {
    let value = |name: &str| variables.iter().find(|(key, _)| *key == name);
    Settings::from_variables(&|name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
}

/// A time.
pub fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Clusters of six members each, with `runs` snapshots of every one, daily.
pub fn account(clusters: &[&str], runs: i64) -> Inventory {
    let mut volumes = Vec::new();
    for (index, cluster) in clusters.iter().enumerate() {
        for etcd_cluster in ["events", "main"] {
            for member in ["a", "b", "c"] {
                volumes.push(volume(index, cluster, etcd_cluster, member));
            }
        }
    }
    let days = |volume| (0..runs).map(move |days_ago| snapshot(volume, days_ago));
    Inventory {
        snapshots: volumes.iter().flat_map(days).collect(),
        volumes,
        policy_ids: [policy().id].into(),
        policies: vec![policy()],
        ..Inventory::default()
    }
}

/// The snapshot of `vol-<cluster's index>-<etcd cluster>-<member>` that the run left, so many days
/// before the due one.
pub fn snapshot_of<'a>(
    inventory: &'a mut Inventory,
    volume: &str,
    days_ago: i64,
) -> &'a mut Snapshot {
    let id = format!("snap-{}-{days_ago}", &volume[4..]);
    let mut snapshots = inventory.snapshots.iter_mut();
    snapshots
        .find(|of| of.id.as_str() == id)
        .expect("a snapshot of the volume and day")
}

/// Takes a run's snapshot of a volume away.
pub fn lose_snapshot(inventory: &mut Inventory, volume: &str, days_ago: i64) {
    let id = snapshot_of(inventory, volume, days_ago).id.clone();
    inventory.snapshots.retain(|snapshot| snapshot.id != id);
}

fn volume(index: usize, cluster: &str, etcd_cluster: &str, member: &str) -> Volume {
    let tags = [
        ("KubernetesCluster".to_owned(), cluster.to_owned()),
        (
            format!("kubernetes.io/cluster/{cluster}"),
            "owned".to_owned(),
        ),
        ("k8s.io/role/master".to_owned(), "1".to_owned()),
        (
            "Name".to_owned(),
            format!("{member}.etcd-{etcd_cluster}.{cluster}"),
        ),
        (
            format!("k8s.io/etcd/{etcd_cluster}"),
            format!("{member}/a,b,c"),
        ),
    ];
    Volume {
        id: format!("vol-{index}-{etcd_cluster}-{member}").into(),
        state: VolumeState::InUse,
        created: at("2026-10-01T12:00:00Z"),
        zone: format!("eu-west-2{member}").into(),
        size_gib: 20,
        performance: Performance {
            volume_type: "gp3".into(),
            iops: Some(3000),
            throughput: Some(125),
        },
        encrypted: true,
        made_from: None,
        attachments: Vec::new(),
        tags: Tags::from(tags),
    }
}

fn snapshot(volume: &Volume, days_ago: i64) -> Snapshot {
    let mut tags = volume.tags.clone();
    for (key, value) in [
        ("SnapshotCreator", "DLM"),
        ("aws:dlm:lifecycle-policy-id", "policy-0abc"),
        (
            "aws:dlm:lifecycle-schedule-name",
            "Daily 2 week etcd snapshots",
        ),
    ] {
        tags.insert(key.to_owned(), value.to_owned());
    }
    Snapshot {
        id: format!("snap-{}-{days_ago}", &volume.id.as_str()[4..]).into(),
        volume_id: volume.id.clone(),
        state: SnapshotState::Completed,
        state_message: None,
        started: at("2026-11-22T06:04:11Z") - SignedDuration::from_hours(24 * days_ago),
        size_gib: 20,
        encrypted: true,
        archived: false,
        tags,
    }
}

fn policy() -> LifecyclePolicy {
    let tags = [
        ("managed-by", "etcd-backup"),
        ("etcd-backup/schedule-since", "2026-10-01T10:00:00Z"),
    ];
    LifecyclePolicy {
        id: "policy-0abc".into(),
        description: "etcd data lifecycle policy".into(),
        state: PolicyState::Enabled,
        status_message: None,
        definition: PolicyDefinition::default(),
        created: at("2026-10-01T10:00:00Z"),
        modified: None,
        tags: tags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}
