//! Suspended launches: when they are resumed, and that no master comes beside others on other volumes.

use etcd_backup_core::aws::{InstanceState, Master};
use etcd_backup_core::ids::MemberKey;
use etcd_backup_core::restore_record::{RestoreRecord, RestoreStage};
use restore::decide::exchange::{Side, masters_find};
use restore::decide::masters::refuse_resuming;
use restore::decide::stage::Step;
use restore::decide::way_out;
use serde_json::json;

use crate::world::{REGION, World, attachment, commands_name_the_region, request, zone};

/// Launches that are held bring masters on the volumes that a turn leaves, beside those that run.
#[test]
fn running_masters_are_refused_where_suspended_launches_would_bring_others() {
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
fn a_new_restore_refuses_running_masters_beside_launches_that_an_earlier_one_suspended() {
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
fn launches_stay_suspended_while_a_master_runs_on_retired_volumes() {
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
        let refusal = refuse_resuming(undo, &groups, &inventory, REGION).err();
        let refusal = refusal.map(|refusal| refusal.to_string());
        refusal.inspect(|refusal| commands_name_the_region(refusal))
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
    insta::assert_snapshot!(refused, @"MastersRunning: masters run on volumes that are out of service now (i-late), and masters that launches of master-a bring would be their peers on others. Terminate it (aws ec2 terminate-instances --region eu-west-2 --instance-ids i-late), and send the same event again");
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
fn what_masters_found_before_the_exchange_is_not_trusted_once_it_has_begun() {
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
fn a_failed_undo_keeps_the_order_in_which_masters_start() {
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
