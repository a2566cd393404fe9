//! The audit at every half hour of several days: no false alarm, whatever the interval, and however the
//! schedule is changed in between.

use std::collections::BTreeSet;

use audit::event::Request;
use audit::report::Report;
use etcd_backup_core::settings::Settings;
use jiff::SignedDuration;

use crate::lifecycle_manager::Account;
use crate::world::{at, lines, settings_with};

/// A change of the settings: what it is, how, and which findings it may leave.
type Change = (&'static str, fn(&mut Settings), &'static [&'static str]);

/// A former schedule's snapshots are nobody's to delete.
const ORPHANS: &[&str] = &["info snapshots_orphaned"];
const CHANGES: [Change; 7] = [
    ("nothing", |_| {}, &[]),
    (
        "a later start",
        |settings| settings.schedule.start_time = "06:40".parse().unwrap(),
        &[],
    ),
    (
        "an earlier start",
        |settings| settings.schedule.start_time = "05:35".parse().unwrap(),
        &[],
    ),
    ("a lower count", |settings| settings.retain_count = 3, &[]),
    ("a higher count", |settings| settings.retain_count = 9, &[]),
    (
        "another name",
        |settings| settings.schedule_name = "etcd".to_owned(),
        ORPHANS,
    ),
    (
        "another interval",
        |settings| settings.schedule.interval_hours = 8,
        &[],
    ),
];
const STEP_MIN: i32 = 30;

fn settings(interval_hours: i32) -> Settings {
    let interval = interval_hours.to_string();
    settings_with(&[("INTERVAL_HOURS", &interval), ("RETAIN_COUNT", "5")])
}

/// The findings at the account's moment, but for those that are allowed.
fn alarms(account: &Account, allowed: &BTreeSet<&str>) -> Vec<String> {
    let inventory = account.inventory.clone();
    let request = Request::default();
    let report = Report::new(inventory, &account.settings, &request, account.now());
    let mut lines = lines(&report.findings);
    lines.retain(|line| !allowed.contains(line.as_str()));
    lines
}

/// Walks through the days before and after a change.
fn walk(
    interval_hours: i32,
    late_min: i64,
    has_neighbours: bool,
    (what, change, leaves): Change,
    changed_after_min: i32,
) {
    let late = SignedDuration::from_mins(late_min);
    // Before the run of 06:00, at no full half hour.
    let mut account = Account::new(settings(interval_hours), at("2026-11-20T05:17:00Z"), late);
    let mut allowed = BTreeSet::from_iter(leaves.iter().copied());
    if has_neighbours {
        account = account.with_neighbours();
        allowed.insert("info policy_duplicated");
    }
    let check = |account: &Account| {
        assert_eq!(
            alarms(account, &allowed),
            Vec::<String>::new(),
            "every {interval_hours} h, {late_min} min late, {what} {changed_after_min} min after a run, \
             neighbours: {has_neighbours}, at {}",
            account.now()
        );
    };
    let days_before = if interval_hours == 24 { 7 } else { 2 };
    let before_min = days_before * 24 * 60;
    for _ in 0..before_min / STEP_MIN {
        account.advance(STEP_MIN);
        check(&account);
    }
    // It is 05:17 again: on to the run of 06:00.
    account.advance(43 + changed_after_min);
    let mut changed = account.settings.clone();
    change(&mut changed);
    if changed != account.settings {
        account.converge(changed);
    }
    let days_after = 3;
    for _ in 0..days_after * 24 * 60 / STEP_MIN {
        check(&account);
        account.advance(STEP_MIN);
    }
}

fn walk_through_all(interval_hours: i32) {
    for (index, change) in CHANGES.into_iter().enumerate() {
        // A run that is late isn't made yet half an hour after its time, and then never will be.
        for (late_min, changed_after_min) in [(4, 30), (58, 30), (58, 75), (58, -20)] {
            // Each change with and without neighbours, not each of everything with everything.
            let has_neighbours = (index + usize::try_from(late_min).unwrap() / 2) % 2 == 0;
            walk(
                interval_hours,
                late_min,
                has_neighbours,
                change,
                changed_after_min,
            );
        }
    }
}

#[test]
fn no_false_alarm_with_a_run_every_hour() {
    walk_through_all(1);
}

#[test]
fn no_false_alarm_with_a_run_every_two_hours() {
    walk_through_all(2);
}

#[test]
fn no_false_alarm_with_a_run_every_six_hours() {
    walk_through_all(6);
}

#[test]
fn no_false_alarm_with_a_run_every_twelve_hours() {
    walk_through_all(12);
}

#[test]
fn no_false_alarm_with_a_run_a_day() {
    walk_through_all(24);
}

/// The walk can see something: one snapshot that never came is reported from when its run is due until the
/// next one is.
#[test]
fn a_snapshot_that_never_came_is_reported_from_due_to_due() {
    for interval_hours in [1, 2, 6, 12, 24] {
        for has_neighbours in [false, true] {
            let late = SignedDuration::from_mins(4);
            let start = at("2026-11-20T05:17:00Z");
            let mut account = Account::new(settings(interval_hours), start, late);
            if has_neighbours {
                account = account.with_neighbours();
            }
            account.advance(24 * 60);
            account.skip_once("vol-0-main-a");
            account.advance(50);
            let mut told = 0;
            for _ in 0..interval_hours * 60 + 120 {
                let allowed =
                    BTreeSet::from(["info policy_duplicated", "warning snapshot_gap main/a"]);
                let alarms = alarms(&account, &allowed);
                let missing = !alarms.is_empty();
                if missing {
                    let now = account.now();
                    assert_eq!(alarms, ["critical snapshot_missing main/a"], "{now}");
                }
                told += i32::from(missing);
                account.advance(1);
            }
            assert_eq!(told, interval_hours * 60, "minutes");
        }
    }
}
