//! Restores that are given up, for their undo or for a new one, and what is made anew instead.

use etcd_backup_core::ids::MemberKey;
use etcd_backup_core::restore_record::Direction;
use restore::decide::stage::Step;
use restore::decide::turn::{can_make_anew, is_stuck};
use serde_json::json;

use super::{carry_out, keys};
use crate::world::{Decided, World, request, volume_id};

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
        assert!(world.are_launches_resumed());
    }
}

/// Old volumes, new volumes and snapshots are gone, whichever way the record was going.
#[test]
fn a_turn_that_can_neither_end_nor_be_undone_gives_way_to_a_new_restore() {
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
        assert!(world.are_launches_resumed());
    }
}

/// Made anew beside members that run on the others already, it would be older than they are.
#[test]
fn lost_volumes_are_made_anew_only_before_anything_is_exchanged() {
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

/// The key of a snapshot is gone for good, and so is one of the old volumes.
#[test]
fn a_failed_restore_that_cannot_be_undone_gives_way_to_another_event_only() {
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
