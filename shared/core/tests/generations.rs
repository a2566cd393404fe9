//! Generations, and what follows from them: a clean history with one thing that happened to it.

mod world;

use std::collections::BTreeSet;

use etcd_backup_core::ids::{EtcdClusterName, MemberKey};
use etcd_backup_core::restore_point::{Doubt, History, RunSnapshots};
use jiff::SignedDuration;
use world::at;
use world::cluster::{MEMBERS, Story};

/// Runs of a month, the last on the 22nd at 06:00.
fn clean() -> Story {
    let mut story = Story::begun(at("2026-09-01T00:00:00Z"));
    story.daily_runs(at("2026-10-24T06:00:00Z"), 30);
    story
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

fn all(story: &Story) -> Vec<Told> {
    story.both(|history| history.runs(&main()).iter().map(told).collect())
}

fn on(story: &Story, run: &str) -> Told {
    let found = all(story).into_iter().find(|told| told.run == run);
    found.unwrap_or_else(|| panic!("no run of {run}"))
}

/// What the default choice says; `None` where it takes the newest restore point.
fn doubt_in(history: &History) -> Option<Doubt> {
    let runs = history.runs(&main());
    let newest = runs.iter().find(|run| run.is_complete()).unwrap();
    history.doubt(newest, &runs, |_| true)
}

fn doubt(story: &Story) -> Option<Doubt> {
    story.both(doubt_in)
}

fn recreated(story: &Story, now: &str) -> Vec<String> {
    story.both(|history| {
        let recreated = history.recreated(at(now));
        recreated.map(|(key, _)| key.to_string()).collect()
    })
}

fn assert_clean(story: &Story) {
    for told in all(story) {
        assert!(told.complete && !told.doubtful && !told.mixed, "{told:?}");
    }
    assert_eq!(doubt(story), None);
    assert_eq!(recreated(story, "2026-12-01T07:30:00Z"), [""; 0]);
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

#[test]
fn nothing_is_wrong_with_a_clean_history_nor_with_a_cluster_that_is_gone() {
    let mut story = clean();
    assert_clean(&story);
    story.lose(&MEMBERS);
    assert_clean(&story);
}

#[test]
fn blank_volumes_after_a_loss_are_doubted_for_a_week_and_not_for_one_run() {
    let mut story = clean();
    story.lose(&MEMBERS);
    story.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    assert_eq!(recreated(&story, "2026-11-22T12:00:00Z"), MEMBERS);
    story.daily_runs(at("2026-11-23T06:00:00Z"), 10);
    assert!(on(&story, "2026-11-23T06:00:00Z").doubtful);
    assert!(on(&story, "2026-11-24T06:00:00Z").doubtful);
    assert!(on(&story, "2026-11-29T06:00:00Z").doubtful);
    assert!(!on(&story, "2026-11-30T06:00:00Z").doubtful);
    assert!(!on(&story, "2026-11-22T06:00:00Z").doubtful);
    assert_eq!(recreated(&story, "2026-11-29T10:29:59Z"), MEMBERS);
    assert_eq!(recreated(&story, "2026-11-29T10:30:00Z"), [""; 0]);
    assert_eq!(doubt(&story), None, "after a week it is the cluster");
}

#[test]
fn the_refusal_names_the_generations_and_which_at_takes_which() {
    let mut story = clean();
    story.lose(&MEMBERS);
    story.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    story.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    insta::assert_snapshot!(doubt(&story).unwrap(), @r#"the latest restore point, of the run of 2026-11-24T06:00:00Z, may be of empty volumes: those of main/a (vol-4, 2026-11-22T10:30:00Z), main/b (vol-5, 2026-11-22T10:30:00Z), main/c (vol-6, 2026-11-22T10:30:00Z) were made blank less than 7 days before it, as kops update does after a loss, and snapshots of what was there before still exist. Choose: "at": "2026-11-24T06:03:00Z" takes the run of 2026-11-24T06:00:00Z, of the generation that began 2026-11-22T10:30:00Z; "at": "2026-11-22T06:03:00Z" takes the run of 2026-11-22T06:00:00Z, of the generation first seen 2026-10-24T06:03:00Z"#);
    // Before the first run of the new volumes, and where that is incomplete: no going back either.
    let mut story = clean();
    story.lose(&MEMBERS);
    story.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    insta::assert_snapshot!(doubt(&story).unwrap(), @r#"the latest restore point, of the run of 2026-11-22T06:00:00Z, is from before blank volumes were made of main/a (vol-4, 2026-11-22T10:30:00Z), main/b (vol-5, 2026-11-22T10:30:00Z), main/c (vol-6, 2026-11-22T10:30:00Z), after a loss or for a cluster made anew, and no run since is complete. Choose: "at": "2026-11-22T06:03:00Z" takes the run of 2026-11-22T06:00:00Z, of the generation first seen 2026-10-24T06:03:00Z"#);
}

#[test]
fn a_cluster_made_anew_does_not_fall_back_to_the_dead_ones_runs() {
    let mut story = clean();
    story.lose(&MEMBERS);
    // Forty days later.
    story.make_blank(&MEMBERS, at("2027-01-01T05:00:00Z"));
    for has_volumes in [true, false] {
        let mut story = story.clone();
        for member in &MEMBERS[..2] {
            story.take(member, at("2027-01-01T06:03:00Z"));
        }
        if !has_volumes {
            story.lose(&MEMBERS);
        }
        let doubt = doubt(&story).unwrap();
        assert!(!doubt.is_of_later);
        assert_eq!(doubt.run.to_string(), "2026-11-22T06:00:00Z");
        let expected = if has_volumes { 3 } else { 2 };
        assert_eq!(doubt.members.len(), expected);
        let [way] = &doubt.ways[..] else {
            panic!("{:?}", doubt.ways);
        };
        assert_eq!(way.run, doubt.run);
    }
}

#[test]
fn one_blank_volume_is_enough_to_be_doubted() {
    let mut story = clean();
    story.lose(&["main/b"]);
    story.make_blank(&["main/b"], at("2026-11-22T10:30:00Z"));
    assert_eq!(recreated(&story, "2026-11-22T12:00:00Z"), ["main/b"]);
    assert_eq!(doubt(&story).unwrap().members.len(), 1);
    story.daily_runs(at("2026-11-23T06:00:00Z"), 1);
    assert!(on(&story, "2026-11-23T06:00:00Z").doubtful);
    let doubt = doubt(&story).unwrap();
    assert!(doubt.is_of_later);
    let runs: Vec<String> = doubt.ways.iter().map(|way| way.run.to_string()).collect();
    assert_eq!(runs, ["2026-11-23T06:00:00Z", "2026-11-22T06:00:00Z"]);
    // Of a restore that leaves it out, it is no matter.
    let cluster = story.cluster();
    let history = History::new(&cluster, Vec::new(), &Story::schedule());
    let runs = history.runs(&main());
    let others = |key: &MemberKey| key.member.as_str() != "b";
    assert_eq!(history.doubt(&runs[0], &runs, others), None);
}

#[test]
fn a_first_generation_is_never_doubted_however_young() {
    let mut story = Story::begun(at("2026-11-22T05:00:00Z"));
    story.daily_runs(at("2026-11-22T06:00:00Z"), 2);
    assert_clean(&story);
    story.lose(&MEMBERS);
    assert_clean(&story);
}

#[test]
fn a_restore_goes_on_with_its_snapshots_generation() {
    let mut story = clean();
    let from = story.newest(at("2026-11-21T07:00:00Z"));
    story.restore(&from, at("2026-11-22T10:30:00Z"));
    assert_clean(&story);
    story.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    assert_clean(&story);
    story.kops_updates();
    story.daily_runs(at("2026-11-25T06:00:00Z"), 1);
    assert_clean(&story);
    story.clean_up();
    assert_clean(&story);
    story.lose(&MEMBERS);
    assert_clean(&story);
}

#[test]
fn a_restore_of_vanished_volumes_goes_on_too() {
    let mut story = clean();
    story.lose(&MEMBERS);
    let from = story.newest(at("2026-11-22T07:00:00Z"));
    let restored = story.restore(&from, at("2026-11-22T10:30:00Z"));
    story.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    assert_clean(&story);
    story.undo(&restored, at("2026-11-24T12:00:00Z"));
    assert_clean(&story);
}

#[test]
fn a_volume_that_an_undo_put_back_began_no_generation() {
    let mut story = clean();
    let from = story.newest(at("2026-11-21T07:00:00Z"));
    let restored = story.restore(&from, at("2026-11-22T10:30:00Z"));
    story.daily_runs(at("2026-11-23T06:00:00Z"), 2);
    story.undo(&restored, at("2026-11-24T12:00:00Z"));
    assert_clean(&story);
    story.daily_runs(at("2026-11-25T06:00:00Z"), 2);
    assert_clean(&story);
    story.kops_updates();
    story.clean_up();
    assert_clean(&story);
}

#[test]
fn a_restore_across_a_blank_beginning_goes_on_with_what_was_before_it() {
    let mut story = clean();
    story.lose(&MEMBERS);
    story.make_blank(&MEMBERS, at("2026-11-22T10:30:00Z"));
    story.daily_runs(at("2026-11-23T06:00:00Z"), 1);
    let from = story.newest(at("2026-11-22T07:00:00Z"));
    story.restore(&from, at("2026-11-23T10:30:00Z"));
    assert_eq!(recreated(&story, "2026-11-23T12:00:00Z"), [""; 0]);
    assert!(doubt(&story).unwrap().is_of_later);
    story.daily_runs(at("2026-11-24T06:00:00Z"), 1);
    assert!(!on(&story, "2026-11-24T06:00:00Z").doubtful);
    assert!(on(&story, "2026-11-23T06:00:00Z").doubtful);
    assert_eq!(doubt(&story), None);
}

#[test]
fn a_run_that_straddles_an_exchange_is_mixed_and_no_restore_point() {
    let mut story = clean();
    story.take("main/a", at("2026-11-23T06:02:00Z"));
    let from = story.newest(at("2026-11-22T07:00:00Z"));
    story.restore(&from, at("2026-11-23T06:05:00Z"));
    story.take("main/b", at("2026-11-23T06:10:00Z"));
    story.take("main/c", at("2026-11-23T06:11:00Z"));
    for kops_updated in [false, true] {
        if kops_updated {
            story.kops_updates();
        }
        let straddling = on(&story, "2026-11-23T06:00:00Z");
        assert!(straddling.mixed && !straddling.complete);
        assert!(on(&story, "2026-11-22T06:00:00Z").complete);
        assert_eq!(doubt(&story), None);
    }
    // With one more snapshot there is one timeline.
    story.take("main/a", at("2026-11-23T06:12:00Z"));
    let told = on(&story, "2026-11-23T06:00:00Z");
    assert!(told.complete && !told.mixed);
}

#[test]
fn a_run_before_or_after_an_exchange_within_its_hours_is_not_mixed() {
    for exchange in ["2026-11-22T06:30:00Z", "2026-11-23T05:30:00Z"] {
        let mut story = clean();
        let from = story.newest(at("2026-11-21T07:00:00Z"));
        let restored = story.restore(&from, at(exchange));
        story.daily_runs(at("2026-11-23T06:00:00Z"), 1);
        assert_clean(&story);
        story.undo(&restored, at("2026-11-23T08:00:00Z"));
        assert_clean(&story);
    }
}

#[test]
fn a_run_that_straddles_an_undo_is_mixed() {
    let mut story = clean();
    let from = story.newest(at("2026-11-21T07:00:00Z"));
    let restored = story.restore(&from, at("2026-11-22T10:30:00Z"));
    story.take("main/a", at("2026-11-23T06:02:00Z"));
    story.undo(&restored, at("2026-11-23T06:05:00Z"));
    story.take("main/b", at("2026-11-23T06:10:00Z"));
    story.take("main/c", at("2026-11-23T06:11:00Z"));
    assert!(on(&story, "2026-11-23T06:00:00Z").mixed);
}

#[test]
fn a_run_that_straddles_an_exchange_and_its_undo_is_mixed() {
    let mut story = clean();
    story.take("main/a", at("2026-11-23T06:02:00Z"));
    let from = story.newest(at("2026-11-22T07:00:00Z"));
    let restored = story.restore(&from, at("2026-11-23T06:05:00Z"));
    story.take("main/b", at("2026-11-23T06:10:00Z"));
    story.undo(&restored, at("2026-11-23T06:20:00Z"));
    story.take("main/c", at("2026-11-23T06:30:00Z"));
    assert!(on(&story, "2026-11-23T06:00:00Z").mixed);
}

#[test]
fn a_run_that_straddles_a_new_beginning_is_mixed() {
    let mut story = clean();
    story.take("main/a", at("2026-11-23T06:02:00Z"));
    story.lose(&MEMBERS);
    story.make_blank(&MEMBERS, at("2026-11-23T06:05:00Z"));
    story.take("main/b", at("2026-11-23T06:10:00Z"));
    story.take("main/c", at("2026-11-23T06:11:00Z"));
    let straddling = on(&story, "2026-11-23T06:00:00Z");
    assert!(straddling.mixed && straddling.doubtful && !straddling.complete);
    // Nor does it make the run before be taken by itself: what is live began later.
    assert!(!doubt(&story).unwrap().is_of_later);
}

#[test]
fn two_volumes_of_one_member_mix_nothing() {
    let mut story = clean();
    // A second one appears, and both are backed up: which is in use, only a person knows.
    let first = story.live[&"main/a".parse().unwrap()].clone();
    story.make_blank(&["main/a"], at("2026-11-22T10:30:00Z"));
    let second = story.live[&"main/a".parse().unwrap()].clone();
    for day in 0..3 {
        let run = at("2026-11-23T06:00:00Z") + days(day);
        for volume in [&first, &second] {
            story.live.insert("main/a".parse().unwrap(), volume.clone());
            story.take("main/a", run + SignedDuration::from_secs(60));
        }
        for member in &MEMBERS[1..] {
            story.take(member, run + SignedDuration::from_secs(90));
        }
    }
    assert!(all(&story).iter().all(|told| told.complete && !told.mixed));
    assert_eq!(recreated(&story, "2026-11-25T07:30:00Z"), ["main/a"]);
    assert!(doubt(&story).is_some());
}

#[test]
fn a_functions_clock_that_goes_wrong_by_days_mixes_nothing() {
    for wrong in [days(-30), days(3)] {
        let mut story = clean();
        // Of one member nothing is left to be retired.
        story.lose(&["main/c"]);
        let from = story.newest(at("2026-11-21T07:00:00Z"));
        story.restore(&from, at("2026-11-22T10:30:00Z"));
        story.daily_runs(at("2026-11-23T06:00:00Z"), 2);
        let from = story.newest(at("2026-11-23T07:00:00Z"));
        let restored = story.restore(&from, at("2026-11-24T12:00:00Z"));
        story.daily_runs(at("2026-11-25T06:00:00Z"), 2);
        story.undo(&restored, at("2026-11-26T12:00:00Z"));
        story.daily_runs(at("2026-11-27T06:00:00Z"), 2);
        for exchange in &mut story.recorded {
            exchange.at += wrong;
        }
        for volume in &mut story.volumes {
            if let Some(text) = volume.tags.get_mut("etcd-backup/retired-at") {
                *text = (at(text) + wrong).to_string();
            }
        }
        let runs = all(&story);
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
