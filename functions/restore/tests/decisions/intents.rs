//! Which restore an event is about.

use etcd_backup_core::ids::MemberKey;
use etcd_backup_core::restore_record::RestoreRecord;
use jiff::SignedDuration;
use restore::decide::same_event::fingerprint;
use serde_json::{Value, json};

use crate::world::{World, request, tags, volume, volume_id, zone};

fn name(world: &World, more: Value) -> String {
    match world.decide(more) {
        Ok(decided) => decided.name().to_owned(),
        Err(refusal) => refusal.error_type.name().to_owned(),
    }
}

fn after(world: &World, hours: i64, minutes: i64) -> World {
    let mut later = world.clone();
    later.now += SignedDuration::from_mins(hours * 60 + minutes);
    later
}

/// Half an event's restore: written, and nothing done yet.
fn begun(more: Value) -> (World, RestoreRecord) {
    let mut world = World::new();
    world.terminate_masters();
    let record = world.begin(more);
    world.record(record.clone());
    (world, record)
}

#[test]
fn the_same_event_is_the_same_restore_for_a_day() {
    let (world, _) = World::restored();
    assert_eq!(name(&world, json!({})), "repeat");
    let defaults = json!({"masters": "leave", "skew_minutes_max": 60, "plan_id": "p-0"});
    assert_eq!(name(&world, defaults), "repeat");
    assert_eq!(name(&after(&world, 24, 0), json!({})), "repeat");
    assert_eq!(name(&after(&world, 24, 1), json!({})), "begin");
    assert_eq!(name(&world, json!({"masters": "replace"})), "begin");
}

/// Whichever of the two began it.
#[test]
fn naming_all_etcd_clusters_is_the_same_event_as_naming_none() {
    let none = json!({"masters": "replace"});
    let all = json!({"masters": "replace", "etcd_clusters": ["events", "main"]});
    let some = json!({"masters": "replace", "etcd_clusters": ["main"]});
    for (begins, same) in [(&none, &all), (&all, &none)] {
        let mut world = World::new();
        let mut record = world.begin(begins.clone());
        world.record(record.clone());
        assert_eq!(name(&world, same.clone()), "go on", "{begins}");
        assert_eq!(name(&world, some.clone()), "RestoreInProgress", "{begins}");
        world.carry_out(&mut record);
        for event in [begins, same] {
            assert_eq!(name(&world, event.clone()), "repeat", "{begins}, {event}");
        }
        assert_eq!(name(&world, some.clone()), "begin", "{begins}");

        // Whatever was found since, an event is the same as itself; but all are more now.
        let cilium: MemberKey = "cilium/a".parse().unwrap();
        let id = volume_id("cilium/a");
        let new = volume(id.as_str(), &zone(&cilium), tags(&cilium));
        world.volumes.insert(id, new);
        assert_eq!(name(&world, begins.clone()), "repeat", "{begins}");
        assert_ne!(name(&world, same.clone()), "repeat", "{begins}");
    }
}

#[test]
fn events_have_one_fingerprint_where_they_ask_for_the_same_and_else_different_ones() {
    let (world, record) = World::restored();
    let fingerprint = |more: Value| {
        let request = request(more);
        fingerprint(&request, &record, &world.inventory(&request))
    };
    let plain = fingerprint(json!({}));
    for same in [
        json!({"action": "restore", "again": true, "plan_id": "p-0"}),
        json!({"skew_minutes_max": 60, "zones": {}}),
        json!({"etcd_clusters": ["main", "events"]}),
        json!({"etcd_clusters": ["events", "main", "main"]}),
    ] {
        assert_eq!(fingerprint(same.clone()), plain, "{same}");
    }
    for other in [
        json!({"etcd_clusters": ["main"]}),
        json!({"masters": "replace"}),
        json!({"action": "undo"}),
        json!({"action": "redo"}),
    ] {
        assert_ne!(fingerprint(other.clone()), plain, "{other}");
    }
}

#[test]
fn another_restore_since_makes_it_a_new_one() {
    let (mut world, _) = World::restored();
    let mut other = world.begin(json!({"masters": "replace"}));
    world.carry_out(&mut other);
    assert_eq!(name(&world, json!({})), "begin");
    assert_eq!(name(&world, json!({"masters": "replace"})), "repeat");
}

#[test]
fn an_undo_since_makes_it_a_new_one() {
    let (mut world, _) = World::restored();
    let mut record = world.begin(json!({"action": "undo"}));
    world.carry_out(&mut record);
    assert_eq!(name(&world, json!({})), "begin");
    let mut record = world.begin(json!({"action": "redo"}));
    world.carry_out(&mut record);
    assert_eq!(name(&world, json!({})), "repeat");
}

#[test]
fn what_masters_find_decides_whether_it_is_still_in_place() {
    let (world, record) = World::restored();
    let restored = record.members.values().next().unwrap();
    let id = restored.incoming.volume_id.clone().unwrap();
    let mut stripped = world.clone();
    let tags = &mut stripped.volumes.get_mut(&id).unwrap().tags;
    tags.retain(|key, _| !key.starts_with("etcd-backup/") && key != "owner");
    assert_eq!(name(&stripped, json!({})), "repeat", "kops takes these off");
    let mut lost = world.clone();
    lost.volumes.remove(&id);
    assert_eq!(name(&lost, json!({})), "begin");
    let mut second = world;
    let old = &restored.outgoing[0];
    second.volumes.get_mut(&old.id).unwrap().tags = old.tags.clone();
    assert_eq!(name(&second, json!({})), "MemberDuplicated");
}

#[test]
fn again_counts_once_within_a_quarter_of_an_hour_of_its_end() {
    let (world, _) = World::restored();
    assert_eq!(name(&world, json!({"again": true})), "begin");
    let mut world = world;
    let mut record = world.begin(json!({"again": true}));
    // However long it takes: it is its end that counts.
    world.now += SignedDuration::from_hours(2);
    world.carry_out(&mut record);
    assert_eq!(
        name(&after(&world, 0, 15), json!({"again": true})),
        "repeat"
    );
    assert_eq!(name(&after(&world, 0, 16), json!({"again": true})), "begin");
    assert_eq!(name(&after(&world, 0, 16), json!({})), "repeat");
}

#[test]
fn an_unfinished_restore_is_gone_on_with_by_its_own_event_alone() {
    let (world, record) = begun(json!({}));
    for same in [json!({}), json!({"again": true})] {
        assert_eq!(name(&world, same), "go on");
    }
    assert_eq!(name(&world, json!({"plan_id": "p-0"})), "PlanChanged");
    let late = after(&world, 24 * 10, 0);
    assert_eq!(name(&late, json!({})), "go on");
    assert_eq!(
        name(&world, json!({"masters": "replace"})),
        "RestoreInProgress"
    );
    assert_eq!(name(&world, json!({"action": "redo"})), "RestoreInProgress");
    assert_eq!(name(&world, json!({"action": "undo"})), "turn");
    let unknown = json!({"action": "undo", "restore_id": "r-000000000000"});
    assert_eq!(name(&world, unknown), "RestoreNotFound");
    insta::assert_snapshot!(world.refusal(json!({"etcd_clusters": ["main"]})), @r#"RestoreInProgress: restore r-8ee654b2d2df of k8s.mycompany.tld, begun at 2026-11-22T08:00:00Z, is unfinished (phase creating): go on with it first, with {"cluster":"k8s.mycompany.tld"}; or give it up with {"action":"undo","cluster":"k8s.mycompany.tld","restore_id":"r-8ee654b2d2df"}"#);
    assert!(record.is_unfinished());
}

#[test]
fn an_unfinished_undo_is_ended_or_taken_back_first() {
    let (mut world, _) = World::restored();
    let record = world.begin(json!({"action": "undo", "masters": "replace"}));
    world.record(record.clone());
    let replace = |action: &str| json!({"action": action, "masters": "replace"});
    assert_eq!(name(&world, replace("undo")), "go on");
    assert_eq!(name(&world, replace("redo")), "turn");
    assert_eq!(name(&world, json!({})), "RestoreInProgress");
    assert_eq!(
        name(&world, json!({"action": "undo"})),
        "RestoreInProgress",
        "masters that this event leaves must not die by it"
    );
}

#[test]
fn the_restores_own_event_goes_on_with_its_redo_only_if_it_treats_masters_alike() {
    let (mut world, _) = World::restored();
    let mut undone = world.begin(json!({"action": "undo"}));
    world.carry_out(&mut undone);
    for (masters, expected) in [("leave", "go on"), ("replace", "RestoreInProgress")] {
        let mut world = world.clone();
        let redo = world.begin(json!({"action": "redo", "masters": masters}));
        world.record(redo);
        assert_eq!(name(&world, json!({})), expected, "the redo says {masters}");
        let own = json!({"action": "redo", "masters": masters});
        assert_eq!(name(&world, own), "go on");
    }
}

#[test]
fn an_undo_or_redo_that_is_done_already_is_answered_again() {
    let (mut world, record) = World::restored();
    assert_eq!(name(&world, json!({"action": "redo"})), "repeat");
    let mut undone = world.begin(json!({"action": "undo"}));
    world.carry_out(&mut undone);
    assert_eq!(name(&world, json!({"action": "undo"})), "repeat");
    assert_eq!(undone.id, record.id);
}

#[test]
fn without_a_record_there_is_nothing_to_undo() {
    let world = World::new();
    insta::assert_snapshot!(world.refusal(json!({"action": "undo"})), @"RestoreNotFound: no restore of k8s.mycompany.tld is recorded. Where the table of restores was lost, the volumes' etcd-backup/ tags tell what was replaced: the runbook says how to go back by hand");
    insta::assert_snapshot!(world.refusal(json!({"action": "redo", "restore_id": "r-0a"})), @r#"RestoreNotFound: no restore r-0a of k8s.mycompany.tld is recorded; {"action":"history","cluster":"k8s.mycompany.tld"} lists those that are"#);
}
