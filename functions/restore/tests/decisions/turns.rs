//! Undo and redo.

use std::collections::BTreeSet;

use etcd_backup_core::aws::{InstanceState, Master};
use etcd_backup_core::ids::{GroupName, MemberKey, RestoreId};
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord, RestoreStage};
use restore::decide::aim::Aim;
use restore::decide::exchange::{Side, masters_find};
use restore::decide::follow_up::{NextStep, Subject, next_steps};
use restore::decide::masters::refuse_resuming;
use restore::decide::stage::Step;
use restore::decide::turn::{can_make_anew, is_stuck};
use restore::decide::way_out;
use restore::decide::{decide, events};
use serde_json::{Value, json};

use crate::world::{Decided, MEMBERS, World, attachment, request, volume_id, zone};

fn keys() -> [MemberKey; 6] {
    MEMBERS.map(|key| key.parse().unwrap())
}

fn carry_out(world: &mut World, more: Value) {
    let mut record = world.begin(more);
    world.carry_out(&mut record);
}

#[test]
fn an_undo_brings_every_volume_back_as_it_was() {
    let before = World::new();
    let (mut world, record) = World::restored();
    for key in keys() {
        assert_eq!(
            world.found()[&key],
            [record.members[&key].incoming.volume_id.clone().unwrap()]
        );
    }
    carry_out(&mut world, json!({"action": "undo"}));
    for key in keys() {
        let id = volume_id(&key.to_string());
        assert_eq!(world.found()[&key], std::slice::from_ref(&id));
        assert_eq!(world.volumes[&id].tags, before.volumes[&id].tags, "{key}");
    }
    carry_out(&mut world, json!({"action": "redo"}));
    for key in keys() {
        assert_eq!(
            world.found()[&key],
            [record.members[&key].incoming.volume_id.clone().unwrap()]
        );
    }
}

#[test]
fn no_tag_that_somebody_took_or_put_since_plays_a_part() {
    let (mut world, record) = World::restored();
    for volume in world.volumes.values_mut() {
        // As a tag cleaner leaves them.
        volume
            .tags
            .retain(|key, _| !key.starts_with("etcd-backup/"));
    }
    let a: MemberKey = "main/a".parse().unwrap();
    // As terraform apply does.
    let old = record.members[&a].outgoing[0].tags.clone();
    world.volume("main/a").tags = old;
    carry_out(&mut world, json!({"action": "undo"}));
    for key in keys() {
        assert_eq!(world.found()[&key], [volume_id(&key.to_string())]);
    }
}

#[test]
fn an_unfinished_restore_is_given_up_at_any_step() {
    for steps in 0..5 {
        let mut world = World::new();
        let mut record = world.begin(json!({"masters": "replace"}));
        for _ in 0..steps {
            let step = world.next(&record);
            world.does(&step, &mut record);
        }
        world.record(record);
        let undo = json!({"action": "undo", "masters": "replace"});
        let mut turned = world.begin(undo);
        assert!(turned.turn().gives_up && turned.turn().direction == Direction::Undo);
        world.carry_out(&mut turned);
        for key in keys() {
            let id = volume_id(&key.to_string());
            assert_eq!(world.found()[&key], [id], "after {steps} steps");
        }
        assert!(
            world
                .control_plane
                .groups
                .iter()
                .all(|group| !group.launches_suspended)
        );
    }
}

#[test]
fn all_members_turn_or_none_does() {
    let (world, record) = World::restored();
    let undo = json!({"action": "undo"});
    let mut gone = world.clone();
    gone.volumes.remove(&volume_id("events/b"));
    insta::assert_snapshot!(gone.refusal(undo.clone()), @r#"UndoImpossible: vol-events-b, the volume that events/b had before restore r-8ee654b2d2df, is gone, so there is nothing to go back to; nothing was changed. Restore another point instead, with "at""#);

    let mut lost = World::new();
    lost.terminate_masters();
    lost.volumes.remove(&volume_id("main/c"));
    let mut begun = lost.begin(json!({}));
    lost.record(begun.clone());
    assert!(lost.decide(undo.clone()).is_ok(), "it is the way it was");
    lost.carry_out(&mut begun);
    insta::assert_snapshot!(lost.refusal(undo.clone()), @r#"UndoImpossible: main/c had no volume before restore r-5d04f75ba479, so there is nothing to go back to; nothing was changed. Restore another point instead, with "at""#);

    let mut undone = world.clone();
    carry_out(&mut undone, undo);
    let key: MemberKey = "main/a".parse().unwrap();
    let incoming = record.members[&key].incoming.volume_id.clone().unwrap();
    undone.volumes.remove(&incoming);
    insta::assert_snapshot!(undone.refusal(json!({"action": "redo"})), @"UndoImpossible: the volume that restore r-8ee654b2d2df is to bring for main/a (vol-r-8ee654b2d2df-main-a) is gone or unusable; nothing was changed. Restore anew instead");
}

#[test]
fn a_later_restore_is_undone_first() {
    let (mut world, first) = World::restored();
    let mut second = world.begin(json!({"again": true}));
    world.carry_out(&mut second);
    let of_first = json!({"action": "undo", "restore_id": first.id});
    let refusal = world.refusal(of_first.clone());
    assert!(refusal.contains(second.id.as_str()), "{refusal}");
    carry_out(&mut world, json!({"action": "undo"}));
    carry_out(&mut world, of_first);
    for key in keys() {
        assert_eq!(world.found()[&key], [volume_id(&key.to_string())]);
    }
}

/// Old volumes, new volumes and snapshots are gone, whichever way the record was going.
#[test]
fn what_can_go_neither_on_nor_back_is_given_up_for_a_new_restore() {
    let a: MemberKey = "main/a".parse().unwrap();
    for direction in [Direction::Restore, Direction::Undo, Direction::Redo] {
        let (mut world, mut record) = match direction {
            Direction::Restore => {
                let world = World::new();
                let record = world.begin(json!({"masters": "replace"}));
                (world, record)
            }
            Direction::Undo => {
                let (world, _) = World::restored();
                let record = world.begin(json!({"action": "undo"}));
                (world, record)
            }
            Direction::Redo => {
                let (mut world, _) = World::restored();
                carry_out(&mut world, json!({"action": "undo"}));
                let record = world.begin(json!({"action": "redo"}));
                (world, record)
            }
        };
        if direction == Direction::Restore {
            for _ in 0..2 {
                let step = world.next(&record);
                world.does(&step, &mut record);
            }
            assert_eq!(record.suspended_groups.len(), 3);
        }
        let member = &record.members[&a];
        let (old, new) = (&member.outgoing[0].id, member.incoming.volume_id.as_ref());
        let (old, new, snapshot) = (
            old.clone(),
            new.unwrap().clone(),
            member.snapshot.id.clone(),
        );
        world.record(record.clone());
        let other_event = json!({"skew_minutes_max": 50});
        let undo_or_redo = |world: &World| {
            let actions = ["undo", "redo"];
            actions.map(|action| world.decide(json!({"action": action})).is_ok())
        };
        let refuses_others = |world: &World| {
            let refusal = world.refusal(other_event.clone());
            assert!(refusal.starts_with("RestoreInProgress"), "{refusal}");
        };
        // One of the three is enough for one of the ways.
        world.volumes.remove(&new);
        refuses_others(&world);
        world.snapshots.retain(|of| of.id != snapshot);
        refuses_others(&world);
        assert_ne!(undo_or_redo(&world), [false, false], "{direction:?}");
        world.volumes.remove(&old);
        for action in ["undo", "redo"] {
            let refusal = world.refusal(json!({"action": action}));
            assert!(refusal.starts_with("UndoImpossible"), "{refusal}");
        }
        let mut new_record = world.begin(other_event);
        assert_eq!(new_record.turn().direction, Direction::Restore);
        assert_ne!(new_record.id, record.id);
        assert_eq!(
            new_record.suspended_groups, record.suspended_groups,
            "they are resumed by it"
        );
        let warnings = new_record.warnings.join("; ");
        assert!(warnings.contains("gives it up"), "{warnings}");
        // As the function writes it, before the new one.
        record.abandoned_at = Some(world.now);
        world.record(record.clone());
        let again = world.begin(json!({"skew_minutes_max": 50}));
        assert_eq!(
            again.suspended_groups, new_record.suspended_groups,
            "cut off in between"
        );
        let of_it = json!({"action": "undo", "restore_id": record.id});
        assert!(world.refusal(of_it).starts_with("UndoImpossible"));
        world.carry_out(&mut new_record);
        for key in keys() {
            let incoming = new_record.members[&key].incoming.volume_id.clone().unwrap();
            assert_eq!(world.found()[&key], [incoming], "{direction:?}, {key}");
        }
        assert!(
            world
                .control_plane
                .groups
                .iter()
                .all(|group| !group.launches_suspended)
        );
    }
}

/// Made anew beside members that run on the others already, it would be older than they are.
#[test]
fn what_is_lost_is_made_anew_only_before_anything_is_exchanged() {
    let mut world = World::new();
    let mut record = world.begin(json!({"masters": "replace"}));
    let mut is_exchanged = false;
    loop {
        let step = world.next(&record);
        let stage = step.stage(Direction::Restore);
        record.turn_mut().enter(stage, world.now);
        let mut lost = world.clone();
        let key: MemberKey = "main/a".parse().unwrap();
        if let Some(made) = &record.members[&key].incoming.volume_id {
            lost.volumes.remove(made);
        }
        lost.volumes.remove(&volume_id("main/b"));
        let old = &mut lost.volume("main/c").tags;
        old.insert("Name".to_owned(), "put back by somebody".to_owned());
        let makes_anew = can_make_anew(&record, &lost.volumes);
        assert_eq!(makes_anew, !is_exchanged, "{step:?}");
        if step == Step::Finish {
            return;
        }
        lost.record(record.clone());
        let inventory = lost.inventory(&request(json!({})));
        assert_eq!(is_stuck(&record, &inventory), is_exchanged, "{step:?}");
        is_exchanged |= matches!(step, Step::Retire(_));
        world.does(&step, &mut record);
    }
}

/// Launches that are held bring masters on the volumes that a turn leaves, beside those that run.
#[test]
fn masters_are_not_left_running_beside_those_that_held_launches_bring() {
    let undo = json!({"action": "undo"});
    let (mut world, mut record) = World::with_first_masters();
    insta::assert_snapshot!(world.refusal(undo.clone()), @r#"MastersRunning: masters run (i-master-b-new, i-master-c-new), and launches of master-a are suspended in this tool's name: resumed at the end, they would bring masters on other volumes beside these. Say "masters": "replace", so that all stop first"#);
    assert!(
        world
            .decide(json!({"action": "undo", "masters": "replace"}))
            .is_ok()
    );
    let mut stopped = world.clone();
    stopped.terminate_masters();
    assert!(stopped.decide(undo.clone()).is_ok(), "none runs");
    world.carry_out(&mut record);
    assert!(world.decide(undo).is_ok(), "none is held");

    let mut undone = world.begin(json!({"action": "undo", "masters": "replace"}));
    loop {
        let step = world.next(&undone);
        if let Step::Resume(groups) = step {
            world.does(&Step::Resume(groups[..1].to_vec()), &mut undone);
            break;
        }
        world.does(&step, &mut undone);
    }
    world.record(undone);
    let refusal = world.refusal(json!({"action": "redo"}));
    assert!(refusal.starts_with("MastersRunning: "), "{refusal}");
    assert!(
        world
            .decide(json!({"action": "redo", "masters": "replace"}))
            .is_ok()
    );
}

#[test]
fn a_new_restore_leaves_no_master_beside_launches_that_an_earlier_one_held() {
    let mut world = World::new();
    let group = &mut world.control_plane.groups[1];
    group.launches_suspended = true;
    group.suspended_by = Some("r-000000000000".into());
    assert!(world.decide(json!({})).is_ok(), "it has its master");
    group_without_master(&mut world, 1);
    let refusal = world.refusal(json!({}));
    assert!(
        refusal.starts_with("MastersRunning: masters run (i-a, i-c)"),
        "{refusal}"
    );
    assert!(world.decide(json!({"masters": "replace"})).is_ok());
    world.terminate_masters();
    assert!(world.decide(json!({})).is_ok());
}

fn group_without_master(world: &mut World, index: usize) {
    let control_plane = &mut world.control_plane;
    control_plane.masters[index].state = InstanceState::Terminated;
    control_plane.groups[index].instances.clear();
}

#[test]
fn no_launch_is_resumed_beside_a_master_on_the_other_volumes() {
    let (mut world, _) = World::with_first_masters();
    world.terminate_masters();
    let mut undo = world.begin(json!({"action": "undo"}));
    let groups = loop {
        let step = world.next(&undo);
        if let Step::Resume(groups) = step {
            break groups;
        }
        world.does(&step, &mut undo);
    };
    let refusal = |world: &World, undo: &RestoreRecord| {
        let inventory = world.inventory(&request(json!({})));
        let refusal = refuse_resuming(undo, &groups, &inventory).err();
        refusal.map(|refusal| refusal.to_string())
    };
    assert_eq!(refusal(&world, &undo), None);
    // A launch that was under way brings one on what leaves.
    let key: MemberKey = "main/a".parse().unwrap();
    let made = undo.members[&key].incoming.volume_id.clone().unwrap();
    let volume = world.volumes.get_mut(&made).unwrap();
    volume.attachments = vec![attachment("i-late")];
    assert_eq!(refusal(&world, &undo), None, "it isn't a master");
    world.control_plane.masters.push(Master {
        id: "i-late".into(),
        zone: zone(&key),
        state: InstanceState::Running,
    });
    let refused = refusal(&world, &undo).unwrap();
    insta::assert_snapshot!(refused, @"MastersRunning: masters run on volumes that are out of service now (i-late), and masters that launches of master-a bring would be their peers on others. Terminate it (aws ec2 terminate-instances --instance-ids i-late), and send the same event again");
    let inventory = world.inventory(&request(json!({})));
    let why = |side| way_out::decide(&undo, side, &inventory).why;
    let beside = why(Some(Side::Outgoing));
    assert!(beside.contains("beside i-late"), "{beside}");
    let later = why(Some(Side::Incoming));
    assert!(!later.contains("i-late"), "it runs on these: {later}");
    for side in [None, Some(Side::Outgoing)] {
        assert_eq!(way_out::decide(&undo, side, &inventory).resumed, []);
    }
}

/// What is believed of the side that masters' filters show as it was in one world, while volumes are as in
/// another.
fn side_shown(record: &RestoreRecord, filters: &World, world: &World) -> Option<Side> {
    let found = masters_find(record, &filters.volumes);
    way_out::side_shown(record, &found, &world.volumes)
}

/// Reads lag writes: masters' filters may show for a while what an exchange has begun to take away.
#[test]
fn the_side_of_before_is_not_believed_once_its_exchange_has_begun() {
    for masters in ["leave", "replace"] {
        let mut world = World::new();
        let mut record = world.begin(json!({"masters": masters}));
        while !matches!(world.next(&record), Step::Retire(_)) {
            let step = world.next(&record);
            world.does(&step, &mut record);
        }
        assert_eq!(way_out::looks_needed(&record), 1, "nothing is exchanged");
        let before = world.clone();
        let step = world.next(&record);
        record.turn_mut().enter(RestoreStage::Exchanging, world.now);
        world.does(&step, &mut record);
        assert!(way_out::looks_needed(&record) > 1);
        let outgoing = Some(Side::Outgoing);
        assert_eq!(side_shown(&record, &before, &before), outgoing);
        assert_eq!(side_shown(&record, &before, &world), None, "{masters}");
        assert_eq!(side_shown(&record, &world, &world), None);
        let tag = world.next(&record);
        world.does(&tag, &mut record);
        let incoming = Some(Side::Incoming);
        assert_eq!(side_shown(&record, &world, &world), incoming);
        assert_eq!(side_shown(&record, &before, &world), None, "{masters}");
        // What the turn leaves is believed, as the volumes alone may lag then.
        assert_eq!(side_shown(&record, &world, &before), incoming);
    }
}

/// The first masters have had the restored volumes for seconds when an undo begins, and fails.
#[test]
fn an_undo_that_fails_starts_no_second_master_before_its_time() {
    let (world, record) = World::with_first_masters();
    let way_out = |record: &RestoreRecord| {
        let mut world = world.clone();
        for group in &mut world.control_plane.groups {
            group.launches_suspended = true;
        }
        let mut record = record.clone();
        let groups = world.control_plane.groups.iter();
        record.suspended_groups = groups.map(|group| group.name.clone()).collect();
        let inventory = world.inventory(&request(json!({})));
        way_out::decide(&record, Some(Side::Incoming), &inventory)
    };
    let giving_up = world.begin(json!({"action": "undo", "masters": "replace"}));
    for unfinished in [&record, &giving_up] {
        let decided = way_out(unfinished);
        assert_eq!(decided.resumed, record.start_order.first_groups);
        assert_eq!(decided.kept, record.start_order.second_groups);
    }
    let mut done = world.clone();
    done.carry_out(&mut record.clone());
    let undo = done.begin(json!({"action": "undo", "masters": "replace"}));
    assert_eq!(way_out(&undo).kept, [], "it was done: no order is left");
}

/// The key of a snapshot is gone for good, and so is one of the old volumes.
#[test]
fn what_fails_and_cannot_go_back_gives_way_to_another_event_alone() {
    let mut world = World::new();
    let mut record = world.begin(json!({}));
    let step = world.next(&record);
    world.does(&step, &mut record);
    let key: MemberKey = "main/a".parse().unwrap();
    let incoming = &mut record.members.get_mut(&key).unwrap().incoming;
    let failed = incoming.volume_id.take().unwrap();
    world.volumes.remove(&failed);
    let other = json!({"skew_minutes_max": 50});
    let refusal = |world: &World| world.refusal(other.clone());
    world.record(record.clone());
    world.volumes.remove(&volume_id("main/b"));
    assert!(
        refusal(&world).starts_with("RestoreInProgress"),
        "it hasn't failed yet"
    );

    let incoming = &mut record.members.get_mut(&key).unwrap().incoming;
    incoming.attempt = 1;
    world.record(record.clone());
    let own = world.decide(json!({}));
    assert!(
        matches!(own, Ok(Decided::GoOn(_))),
        "the key may be back: {own:?}"
    );
    let undo = world.refusal(json!({"action": "undo"}));
    assert!(undo.starts_with("UndoImpossible"), "{undo}");
    let begun = world.begin(other.clone());
    assert_ne!(begun.id, record.id);
    assert!(begun.warnings.join("; ").contains("gives it up"));

    let mut can_go_back = world.clone();
    let old = World::new().volumes.remove(&volume_id("main/b")).unwrap();
    can_go_back.volumes.insert(old.id.clone(), old);
    assert!(refusal(&can_go_back).starts_with("RestoreInProgress"));
    let mut made = world.clone();
    made.make_for_test(&mut record);
    made.record(record);
    assert!(refusal(&made).starts_with("RestoreInProgress"));
}

/// Every member's volume is attached to a master that runs.
fn attach_found(world: &mut World) {
    for (key, ids) in world.found() {
        let master = attachment(&format!("i-{}", key.member));
        for id in ids {
            let volume = world.volumes.get_mut(&id).unwrap();
            volume.attachments = vec![master.clone()];
        }
    }
}

/// What was said of the masters once holds for every event that follows, and each event shown says it.
#[test]
fn what_mounts_the_volumes_needs_saying_once() {
    let unknown = |world: &mut World| {
        for volume in world.volumes.values_mut() {
            volume.tags.remove("k8s.io/role/control-plane");
        }
    };
    let shown = |event: &str| {
        let mut event: Value = serde_json::from_str(event).unwrap();
        event.as_object_mut().unwrap().remove("cluster");
        event
    };
    for said in [json!({}), json!({"mounted_by": "etcd-manager"})] {
        let mut world = World::new();
        unknown(&mut world);
        let mut begun = json!({"mounted_by": "etcd-manager"});
        // Said by the restore, or by its undo alone.
        if !said.as_object().unwrap().is_empty() {
            begun = json!({"masters": "replace"});
        }
        carry_out(&mut world, begun);
        unknown(&mut world);
        attach_found(&mut world);
        let mut undo = json!({"action": "undo"});
        undo.as_object_mut()
            .unwrap()
            .extend(said.as_object().unwrap().clone());
        let undoing = world.begin(undo);
        let events = [
            events::to_go_on(&undoing),
            events::to_give_up(&undoing),
            events::of_turn(&undoing, Direction::Redo, MastersOption::Leave),
        ];
        for event in events {
            assert_eq!(shown(&event)["mounted_by"], "etcd-manager", "{event}");
        }
        world.record(undoing.clone());
        let going_on = world.decide(shown(&events::to_go_on(&undoing)));
        assert!(matches!(going_on, Ok(Decided::GoOn(_))), "{going_on:?}");
        world.record(undoing.clone());
        world.carry_out(&mut undoing.clone());
        attach_found(&mut world);
        assert!(world.decide(json!({"action": "redo"})).is_ok());
    }
}

/// The second restore replaced what the first one brought. With both undone, the first is redone first.
#[test]
fn a_redo_waits_for_the_restore_that_it_built_on() {
    let (mut world, first) = World::restored();
    carry_out(&mut world, json!({"again": true}));
    let second = world.records.0[0].record.clone();
    assert_ne!(first.id, second.id);
    carry_out(&mut world, json!({"action": "undo"}));
    carry_out(
        &mut world,
        json!({"action": "undo", "restore_id": first.id}),
    );
    let redo = |id: &RestoreId| json!({"action": "redo", "restore_id": id});
    let refusal = world.refusal(redo(&second.id));
    assert!(refusal.starts_with("UndoImpossible: "), "{refusal}");
    assert!(refusal.contains(&format!("\"{}\"", first.id)), "{refusal}");
    carry_out(&mut world, redo(&first.id));
    carry_out(&mut world, redo(&second.id));
}

/// Also where it was said to a restore that was unfinished then.
#[test]
fn again_counts_as_said_once() {
    let (mut world, _) = World::restored();
    let begun = world.begin(json!({"skew_minutes_max": 59}));
    world.record(begun.clone());
    let again = json!({"skew_minutes_max": 59, "again": true});
    let Ok(Decided::GoOn(mut going_on)) = world.decide(again.clone()) else {
        panic!("it is unfinished");
    };
    world.carry_out(&mut going_on);
    assert!(matches!(world.decide(again), Ok(Decided::Repeat)));
}

/// An event that waited does what it was sent for, or nothing.
#[test]
fn a_later_decision_of_one_invocation_is_about_the_same_turn() {
    let unfinished = || {
        let mut world = World::new();
        let record = world.begin(json!({}));
        world.record(record);
        world
    };
    let after = |mut world: World, event: Value| {
        let mut record = match world.decide(event) {
            Ok(Decided::GoOn(record) | Decided::Turn(record) | Decided::Begin(record)) => record,
            other => panic!("{other:?}"),
        };
        world.carry_out(&mut record);
        world
    };
    let (restore, undo, redo) = (
        json!({}),
        json!({"action": "undo"}),
        json!({"action": "redo"}),
    );
    let all_named = json!({"etcd_clusters": ["main", "events"]});
    let undone = after(unfinished(), undo.clone());
    let done = after(unfinished(), restore.clone());
    let turned_back = after(done.clone(), undo.clone());
    for (event, first, second, may) in [
        // Another invocation of the same event did it meanwhile, or began it.
        (&restore, unfinished(), done.clone(), true),
        (&restore, World::new(), done.clone(), true),
        (&restore, World::new(), unfinished(), true),
        (&all_named, World::new(), unfinished(), true),
        (&undo, done.clone(), turned_back.clone(), true),
        // Another event turned it.
        (&restore, unfinished(), undone.clone(), false),
        (&restore, World::new(), undone.clone(), false),
        (&restore, unfinished(), turned_back.clone(), false),
        (
            &undo,
            done.clone(),
            after(turned_back.clone(), redo.clone()),
            false,
        ),
        // What was undone before it was sent is another restore's.
        (&restore, undone.clone(), undone.clone(), true),
    ] {
        let request = request(event.clone());
        let (before, later) = (first.inventory(&request), second.inventory(&request));
        let decided = decide(&request, &first.records, &before, first.context()).unwrap();
        let aim = Aim::of(&decided, &first.records);
        let decided = decide(&request, &second.records, &later, second.context()).unwrap();
        let refused = aim.refuse_other(&decided, &second.records, &request, &later);
        assert_eq!(refused.is_ok(), may, "{event}: {decided:?}");
    }
}

/// With `leave` the operator replaces the masters: whenever they ask again, what is listed is what is left.
#[test]
fn what_is_left_to_do_follows_what_was_done() {
    let mut world = World::new();
    let mut record = world.begin(json!({}));
    world.carry_out(&mut record);
    let steps = |world: &World| {
        let subject = Subject {
            record: &record,
            phase: record.stage(),
            was_over: true,
            plan_id: None,
            found: None,
        };
        next_steps(
            subject,
            &world.inventory(&request(json!({"action": "status"}))),
        )
    };
    let all: BTreeSet<GroupName> = world
        .control_plane
        .groups
        .iter()
        .map(|group| group.name.clone())
        .collect();
    let first = &record.start_order.first;
    let suspend = |world: &mut World| {
        for group in &mut world.control_plane.groups {
            group.launches_suspended = true;
        }
    };

    // Nothing was done; then launches were suspended; then masters are on their way out.
    for look in 0..3 {
        match look {
            0 => {}
            1 => suspend(&mut world),
            _ => {
                for master in &mut world.control_plane.masters {
                    master.state = InstanceState::ShuttingDown;
                }
            }
        }
        let left = steps(&world);
        let NextStep::TerminateMasters {
            instances,
            groups,
            later,
            ..
        } = &left[0]
        else {
            panic!("{look}: {left:?}");
        };
        assert_eq!(instances.len(), 3, "{look}");
        let named: BTreeSet<_> = groups.iter().chain(later).cloned().collect();
        assert_eq!(named, all, "{look}");
        assert_eq!(*later, record.start_order.second_groups, "{look}");
    }

    world.terminate_masters();
    let left = steps(&world);
    assert!(
        matches!(&left[0], NextStep::StartMasters { groups, later, .. }
            if groups.len() + later.len() == 3 && *later == record.start_order.second_groups),
        "{left:?}"
    );

    // The first ones came: they aren't terminated again.
    for group in &mut world.control_plane.groups {
        group.launches_suspended = record.start_order.second_groups.contains(&group.name);
    }
    for (key, ids) in world.found() {
        if first.contains(&key) {
            let volume = world.volumes.get_mut(&ids[0]).unwrap();
            volume.attachments = vec![attachment("i-new")];
        }
    }
    let left = steps(&world);
    assert!(
        matches!(&left[0], NextStep::LetOthersCome { groups, .. }
            if *groups == record.start_order.second_groups),
        "{left:?}"
    );
    attach_found(&mut world);
    assert_eq!(steps(&world)[0], NextStep::WaitUntilReady);

    // What was restored is lost: what is out of service is all that is left.
    let restored = record.members[&keys()[0]].incoming.volume_id.clone();
    world.volumes.remove(&restored.unwrap());
    let left = steps(&world);
    assert!(
        matches!(&left[0], NextStep::RestoreAgain { .. }),
        "{left:?}"
    );
    assert!(!left.iter().any(|step| matches!(step, NextStep::Delete(_))));
}
