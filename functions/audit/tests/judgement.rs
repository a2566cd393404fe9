//! A clean account, and what the audit says of it when one thing is broken.

use audit::event::Request;
use audit::finding::{Finding, Kind};
use audit::inventory::Inventory;
use audit::report::Report;
use etcd_backup_core::Tags;
use etcd_backup_core::aws::SuspendedGroup;
use etcd_backup_core::ids::VolumeId;
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, PolicyDefinition, PolicyState};
use etcd_backup_core::restore_tags::Origin;
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
    tags.insert("aws:dlm:lifecycle-policy-id".into(), "policy-0abc".into());
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
        modified: None,
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
        policy_ids: [policy.id.clone()].into(),
        policies: vec![policy],
        ..Inventory::default()
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

fn set_tag(inventory: &mut Inventory, id: &str, key: &str, value: &str) {
    break_volume(inventory, id, |v| {
        drop(v.tags.insert(key.into(), value.into()))
    });
}

fn other_policy(id: &str, description: &str) -> LifecyclePolicy {
    let target = Tag {
        key: "KubernetesCluster".into(),
        value: CLUSTER.into(),
    };
    LifecyclePolicy {
        id: id.into(),
        description: description.into(),
        definition: PolicyDefinition {
            resource_types: ["VOLUME".to_owned()].into(),
            target_tags: [target].into(),
            ..PolicyDefinition::default()
        },
        tags: Tags::new(),
        ..clean().policies.remove(0)
    }
}

fn unfinished_volume() -> Volume {
    let origin = Origin {
        restore_id: "r-1f2e3d4c5b6a".into(),
        cluster: CLUSTER.into(),
        member: "main/a".parse().unwrap(),
        member_count: 6,
        run: None,
        options: "masters=leave".into(),
    };
    Volume {
        id: "vol-new".into(),
        tags: origin.tags(),
        ..volume("main", "a")
    }
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
    let cases: [(&str, Break, &[&str]); 38] = [
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
            &[
                "critical volume_not_targeted main/a",
                "info snapshots_orphaned",
            ],
        ),
        (
            "a volume is gone",
            |i| i.volumes.retain(|v| v.id.as_str() != "vol-events-b"),
            &[
                "critical member_missing events/b",
                "info snapshots_orphaned",
            ],
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
            &["critical no_etcd_volumes events", "info snapshots_orphaned"],
        ),
        (
            "the whole cluster is gone",
            |i| i.volumes.clear(),
            &[
                "critical no_etcd_volumes events",
                "critical no_etcd_volumes main",
                "info snapshots_orphaned",
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
        (
            "a run in the middle left nothing",
            |i| i.snapshots.retain(|s| s.id.as_str() != "snap-main-a-5"),
            &["warning snapshot_gap main/a"],
        ),
        (
            "a snapshot is pending since yesterday",
            |i| break_snapshot(i, "snap-main-a-1", |s| s.state = SnapshotState::Pending),
            &["warning snapshot_stuck main/a"],
        ),
        (
            "the older half of a history is gone",
            |i| {
                let old = |s: &Snapshot| s.started < at("2026-11-15T00:00:00Z");
                i.snapshots
                    .retain(|s| s.volume_id.as_str() != "vol-main-a" || !old(s));
            },
            &["warning retention_short main/a"],
        ),
        (
            "one snapshot more than kept, while DLM deletes",
            |i| i.snapshots.push(snapshot(&volume("main", "a"), 14)),
            &[],
        ),
        (
            "two snapshots more than kept",
            |i| {
                for day in [14, 15] {
                    i.snapshots.push(snapshot(&volume("main", "a"), day));
                }
            },
            &["warning retention_exceeded main/a"],
        ),
        (
            "the latest snapshot lacks what a restore needs",
            |i| {
                break_snapshot(i, "snap-main-a-0", |s| {
                    s.tags.remove("KubernetesCluster");
                    s.tags.remove("Name");
                });
            },
            &["warning snapshot_tag_wrong main/a"],
        ),
        (
            "the latest snapshot lacks what the policy adds",
            |i| {
                break_snapshot(i, "snap-main-a-0", |s| {
                    drop(s.tags.remove("SnapshotCreator"))
                })
            },
            &["warning snapshot_tag_wrong main/a"],
        ),
        (
            "an older snapshot's tags are nobody's concern",
            |i| {
                break_snapshot(i, "snap-main-a-3", |s| {
                    drop(s.tags.remove("SnapshotCreator"))
                })
            },
            &[],
        ),
        (
            "the latest restore point is skewed",
            |i| {
                break_snapshot(i, "snap-main-a-0", |s| {
                    s.started = at("2026-11-22T07:05:00Z")
                })
            },
            &["warning restore_point_skewed"],
        ),
        (
            "the Name is another member's",
            |i| set_tag(i, "vol-main-a", "Name", "b.etcd-main.k8s.mycompany.tld"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the Name is missing",
            |i| break_volume(i, "vol-main-a", |v| drop(v.tags.remove("Name"))),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "two clusters own the volume",
            |i| set_tag(i, "vol-main-a", "kubernetes.io/cluster/other.tld", "owned"),
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the cluster is shared instead of owned",
            |i| {
                set_tag(
                    i,
                    "vol-main-a",
                    "kubernetes.io/cluster/k8s.mycompany.tld",
                    "shared",
                )
            },
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the cluster's tag is missing where siblings carry it",
            |i| {
                let key = "kubernetes.io/cluster/k8s.mycompany.tld";
                break_volume(i, "vol-main-a", |v| drop(v.tags.remove(key)));
            },
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "the cluster's old tag is missing",
            |i| {
                break_volume(i, "vol-main-a", |v| {
                    drop(v.tags.remove("KubernetesCluster"))
                })
            },
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "one volume alone has the control plane's role",
            |i| {
                for volume in &mut i.volumes[1..] {
                    volume
                        .tags
                        .insert("k8s.io/role/control-plane".into(), "1".into());
                }
            },
            &["warning volume_tag_wrong main/a"],
        ),
        (
            "another team's policy takes the same volumes",
            |i| i.other_policies.push(other_policy("policy-0def", "theirs")),
            &["info policy_duplicated"],
        ),
        (
            "a policy of ours was doubled",
            |i| {
                i.other_policies
                    .push(other_policy("policy-0def", "etcd data lifecycle policy"))
            },
            &["warning policy_duplicated"],
        ),
        (
            "another team's policy is disabled",
            |i| {
                let policy = other_policy("policy-0def", "theirs");
                i.other_policies.push(LifecyclePolicy {
                    state: PolicyState::Disabled,
                    ..policy
                });
            },
            &[],
        ),
        (
            "a root volume left its snapshots behind",
            |i| {
                let mut root = Volume {
                    id: "vol-root".into(),
                    ..volume("main", "a")
                };
                root.tags = tags(&[("KubernetesCluster", CLUSTER), ("k8s.io/role/master", "1")]);
                i.snapshots.extend((0..3).map(|day| snapshot(&root, day)));
            },
            &["info snapshots_orphaned"],
        ),
        (
            "a root volume that is there has left nothing behind",
            |i| {
                let mut root = Volume {
                    id: "vol-root".into(),
                    ..volume("main", "a")
                };
                root.tags = tags(&[("KubernetesCluster", CLUSTER), ("k8s.io/role/master", "1")]);
                i.snapshots.extend((0..3).map(|day| snapshot(&root, day)));
                i.volumes.push(root);
            },
            &[],
        ),
        (
            "a policy was made again",
            |i| {
                i.policies[0].id = "policy-0new".into();
                i.policy_ids = ["policy-0new".into()].into();
            },
            &["info snapshots_orphaned"],
        ),
        (
            "a restore was left in the middle",
            |i| i.volumes.push(unfinished_volume()),
            &["warning restore_unfinished"],
        ),
        (
            "a restore was left in the middle, with launches suspended",
            |i| {
                i.volumes.push(unfinished_volume());
                i.suspended_groups.push(SuspendedGroup {
                    name: "master-eu-west-2a".into(),
                    cluster: Some(CLUSTER.into()),
                    by: "r-1f2e3d4c5b6a".into(),
                });
            },
            &["critical restore_unfinished"],
        ),
        (
            "copies and archived snapshots disturb nothing",
            |i| {
                let copy = Snapshot {
                    id: "snap-copy".into(),
                    volume_id: "vol-ffffffff".into(),
                    ..i.snapshots[0].clone()
                };
                i.snapshots.push(copy);
                i.snapshots[3].archived = true;
            },
            &[],
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
    inventory.policies[0].created = at("2026-11-21T12:00:00Z");
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
    let made_again = "2026-11-22T07:00:00Z";
    inventory.policies[0].created = at(made_again);
    let since = (
        "etcd-backup/schedule-since".to_owned(),
        made_again.to_owned(),
    );
    inventory.policies[0].tags.extend([since]);
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
    assert_eq!(
        lines(&report.findings),
        ["info snapshots_orphaned"],
        "the old volumes' own"
    );
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

/// The commands of the only orphan finding, and how many orphans there are.
fn orphans(inventory: Inventory) -> (usize, Vec<String>) {
    let report = report_at(inventory, NOW);
    let found = report
        .findings
        .into_iter()
        .find_map(|finding| match finding.kind {
            Kind::SnapshotsOrphaned {
                count, commands, ..
            } => Some((count, commands)),
            _ => None,
        });
    found.expect("orphans")
}

#[test]
fn what_is_orphaned_but_may_be_needed_is_in_no_command() {
    let mut inventory = clean();
    let restored = Volume {
        id: "vol-new".into(),
        created: at("2026-11-22T07:00:00Z"),
        made_from: Some("snap-main-a-0".into()),
        ..volume("main", "a")
    };
    inventory.volumes.retain(|v| v.id.as_str() != "vol-main-a");
    inventory.volumes.push(restored);
    assert_eq!(
        orphans(inventory.clone()),
        (14, vec![]),
        "all of them are history that was promised"
    );

    for day in 14..16 {
        inventory
            .snapshots
            .push(snapshot(&volume("main", "a"), day));
    }
    let (count, commands) = orphans(inventory.clone());
    assert_eq!(count, 16);
    assert!(commands[0].contains("snap-main-a-14 ") || commands[0].contains("snap-main-a-14;"));
    assert!(!commands[0].contains("snap-main-a-13"), "{commands:?}");

    // kops update made it blank after a loss: what was before may be all that is left.
    let blank = inventory
        .volumes
        .iter_mut()
        .find(|v| v.id.as_str() == "vol-new");
    blank.unwrap().made_from = None;
    assert_eq!(orphans(inventory), (16, vec![]));
}

#[test]
fn a_history_that_restores_orphaned_has_no_gaps_behind_retention() {
    let mut inventory = clean();
    let restored = Volume {
        id: "vol-new".into(),
        created: at("2026-11-01T12:00:00Z"),
        made_from: Some("snap-x".into()),
        ..volume("main", "a")
    };
    // Its own fourteen, and what the volume before it left three weeks ago.
    inventory.volumes.retain(|v| v.id.as_str() != "vol-main-a");
    for of_new in inventory
        .snapshots
        .iter_mut()
        .filter(|s| s.volume_id.as_str() == "vol-main-a")
    {
        of_new.volume_id = "vol-new".into();
    }
    inventory.volumes.push(restored);
    for day in 22..30 {
        inventory
            .snapshots
            .push(snapshot(&volume("main", "a"), day));
    }
    assert_eq!(findings(inventory), ["info snapshots_orphaned"]);
}

#[test]
fn a_due_run_that_retention_deleted_is_judged_by_the_newest() {
    for (count, newest_state, expected) in [
        ("1", SnapshotState::Completed, 0),
        // And then there is no restore point either.
        ("1", SnapshotState::Error, 8),
        ("2", SnapshotState::Completed, 6),
    ] {
        let settings =
            Settings::from_variables(&|name| (name == "RETAIN_COUNT").then(|| count.into()));
        let mut inventory = clean();
        // Today's are there, ten minutes after the run; yesterday's, which is due, were deleted.
        inventory
            .snapshots
            .retain(|s| s.id.as_str().ends_with("-0"));
        for snapshot in &mut inventory.snapshots {
            snapshot.state = newest_state;
        }
        let now = at("2026-11-22T06:10:00Z");
        let report = Report::new(inventory, &settings.unwrap(), &Request::default(), now);
        assert_eq!(
            report.summary.critical, expected,
            "{count} {newest_state:?}: {report}"
        );
    }
}

#[test]
fn a_cluster_grown_from_one_master_to_three_is_not_blamed_for_its_past() {
    let mut inventory = clean();
    let is_young = |volume: &VolumeId| !volume.as_str().ends_with("-a");
    for volume in inventory
        .volumes
        .iter_mut()
        .filter(|volume| is_young(&volume.id))
    {
        volume.created = at("2026-11-20T12:00:00Z");
    }
    let grown = at("2026-11-20T12:00:00Z");
    inventory
        .snapshots
        .retain(|s| !is_young(&s.volume_id) || s.started > grown);
    for snapshot in inventory.snapshots.iter_mut().filter(|s| s.started < grown) {
        for (key, value) in &mut snapshot.tags {
            if key.starts_with("k8s.io/etcd/") {
                *value = "a/a".to_owned();
            }
        }
    }
    let report = report_at(inventory, NOW);
    assert_eq!(lines(&report.findings), Vec::<String>::new());
    assert_eq!(
        report.clusters[0].restore_points, 14,
        "older runs are whole as they were then"
    );
}

#[test]
fn a_count_that_was_raised_or_lowered_is_judged_from_then_on() {
    let mut inventory = clean();
    let since = (
        "etcd-backup/schedule-since".to_owned(),
        "2026-11-22T06:30:00Z".to_owned(),
    );
    inventory.policies[0].tags.extend([since]);
    for count in ["3", "100"] {
        let settings =
            Settings::from_variables(&|name| (name == "RETAIN_COUNT").then(|| count.into()));
        let report = Report::new(
            inventory.clone(),
            &settings.unwrap(),
            &Request::default(),
            at(NOW),
        );
        assert_eq!(lines(&report.findings), Vec::<String>::new(), "{count}");
    }
}

#[test]
fn a_clean_account_is_ok_at_every_minute_of_a_day() {
    for minute in 0..24 * 60 {
        let now = at("2026-11-22T05:00:00Z") + SignedDuration::from_mins(minute);
        let mut inventory = clean();
        // DLM deletes the oldest as soon as the newest is there.
        let newest_exists = now >= at("2026-11-23T06:04:11Z");
        let (first, last) = if newest_exists { (-1, 12) } else { (0, 13) };
        inventory.snapshots = inventory
            .volumes
            .iter()
            .flat_map(|volume| (first..=last).map(|day| snapshot(volume, day)))
            .collect();
        if now < at("2026-11-22T06:04:11Z") {
            let one_older = inventory.volumes.iter().map(|volume| snapshot(volume, 14));
            inventory.snapshots.extend(one_older);
        }
        let report = Report::new(inventory, &settings(), &Request::default(), now);
        assert_eq!(lines(&report.findings), Vec::<String>::new(), "{now}");
    }
}

#[test]
fn a_fleet_where_everything_is_wrong_still_fits_into_an_answer() {
    let mut inventory = clean();
    let tag = "<script>".repeat(32);
    inventory.volumes = (0..20_000)
        .map(|i| {
            let mut wrong = volume("main", "a");
            wrong.id = format!("vol-{i:017}").as_str().into();
            wrong.tags = tags(&[("k8s.io/etcd/main", &tag), ("KubernetesCluster", &tag)]);
            wrong
                .tags
                .insert("KubernetesCluster".into(), format!("{tag}-{}", i / 3));
            wrong
        })
        .collect();
    let report = report_at(inventory, NOW);
    let kept = report.findings.len();
    assert!(kept > 1000 && report.findings_left_out > 0);
    let all = report.summary.critical + report.summary.warning + report.summary.info;
    assert_eq!(
        kept + report.findings_left_out,
        all,
        "the count of the rest is exact"
    );
    let size = serde_json::to_string(&report).unwrap().len() + report.to_string().len();
    assert!(size < 5_500_000, "{size} bytes");
}

#[test]
fn a_member_named_after_a_zone_must_be_in_it() {
    let old_style = |member: &str, zone: &str| {
        let mut inventory = clean();
        let mut volume = volume("main", "a");
        volume.zone = zone.into();
        volume.tags = tags(&[
            ("KubernetesCluster", "old.tld"),
            ("k8s.io/role/master", "1"),
            ("Name", &format!("{member}.etcd-main.old.tld")),
            ("k8s.io/etcd/main", &format!("{member}/{member}")),
        ]);
        volume.id = "vol-old".into();
        inventory.snapshots.push(snapshot(&volume, 0));
        volume.created = at("2026-11-21T12:00:00Z");
        inventory.volumes.push(volume);
        findings(inventory)
    };
    assert_eq!(
        old_style("eu-central-1a", "eu-central-1a"),
        Vec::<String>::new()
    );
    let wrong = ["warning volume_tag_wrong main/eu-central-1a"];
    assert_eq!(old_style("eu-central-1a", "eu-central-1b"), wrong);
    assert_eq!(
        old_style("master-1", "eu-central-1b"),
        Vec::<String>::new(),
        "no zone's name"
    );
}

#[test]
fn an_alert_keeps_to_the_limits_of_sns_and_counts_what_it_leaves_out() {
    let mut inventory = clean();
    inventory.volumes = (0..2_000)
        .map(|i| {
            let mut wrong = volume("main", "a");
            wrong.id = format!("vol-{i:017}").as_str().into();
            wrong
                .tags
                .insert("KubernetesCluster".into(), format!("größe-{i}.tld"));
            wrong
                .tags
                .insert("k8s.io/etcd/main".into(), "malformed".repeat(20));
            wrong
        })
        .collect();
    let report = report_at(inventory, NOW);
    let arn = "arn:aws:lambda:eu-west-2:123456789012:function:audit";
    let deployment = etcd_backup_core::deployment::Deployment::of_function(arn).unwrap();
    let alert = audit::alert::alert(&report, &settings(), &deployment).unwrap();
    assert!(
        alert.subject.len() <= 100 && alert.subject.is_ascii(),
        "{}",
        alert.subject
    );
    assert!(alert.body.len() < 256 * 1024, "{} bytes", alert.body.len());
    let told = alert.body.matches("\nWARNING ").count() + alert.body.matches("\nCRITICAL ").count();
    let told = told + alert.body.matches("\nINFO ").count();
    let summary = &report.summary;
    let left_out = summary.critical + summary.warning + summary.info - told;
    assert!(
        alert.body.contains(&format!("\n{left_out} more findings")),
        "{left_out}"
    );
    let attributes: usize = alert
        .attributes
        .iter()
        .map(|(_, value)| format!("{value:?}").len())
        .sum();
    assert!(
        alert.body.len() + attributes < 256 * 1024,
        "{attributes} bytes of attributes"
    );
}
