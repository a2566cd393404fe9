//! Of which snapshots a verdict is one on a restore point, and which restore points are left to be read.

use std::collections::BTreeMap;

use etcd_backup_core::discovery::Identity;
use etcd_backup_core::ids::EtcdClusterName;
use etcd_backup_core::settings::{Settings, VerifyMode};
use etcd_backup_core::snapshot::Snapshot;
use verify::decide::choice::{Chosen, alone, by_hand, left_over, mode};

use crate::world::{RUN, cluster, key, name, run, settings, snapshot};

/// These of those that are there, named by hand.
fn named_by_hand(there: &[Snapshot], named: &[(&str, &Snapshot)]) -> Chosen {
    let found = named.iter().map(|(_, of)| *of).chain(there);
    let found: BTreeMap<_, _> = found.map(|of| (of.id.clone(), of.clone())).collect();
    let named = named
        .iter()
        .map(|(member, of)| (key(member), of.id.clone()))
        .collect();
    let schedule = &settings().schedule;
    by_hand(&name(), &cluster(there), schedule, &found, &named).unwrap()
}

/// Whether a verdict on these, named by hand, is one on a restore point.
fn is_whole(there: &[Snapshot], named: &[(&str, &Snapshot)]) -> bool {
    let chosen = named_by_hand(there, named);
    chosen.whole.contains(&EtcdClusterName::from("main"))
}

#[test]
fn a_verdict_is_one_on_a_restore_point_only_of_all_that_the_run_left() {
    let mut there = run();
    let later = Snapshot {
        id: "snap-later".into(),
        ..snapshot("c", "2026-11-22T15:00:00Z")
    };
    there.push(later.clone());
    let [a, b, c, _] = &there[..] else {
        unreachable!()
    };
    assert!(is_whole(&there, &[("a", a), ("b", b), ("c", c)]));
    // Of the same run, hours later.
    assert!(!is_whole(&there, &[("a", a), ("b", b), ("c", &later)]));
    assert!(!is_whole(&there, &[("a", a), ("b", b)]));
    // Where tags are lost, they can't say what is missing.
    let mut bare = there.clone();
    for of in &mut bare {
        of.tags.remove("k8s.io/etcd/main");
    }
    let sound = there.clone();
    let found: BTreeMap<_, _> = bare.iter().map(|of| (of.id.clone(), of.clone())).collect();
    let named = BTreeMap::from([(key("a"), a.id.clone())]);
    let chosen = by_hand(
        &name(),
        &cluster(&sound),
        &settings().schedule,
        &found,
        &named,
    );
    assert!(chosen.unwrap().whole.is_empty());
}

#[test]
fn one_snapshot_alone_is_a_restore_point_only_where_there_is_one_member() {
    let whole_of = |snapshot: &Snapshot, there: &[Snapshot], identity: &Identity| {
        let schedule = &settings().schedule;
        let chosen = alone(snapshot.clone(), Some(identity), &cluster(there), schedule);
        assert_eq!(chosen.is_alone, chosen.whole.is_empty());
        !chosen.whole.is_empty()
    };
    let there = run();
    let identity = Identity::of(&there[0].tags).unwrap().unwrap();
    assert!(!whole_of(&there[0], &there, &identity));
    let mut bare = there[0].clone();
    bare.tags.remove("k8s.io/etcd/main");
    assert!(!whole_of(&bare, &there, &identity));
    let mut single = there[0].clone();
    single
        .tags
        .insert("k8s.io/etcd/main".to_owned(), "a/a".to_owned());
    assert!(whole_of(&single, &[single.clone()], &identity));
}

#[test]
fn each_restore_point_is_verified_unless_a_setting_says_otherwise() {
    for (value, expected) in [
        (None, VerifyMode::All),
        (Some(""), VerifyMode::All),
        (Some("all"), VerifyMode::All),
        (Some("daily"), VerifyMode::Daily),
        (Some("off"), VerifyMode::Off),
    ] {
        let variable = |name: &str| value.filter(|_| name == "VERIFY").map(str::to_owned);
        let settings = Settings::from_variables(&variable).unwrap();
        assert_eq!(mode(&settings), expected, "{value:?}");
    }
}

#[test]
fn a_snapshot_that_no_run_left_is_of_no_restore_point() {
    let mut there = run();
    there.push(Snapshot {
        id: "snap-later".into(),
        ..snapshot("c", "2026-11-22T15:00:00Z")
    });
    // As a person makes it: it lacks the tag of the schedule's snapshots.
    let mut taken_by_hand = Snapshot {
        id: "snap-hand".into(),
        ..snapshot("a", "2026-11-22T07:00:00Z")
    };
    taken_by_hand.tags.remove("SnapshotCreator");
    let [a, b, c, later] = &there[..] else {
        unreachable!()
    };
    let all: Vec<_> = there.iter().chain([&taken_by_hand]).cloned().collect();
    let of_run = Some(settings().schedule.run_of(RUN.parse().unwrap()));
    for (snapshot, expected) in [
        (a, of_run),
        (c, of_run),
        (later, None),
        (&taken_by_hand, None),
    ] {
        let identity = Identity::of(&snapshot.tags).unwrap().unwrap();
        let schedule = &settings().schedule;
        let chosen = alone(snapshot.clone(), Some(&identity), &cluster(&all), schedule);
        assert_eq!(chosen.run, expected, "{}", snapshot.id);
        let chosen = alone(snapshot.clone(), None, &cluster(&all), schedule);
        assert_eq!(chosen.run, None, "{}", snapshot.id);
    }
    for (named, expected) in [
        (vec![("a", a), ("b", b), ("c", c)], of_run),
        (vec![("a", a), ("b", b)], of_run),
        (vec![("a", a), ("c", later)], None),
        (vec![("a", &taken_by_hand), ("b", b)], None),
    ] {
        assert_eq!(named_by_hand(&all, &named).run, expected, "{named:?}");
    }
}

#[test]
fn the_sweep_skips_runs_that_can_take_no_verdict() {
    let is_left = |there: &[Snapshot]| {
        left_over(&name(), &cluster(there), &settings(), VerifyMode::All).is_some()
    };
    let changed = |members: &[usize], change: &dyn Fn(&mut Snapshot)| {
        let mut there = run();
        members.iter().for_each(|at| change(&mut there[*at]));
        there
    };
    let verdict = |of: &mut Snapshot| {
        of.tags
            .insert("etcd-backup/verified".to_owned(), "restorable".to_owned());
    };
    let fill = |of: &mut Snapshot| {
        let more = 50 - of.tags.len();
        of.tags
            .extend((0..more).map(|at| (format!("tag-{at}"), String::new())));
    };
    let bare = |of: &mut Snapshot| {
        of.tags.remove("KubernetesCluster");
    };
    assert!(is_left(&run()));
    assert!(!is_left(&changed(&[0, 1, 2], &verdict)));
    for lacks in [&fill as &dyn Fn(&mut Snapshot), &bare] {
        // Two of three can be told, and are; then nothing is left to be done.
        let mut there = changed(&[2], lacks);
        assert!(is_left(&there));
        there[..2].iter_mut().for_each(verdict);
        assert!(!is_left(&there));
        assert!(!is_left(&changed(&[0, 1, 2], lacks)));
    }
    // What is full and has a verdict, of another snapshot, takes its own in the same place.
    let copied = changed(&[0, 1, 2], &|of| {
        verdict(of);
        of.tags.insert(
            "etcd-backup/verified-snapshot".to_owned(),
            "snap-0".to_owned(),
        );
        fill(of);
    });
    assert!(is_left(&copied));
}
