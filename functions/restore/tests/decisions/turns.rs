//! Undo and redo.

mod giving_up;
mod launches;
mod next_steps;

use etcd_backup_core::ids::{MemberKey, RestoreId};
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord, RestoreStage};
use restore::decide::aim::Aim;
use restore::decide::follow_up::Subject;
use restore::decide::{decide, events};
use restore::event::Action;
use restore::show::answer::answer;
use serde_json::{Value, json};

use crate::world::{Decided, MEMBERS, World, attachment, request, volume_id};

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
fn a_plan_of_an_undo_does_not_tell_it_as_done() {
    let (mut world, _) = World::restored();
    let mut undo = world.begin(json!({"action": "undo"}));
    let text = |world: &World, record: &RestoreRecord, phase| {
        let subject = Subject {
            record,
            phase,
            was_over: false,
            plan_id: None,
            found: None,
        };
        let inventory = world.inventory(&request(json!({"action": "status"})));
        let (records, context) = (&world.records, world.context());
        answer(Action::Status, subject, &inventory, records, context).text
    };
    let of_run = "run of 2026-11-22T06:00:00Z";
    for phase in [RestoreStage::Planned, RestoreStage::Exchanging] {
        let text = text(&world, &undo, phase);
        let told = format!("\nRestore point to be undone: {of_run}");
        assert!(text.contains(&told), "{text}");
    }
    world.carry_out(&mut undo);
    let text = text(&world, &undo, undo.stage());
    let told = format!("\nUndone restore point: {of_run}");
    assert!(text.contains(&told), "{text}");
}

#[test]
fn an_undo_does_not_depend_on_tags_changed_since_the_restore() {
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
fn an_undo_or_redo_that_lacks_a_members_volume_is_refused() {
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
fn mounted_by_holds_for_every_later_event() {
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
fn a_repeated_again_makes_no_second_restore() {
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
