//! The due run: what it left, when it is excused, and when an excuse is one too many.

use audit::event::Request;
use audit::inventory::Inventory;
use audit::report::Report;
use etcd_backup_core::snapshot::SnapshotState;
use jiff::SignedDuration;

use crate::world::{
    NOTHING, at, clean, each_is_found_and_nothing_else, findings, lines, lose_snapshot, report_at,
    set_schedule_since, settings_with, snapshot_of, volume_mut,
};

#[test]
fn what_the_due_run_left_is_judged() {
    each_is_found_and_nothing_else(&[
        (
            "the due snapshot never appeared",
            |i| lose_snapshot(i, "vol-0-main-a", 0),
            &["critical snapshot_missing main/a"],
        ),
        (
            "the due snapshot failed",
            |i| snapshot_of(i, "vol-0-main-a", 0).state = SnapshotState::Error,
            &["critical snapshot_failed main/a"],
        ),
        (
            "pending for an hour and a half is fine",
            |i| snapshot_of(i, "vol-0-main-a", 0).state = SnapshotState::Pending,
            &[],
        ),
    ]);
}

#[test]
fn an_etcd_cluster_without_any_restore_point_is_critical() {
    let mut inventory = clean();
    let is_of_today = |id: &str| id.ends_with("-0");
    inventory.snapshots.retain(|s| is_of_today(s.id.as_str()));
    inventory.policies[0].created = at("2026-11-21T12:00:00Z");
    snapshot_of(&mut inventory, "vol-0-main-b", 0).state = SnapshotState::Pending;
    assert_eq!(findings(inventory), ["critical no_restore_point main"]);
}

#[test]
fn a_policy_made_again_excuses_nothing() {
    let mut inventory = clean();
    let made_again = "2026-11-22T07:00:00Z";
    inventory.policies[0].created = at(made_again);
    set_schedule_since(&mut inventory, made_again);
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    assert_eq!(findings(inventory), ["critical snapshot_missing main/a"]);
}

#[test]
fn a_schedule_changed_since_judges_no_older_run() {
    let mut inventory = clean();
    set_schedule_since(&mut inventory, "2026-11-22T06:10:00Z");
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    snapshot_of(&mut inventory, "vol-0-main-b", 0).state = SnapshotState::Error;
    assert_eq!(findings(inventory), NOTHING);
}

#[test]
fn a_schedule_that_keeps_being_changed_hides_no_missing_snapshots() {
    let mut inventory = clean();
    set_schedule_since(&mut inventory, "2026-11-22T06:10:00Z");
    for days_ago in [0, 1] {
        lose_snapshot(&mut inventory, "vol-0-main-a", days_ago);
    }
    assert_eq!(findings(inventory), ["warning due_run_not_judged main/a"]);
}

#[test]
fn a_member_that_never_had_a_snapshot_is_not_excused_for_ever() {
    let mut inventory = clean();
    let is_of_member = |id: &str| id == "vol-0-main-a";
    inventory
        .snapshots
        .retain(|s| !is_of_member(s.volume_id.as_str()));
    volume_mut(&mut inventory, "vol-0-main-a").created = at("2026-11-20T12:00:00Z");
    set_schedule_since(&mut inventory, "2026-11-22T06:10:00Z");
    let at_a_time = |now: &str| {
        let found = lines(&report_at(inventory.clone(), now).findings);
        let of_run = |line: &&String| line.contains("due_run") || line.contains("missing");
        found.iter().filter(of_run).cloned().collect::<Vec<_>>()
    };
    assert_eq!(at_a_time("2026-11-22T11:59:00Z"), NOTHING);
    assert_eq!(
        at_a_time("2026-11-22T12:01:00Z"),
        ["warning due_run_not_judged main/a"]
    );
    let next_day = at_a_time("2026-11-23T07:30:00Z");
    assert!(next_day.contains(&"critical snapshot_missing main/a".to_owned()));
    assert!(next_day.iter().all(|line| !line.contains("due_run")));
}

#[test]
fn a_shorter_interval_is_no_reason_to_miss_what_the_longer_one_never_made() {
    let hourly = settings_with(&[("INTERVAL_HOURS", "1")]);
    let not_judged = |inventory: &Inventory, now: &str| {
        let report = Report::new(inventory.clone(), &hourly, &Request::default(), at(now));
        let found = lines(&report.findings).into_iter();
        found.filter(|line| line.contains("due_run")).count()
    };
    // Daily until 10:10, and the first hourly run is due at 12:30.
    let mut inventory = clean();
    set_schedule_since(&mut inventory, "2026-11-22T10:10:00Z");
    assert_eq!(not_judged(&inventory, "2026-11-22T12:29:00Z"), 0);
    // Changed again and again, it is no excuse once a daily run would have been missed twice.
    set_schedule_since(&mut inventory, "2026-11-24T05:10:00Z");
    assert_eq!(not_judged(&inventory, "2026-11-24T06:04:00Z"), 0);
    assert_eq!(not_judged(&inventory, "2026-11-24T06:05:00Z"), 6);

    // Where runs were hourly, two hours are enough.
    let day = SignedDuration::from_hours(24);
    for snapshot in &mut inventory.snapshots {
        let id = snapshot.id.to_string();
        let days_ago: i32 = id.rsplit('-').next().unwrap().parse().unwrap();
        snapshot.started += (day - SignedDuration::from_hours(1)) * days_ago;
    }
    set_schedule_since(&mut inventory, "2026-11-22T08:10:00Z");
    assert_eq!(not_judged(&inventory, "2026-11-22T09:29:00Z"), 0);
    assert_eq!(not_judged(&inventory, "2026-11-22T09:30:00Z"), 6);
}

#[test]
fn a_member_that_is_new_has_no_runs_behind_it() {
    let hourly = settings_with(&[("INTERVAL_HOURS", "1")]);
    let mut inventory = clean();
    inventory.snapshots.clear();
    inventory.policies[0].created = at("2026-11-22T03:00:00Z");
    set_schedule_since(&mut inventory, "2026-11-22T06:10:00Z");
    let report = Report::new(
        inventory,
        &hourly,
        &Request::default(),
        at("2026-11-22T07:35:00Z"),
    );
    assert_eq!(lines(&report.findings), NOTHING);
}

#[test]
fn a_run_that_may_still_be_coming_after_a_change_is_waited_for() {
    // The schedule was moved from 06:00 to 05:59 a moment before 06:00, two days after a snapshot.
    let settings = settings_with(&[("START_TIME", "05:59")]);
    let mut inventory = clean();
    set_schedule_since(&mut inventory, "2026-11-22T05:59:30Z");
    let until = at("2026-11-21T06:05:00Z");
    inventory.snapshots.retain(|s| s.started < until);
    let report = |now: &str| {
        let report = Report::new(inventory.clone(), &settings, &Request::default(), at(now));
        lines(&report.findings)
    };
    assert_eq!(report("2026-11-23T06:40:00Z"), NOTHING);
    let missing = report("2026-11-23T07:29:00Z");
    assert_eq!(missing.len(), 6);
    assert!(missing[0].contains("snapshot_missing"), "{missing:?}");
}

#[test]
fn a_due_run_that_retention_deleted_is_judged_by_the_newest() {
    for (count, newest_state, expected) in [
        ("1", SnapshotState::Completed, 0),
        // And then there is no restore point either.
        ("1", SnapshotState::Error, 8),
        ("2", SnapshotState::Completed, 6),
    ] {
        let settings = settings_with(&[("RETAIN_COUNT", count)]);
        let mut inventory = clean();
        // Today's are there, ten minutes after the run; yesterday's, which is due, were deleted.
        inventory
            .snapshots
            .retain(|s| s.id.as_str().ends_with("-0"));
        for snapshot in &mut inventory.snapshots {
            snapshot.state = newest_state;
        }
        let now = at("2026-11-22T06:10:00Z");
        let report = Report::new(inventory, &settings, &Request::default(), now);
        assert_eq!(
            report.summary.critical, expected,
            "{count} {newest_state:?}: {report}"
        );
    }
}
