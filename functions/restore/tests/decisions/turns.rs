//! Undo and redo.

use etcd_backup_core::ids::MemberKey;
use etcd_backup_core::restore_record::Direction;
use restore::decide::stage::Step;
use restore::decide::turn::{can_make_anew, is_stuck};
use serde_json::{Value, json};

use crate::world::{MEMBERS, World, request, volume_id};

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
            assert_eq!(record.held_groups.len(), 3);
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
            new_record.held_groups, record.held_groups,
            "they are resumed by it"
        );
        let warnings = new_record.warnings.join("; ");
        assert!(warnings.contains("gives it up"), "{warnings}");
        // As the function writes it, before the new one.
        record.abandoned_at = Some(world.now);
        world.record(record.clone());
        let again = world.begin(json!({"skew_minutes_max": 50}));
        assert_eq!(
            again.held_groups, new_record.held_groups,
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
