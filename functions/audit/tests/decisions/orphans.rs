//! Snapshots that nobody will delete, and the commands that would.

use std::collections::BTreeSet;

use audit::event::Request;
use audit::inventory::Inventory;
use audit::report::Report;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::Volume;
use jiff::SignedDuration;
use serde_json::Value;

use crate::world::{
    NOTHING, at, clean, each_is_found_and_nothing_else, findings, lines, lose_volume, report,
    report_at, root_volume, schedule, set_schedule_since, settings, snapshot, snapshot_of, tags,
    volume, volume_mut,
};

/// What one finding says.
#[derive(Debug, PartialEq, Eq)]
struct Orphans {
    count: u64,
    /// The snapshots that its commands would delete.
    deleted: BTreeSet<String>,
}

impl Orphans {
    fn of(evidence: &Value) -> Self {
        let commands = evidence["commands"].as_array().into_iter().flatten();
        let words = commands.flat_map(|command| command.as_str().unwrap().split([' ', ';']));
        let ids = words.filter(|word| word.starts_with("snap-"));
        Self {
            count: evidence["count"].as_u64().unwrap_or(0),
            deleted: ids.map(str::to_owned).collect(),
        }
    }
}

/// The only finding: of etcd's volumes, and of root volumes.
fn orphans_of(report: &Report) -> (Orphans, Orphans) {
    let found = report.findings.iter();
    let mut found = found.filter(|finding| finding.kind.name() == "snapshots_orphaned");
    let finding = found.next().expect("orphans");
    assert!(found.next().is_none(), "{report}");
    let json = serde_json::to_value(finding).unwrap();
    let evidence = &json["evidence"];
    (
        Orphans::of(evidence),
        Orphans::of(&evidence["root_volumes"]),
    )
}

fn orphans(inventory: Inventory) -> Orphans {
    orphans_of(&report(inventory)).0
}

/// The ids of a volume's snapshots of those days.
fn ids(volume: &Volume, days: std::ops::Range<i64>) -> BTreeSet<String> {
    days.map(|day| snapshot(volume, day).id.to_string())
        .collect()
}

#[test]
fn what_root_volumes_left_is_counted_apart() {
    each_is_found_and_nothing_else(&[
        (
            "a root volume left its snapshots behind",
            |i| {
                let root = root_volume("vol-root");
                i.snapshots.extend((0..3).map(|day| snapshot(&root, day)));
            },
            &["info snapshots_orphaned"],
        ),
        (
            "a root volume that is there has left nothing behind",
            |i| {
                let root = root_volume("vol-root");
                i.snapshots.extend((0..3).map(|day| snapshot(&root, day)));
                i.volumes.push(root);
            },
            &[],
        ),
    ]);

    let mut inventory = clean();
    let root = root_volume("vol-root");
    let of_root = (0..20).map(|day| snapshot(&root, day));
    inventory.snapshots.extend(of_root);
    lose_volume(&mut inventory, "vol-0-main-a");
    let (of_etcd, of_root) = orphans_of(&report(inventory));
    assert_eq!(of_etcd.count, 14);
    assert_eq!(of_etcd.deleted.len(), 0);
    assert_eq!(of_root.count, 20);
    assert_eq!(of_root.deleted, ids(&root, 14..20), "past retention");

    // What looks like a root volume may hold data: the last of each stays, and the last that can be used.
    let mut inventory = clean();
    let mut another = root_volume("vol-another");
    another.tags.insert("Name".to_owned(), "data".to_owned());
    let of_both = [&root, &another].map(|of| (20..24).map(move |day| snapshot(of, day)));
    inventory.snapshots.extend(of_both.into_iter().flatten());
    let last = inventory.snapshots.iter_mut();
    let mut last = last.filter(|of| of.id == snapshot(&another, 20).id);
    last.next().unwrap().state = SnapshotState::Error;
    let (_, of_root) = orphans_of(&report(inventory));
    assert_eq!(of_root.count, 8);
    let expected = &ids(&root, 21..24) | &ids(&another, 22..24);
    assert_eq!(of_root.deleted, expected);
}

#[test]
fn a_snapshot_that_only_looks_like_a_root_volumes_may_be_an_etcd_volumes() {
    let volume = root_volume("vol-0-main-a");
    for strange in [
        ("Name", "a.etcd-main.k8s.mycompany.tld"),
        ("k8s.io/etcd/main", "a/a,b,c"),
    ] {
        let mut inventory = clean();
        lose_volume(&mut inventory, "vol-0-main-a");
        let mut odd = snapshot(&volume, 40);
        odd.tags.insert(strange.0.to_owned(), strange.1.to_owned());
        inventory.snapshots.push(odd);
        let (_, of_root) = orphans_of(&report(inventory));
        assert_eq!(of_root.count, 0, "{strange:?}");
    }

    // The volume is there, and etcd's, whatever its snapshot's tags say.
    let mut inventory = clean();
    inventory.snapshots.push(snapshot(&volume, 40));
    let tags = &mut volume_mut(&mut inventory, "vol-0-main-a").tags;
    tags.remove("k8s.io/role/master");
    let (of_etcd, of_root) = orphans_of(&report(inventory));
    assert_eq!((of_etcd.count, of_root.count), (15, 0));
}

#[test]
fn what_is_orphaned_but_may_be_needed_is_in_no_command() {
    let mut inventory = clean();
    let old = volume("main", "a");
    lose_volume(&mut inventory, "vol-0-main-a");
    inventory.volumes.push(Volume {
        id: "vol-new".into(),
        created: at("2026-11-22T07:00:00Z"),
        made_from: Some("snap-0-main-a-0".into()),
        ..old.clone()
    });
    let promised = orphans(inventory.clone());
    assert_eq!(promised.count, 14);
    assert_eq!(
        promised.deleted,
        BTreeSet::new(),
        "history that was promised"
    );

    inventory
        .snapshots
        .extend((14..16).map(|day| snapshot(&old, day)));
    let found = orphans(inventory.clone());
    assert_eq!(found.count, 16);
    assert_eq!(found.deleted, ids(&old, 14..16));

    // kops update made it blank after a loss: what was before may be all that is left.
    volume_mut(&mut inventory, "vol-new").made_from = None;
    assert_eq!(orphans(inventory).deleted, BTreeSet::new());
}

/// An account whose etcd cluster `events` was given up so many days ago: its volumes are gone, the rest
/// is backed up as ever.
fn without_events_for(days: i64) -> Inventory {
    let mut inventory = clean();
    let events: Vec<Volume> = ["a", "b", "c"]
        .map(|member| volume("events", member))
        .into();
    for volume in &events {
        lose_volume(&mut inventory, volume.id.as_str());
    }
    inventory
        .snapshots
        .retain(|s| !s.volume_id.as_str().contains("events"));
    let left = |volume| (days..days + 14).map(move |day| snapshot(volume, day));
    inventory.snapshots.extend(events.iter().flat_map(left));
    inventory
}

#[test]
fn an_etcd_cluster_lost_long_ago_keeps_its_own_latest_restore_point() {
    let mut inventory = without_events_for(20);
    // The last run left no snapshot of b: the restore point is of the day before.
    let last_of_b = snapshot(&volume("events", "b"), 20);
    inventory.snapshots.retain(|s| s.id != last_of_b.id);
    let found = orphans(inventory);
    assert_eq!(found.count, 41);
    let mut expected = BTreeSet::new();
    for member in ["a", "b", "c"] {
        expected.extend(ids(&volume("events", member), 22..34));
    }
    assert_eq!(
        found.deleted, expected,
        "the restore point of day 21 and the last of each stay"
    );
}

/// With a verdict on what a run left of `events`.
fn verdict(inventory: &mut Inventory, days_ago: i64, verdict: &str) {
    for member in ["a", "b", "c"] {
        let tags = &mut snapshot_of(inventory, &format!("vol-0-events-{member}"), days_ago).tags;
        tags.insert("etcd-backup/verified".to_owned(), verdict.to_owned());
    }
}

/// With an hour and a minute between what a run left of `events`.
fn skew(inventory: &mut Inventory, days_ago: i64) {
    snapshot_of(inventory, "vol-0-events-b", days_ago).started += SignedDuration::from_mins(61);
}

/// The days of which the commands leave the snapshots of `events/a`, which was given up 20 days ago.
fn days_kept(change: fn(&mut Inventory)) -> Vec<i64> {
    let mut inventory = without_events_for(20);
    change(&mut inventory);
    let deleted = orphans(inventory).deleted;
    let of_a = volume("events", "a");
    let is_kept = |day: &i64| deleted.is_disjoint(&ids(&of_a, *day..*day + 1));
    (20..34).filter(is_kept).collect()
}

#[test]
fn the_restore_points_that_a_restore_would_go_back_to_stay() {
    assert_eq!(days_kept(|_| {}), [20]);
    // What nobody read may be sound; what was found sound is.
    let damaged = |i: &mut Inventory| {
        verdict(i, 20, "damaged");
        verdict(i, 21, "damaged");
        verdict(i, 23, "degraded");
        verdict(i, 24, "restorable");
    };
    assert_eq!(days_kept(damaged), [20, 22, 23]);
    let skewed = |i: &mut Inventory| {
        skew(i, 20);
        skew(i, 21);
    };
    assert_eq!(days_kept(skewed), [20, 22]);
    let both = |i: &mut Inventory| {
        skew(i, 20);
        verdict(i, 21, "damaged");
        skew(i, 22);
        verdict(i, 22, "restorable");
        verdict(i, 25, "restorable");
    };
    assert_eq!(days_kept(both), [20, 21, 22, 23, 25]);
}

#[test]
fn a_members_last_snapshot_stays_and_the_last_that_can_be_used() {
    let mut inventory = without_events_for(20);
    // Of c there was nothing any more for a week, and the last one failed.
    let c = volume("events", "c");
    let recent = at("2026-10-26T00:00:00Z");
    inventory
        .snapshots
        .retain(|s| s.volume_id != c.id || s.started < recent);
    let last = inventory
        .snapshots
        .iter_mut()
        .filter(|s| s.volume_id == c.id);
    let last = last.max_by_key(|s| s.started).unwrap();
    last.state = SnapshotState::Error;
    let kept = ids(&c, 28..29);
    assert_eq!(last.id.as_str(), kept.first().unwrap());
    let found = orphans(inventory);
    let of_c: BTreeSet<String> = ids(&c, 20..34)
        .intersection(&found.deleted)
        .cloned()
        .collect();
    assert_eq!(of_c, ids(&c, 30..34), "the failed one and the one before");
}

#[test]
fn the_last_snapshot_of_a_vanished_volume_stays_when_no_tag_says_whose_it_was() {
    let mut inventory = clean();
    let mut unknown = volume("main", "a");
    unknown.id = "vol-unknown".into();
    unknown.tags = tags(&[("team", "tools")]);
    let days = (20..24).map(|day| snapshot(&unknown, day));
    inventory.snapshots.extend(days);
    let found = orphans(inventory);
    assert_eq!(found.count, 4);
    assert_eq!(found.deleted, ids(&unknown, 21..24));
}

#[test]
fn snapshots_of_a_former_schedule_name_are_orphans() {
    let settings = Settings {
        schedule_name: "etcd".to_owned(),
        ..settings()
    };
    let mut inventory = clean();
    inventory.policies[0].definition.schedules = vec![schedule("etcd", 14)];
    set_schedule_since(&mut inventory, "2026-11-22T05:00:00Z");
    for snapshot in &mut inventory.snapshots {
        if snapshot.id.as_str().ends_with("-0") {
            let name = "aws:dlm:lifecycle-schedule-name".to_owned();
            snapshot.tags.insert(name, "etcd".to_owned());
        }
    }
    let judge = |inventory: Inventory, now: &str| {
        let report = Report::new(inventory, &settings, &Request::default(), at(now));
        orphans_of(&report).0
    };
    let found = judge(inventory.clone(), "2026-11-22T07:35:00Z");
    assert_eq!(found.count, 6 * 13);
    assert_eq!(found.deleted, BTreeSet::new(), "they are inside retention");

    // Two weeks later they are not, and the new name has its own.
    let mut young: Vec<Snapshot> = Vec::new();
    for volume in &inventory.volumes {
        for day in -16..0 {
            let mut snapshot = snapshot(volume, day);
            let name = "aws:dlm:lifecycle-schedule-name".to_owned();
            snapshot.tags.insert(name, "etcd".to_owned());
            young.push(snapshot);
        }
    }
    inventory.snapshots.extend(young);
    let found = judge(inventory, "2026-12-08T07:35:00Z");
    assert_eq!((found.count, found.deleted.len()), (6 * 13, 6 * 13));
}

#[test]
fn a_further_schedule_of_the_policy_has_no_orphans() {
    let mut inventory = clean();
    let schedules = &mut inventory.policies[0].definition.schedules;
    schedules.push(schedule("weekly", 4));
    let mut weekly = snapshot(&volume("main", "a"), 15);
    let name = "aws:dlm:lifecycle-schedule-name".to_owned();
    weekly.tags.insert(name, "weekly".to_owned());
    inventory.snapshots.push(weekly);
    assert_eq!(findings(inventory), NOTHING);
}

#[test]
fn the_last_restore_point_of_a_cluster_that_is_gone_is_in_no_command() {
    let mut inventory = clean();
    inventory.volumes.clear();
    let report = report_at(inventory, "2027-01-22T07:35:00Z");
    assert!(lines(&report.findings).contains(&"info snapshots_orphaned".to_owned()));
    let found = orphans_of(&report).0;
    assert_eq!(found.count, 6 * 14);
    assert_eq!(found.deleted.len(), 6 * 13);
    assert!(found.deleted.iter().all(|id| !id.ends_with("-0")));
}

/// Terraform's own example adds `SnapshotCreator=DLM`, so that a deleted policy's snapshots of volumes that
/// have nothing to do with etcd carry it too.
#[test]
fn what_another_teams_deleted_policy_left_of_its_own_volumes_is_in_no_command() {
    for policy in [Some("policy-0gone"), None] {
        let mut inventory = clean();
        let application = Volume {
            id: "vol-application".into(),
            tags: tags(&[("team", "shop"), ("KubernetesCluster", "k8s.mycompany.tld")]),
            ..volume("main", "a")
        };
        for day in 20..40 {
            let mut theirs = snapshot(&application, day);
            let own = &mut theirs.tags;
            own.retain(|key, _| !key.starts_with("aws:dlm:"));
            own.extend(policy.map(|id| ("aws:dlm:lifecycle-policy-id".to_owned(), id.to_owned())));
            assert_eq!(own["SnapshotCreator"], "DLM");
            inventory.snapshots.push(theirs);
        }
        let (of_etcd, of_root) = orphans_of(&report(inventory));
        assert_eq!(of_etcd.deleted, BTreeSet::new(), "{policy:?}");
        assert_eq!(of_root.deleted, BTreeSet::new(), "{policy:?}");
    }
}
