//! What an answer names as the next steps, whenever it is asked for.

use std::collections::BTreeSet;

use etcd_backup_core::aws::InstanceState;
use etcd_backup_core::ids::GroupName;
use restore::decide::follow_up::{NextStep, Subject, next_steps};
use restore::show::next_steps::texts;
use serde_json::json;

use super::{attach_found, keys};
use crate::world::{World, attachment, commands_name_the_region, request};

/// With `leave` the operator replaces the masters: whenever they ask again, what is listed is what is left.
#[test]
fn next_steps_are_those_not_done_yet() {
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
        let inventory = world.inventory(&request(json!({"action": "status"})));
        let steps = next_steps(subject, &inventory);
        for text in texts(&steps, &record, world.context()) {
            commands_name_the_region(&text);
        }
        steps
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
