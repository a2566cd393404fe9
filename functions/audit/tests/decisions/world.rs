//! Accounts of any size as the audit reads them, clean until a test breaks something.

use audit::event::Request;
use audit::finding::Finding;
use audit::inventory::Inventory;
use audit::report::Report;
use etcd_backup_core::Tags;
use etcd_backup_core::lifecycle_policy::{
    CreateRule, Extent, LifecyclePolicy, PolicyDefinition, PolicySchedule, PolicyState,
};
use etcd_backup_core::settings::{Settings, Tag};
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::{Attachment, Performance, Volume, VolumeState};
use jiff::{SignedDuration, Timestamp};

/// The cluster of [`clean`].
pub const CLUSTER: &str = "k8s.mycompany.tld";
/// Where the accounts are.
pub const REGION: &str = "eu-west-2";
/// Five minutes past the due run.
pub const NOW: &str = "2026-11-22T07:35:00Z";
/// The policy that converge keeps.
pub const POLICY: &str = "policy-0abc";

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

/// Tags.
pub fn tags(pairs: &[(&str, &str)]) -> Tags {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// One cluster of six members, backed up for fourteen days.
pub fn clean() -> Inventory {
    account(&[CLUSTER], 14)
}

/// Clusters of six members each, with `runs` snapshots of every one, daily.
pub fn account(clusters: &[&str], runs: i64) -> Inventory {
    let mut volumes = Vec::new();
    for (index, cluster) in clusters.iter().enumerate() {
        for etcd_cluster in ["events", "main"] {
            for member in ["a", "b", "c"] {
                volumes.push(volume_of(index, cluster, etcd_cluster, member));
            }
        }
    }
    let days = |volume| (0..runs).map(move |days_ago| snapshot(volume, days_ago));
    Inventory {
        snapshots: volumes.iter().flat_map(days).collect(),
        ..account_of(volumes)
    }
}

/// An account with these volumes and the policy, and no snapshot yet.
pub fn account_of(volumes: Vec<Volume>) -> Inventory {
    Inventory {
        region: REGION.to_owned(),
        volumes,
        policy_ids: [POLICY.into()].into(),
        policies: vec![policy()],
        ..Inventory::default()
    }
}

/// The volume of a member of the first cluster.
pub fn volume(etcd_cluster: &str, member: &str) -> Volume {
    volume_of(0, CLUSTER, etcd_cluster, member)
}

fn volume_of(index: usize, cluster: &str, etcd_cluster: &str, member: &str) -> Volume {
    let owned = format!("kubernetes.io/cluster/{cluster}");
    let name = format!("{member}.etcd-{etcd_cluster}.{cluster}");
    let etcd = format!("k8s.io/etcd/{etcd_cluster}");
    let of_list = format!("{member}/a,b,c");
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
        kms_key_id: None,
        made_from: None,
        attachments: vec![Attachment {
            instance: format!("i-{index}-{member}").into(),
            device: "/dev/xvdu".into(),
            attached_at: None,
            delete_on_termination: false,
        }],
        tags: tags(&[
            ("KubernetesCluster", cluster),
            (&owned, "owned"),
            ("k8s.io/role/master", "1"),
            ("Name", &name),
            (&etcd, &of_list),
        ]),
    }
}

/// What is left of a master's root volume, tagged as kops tags it.
pub fn root_volume(id: &str) -> Volume {
    let name = format!("master-eu-west-2a.masters.{CLUSTER}");
    Volume {
        id: id.into(),
        tags: tags(&[
            ("KubernetesCluster", CLUSTER),
            ("Name", &name),
            ("k8s.io/role/master", "1"),
            ("kops.k8s.io/instancegroup", "master-eu-west-2a"),
        ]),
        ..volume("main", "a")
    }
}

/// The snapshot that the run `days_ago` days before the due one left of a volume.
pub fn snapshot(volume: &Volume, days_ago: i64) -> Snapshot {
    let mut tags = volume.tags.clone();
    tags.extend(self::tags(&[
        ("SnapshotCreator", "DLM"),
        ("aws:dlm:lifecycle-policy-id", POLICY),
        (
            "aws:dlm:lifecycle-schedule-name",
            "Daily 2 week etcd snapshots",
        ),
    ]));
    Snapshot {
        id: format!("snap-{}-{days_ago}", &volume.id.as_str()[4..]).into(),
        volume_id: volume.id.clone(),
        state: SnapshotState::Completed,
        state_message: None,
        started: at("2026-11-22T06:04:11Z") - SignedDuration::from_hours(24 * days_ago),
        completed_after_seconds: None,
        size_gib: 20,
        encrypted: true,
        kms_key_id: None,
        archived: false,
        tags,
    }
}

/// The policy as converge makes it.
fn policy() -> LifecyclePolicy {
    LifecyclePolicy {
        id: POLICY.into(),
        description: "etcd data lifecycle policy".into(),
        state: PolicyState::Enabled,
        status_message: None,
        definition: PolicyDefinition {
            resource_types: ["VOLUME".to_owned()].into(),
            target_tags: [tag("k8s.io/role/master", "1")].into(),
            schedules: vec![schedule("Daily 2 week etcd snapshots", 14)],
            ..PolicyDefinition::default()
        },
        created: at("2026-10-01T10:00:00Z"),
        modified: None,
        tags: tags(&[
            ("managed-by", "etcd-backup"),
            ("etcd-backup/schedule-since", "2026-10-01T10:00:00Z"),
        ]),
    }
}

/// A schedule of a policy, daily at six.
pub fn schedule(name: &str, retain_count: i32) -> PolicySchedule {
    PolicySchedule {
        name: name.to_owned(),
        copy_tags: true,
        tags_to_add: [tag("SnapshotCreator", "DLM")].into(),
        create: CreateRule {
            interval_hours: Some(24),
            times: vec!["06:00".to_owned()],
            ..CreateRule::default()
        },
        retain: Extent::count(retain_count),
        ..PolicySchedule::default()
    }
}

/// Another team's enabled policy for these resources, with these target tags.
pub fn other_policy(
    id: &str,
    resource_type: &str,
    target_tags: &[(&str, &str)],
) -> LifecyclePolicy {
    let target_tags = target_tags.iter().map(|(key, value)| tag(key, value));
    LifecyclePolicy {
        id: id.into(),
        description: "theirs".into(),
        definition: PolicyDefinition {
            resource_types: [resource_type.to_owned()].into(),
            target_tags: target_tags.collect(),
            schedules: vec![schedule("Theirs", 7)],
            ..PolicyDefinition::default()
        },
        tags: Tags::new(),
        ..policy()
    }
}

/// Adds a policy of another team's to an account.
pub fn add_other_policy(inventory: &mut Inventory, policy: LifecyclePolicy) {
    inventory.policy_ids.insert(policy.id.clone());
    inventory.other_policies.push(policy);
}

/// One tag.
pub fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Records since when the schedule is as it is.
pub fn set_schedule_since(inventory: &mut Inventory, since: &str) {
    let tags = &mut inventory.policies[0].tags;
    tags.insert("etcd-backup/schedule-since".into(), since.into());
}

/// The volume of that id.
pub fn volume_mut<'a>(inventory: &'a mut Inventory, id: &str) -> &'a mut Volume {
    let mut volumes = inventory.volumes.iter_mut();
    let found = volumes.find(|volume| volume.id.as_str() == id);
    found.unwrap_or_else(|| panic!("no volume {id}"))
}

/// Takes a volume away.
pub fn lose_volume(inventory: &mut Inventory, id: &str) {
    let before = inventory.volumes.len();
    inventory.volumes.retain(|volume| volume.id.as_str() != id);
    assert_eq!(inventory.volumes.len() + 1, before, "no volume {id}");
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
    let found = snapshots.find(|of| of.id.as_str() == id);
    found.unwrap_or_else(|| panic!("no snapshot {id}"))
}

/// Takes a run's snapshot of a volume away.
pub fn lose_snapshot(inventory: &mut Inventory, volume: &str, days_ago: i64) {
    let id = snapshot_of(inventory, volume, days_ago).id.clone();
    inventory.snapshots.retain(|snapshot| snapshot.id != id);
}

/// The report at [`NOW`], with the settings that nobody set.
pub fn report(inventory: Inventory) -> Report {
    report_at(inventory, NOW)
}

/// The report at another time.
pub fn report_at(inventory: Inventory, now: &str) -> Report {
    Report::new(inventory, &settings(), &Request::default(), at(now))
}

/// The findings at [`NOW`], a line each: severity, kind and subject.
pub fn findings(inventory: Inventory) -> Vec<String> {
    lines(&report(inventory).findings)
}

/// Findings, a line each: severity, kind and subject.
pub fn lines(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        commands_name_the_region(&serde_json::to_string(finding).unwrap());
        let subject = finding.subject.within_cluster().unwrap_or_default();
        let (severity, kind) = (finding.severity.name(), finding.kind.name());
        format!("{severity} {kind} {subject}").trim_end().to_owned()
    };
    findings.iter().map(line).collect()
}

/// Who pastes a command may have another Region as the default.
fn commands_name_the_region(text: &str) {
    let named = format!("--region {REGION} ");
    for command in text.split("aws ").skip(1) {
        assert!(command.contains(&named), "aws {command}");
    }
}

/// No finding.
pub const NOTHING: [&str; 0] = [];

/// One thing that is broken: what, how, and the findings, a line each.
pub type Case = (&'static str, fn(&mut Inventory), &'static [&'static str]);

/// Each thing broken in a clean account is found, and nothing else.
pub fn each_is_found_and_nothing_else(cases: &[Case]) {
    for (what, break_it, expected) in cases {
        let mut inventory = clean();
        break_it(&mut inventory);
        assert_eq!(findings(inventory), *expected, "{what}");
    }
}
