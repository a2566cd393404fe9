//! What a new restore's record says.

use etcd_backup_core::ids::{MemberKey, ZoneName};
use etcd_backup_core::restore_record::RestoreRecord;
use restore::decide::plan_id::{self, plan_id};
use restore::decide::restore::tags_at_creation;
use serde_json::json;

use crate::world::{Decided, MEMBERS, REGION, World, request, volume_id};

fn told(record: &RestoreRecord) -> String {
    let members = record.members.iter().map(|(key, member)| {
        let incoming = &member.incoming;
        let outgoing: Vec<_> = member.outgoing.iter().map(|old| old.id.as_str()).collect();
        format!(
            "{key}: {} in {}, {} {} GiB, key {:?}; for {}",
            member.snapshot.id,
            incoming.zone,
            incoming.performance.volume_type,
            incoming.size_gib,
            incoming.kms_key_id,
            outgoing.join(" ")
        )
    });
    let mut lines: Vec<String> = members.collect();
    let order = &record.start_order;
    lines.push(format!(
        "first {:?} of {:?}, then {:?}",
        order
            .first
            .iter()
            .map(MemberKey::to_string)
            .collect::<Vec<_>>(),
        order.first_groups,
        order.second_groups
    ));
    lines.extend(
        record
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}")),
    );
    lines.join("\n")
}

#[test]
fn a_clean_cluster_is_restored_from_its_latest_run_as_it_was() {
    let record = World::new().begin(json!({}));
    insta::assert_snapshot!(told(&record), @r#"
        events/a: snap-events-a-2026-11-22T06:00:00Z in eu-west-2a, gp3 20 GiB, key None; for vol-events-a
        events/b: snap-events-b-2026-11-22T06:00:00Z in eu-west-2b, gp3 20 GiB, key None; for vol-events-b
        events/c: snap-events-c-2026-11-22T06:00:00Z in eu-west-2c, gp3 20 GiB, key None; for vol-events-c
        main/a: snap-main-a-2026-11-22T06:00:00Z in eu-west-2a, gp3 20 GiB, key None; for vol-main-a
        main/b: snap-main-b-2026-11-22T06:00:00Z in eu-west-2b, gp3 20 GiB, key None; for vol-main-b
        main/c: snap-main-c-2026-11-22T06:00:00Z in eu-west-2c, gp3 20 GiB, key None; for vol-main-c
        first ["main/c", "main/b", "events/c", "events/b"] of [GroupName("master-b"), GroupName("master-c")], then [GroupName("master-a")]
        "#);
    for (key, member) in &record.members {
        let old = &member.outgoing[0];
        assert_eq!(member.incoming.tags, old.tags, "{key}");
        assert!(member.incoming.client_token_base.len() <= 62);
    }
}

#[test]
fn the_same_plan_has_the_same_ids_and_a_later_one_differs() {
    let world = World::new();
    let (first, mut later) = (world.begin(json!({})), world.clone());
    later.now += jiff::SignedDuration::from_hours(1);
    later
        .volume("main/a")
        .tags
        .insert("cost".to_owned(), "1".to_owned());
    let second = later.begin(json!({}));
    assert_eq!(first.id, second.id);
    let inventory = world.inventory(&request(json!({})));
    let id = |record| plan_id(record, &inventory);
    assert_eq!(id(&first), id(&second), "time and tags play no part");
    let tokens = |record: &RestoreRecord| -> Vec<String> {
        let members = record.members.values();
        members
            .map(|member| member.incoming.client_token_base.clone())
            .collect()
    };
    assert_ne!(
        tokens(&first),
        tokens(&second),
        "no volume is ever given twice"
    );
    assert_ne!(first.id, world.begin(json!({"etcd_clusters": ["main"]})).id);
    let (restored, record) = World::restored();
    assert_ne!(restored.begin(json!({"again": true})).id, record.id);
}

#[test]
fn a_plan_that_changed_is_refused_with_what_has_changed() {
    let world = World::new();
    let record = world.begin(json!({"masters": "replace"}));
    let planned = plan_id(&record, &world.inventory(&request(json!({}))));
    let event = json!({"masters": "replace", "plan_id": planned});
    assert!(world.decide(event.clone()).is_ok());
    let told = |world: &World| {
        let refusal = world.refusal(event.clone());
        assert!(refusal.starts_with("PlanChanged: "), "{refusal}");
        refusal.split(" are not what").next().unwrap().to_owned()
    };

    let mut another_run = world.clone();
    for snapshot in another_run.snapshots_of_last_run() {
        snapshot.state = etcd_backup_core::snapshot::SnapshotState::Error;
    }
    insta::assert_snapshot!(told(&another_run), @"PlanChanged: nothing was changed, as the snapshots");

    let mut another_volume = world.clone();
    let mut twin = another_volume.volumes.remove(&volume_id("main/a")).unwrap();
    twin.id = "vol-other".into();
    another_volume.volumes.insert(twin.id.clone(), twin);
    insta::assert_snapshot!(told(&another_volume), @"PlanChanged: nothing was changed, as the outgoing volumes");

    let mut bigger = world.clone();
    bigger.volume("main/b").size_gib = 40;
    insta::assert_snapshot!(told(&bigger), @"PlanChanged: nothing was changed, as the incoming volumes or their parameters");

    let mut another_master = world.clone();
    let ids = ["i-x", "i-b", "i-c"];
    for (id, master) in ids.iter().zip(&mut another_master.control_plane.masters) {
        master.id = (*id).into();
    }
    another_master.control_plane.groups[0].instances = vec!["i-x".into()];
    for key in ["main/a", "events/a"] {
        another_master.volume(key).attachments[0].instance = "i-x".into();
    }
    insta::assert_snapshot!(told(&another_master), @"PlanChanged: nothing was changed, as the instances to be terminated");

    let mut renamed_group = world.clone();
    renamed_group.control_plane.groups[2].name = "masters-c".into();
    insta::assert_snapshot!(told(&renamed_group), @"PlanChanged: nothing was changed, as the groups or the order of the start");

    let mut lost = world.clone();
    lost.volumes.remove(&volume_id("main/b"));
    let refusal = lost.refusal(event.clone());
    assert!(
        refusal.contains("the volumes of main/b (vol-main-b) are gone"),
        "{refusal}"
    );

    let (mut restored, record) = World::restored();
    let undo = json!({"action": "undo"});
    let turned = restored.begin(undo.clone());
    let planned_undo = plan_id(&turned, &restored.inventory(&request(json!({}))));
    let id = record
        .members
        .values()
        .next()
        .unwrap()
        .incoming
        .volume_id
        .clone()
        .unwrap();
    restored.volumes.remove(&id);
    let refusal = restored.refusal(json!({"action": "undo", "plan_id": planned_undo}));
    assert!(refusal.starts_with("PlanChanged: "), "{refusal}");

    assert_eq!(plan_id::changes("nonsense", &planned).unwrap().len(), 5);
}

#[test]
fn a_lost_member_has_nothing_to_replace() {
    let mut world = World::new();
    world.volumes.remove(&volume_id("main/c"));
    let record = world.begin(json!({}));
    let member = &record.members[&"main/c".parse().unwrap()];
    assert!(member.outgoing.is_empty());
    assert_eq!(member.incoming.zone.as_str(), "eu-west-2c");
}

/// Of members whose names tell nothing, two are put into zones by the event, which leave one for the third.
#[test]
fn zones_in_the_event_leave_the_others_less_to_choose_from() {
    let mut world = World::new();
    world.terminate_masters();
    world.volumes.clear();
    world.zones = ["d", "e", "f"].map(zone).into();
    for (group, letter) in world.control_plane.groups.iter_mut().zip(["d", "e", "f"]) {
        group.zones = vec![zone(letter)];
    }
    let refusal = world.refusal(json!({"zones": {"a": zone("d")}}));
    assert!(refusal.starts_with("ZoneUnknown: "), "{refusal}");
    let record = world.begin(json!({"zones": {"a": zone("d"), "b": zone("e")}}));
    for key in ["main/c", "events/c"] {
        let incoming = &record.members[&key.parse().unwrap()].incoming;
        assert_eq!(incoming.zone, zone("f"), "{key}");
    }
}

fn zone(letter: &str) -> ZoneName {
    format!("{REGION}{letter}").as_str().into()
}

/// From the moment it is made, as no master looks for what another cluster shares; for the same reason it
/// stays on the old volume.
#[test]
fn that_another_cluster_shares_a_volume_is_carried_along() {
    let mut world = World::new();
    world.terminate_masters();
    let share = "kubernetes.io/cluster/other.tld";
    let old = world.volume("main/a");
    old.tags.insert(share.to_owned(), "shared".to_owned());
    let before = old.tags.clone();
    let mut record = world.begin(json!({}));
    let key: MemberKey = "main/a".parse().unwrap();
    assert_eq!(tags_at_creation(&record, &key)[share], "shared");
    world.carry_out(&mut record);
    let made = record.members[&key].incoming.volume_id.clone().unwrap();
    for id in [volume_id("main/a"), made] {
        assert_eq!(world.volumes[&id].tags[share], "shared", "{id}");
    }
    let mut undo = world.begin(json!({"action": "undo"}));
    world.carry_out(&mut undo);
    assert_eq!(world.volume("main/a").tags, before);
}

#[test]
fn warnings_say_what_a_person_would_want_to_have_known() {
    let warnings = |world: &World| world.begin(json!({})).warnings.join("\n");
    let mut empty = World::new();
    empty.control_plane.groups[1].desired_size = 0;
    insta::assert_snapshot!(warnings(&empty), @"the desired size of master-b is 0: no master comes there before it is raised");

    let mut plain = World::new();
    for snapshot in &mut plain.snapshots {
        (snapshot.encrypted, snapshot.kms_key_id) = (false, None);
    }
    assert_eq!(warnings(&plain), "", "encrypted as the old volumes are");
    for key in MEMBERS {
        let volume = plain.volume(key);
        (volume.encrypted, volume.kms_key_id) = (false, None);
    }
    insta::assert_snapshot!(warnings(&plain), @r#"the volumes of events/a, events/b, events/c, main/a, main/b, main/c are not encrypted, as neither their snapshots nor the volumes that they replace are (unless the account encrypts by default): "volume": {"kms_key_id": …} encrypts them"#);

    let mut lost = World::new();
    lost.volumes.remove(&volume_id("main/c"));
    let record = lost.begin(json!({"zones": {"c": "eu-west-2b"}, "etcd_clusters": ["main"]}));
    insta::assert_snapshot!(record.warnings.join("\n"), @r#"
    main/b and main/c come into eu-west-2b: the zone must have as many masters, and takes as many members with it when it fails
    masters start all at once, as one autoscaling group or zone holds masters of both halves, or the groups of a zone don't bring as many at the moment as it has members: of snapshots seconds apart the newest member may then never serve. Where one doesn't come up, restore again, and see the order in "start_first"
    "#);

    let mut elsewhere = World::new();
    let mut twin = elsewhere.volumes[&volume_id("events/a")].clone();
    twin.id = "vol-twin".into();
    elsewhere.volumes.insert(twin.id.clone(), twin);
    let record = elsewhere.begin(json!({"etcd_clusters": ["main"]}));
    insta::assert_snapshot!(record.warnings.join("\n"), @"events/a has more than one volume, and isn't restored: masters may use either");
}

#[test]
fn an_initialization_rate_comes_from_the_event_before_the_setting() {
    let mut world = World::new();
    let rate = |world: &World, more| {
        let record = world.begin(more);
        let member = record.members.values().next().unwrap();
        member.incoming.initialization_rate_mib_s
    };
    assert_eq!(rate(&world, json!({})), None);
    world.settings.volume_initialization_rate_mibps = Some(100);
    assert_eq!(rate(&world, json!({})), Some(100));
    let event = json!({"volume": {"initialization_rate": 300}});
    assert_eq!(rate(&world, event), Some(300));
}

/// Somebody else may have begun the same event since, with other snapshots.
#[test]
fn an_unfinished_restore_goes_on_with_its_plan_or_a_plan_of_what_is_left() {
    let mut world = World::new();
    let with = |planned: &str| json!({"masters": "replace", "plan_id": planned});
    let plan = |world: &World, record: &RestoreRecord| {
        plan_id(record, &world.inventory(&request(json!({}))))
    };
    let event = json!({"masters": "replace"});
    let begun_by = plan(&world, &world.begin(event.clone()));
    let mut record = world.begin(with(&begun_by));
    world.record(record.clone());
    let step = world.next(&record);
    world.does(&step, &mut record);
    world.record(record.clone());
    let of_the_rest = plan(&world, &record);
    assert_ne!(of_the_rest, begun_by, "volumes are made");
    let mut went_on = None;
    for agreed in [&begun_by, &of_the_rest] {
        match world.decide(with(agreed)) {
            Ok(Decided::GoOn(record)) => went_on = Some(record),
            other => panic!("{other:?}"),
        }
    }
    let refusal = world.refusal(with("p-0"));
    assert!(refusal.starts_with("PlanChanged: "), "{refusal}");
    assert!(world.decide(event).is_ok(), "no plan is said");

    // A lost answer is asked for again, and more is done by then.
    let mut record = went_on.unwrap();
    let step = world.next(&record);
    world.does(&step, &mut record);
    world.terminate_masters();
    world.record(record);
    let again = world.decide(with(&of_the_rest));
    assert!(matches!(again, Ok(Decided::GoOn(_))), "{again:?}");
}
