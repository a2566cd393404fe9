//! What verify said of the latest restore point, as its tags tell.

use audit::event::Request;
use audit::finding::Kind;
use audit::inventory::Inventory;
use audit::report::Report;
use etcd_backup_core::settings::Settings;
use jiff::Timestamp;

use crate::world::{NOW, at, clean, settings_with};

fn report_with(inventory: Inventory, settings: &Settings, now: Timestamp) -> Report {
    Report::new(inventory, settings, &Request::default(), now)
}

/// The kinds of findings that verify is about, as of a time.
fn kinds(inventory: Inventory, mode: &str, now: &str) -> Vec<&'static str> {
    let settings = settings_with(&[("VERIFY", mode)]);
    let report = report_with(inventory, &settings, at(now));
    let kinds = report.findings.iter().map(|finding| finding.kind.name());
    kinds
        .filter(|kind| kind.starts_with("restore_point_"))
        .collect()
}

/// With a verdict on the snapshots of a run, so many days ago, whose ids contain a text.
fn verified(mut inventory: Inventory, days_ago: u32, of: &str, verdict: &str) -> Inventory {
    let end = format!("-{days_ago}");
    let snapshots = inventory.snapshots.iter_mut();
    for snapshot in snapshots.filter(|snapshot| {
        snapshot.id.as_str().contains(of) && snapshot.id.as_str().ends_with(&end)
    }) {
        let tag = ("etcd-backup/verified".to_owned(), verdict.to_owned());
        snapshot.tags.extend([tag]);
    }
    inventory
}

#[test]
fn a_verdict_is_missed_after_six_hours_where_verify_is_on() {
    let (early, late) = ("2026-11-22T12:04:10Z", "2026-11-22T12:04:11Z");
    for mode in ["daily", "all"] {
        assert_eq!(kinds(clean(), mode, early), [""; 0]);
        assert_eq!(kinds(clean(), mode, late), ["restore_point_unverified"]);
        let verified = verified(clean(), 0, "", "restorable");
        assert_eq!(kinds(verified, mode, late), [""; 0]);
    }
    for mode in ["off", ""] {
        assert_eq!(kinds(clean(), mode, late), [""; 0]);
    }
    // The time counts from when the restore point was complete, where EC2 tells it.
    let mut slow = clean();
    let snapshots = slow.snapshots.iter_mut();
    for snapshot in snapshots.filter(|of| of.id.as_str().ends_with("main-c-0")) {
        let later = at("2026-11-22T11:00:00Z").duration_since(snapshot.started);
        snapshot.completed_after_seconds = u32::try_from(later.as_secs()).ok();
    }
    assert_eq!(kinds(slow.clone(), "all", "2026-11-22T16:59:59Z"), [""; 0]);
    assert_eq!(
        kinds(slow, "all", "2026-11-22T17:00:00Z"),
        ["restore_point_unverified"]
    );
    // One etcd cluster's verdict is none on the restore point.
    let half = verified(clean(), 0, "main", "restorable");
    assert_eq!(kinds(half, "all", late), ["restore_point_unverified"]);
}

#[test]
fn damage_is_critical_whether_verify_is_on_or_not_and_the_way_back_is_named() {
    let damaged = || {
        let before = verified(clean(), 1, "", "degraded");
        verified(
            verified(before, 0, "main", "damaged"),
            0,
            "events",
            "restorable",
        )
    };
    for mode in ["daily", "off", ""] {
        assert_eq!(kinds(damaged(), mode, NOW), ["restore_point_damaged"]);
    }
    let report = report_with(damaged(), &settings_with(&[]), at(NOW));
    let finding = &report.findings[0];
    let Kind::RestorePointDamaged {
        etcd_clusters,
        latest_undamaged,
        ..
    } = &finding.kind
    else {
        panic!("{finding:?}");
    };
    assert_eq!(etcd_clusters, &["main".into()]);
    assert_eq!(
        latest_undamaged.unwrap().to_string(),
        "2026-11-21T06:00:00Z"
    );
    for said in [
        "found main damaged",
        "\"at\": \"2026-11-21T06:04:11Z\"",
        "{\"cluster\":\"k8s.mycompany.tld\"}",
    ] {
        assert!(finding.message.contains(said), "{}", finding.message);
    }
    // An older one that is damaged is no news.
    let older = verified(clean(), 1, "", "damaged");
    assert_eq!(kinds(older, "off", NOW), [""; 0]);
    // What can't be told, or starts badly, is no alarm.
    for verdict in ["unsupported", "degraded"] {
        let told = verified(clean(), 0, "", verdict);
        assert_eq!(kinds(told, "all", "2026-11-22T15:00:00Z"), [""; 0]);
    }
}

#[test]
fn a_verdict_on_a_cluster_that_was_given_up_is_no_news_and_on_a_lost_one_it_is() {
    let without_volumes = |inventory: Inventory| Inventory {
        volumes: Vec::new(),
        ..inventory
    };
    let damaged = without_volumes(verified(clean(), 0, "main", "damaged"));
    let unread = without_volumes(clean());
    for (now, of_damaged, of_unread) in [
        (
            "2026-11-24T06:03:00Z",
            Some("restore_point_damaged"),
            Some("restore_point_unverified"),
        ),
        ("2026-11-24T06:05:00Z", None, None),
        ("2027-11-24T06:05:00Z", None, None),
    ] {
        let found = kinds(damaged.clone(), "all", now);
        assert_eq!(found, Vec::from_iter(of_damaged), "{now}");
        let found = kinds(unread.clone(), "all", now);
        assert_eq!(found, Vec::from_iter(of_unread), "{now}");
    }
}

#[test]
fn one_verdict_a_day_is_enough_where_that_was_asked_for() {
    // Runs at 06:00 and 18:00; the first of the day has its verdict.
    let inventory = twice_a_day("restorable");
    for (mode, expected) in [("daily", None), ("all", Some("restore_point_unverified"))] {
        let found = found_twice_a_day(&inventory, mode, "2026-11-23T05:00:00Z");
        assert_eq!(found, expected, "{mode}");
    }
}

/// Runs at 06:00 and 18:00, of which the first of the day has this verdict, and the second none.
fn twice_a_day(verdict: &str) -> Inventory {
    let mut inventory = verified(clean(), 0, "", verdict);
    let evening: Vec<_> = inventory
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.id.as_str().ends_with("-0"))
        .cloned()
        .map(|mut snapshot| {
            snapshot.id = format!("{}-evening", snapshot.id).as_str().into();
            snapshot.started += jiff::SignedDuration::from_hours(12);
            snapshot.tags.remove("etcd-backup/verified");
            snapshot
        })
        .collect();
    inventory.snapshots.extend(evening);
    inventory
}

fn found_twice_a_day(inventory: &Inventory, mode: &str, now: &str) -> Option<&'static str> {
    let settings = settings_with(&[("VERIFY", mode), ("INTERVAL_HOURS", "12")]);
    let report = report_with(inventory.clone(), &settings, at(now));
    let kinds = report.findings.iter().map(|finding| finding.kind.name());
    kinds
        .into_iter()
        .find(|kind| kind.starts_with("restore_point_"))
}

#[test]
fn damage_is_not_forgotten_because_a_newer_run_has_no_verdict_yet() {
    let damaged = twice_a_day("damaged");
    for (mode, expected) in [
        ("daily", Some("restore_point_damaged")),
        ("all", Some("restore_point_damaged")),
        // Nobody reads the newer one by itself, so what was said of the older one is no news.
        ("off", None),
    ] {
        for now in ["2026-11-22T19:35:00Z", "2026-11-23T05:00:00Z"] {
            assert_eq!(
                found_twice_a_day(&damaged, mode, now),
                expected,
                "{mode} {now}"
            );
        }
    }
}
