//! The order of the steps.

use etcd_backup_core::aws::{InstanceState, Master};
use etcd_backup_core::discovery::is_discovery_key;
use etcd_backup_core::restore_record::{Direction, RestoreRecord, RestoreStage};
use etcd_backup_core::restore_tags::Retirement;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::VolumeState;
use restore::decide::exchange::room;
use restore::decide::stage::Step;
use serde_json::{Value, json};

use crate::world::{World, volume_id};

fn names(steps: &[Step]) -> String {
    let names = steps.iter().map(|step| match step {
        Step::Create(_) => "create",
        Step::WaitForVolumes => "wait for volumes",
        Step::Suspend(_) => "suspend",
        Step::Terminate(_) => "terminate",
        Step::WaitForMasters => "wait for masters",
        Step::Retire(_) => "retire",
        Step::Clear(_) => "clear",
        Step::Tag(_) => "tag",
        Step::Resume(groups) if groups.len() == 1 => "resume one",
        Step::Resume(groups) if groups.len() == 2 => "resume two",
        Step::Resume(_) => "resume all",
        Step::WaitForFirst(_) => "wait for first",
        Step::Finish => "finish",
    });
    names.collect::<Vec<_>>().join(", ")
}

fn carried_out(world: &mut World, more: Value) -> (RestoreRecord, String) {
    let mut record = world.begin(more);
    let steps = world.carry_out(&mut record);
    (record, names(&steps))
}

#[test]
fn a_restore_its_undo_and_its_redo_take_these_steps() {
    let mut world = World::new();
    let (_, steps) = carried_out(&mut world, json!({}));
    assert_eq!(steps, "create, retire, tag, finish");
    let (_, steps) = carried_out(&mut world, json!({"action": "undo"}));
    assert_eq!(steps, "retire, clear, tag, finish");
    let (_, steps) = carried_out(&mut world, json!({"action": "redo"}));
    assert_eq!(steps, "retire, clear, tag, finish");
}

#[test]
fn masters_are_replaced_before_the_exchange_and_start_in_two_waves() {
    let mut world = World::new();
    let replace = json!({"masters": "replace"});
    let (record, steps) = carried_out(&mut world, replace);
    assert_eq!(
        steps,
        "create, suspend, terminate, retire, tag, resume two, wait for first, resume one, finish"
    );
    assert_eq!(record.suspended_groups, []);
    // Nobody launched the new masters here: those of the exchange are gone.
    let (_, steps) = carried_out(&mut world, json!({"action": "undo", "masters": "replace"}));
    assert_eq!(
        steps, "suspend, terminate, retire, clear, tag, resume all, finish",
        "what stopped together needs no order"
    );
}

#[test]
fn together_and_one_group_for_all_resume_all_at_once() {
    let mut world = World::new();
    let (_, steps) = carried_out(
        &mut world,
        json!({"masters": "replace", "start": "together"}),
    );
    assert!(steps.ends_with("tag, resume all, finish"), "{steps}");
}

#[test]
fn each_step_repeated_asks_for_nothing_more() {
    let mut world = World::new();
    let mut record = world.begin(json!({"masters": "replace"}));
    loop {
        let step = world.next(&record);
        if step == Step::Finish {
            break;
        }
        assert_eq!(world.next(&record), step);
        world.does(&step, &mut record);
        assert_ne!(world.next(&record), step);
    }
}

#[test]
fn an_old_volume_is_untouched_until_every_new_one_is_available() {
    let mut world = World::new();
    let mut record = world.begin(json!({"masters": "replace"}));
    let step = world.next(&record);
    world.does(&step, &mut record);
    let made: Vec<_> = record.volume_ids().cloned().collect();
    for id in made {
        let state = world.volumes[&id].state;
        world.volumes.get_mut(&id).unwrap().state = VolumeState::Creating;
        let is_new = id != volume_id("main/a") && id.as_str().contains("r-");
        let waits = world.next(&record) == Step::WaitForVolumes;
        assert_eq!(waits, is_new, "{id}");
        world.volumes.get_mut(&id).unwrap().state = state;
    }
}

#[test]
fn a_launch_that_was_under_way_is_waited_for_and_terminated() {
    let mut world = World::new();
    let mut record = world.begin(json!({"masters": "replace"}));
    for _ in 0..3 {
        let step = world.next(&record);
        world.does(&step, &mut record);
    }
    world.control_plane.groups[0]
        .launching
        .push("i-late".into());
    assert_eq!(
        world.next(&record),
        Step::WaitForMasters,
        "EC2 doesn't show it yet"
    );
    world.control_plane.masters.push(Master {
        id: "i-late".into(),
        zone: "eu-west-2a".into(),
        state: InstanceState::Pending,
    });
    assert_eq!(world.next(&record), Step::Terminate(vec!["i-late".into()]));
    world.control_plane.masters[3].state = InstanceState::ShuttingDown;
    assert_eq!(world.next(&record), Step::WaitForMasters);
    world.control_plane.masters[3].state = InstanceState::Terminated;
    assert!(matches!(world.next(&record), Step::Retire(_)));
}

#[test]
fn no_master_is_terminated_once_the_first_new_volume_is_found() {
    let mut world = World::new();
    let mut record = world.begin(json!({"masters": "replace"}));
    let tags = loop {
        let step = world.next(&record);
        if let Step::Tag(tags) = step {
            break tags;
        }
        world.does(&step, &mut record);
    };
    world.does(&Step::Tag(tags[..1].to_vec()), &mut record);
    world.control_plane.masters[0].state = InstanceState::Running;
    assert_eq!(world.next(&record), Step::Tag(tags[1..].to_vec()));
}

#[test]
fn no_master_is_terminated_for_tags_that_masters_do_not_look_at() {
    let (started, record) = World::with_first_masters();
    for (key, value) in [("Name", "put back"), ("k8s.io/role/master", "1")] {
        let mut world = started.clone();
        let old = &mut world.volume("main/a").tags;
        old.insert(key.to_owned(), value.to_owned());
        let step = world.next(&record);
        assert!(
            matches!(&step, Step::Retire(of) if of.len() == 1),
            "{step:?}"
        );
    }

    let mut world = World::new();
    let with_target = |name: &str| (name == "TARGET_TAGS").then(|| "backup=yes".to_owned());
    world.settings = Settings::from_variables(&with_target).unwrap();
    for volume in world.volumes.values_mut() {
        volume.tags.insert("backup".to_owned(), "yes".to_owned());
    }
    let mut record = world.begin(json!({"masters": "replace"}));
    let step = world.next(&record);
    world.does(&step, &mut record);
    let made = record.volume_ids().filter(|id| id.as_str().contains("r-"));
    let made: Vec<_> = made.collect();
    assert_eq!(made.len(), 6);
    for id in made {
        assert!(world.volumes[id].tags.contains_key("backup"), "{id}");
    }
    world.record(record);
    let mut undo = world.begin(json!({"action": "undo", "masters": "replace"}));
    let steps = world.carry_out(&mut undo);
    assert_eq!(names(&steps), "retire, finish", "nothing was exchanged");
}

#[test]
fn a_read_that_lags_terminates_no_master_that_was_let_come() {
    let (mut world, mut record) = World::with_first_masters();
    for member in record.members.values() {
        let id = member.incoming.volume_id.as_ref().unwrap();
        let volume = world.volumes.get_mut(id).unwrap();
        volume.attachments.clear();
        volume.tags.retain(|key, _| !is_discovery_key(key));
    }
    for _ in 0..2 {
        let step = world.next(&record);
        assert!(matches!(step, Step::Tag(_)), "{step:?}");
        record.turn_mut().enter(RestoreStage::Exchanging, world.now);
    }
    let old = world.volume("main/a");
    old.tags = record.members[&"main/a".parse().unwrap()].outgoing[0]
        .tags
        .clone();
    let step = world.next(&record);
    assert!(matches!(step, Step::Suspend(_)), "found again: {step:?}");
}

#[test]
fn the_first_masters_have_their_volumes_for_three_minutes() {
    let mut world = World::new();
    let mut record = world.begin(json!({"masters": "replace"}));
    loop {
        let step = world.next(&record);
        if matches!(step, Step::WaitForFirst(_)) {
            break;
        }
        world.does(&step, &mut record);
    }
    world.now += jiff::SignedDuration::from_secs(179);
    assert!(matches!(world.next(&record), Step::WaitForFirst(_)));
    let mut detached = world.clone();
    world.now += jiff::SignedDuration::from_secs(1);
    let second = record.start_order.second_groups.clone();
    assert_eq!(world.next(&record), Step::Resume(second));

    detached.now = world.now;
    let first = &record.start_order.first[0];
    let id = record.members[first].incoming.volume_id.clone().unwrap();
    detached.volumes.get_mut(&id).unwrap().attachments.clear();
    assert_eq!(
        detached.next(&record),
        Step::WaitForFirst(vec![first.clone()])
    );
}

/// The group of one member is gone: no restore waits for its volume to be attached.
#[test]
fn nobody_waits_for_a_master_that_no_group_brings() {
    for index in 0..3 {
        let mut world = World::new();
        let group = world.control_plane.groups.remove(index);
        let master = world.control_plane.masters.remove(index);
        for volume in world.volumes.values_mut() {
            if volume.zone == master.zone {
                volume.attachments.clear();
            }
        }
        let (_, steps) = carried_out(&mut world, json!({"masters": "replace"}));
        assert!(
            steps.ends_with("resume two, finish"),
            "without {}: {steps}",
            group.name
        );
    }
}

#[test]
fn stages_follow_the_steps() {
    use RestoreStage::{Creating, Done, Exchanging, Starting, Undone, WaitingForMasters};
    let stage = |step: Step| step.stage(Direction::Restore);
    assert_eq!(stage(Step::Create(Vec::new())), Creating);
    assert_eq!(stage(Step::WaitForVolumes), Creating);
    assert_eq!(stage(Step::Terminate(Vec::new())), WaitingForMasters);
    assert_eq!(stage(Step::Clear(Vec::new())), Exchanging);
    assert_eq!(stage(Step::WaitForFirst(Vec::new())), Starting);
    assert_eq!(stage(Step::Finish), Done);
    assert_eq!(Step::Finish.stage(Direction::Undo), Undone);
}

#[test]
fn a_volume_without_room_remembers_what_has_room() {
    let mut world = World::new();
    let users = (0..43).map(|index| (format!("team/{index}"), "x".to_owned()));
    world.volume("main/a").tags.extend(users);
    assert_eq!(room(&world.volume("main/a").tags), 0);
    let mut record = world.begin(json!({"etcd_clusters": ["events"]}));
    // As if these tags had come after the record was written.
    let member = record.members.remove(&"events/a".parse().unwrap()).unwrap();
    record.members.clear();
    record.members.insert("main/a".parse().unwrap(), member);
    let member = record.members.values_mut().next().unwrap();
    member.outgoing[0].id = volume_id("main/a");
    world.make_for_test(&mut record);
    let step = world.next(&record);
    let Step::Retire(removals) = &step else {
        panic!("{step:?}");
    };
    assert!(removals[0].journal_before.is_empty());
    assert_eq!(removals[0].keys.len(), 6);
    world.does(&step, &mut record);
    let tags = &world.volume("main/a").tags;
    assert!(Retirement::is_on(tags));
    assert_eq!(room(tags), 0, "as much as there is room for");
}

/// The function may write tags on a volume that leaves by that mark alone.
#[test]
fn whatever_a_volume_that_leaves_carries_each_write_brings_the_mark() {
    let journal = [
        "etcd-backup/retired-by",
        "etcd-backup/retired-at",
        "etcd-backup/cluster",
        "etcd-backup/was/Name",
    ];
    let (restored, record) = World::restored();
    let key = "main/a".parse().unwrap();
    let id = record.members[&key].incoming.volume_id.clone().unwrap();
    for room_left in 0..8 {
        for there in 0..1 << journal.len() {
            let mut world = restored.clone();
            let tags = &mut world.volumes.get_mut(&id).unwrap().tags;
            tags.retain(|key, _| !key.starts_with("etcd-backup/"));
            let kept = journal.iter().enumerate();
            let kept = kept.filter(|(bit, _)| there & (1 << bit) != 0);
            tags.extend(kept.map(|(_, key)| ((*key).to_owned(), "x".to_owned())));
            for user in 0..room(tags) - room_left {
                tags.insert(format!("team/{user}"), "x".to_owned());
            }
            let mut undo = world.begin(json!({"action": "undo"}));
            let step = world.next(&undo);
            let Step::Retire(removals) = &step else {
                panic!("{step:?}");
            };
            let of_it = removals.iter().find(|removal| removal.volume == id);
            let removal = of_it.unwrap();
            for written in [&removal.journal_before, &removal.journal_after] {
                let is_marked = written.contains_key(journal[0]);
                assert!(
                    written.is_empty() || is_marked,
                    "{room_left}, {there}: {written:?}"
                );
            }
            let mut before = world.volumes[&id].tags.clone();
            before.extend(removal.journal_before.clone());
            assert!(before.len() <= 50, "{room_left}, {there}: {before:?}");
            world.does(&step, &mut undo);
            let after = &world.volumes[&id].tags;
            assert!(after.len() <= 50, "{room_left}, {there}: {after:?}");
            assert!(Retirement::is_on(after), "{room_left}, {there}: {after:?}");
        }
    }
}
