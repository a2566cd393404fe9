//! A member's snapshots beyond the due run's: gaps, both ends of retention, tags.

use std::collections::BTreeSet;

use audit::event::Request;
use audit::report::Report;
use etcd_backup_core::lifecycle_policy::{PolicySchedule, PolicyState};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::Volume;
use serde_json::Value;

use crate::world::{
    NOTHING, NOW, at, clean, each_is_found_and_nothing_else, findings, lines, lose_snapshot,
    lose_volume, report, schedule, set_schedule_since, settings, settings_with, snapshot,
    snapshot_of, volume,
};

#[test]
fn what_is_wrong_with_a_history_is_found() {
    each_is_found_and_nothing_else(&[
        (
            "a run in the middle left nothing",
            |i| lose_snapshot(i, "vol-0-main-a", 5),
            &["warning snapshot_gap main/a"],
        ),
        (
            "a snapshot is pending since yesterday",
            |i| snapshot_of(i, "vol-0-main-a", 1).state = SnapshotState::Pending,
            &["warning snapshot_stuck main/a"],
        ),
        (
            "the older half of a history is gone",
            |i| {
                let old = |s: &Snapshot| s.started < at("2026-11-15T00:00:00Z");
                i.snapshots
                    .retain(|s| s.volume_id.as_str() != "vol-0-main-a" || !old(s));
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
    ]);
}

#[test]
fn tags_are_asked_of_the_latest_snapshot_alone() {
    each_is_found_and_nothing_else(&[
        (
            "the latest snapshot lacks what a restore needs",
            |i| {
                let tags = &mut snapshot_of(i, "vol-0-main-a", 0).tags;
                tags.remove("KubernetesCluster");
                tags.remove("Name");
            },
            &["warning snapshot_tag_wrong main/a"],
        ),
        (
            "the latest snapshot lacks what the policy adds",
            |i| {
                snapshot_of(i, "vol-0-main-a", 0)
                    .tags
                    .remove("SnapshotCreator");
            },
            &["warning snapshot_tag_wrong main/a"],
        ),
        (
            "an older snapshot's tags are nobody's concern",
            |i| {
                snapshot_of(i, "vol-0-main-a", 3)
                    .tags
                    .remove("SnapshotCreator");
            },
            &[],
        ),
    ]);
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
    lose_volume(&mut inventory, "vol-0-main-a");
    for snapshot in &mut inventory.snapshots {
        if snapshot.volume_id.as_str() == "vol-0-main-a" {
            snapshot.volume_id = "vol-new".into();
        }
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
fn a_count_that_was_raised_or_lowered_is_judged_from_then_on() {
    let mut inventory = clean();
    set_schedule_since(&mut inventory, "2026-11-22T06:30:00Z");
    for count in ["3", "100"] {
        let settings = settings_with(&[("RETAIN_COUNT", count)]);
        let report = Report::new(inventory.clone(), &settings, &Request::default(), at(NOW));
        assert_eq!(lines(&report.findings), NOTHING, "{count}");
    }
}

#[test]
fn what_dlm_no_longer_counts_is_not_too_many() {
    let mut inventory = clean();
    let mut outgoing = volume("main", "a");
    lose_volume(&mut inventory, "vol-0-main-a");
    inventory.volumes.push(Volume {
        id: "vol-new".into(),
        created: at("2026-11-22T06:00:00Z"),
        made_from: Some("snap-0-main-a-1".into()),
        ..outgoing.clone()
    });
    let settings = settings_with(&[("RETAIN_COUNT", "7")]);
    let exceeded = |inventory: &audit::inventory::Inventory| {
        let report = Report::new(inventory.clone(), &settings, &Request::default(), at(NOW));
        let found = lines(&report.findings).into_iter();
        let found = found.filter(|line| line.contains("retention_exceeded"));
        found.filter(|line| line.contains("main/a")).count()
    };
    assert_eq!(exceeded(&inventory), 0, "of a volume that is gone");
    outgoing.tags.retain(|key, _| !key.starts_with("k8s.io/"));
    inventory.volumes.push(outgoing);
    assert_eq!(
        exceeded(&inventory),
        0,
        "of a volume that is no longer targeted"
    );
}

#[test]
fn what_a_schedule_beside_ours_made_after_it_may_carry_other_tags() {
    let mut inventory = clean();
    let hourly = PolicySchedule {
        tags_to_add: BTreeSet::new(),
        ..schedule("Hourly", 2)
    };
    inventory.policies[0].definition.schedules.push(hourly);
    let mut beside = snapshot(&volume("main", "a"), 0);
    beside.id = "snap-hourly".into();
    beside.started = at("2026-11-22T07:05:00Z");
    beside.tags.remove("SnapshotCreator");
    let name = "aws:dlm:lifecycle-schedule-name".to_owned();
    beside.tags.insert(name, "Hourly".to_owned());
    inventory.snapshots.push(beside);
    assert_eq!(findings(inventory), NOTHING);
}

/// An account in which DLM has kept two snapshots of `main/a` too many.
fn with_too_many() -> audit::inventory::Inventory {
    let mut inventory = clean();
    for day in [14, 15] {
        inventory
            .snapshots
            .push(snapshot(&volume("main", "a"), day));
    }
    inventory
}

/// The evidence and the message of the only `retention_exceeded`.
fn exceeded(inventory: audit::inventory::Inventory) -> Option<(Value, String)> {
    let findings = report(inventory).findings;
    let found = findings
        .iter()
        .find(|of| of.kind.name() == "retention_exceeded");
    found.map(|finding| {
        let json = serde_json::to_value(finding).unwrap();
        (json["evidence"].clone(), finding.message.clone())
    })
}

#[test]
fn too_many_snapshots_are_reported_with_their_cause() {
    type Change = fn(&mut audit::inventory::Inventory);
    let cases: [(Change, &str, &str); 3] = [
        (|_| {}, "deletion_fails", "its role may delete"),
        (
            |i| i.policies[0].definition.schedules[0].retain.count = Some(20),
            "policy_keeps_more",
            "run converge",
        ),
        (
            |i| i.policies[0].state = PolicyState::Error,
            "policy_not_enabled",
            "run converge",
        ),
    ];
    for (change, cause, remedy) in cases {
        let mut inventory = with_too_many();
        change(&mut inventory);
        let (evidence, message) = exceeded(inventory).expect(cause);
        assert_eq!(evidence["count"], 16);
        assert_eq!(evidence["retain_count"], 14);
        assert_eq!(evidence["cause"], cause);
        assert!(message.contains(remedy), "{message}");
    }
}

#[test]
fn what_a_former_schedule_name_left_is_not_counted_but_orphaned() {
    let mut inventory = clean();
    let settings = Settings {
        schedule_name: "etcd".to_owned(),
        ..settings()
    };
    inventory.policies[0].definition.schedules = vec![schedule("etcd", 14)];
    set_schedule_since(&mut inventory, "2026-11-20T12:00:00Z");
    let renamed = at("2026-11-20T12:00:00Z");
    let young = inventory
        .snapshots
        .iter_mut()
        .filter(|s| s.started > renamed);
    for snapshot in young {
        let name = "aws:dlm:lifecycle-schedule-name".to_owned();
        snapshot.tags.insert(name, "etcd".to_owned());
    }
    // DLM deletes none of the former name: by now there are more than fourteen.
    for volume in inventory.volumes.clone() {
        for day in 14..18 {
            inventory.snapshots.push(snapshot(&volume, day));
        }
    }
    let report = Report::new(inventory, &settings, &Request::default(), at(NOW));
    assert_eq!(lines(&report.findings), ["info snapshots_orphaned"]);
    assert_eq!(report.clusters[0].restore_points, 18);
}

#[test]
fn only_what_carries_our_schedules_name_is_counted_and_all_of_it() {
    let mut inventory = clean();
    let schedules = &mut inventory.policies[0].definition.schedules;
    schedules.push(schedule("weekly", 4));
    for day in 14..18 {
        let mut weekly = snapshot(&volume("main", "a"), day);
        let name = "aws:dlm:lifecycle-schedule-name".to_owned();
        weekly.tags.insert(name, "weekly".to_owned());
        inventory.snapshots.push(weekly);
    }
    assert_eq!(exceeded(inventory), None, "those of the further schedule");

    let mut inventory = with_too_many();
    for retain_count in [Some(4), Some(100), None] {
        let mut weekly = schedule("weekly", 0);
        weekly.retain.count = retain_count;
        inventory.policies[0].definition.schedules.truncate(1);
        inventory.policies[0].definition.schedules.push(weekly);
        let (evidence, _) = exceeded(inventory.clone()).expect("two too many of ours");
        assert_eq!(evidence["count"], 16, "{retain_count:?}");
    }
}
