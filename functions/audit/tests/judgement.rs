//! A clean account, and what the audit says of it when one thing is broken.

use audit::event::Request;
use audit::finding::Finding;
use audit::inventory::Inventory;
use audit::report::Report;
use etcd_backup_core::Tags;
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, PolicyDefinition, PolicyState};
use etcd_backup_core::settings::{Settings, Tag};
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::{Performance, Volume, VolumeState};
use jiff::{SignedDuration, Timestamp};

const CLUSTER: &str = "k8s.mycompany.tld";
const NOW: &str = "2026-11-22T07:30:00Z";

fn settings() -> Settings {
    Settings::from_variables(&|_| None).unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn volume(etcd_cluster: &str, member: &str) -> Volume {
    let mut tags = tags(&[
        ("KubernetesCluster", CLUSTER),
        ("kubernetes.io/cluster/k8s.mycompany.tld", "owned"),
        ("k8s.io/role/master", "1"),
    ]);
    tags.insert(
        "Name".into(),
        format!("{member}.etcd-{etcd_cluster}.{CLUSTER}"),
    );
    tags.insert(
        format!("k8s.io/etcd/{etcd_cluster}"),
        format!("{member}/a,b,c"),
    );
    Volume {
        id: format!("vol-{etcd_cluster}-{member}").as_str().into(),
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
        tags,
    }
}

/// The snapshot that the run `days_ago` days before the due one left of a volume.
fn snapshot(volume: &Volume, days_ago: i64) -> Snapshot {
    let started = at("2026-11-22T06:04:11Z") - SignedDuration::from_hours(24 * days_ago);
    let mut tags = volume.tags.clone();
    tags.insert("SnapshotCreator".into(), "DLM".into());
    tags.insert(
        "aws:dlm:lifecycle-schedule-name".into(),
        "Daily 2 week etcd snapshots".into(),
    );
    Snapshot {
        id: format!("snap-{}-{days_ago}", &volume.id.as_str()[4..])
            .as_str()
            .into(),
        volume_id: volume.id.clone(),
        state: SnapshotState::Completed,
        state_message: None,
        started,
        size_gib: 20,
        encrypted: true,
        archived: false,
        tags,
    }
}

fn clean() -> Inventory {
    let members = ["main", "events"]
        .iter()
        .flat_map(|e| ["a", "b", "c"].map(|m| (*e, m)));
    let volumes: Vec<Volume> = members.map(|(e, m)| volume(e, m)).collect();
    let snapshots = volumes
        .iter()
        .flat_map(|v| (0..14).map(|day| snapshot(v, day)))
        .collect();
    let policy = LifecyclePolicy {
        id: "policy-0abc".into(),
        description: "etcd data lifecycle policy".into(),
        state: PolicyState::Enabled,
        status_message: None,
        definition: PolicyDefinition::default(),
        created: at("2026-10-01T10:00:00Z"),
        tags: tags(&[
            ("managed-by", "etcd-backup"),
            ("etcd-backup/schedule-since", "2026-10-01T10:00:00Z"),
        ]),
    };
    Inventory {
        volumes,
        snapshots,
        policies: vec![policy],
    }
}

fn report_at(inventory: Inventory, now: &str) -> Report {
    Report::new(inventory, &settings(), &Request::default(), at(now))
}

/// The findings, a line each: severity, kind and subject.
fn findings(inventory: Inventory) -> Vec<String> {
    lines(&report_at(inventory, NOW).findings)
}

fn lines(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let subject = finding.subject.within_cluster().unwrap_or_default();
        format!(
            "{} {} {subject}",
            finding.severity.name(),
            finding.kind.name()
        )
        .trim_end()
        .to_owned()
    };
    findings.iter().map(line).collect()
}

fn break_volume(inventory: &mut Inventory, id: &str, change: impl FnOnce(&mut Volume)) {
    change(
        inventory
            .volumes
            .iter_mut()
            .find(|volume| volume.id.as_str() == id)
            .unwrap(),
    );
}

fn break_snapshot(inventory: &mut Inventory, id: &str, change: impl FnOnce(&mut Snapshot)) {
    change(
        inventory
            .snapshots
            .iter_mut()
            .find(|snapshot| snapshot.id.as_str() == id)
            .unwrap(),
    );
}

#[test]
fn a_clean_account_is_ok() {
    let report = report_at(clean(), NOW);
    assert_eq!(lines(&report.findings), Vec::<String>::new());
    assert_eq!(report.worst.name(), "ok");
    insta::assert_snapshot!(report, @r"
    etcd backup audit at 2026-11-22T07:30:00Z: OK
    Due run 2026-11-22T06:00:00Z: 6 of 6 etcd volumes have their snapshot.
      k8s.mycompany.tld: 6 of 6 volumes covered, 14 restore points, latest 2026-11-22T06:04:11Z (skew 0 s)
    No findings.
    ");
}

#[test]
fn each_thing_broken_is_found_and_nothing_else() {
    type Break = fn(&mut Inventory);
    let cases: [(&str, Break, &[&str]); 13] = [
        (
            "the due snapshot never appeared",
            |i| i.snapshots.retain(|s| s.id.as_str() != "snap-main-a-0"),
            &["critical snapshot_missing main/a"],
        ),
        (
            "the due snapshot failed",
            |i| break_snapshot(i, "snap-main-a-0", |s| s.state = SnapshotState::Error),
            &["critical snapshot_failed main/a"],
        ),
        (
            "pending for an hour and a half is fine",
            |i| break_snapshot(i, "snap-main-a-0", |s| s.state = SnapshotState::Pending),
            &[],
        ),
        (
            "the target tag was taken off",
            |i| {
                break_volume(i, "vol-main-a", |v| {
                    drop(v.tags.remove("k8s.io/role/master"))
                })
            },
            &["critical volume_not_targeted main/a"],
        ),
        (
            "a volume is gone",
            |i| i.volumes.retain(|v| v.id.as_str() != "vol-events-b"),
            &["critical member_missing events/b"],
        ),
        (
            "kops made a second volume",
            |i| {
                let twin = Volume {
                    id: "vol-twin".into(),
                    ..volume("main", "c")
                };
                i.volumes.push(twin);
            },
            &["critical member_duplicated main/c"],
        ),
        (
            "an etcd cluster is gone",
            |i| i.volumes.retain(|v| !v.id.as_str().contains("events")),
            &["critical no_etcd_volumes events"],
        ),
        (
            "the whole cluster is gone",
            |i| i.volumes.clear(),
            &[
                "critical no_etcd_volumes events",
                "critical no_etcd_volumes main",
            ],
        ),
        (
            "nothing is left at all",
            |i| {
                i.volumes.clear();
                i.snapshots.clear();
            },
            &["critical no_etcd_volumes"],
        ),
        (
            "the policy is gone",
            |i| i.policies.clear(),
            &["critical policy_missing"],
        ),
        (
            "the policy is disabled",
            |i| i.policies[0].state = PolicyState::Disabled,
            &["critical policy_not_enabled"],
        ),
        (
            "an etcd tag is malformed",
            |i| {
                break_volume(i, "vol-main-a", |v| {
                    v.tags.insert("k8s.io/etcd/main".into(), "a".into());
                });
            },
            &["warning volume_tag_wrong vol-main-a"],
        ),
        (
            "a stranger's etcd tag is malformed",
            |i| {
                let stray = tags(&[("k8s.io/etcd/main", "<b>"), ("k8s.io/role/master", "1")]);
                i.volumes.push(Volume {
                    id: "vol-stray".into(),
                    tags: stray,
                    ..volume("main", "a")
                });
            },
            &["warning volume_tag_wrong vol-stray"],
        ),
    ];
    for (what, break_it, expected) in cases {
        let mut inventory = clean();
        break_it(&mut inventory);
        assert_eq!(findings(inventory), expected, "{what}");
    }
}

#[test]
fn an_etcd_cluster_without_any_restore_point_is_critical() {
    let mut inventory = clean();
    inventory
        .snapshots
        .retain(|s| s.id.as_str().ends_with("-0"));
    break_snapshot(&mut inventory, "snap-main-b-0", |s| {
        s.state = SnapshotState::Pending
    });
    assert_eq!(findings(inventory), ["critical no_restore_point main"]);
}

#[test]
fn a_fresh_deployment_is_not_blamed_for_yesterday() {
    let mut inventory = clean();
    inventory.snapshots.clear();
    inventory.policies[0].created = at("2026-11-22T06:30:00Z");
    inventory.policies[0]
        .tags
        .remove("etcd-backup/schedule-since");
    assert_eq!(findings(inventory.clone()), Vec::<String>::new());

    let next_day = report_at(inventory, "2026-11-23T07:30:00Z");
    let missing = lines(&next_day.findings);
    assert_eq!(
        missing
            .iter()
            .filter(|line| line.contains("snapshot_missing"))
            .count(),
        6
    );
    assert_eq!(
        missing
            .iter()
            .filter(|line| line.contains("no_restore_point"))
            .count(),
        2
    );
    assert_eq!(missing.len(), 8);
}

#[test]
fn a_policy_made_again_excuses_nothing() {
    let mut inventory = clean();
    inventory.policies[0].created = at("2026-11-22T07:00:00Z");
    inventory.policies[0]
        .tags
        .remove("etcd-backup/schedule-since");
    inventory
        .snapshots
        .retain(|s| s.id.as_str() != "snap-main-a-0");
    assert_eq!(findings(inventory), ["critical snapshot_missing main/a"]);
}

#[test]
fn a_schedule_changed_since_judges_no_older_run() {
    let mut inventory = clean();
    let since = (
        "etcd-backup/schedule-since".to_owned(),
        "2026-11-22T06:10:00Z".to_owned(),
    );
    inventory.policies[0].tags.extend([since]);
    inventory
        .snapshots
        .retain(|s| s.id.as_str() != "snap-main-a-0");
    break_snapshot(&mut inventory, "snap-main-b-0", |s| {
        s.state = SnapshotState::Error
    });
    assert_eq!(findings(inventory), Vec::<String>::new());
}

#[test]
fn a_volume_made_after_the_run_is_not_blamed_for_it() {
    let mut inventory = clean();
    inventory
        .snapshots
        .retain(|s| s.volume_id.as_str() != "vol-main-c");
    break_volume(&mut inventory, "vol-main-c", |v| {
        v.created = at("2026-11-22T06:30:00Z")
    });
    let report = report_at(inventory, NOW);
    assert!(
        !lines(&report.findings)
            .iter()
            .any(|line| line.contains("snapshot_missing"))
    );
    assert_eq!(report.summary.volumes_covered, 5);
}

#[test]
fn a_members_history_goes_on_through_a_restore() {
    let mut inventory = clean();
    for volume in &mut inventory.volumes {
        let restored = Volume {
            id: format!("{}-new", volume.id).as_str().into(),
            created: at("2026-11-22T07:00:00Z"),
            made_from: Some("snap-x".into()),
            ..volume.clone()
        };
        *volume = restored;
    }
    let report = report_at(inventory, NOW);
    assert_eq!(lines(&report.findings), Vec::<String>::new());
    assert_eq!(
        (report.summary.volumes_covered, report.summary.snapshots),
        (6, 84)
    );
}

#[test]
fn only_what_was_asked_for_is_judged() {
    let mut inventory = clean();
    inventory
        .snapshots
        .retain(|s| s.id.as_str() != "snap-main-a-0");
    let other: Vec<_> = ["other.tld"].map(Into::into).into();
    let request = Request {
        clusters: Some(other),
        ..Request::default()
    };
    let report = Report::new(inventory, &settings(), &request, at(NOW));
    assert_eq!(lines(&report.findings), ["critical no_etcd_volumes"]);
    assert_eq!(report.clusters.len(), 1);
    assert_eq!(report.clusters[0].restore_points, 0);
}

#[test]
fn an_account_without_a_cluster_on_purpose_is_ok() {
    let settings =
        Settings::from_variables(&|name| (name == "EXPECT_CLUSTERS").then(|| "none".into()));
    let inventory = Inventory {
        volumes: Vec::new(),
        snapshots: Vec::new(),
        ..clean()
    };
    let report = Report::new(inventory, &settings.unwrap(), &Request::default(), at(NOW));
    assert_eq!(report.worst.name(), "ok");
}

#[test]
fn snapshots_are_told_by_the_tags_that_the_policy_adds_when_the_schedule_was_renamed() {
    let mut inventory = clean();
    for snapshot in &mut inventory.snapshots {
        snapshot
            .tags
            .insert("aws:dlm:lifecycle-schedule-name".into(), "Old name".into());
    }
    assert_eq!(findings(inventory.clone()), Vec::<String>::new());

    let without = Settings {
        tags_to_add: vec![Tag {
            key: "x".into(),
            value: "1".into(),
        }],
        ..settings()
    };
    let report = Report::new(inventory, &without, &Request::default(), at(NOW));
    assert_eq!(report.summary.snapshots, 0);
}

#[test]
fn the_alert_says_what_is_wrong_where_and_what_to_do() {
    let mut inventory = clean();
    inventory
        .snapshots
        .retain(|s| s.id.as_str() != "snap-main-a-0");
    inventory.policies[0].state = PolicyState::Disabled;
    let report = report_at(inventory, NOW);
    let arn = "arn:aws:lambda:eu-west-2:123456789012:function:audit";
    let deployment = etcd_backup_core::deployment::Deployment::of_function(arn).unwrap();
    let alert = audit::alert::alert(&report, &settings(), &deployment).unwrap();
    insta::assert_snapshot!(alert.subject, @"etcd backup CRITICAL: 2 findings in k8s.mycompany.tld (123456789012 eu-west-2)");
    insta::assert_snapshot!(alert.body, @r"
    etcd backups in account 123456789012, Region eu-west-2, audited at 2026-11-22T07:30:00Z.
    Due run 2026-11-22T06:00:00Z: 5 of 6 etcd volumes have their snapshot.
    Findings: 2 critical, 0 warning, 0 info.

    The account
    -----------

    CRITICAL policy_not_enabled
    The DLM policy policy-0abc is DISABLED: nothing is backed up and nothing is deleted. Run converge.

    Cluster k8s.mycompany.tld
    -------------------------
    It can be restored: the latest of 13 restore points is of 2026-11-21T06:04:11Z.

    CRITICAL snapshot_missing
    The run of 2026-11-22T06:00:00Z left no snapshot of main/a (vol-main-a); its latest is snap-main-a-1 of 2026-11-21T06:04:11Z. Check that the volume carries a target tag and the DLM policy is enabled, or take a snapshot by hand now.
    ");
    let report = report_at(clean(), NOW);
    assert_eq!(audit::alert::alert(&report, &settings(), &deployment), None);
}
