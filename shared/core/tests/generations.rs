//! Generations, and what follows from them: a clean history with one thing that happened to it.

mod world;

use std::collections::BTreeSet;

use etcd_backup_core::ids::{EtcdClusterName, MemberKey};
use etcd_backup_core::restore_point::{Doubt, History, RunSnapshots};
use jiff::SignedDuration;
use world::at;
use world::cluster::{MEMBERS, Scenario};

/// Runs of a month, the last on the 22nd at 06:00.
fn clean() -> Scenario {
    let mut scenario = Scenario::new(at("2026-09-01T00:00:00Z"));
    scenario.daily_runs(at("2026-10-24T06:00:00Z"), 30);
    scenario
}

fn main() -> BTreeSet<EtcdClusterName> {
    BTreeSet::from(["main".into()])
}

/// A run in the words of `list`: whether it is complete, doubtful, mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    run: String,
    complete: bool,
    doubtful: bool,
    mixed: bool,
}

fn told(run: &RunSnapshots) -> Told {
    Told {
        run: run.run.to_string(),
        complete: run.is_complete(),
        doubtful: !run.doubtful.is_empty(),
        mixed: !run.mixed.is_empty(),
    }
}

fn all(scenario: &Scenario) -> Vec<Told> {
    scenario.both(|history| history.runs(&main()).iter().map(told).collect())
}

fn on(scenario: &Scenario, run: &str) -> Told {
    let found = all(scenario).into_iter().find(|told| told.run == run);
    found.unwrap_or_else(|| panic!("no run of {run}"))
}

/// What the default choice says; `None` where it takes the newest restore point.
fn doubt_in(history: &History) -> Option<Doubt> {
    let runs = history.runs(&main());
    let newest = runs.iter().find(|run| run.is_complete()).unwrap();
    history.doubt(newest, &runs, |_| true)
}

fn doubt(scenario: &Scenario) -> Option<Doubt> {
    scenario.both(doubt_in)
}

fn recreated(scenario: &Scenario, now: &str) -> Vec<String> {
    scenario.both(|history| {
        let recreated = history.recreated(at(now));
        recreated.map(|(key, _)| key.to_string()).collect()
    })
}

fn assert_clean(scenario: &Scenario) {
    for told in all(scenario) {
        assert!(told.complete && !told.doubtful && !told.mixed, "{told:?}");
    }
    assert_eq!(doubt(scenario), None);
    assert_eq!(recreated(scenario, "2026-12-01T07:30:00Z"), [""; 0]);
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

#[test]
fn nothing_is_wrong_with_a_clean_history_nor_with_a_cluster_that_is_gone() {
    let mut scenario = clean();
    assert_clean(&scenario);
    scenario.lose(&MEMBERS);
    assert_clean(&scenario);
}

#[test]
fn blank_volumes_after_a_loss_are_doubted_for_a_week_and_not_for_one_run() {
    let mut scenario = clean();
    scenario.lose(&MEMBERS);
    scenario.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    assert_eq!(recreated(&scenario, "2026-11-22T12:00:00Z"), MEMBERS);
    scenario.daily_runs(at("2026-11-23T06:00:00Z"), 10);
    assert!(on(&scenario, "2026-11-23T06:00:00Z").doubtful);
    assert!(on(&scenario, "2026-11-24T06:00:00Z").doubtful);
    assert!(on(&scenario, "2026-11-29T06:00:00Z").doubtful);
    assert!(!on(&scenario, "2026-11-30T06:00:00Z").doubtful);
    assert!(!on(&scenario, "2026-11-22T06:00:00Z").doubtful);
    assert_eq!(recreated(&scenario, "2026-11-29T10:29:59Z"), MEMBERS);
    assert_eq!(recreated(&scenario, "2026-11-29T10:30:00Z"), [""; 0]);
    assert_eq!(doubt(&scenario), None, "after a week it is the cluster");
}

#[test]
fn the_refusal_names_the_generations_and_which_at_takes_which() {
    let mut scenario = clean();
    scenario.lose(&MEMBERS);
    scenario.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    scenario.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    insta::assert_snapshot!(doubt(&scenario).unwrap(), @r#"the latest restore point, of the run of 2026-11-24T06:00:00Z, may be of empty volumes: those of main/a (vol-4, 2026-11-22T10:30:00Z), main/b (vol-5, 2026-11-22T10:30:00Z), main/c (vol-6, 2026-11-22T10:30:00Z) were made blank less than 7 days before it, as kops update does after a loss, and snapshots of what was there before still exist. Choose: "at": "2026-11-24T06:03:00Z" takes the run of 2026-11-24T06:00:00Z, of the generation that began 2026-11-22T10:30:00Z; "at": "2026-11-22T06:03:00Z" takes the run of 2026-11-22T06:00:00Z, of the generation first seen 2026-10-24T06:03:00Z"#);
    // Before the first run of the new volumes, and where that is incomplete: no going back either.
    let mut scenario = clean();
    scenario.lose(&MEMBERS);
    scenario.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    insta::assert_snapshot!(doubt(&scenario).unwrap(), @r#"the latest restore point, of the run of 2026-11-22T06:00:00Z, is from before blank volumes were made of main/a (vol-4, 2026-11-22T10:30:00Z), main/b (vol-5, 2026-11-22T10:30:00Z), main/c (vol-6, 2026-11-22T10:30:00Z), after a loss or for a cluster made anew, and no run since is complete. Choose: "at": "2026-11-22T06:03:00Z" takes the run of 2026-11-22T06:00:00Z, of the generation first seen 2026-10-24T06:03:00Z"#);
}

#[test]
fn a_cluster_made_anew_does_not_fall_back_to_the_dead_ones_runs() {
    let mut scenario = clean();
    scenario.lose(&MEMBERS);
    // Forty days later.
    scenario.make_blank(&MEMBERS, at("2027-01-01T05:00:00Z"));
    for has_volumes in [true, false] {
        let mut scenario = scenario.clone();
        for member in &MEMBERS[..2] {
            scenario.take(member, at("2027-01-01T06:03:00Z"));
        }
        if !has_volumes {
            scenario.lose(&MEMBERS);
        }
        let doubt = doubt(&scenario).unwrap();
        assert!(!doubt.is_of_later);
        assert_eq!(doubt.run.to_string(), "2026-11-22T06:00:00Z");
        let expected = if has_volumes { 3 } else { 2 };
        assert_eq!(doubt.members.len(), expected);
        let [alternative] = &doubt.alternatives[..] else {
            panic!("{:?}", doubt.alternatives);
        };
        assert_eq!(alternative.run, doubt.run);
    }
}

#[test]
fn one_blank_volume_is_enough_to_be_doubted() {
    let mut scenario = clean();
    scenario.lose(&["main/b"]);
    scenario.make_blank(&["main/b"], at("2026-11-22T10:30:00Z"));
    assert_eq!(recreated(&scenario, "2026-11-22T12:00:00Z"), ["main/b"]);
    assert_eq!(doubt(&scenario).unwrap().members.len(), 1);
    scenario.daily_runs(at("2026-11-23T06:00:00Z"), 1);
    assert!(on(&scenario, "2026-11-23T06:00:00Z").doubtful);
    let doubt = doubt(&scenario).unwrap();
    assert!(doubt.is_of_later);
    let runs: Vec<String> = doubt
        .alternatives
        .iter()
        .map(|alternative| alternative.run.to_string())
        .collect();
    assert_eq!(runs, ["2026-11-23T06:00:00Z", "2026-11-22T06:00:00Z"]);
    // Of a restore that leaves it out, it is no matter.
    let cluster = scenario.cluster();
    let history = History::new(&cluster, Vec::new(), &Scenario::schedule());
    let runs = history.runs(&main());
    let others = |key: &MemberKey| key.member.as_str() != "b";
    assert_eq!(history.doubt(&runs[0], &runs, others), None);
}

#[test]
fn a_first_generation_is_never_doubted_however_young() {
    let mut scenario = Scenario::new(at("2026-11-22T05:00:00Z"));
    scenario.daily_runs(at("2026-11-22T06:00:00Z"), 2);
    assert_clean(&scenario);
    scenario.lose(&MEMBERS);
    assert_clean(&scenario);
}

#[test]
fn a_restore_goes_on_with_its_snapshots_generation() {
    let mut scenario = clean();
    let from = scenario.newest(at("2026-11-21T07:00:00Z"));
    scenario.restore(&from, at("2026-11-22T10:30:00Z"));
    assert_clean(&scenario);
    scenario.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    assert_clean(&scenario);
    scenario.kops_updates();
    scenario.daily_runs(at("2026-11-25T06:00:00Z"), 1);
    assert_clean(&scenario);
    scenario.clean_up();
    assert_clean(&scenario);
    scenario.lose(&MEMBERS);
    assert_clean(&scenario);
}

#[test]
fn a_restore_of_vanished_volumes_goes_on_too() {
    let mut scenario = clean();
    scenario.lose(&MEMBERS);
    let from = scenario.newest(at("2026-11-22T07:00:00Z"));
    let restored = scenario.restore(&from, at("2026-11-22T10:30:00Z"));
    scenario.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    assert_clean(&scenario);
    scenario.undo(&restored, at("2026-11-24T12:00:00Z"));
    assert_clean(&scenario);
}

#[test]
fn a_volume_that_an_undo_put_back_began_no_generation() {
    let mut scenario = clean();
    let from = scenario.newest(at("2026-11-21T07:00:00Z"));
    let restored = scenario.restore(&from, at("2026-11-22T10:30:00Z"));
    scenario.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    scenario.undo(&restored, at("2026-11-24T12:00:00Z"));
    assert_clean(&scenario);
    scenario.daily_runs(at("2026-11-25T06:00:00Z"), 2);
    assert_clean(&scenario);
    scenario.kops_updates();
    scenario.clean_up();
    assert_clean(&scenario);
}

#[test]
fn a_restore_across_a_blank_beginning_goes_on_with_what_was_before_it() {
    let mut scenario = clean();
    scenario.lose(&MEMBERS);
    scenario.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    scenario.daily_runs(at("2026-11-23T06:00:00Z"), 1);
    let from = scenario.newest(at("2026-11-22T07:00:00Z"));
    scenario.restore(&from, at("2026-11-23T10:30:00Z"));
    assert_eq!(recreated(&scenario, "2026-11-23T12:00:00Z"), [""; 0]);
    assert!(doubt(&scenario).unwrap().is_of_later);
    scenario.daily_runs(at("2026-11-24T06:00:00Z"), 1);
    assert!(!on(&scenario, "2026-11-24T06:00:00Z").doubtful);
    assert!(on(&scenario, "2026-11-23T06:00:00Z").doubtful);
    assert_eq!(doubt(&scenario), None);
}

#[test]
fn a_run_that_straddles_an_exchange_is_mixed_and_no_restore_point() {
    let mut scenario = clean();
    scenario.take("main/a", at("2026-11-23T06:02:00Z"));
    let from = scenario.newest(at("2026-11-22T07:00:00Z"));
    scenario.restore(&from, at("2026-11-23T06:05:00Z"));
    scenario.take("main/b", at("2026-11-23T06:10:00Z"));
    scenario.take("main/c", at("2026-11-23T06:11:00Z"));
    for kops_updated in [false, true] {
        if kops_updated {
            scenario.kops_updates();
        }
        let straddling = on(&scenario, "2026-11-23T06:00:00Z");
        assert!(straddling.mixed && !straddling.complete);
        assert!(on(&scenario, "2026-11-22T06:00:00Z").complete);
        assert_eq!(doubt(&scenario), None);
    }
    // With one more snapshot there is one timeline.
    scenario.take("main/a", at("2026-11-23T06:12:00Z"));
    let told = on(&scenario, "2026-11-23T06:00:00Z");
    assert!(told.complete && !told.mixed);
}

#[test]
fn a_run_before_or_after_an_exchange_within_its_hours_is_not_mixed() {
    for exchange in ["2026-11-22T06:30:00Z", "2026-11-23T05:30:00Z"] {
        let mut scenario = clean();
        let from = scenario.newest(at("2026-11-21T07:00:00Z"));
        let restored = scenario.restore(&from, at(exchange));
        scenario.daily_runs(at("2026-11-23T06:00:00Z"), 1);
        assert_clean(&scenario);
        scenario.undo(&restored, at("2026-11-23T08:00:00Z"));
        assert_clean(&scenario);
    }
}

#[test]
fn a_run_that_straddles_an_undo_is_mixed() {
    let mut scenario = clean();
    let from = scenario.newest(at("2026-11-21T07:00:00Z"));
    let restored = scenario.restore(&from, at("2026-11-22T10:30:00Z"));
    scenario.take("main/a", at("2026-11-23T06:02:00Z"));
    scenario.undo(&restored, at("2026-11-23T06:05:00Z"));
    scenario.take("main/b", at("2026-11-23T06:10:00Z"));
    scenario.take("main/c", at("2026-11-23T06:11:00Z"));
    assert!(on(&scenario, "2026-11-23T06:00:00Z").mixed);
}

#[test]
fn a_run_that_straddles_an_exchange_and_its_undo_is_mixed() {
    let mut scenario = clean();
    scenario.take("main/a", at("2026-11-23T06:02:00Z"));
    let from = scenario.newest(at("2026-11-22T07:00:00Z"));
    let restored = scenario.restore(&from, at("2026-11-23T06:05:00Z"));
    scenario.take("main/b", at("2026-11-23T06:10:00Z"));
    scenario.undo(&restored, at("2026-11-23T06:20:00Z"));
    scenario.take("main/c", at("2026-11-23T06:30:00Z"));
    assert!(on(&scenario, "2026-11-23T06:00:00Z").mixed);
}

#[test]
fn a_run_that_straddles_a_new_beginning_is_mixed() {
    let mut scenario = clean();
    scenario.take("main/a", at("2026-11-23T06:02:00Z"));
    scenario.lose(&MEMBERS);
    scenario.make_blank(&MEMBERS, at("2026-11-23T06:05:00Z"));
    scenario.take("main/b", at("2026-11-23T06:10:00Z"));
    scenario.take("main/c", at("2026-11-23T06:11:00Z"));
    let straddling = on(&scenario, "2026-11-23T06:00:00Z");
    assert!(straddling.mixed && straddling.doubtful && !straddling.complete);
    // Nor does it make the run before be taken by itself: what is live began later.
    assert!(!doubt(&scenario).unwrap().is_of_later);
}

#[test]
fn two_volumes_of_one_member_mix_nothing() {
    let mut scenario = clean();
    // A second one appears, and both are backed up: which is in use, only a person knows.
    let first = scenario.live[&"main/a".parse().unwrap()].clone();
    scenario.make_blank(&["main/a"], at("2026-11-22T10:30:00Z"));
    let second = scenario.live[&"main/a".parse().unwrap()].clone();
    for day in 0..3 {
        let run = at("2026-11-23T06:00:00Z") + days(day);
        for volume in [&first, &second] {
            scenario
                .live
                .insert("main/a".parse().unwrap(), volume.clone());
            scenario.take("main/a", run + SignedDuration::from_secs(60));
        }
        for member in &MEMBERS[1..] {
            scenario.take(member, run + SignedDuration::from_secs(90));
        }
    }
    assert!(
        all(&scenario)
            .iter()
            .all(|told| told.complete && !told.mixed)
    );
    assert_eq!(recreated(&scenario, "2026-11-25T07:30:00Z"), ["main/a"]);
    assert!(doubt(&scenario).is_some());
}

#[test]
fn a_functions_clock_that_goes_wrong_by_days_mixes_nothing() {
    for wrong in [days(-30), days(3)] {
        let mut scenario = clean();
        // Of one member nothing is left to be retired.
        scenario.lose(&["main/c"]);
        let from = scenario.newest(at("2026-11-21T07:00:00Z"));
        scenario.restore(&from, at("2026-11-22T10:30:00Z"));
        scenario.daily_runs(at("2026-11-23T06:00:00Z"), 2);
        let from = scenario.newest(at("2026-11-23T07:00:00Z"));
        let restored = scenario.restore(&from, at("2026-11-24T12:00:00Z"));
        scenario.daily_runs(at("2026-11-25T06:00:00Z"), 2);
        scenario.undo(&restored, at("2026-11-26T12:00:00Z"));
        scenario.daily_runs(at("2026-11-27T06:00:00Z"), 2);
        for exchange in &mut scenario.recorded {
            exchange.at += wrong;
        }
        for volume in &mut scenario.volumes {
            if let Some(text) = volume.tags.get_mut("etcd-backup/retired-at") {
                *text = (at(text) + wrong).to_string();
            }
        }
        let runs = all(&scenario);
        let is_clean = |told: &Told| told.complete && !told.doubtful;
        assert!(runs.iter().all(is_clean), "{wrong:?}: {runs:?}");
    }
}

#[test]
fn a_loss_is_reported_as_long_as_two_intervals_and_never_shorter_than_two_days() {
    let window = |hours: &str| {
        let settings = world::settings(&[("INTERVAL_HOURS", hours)]);
        settings.schedule.loss_window().as_hours()
    };
    assert_eq!([window("1"), window("12"), window("24")], [48, 48, 48]);
}
