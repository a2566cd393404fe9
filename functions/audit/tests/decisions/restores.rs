//! Restores that were left in the middle, and what a finished one left: by their records.

use std::collections::BTreeSet;

use audit::inventory::Inventory;
use audit::recorded::{ClusterRestores, RecordedRestores};
use etcd_backup_core::Tags;
use etcd_backup_core::aws::{InstanceState, SuspendedGroup, TaggedMaster};
use etcd_backup_core::restore_record::RestoreRecord;
use etcd_backup_core::restore_table::{RecordNumber, StoredRecord, Tokens};
use etcd_backup_core::volume::{Volume, VolumeState};
use serde_json::{Value, json};

use crate::world::{
    CLUSTER, NOTHING, at, clean, findings, lose_snapshot, lose_volume, report, report_at, snapshot,
    tags, volume, volume_mut,
};

const RESTORE: &str = "r-1f2e3d4c5b6a";
const MEMBERS: [&str; 6] = [
    "events/a", "events/b", "events/c", "main/a", "main/b", "main/c",
];

/// A record of all six members, with these turns.
fn record(id: &str, turns: &[Value]) -> RestoreRecord {
    let members = MEMBERS.map(|member| {
        let (etcd_cluster, name) = member.split_once('/').unwrap();
        let old = volume(etcd_cluster, name);
        let restored = json!({
            "snapshot": {"id": format!("snap-0-{etcd_cluster}-{name}-0"),
                         "started_at": "2026-11-22T06:04:11Z", "volume_id": old.id},
            "incoming": {"zone": old.zone, "size_gib": 20, "volume_type": "gp3", "iops": 3000,
                         "throughput": 125, "encrypted": true, "tags": old.tags,
                         "client_token_base": id, "volume_id": new_id(&old)},
            "outgoing": [{"id": old.id, "zone": old.zone, "size_gib": 20, "volume_type": "gp3",
                          "created_at": old.created, "tags": old.tags}],
        });
        (member.to_owned(), restored)
    });
    let record = json!({
        "id": id, "cluster": CLUSTER, "event": {}, "started_at": "2026-11-22T07:00:00Z",
        "run": "2026-11-22T06:00:00Z", "members": Value::Object(members.into_iter().collect()),
        "restore": turns[0], "later_turns": turns[1..],
    });
    serde_json::from_value(record).unwrap()
}

fn new_id(old: &Volume) -> String {
    format!("{}-new", old.id)
}

/// A turn that is in this stage.
fn turn(direction: &str, stages: &[&str]) -> Value {
    let stages = stages.iter().enumerate();
    let stages = stages
        .map(|(nth, stage)| json!({"stage": stage, "at": format!("2026-11-22T07:0{nth}:00Z")}));
    let stages: Vec<Value> = stages.collect();
    let ended = stages
        .last()
        .filter(|last| ["done", "undone"].contains(&last["stage"].as_str().unwrap()));
    let mut turn = json!({"direction": direction, "masters": "leave", "stages": stages});
    if let Some(last) = ended {
        turn["ended_at"] = last["at"].clone();
    }
    turn
}

const MAKING: [&str; 1] = ["creating"];
const EXCHANGING: [&str; 2] = ["creating", "exchanging"];
const DONE: [&str; 3] = ["creating", "exchanging", "done"];
const UNDONE: [&str; 2] = ["exchanging", "undone"];

/// Puts records, the oldest first, into an account, and for an unfinished one its volumes.
fn set_records(inventory: &mut Inventory, records: Vec<RestoreRecord>) {
    let of_unfinished = records.iter().filter(|record| record.is_unfinished());
    let ids: Vec<_> = of_unfinished.flat_map(RestoreRecord::volume_ids).collect();
    let read = inventory
        .volumes
        .iter()
        .filter(|volume| ids.contains(&&volume.id));
    let volumes = read.map(|volume| (volume.id.clone(), volume.clone()));
    inventory.restores = RecordedRestores {
        volumes: volumes.collect(),
        clusters: [(CLUSTER.into(), ClusterRestores::of(records))].into(),
        ..RecordedRestores::default()
    };
}

/// What a restore has made for a member, and not tagged for discovery yet.
fn made(old: &Volume) -> Volume {
    Volume {
        id: new_id(old).into(),
        created: at("2026-11-22T07:00:00Z"),
        state: VolumeState::Available,
        made_from: Some(format!("snap-{}-0", &old.id.as_str()[4..]).into()),
        attachments: Vec::new(),
        tags: tags(&[
            ("etcd-backup/restore-id", RESTORE),
            ("etcd-backup/cluster", CLUSTER),
        ]),
        ..old.clone()
    }
}

/// Takes a volume out of the masters' sight, as a restore does; no tag of it tells anything.
fn retire(volume: &mut Volume) -> Tags {
    std::mem::take(&mut volume.tags)
}

fn suspended(by: &str) -> SuspendedGroup {
    SuspendedGroup {
        name: "master-eu-west-2a".into(),
        cluster: Some(CLUSTER.into()),
        by: by.into(),
    }
}

/// An account in which a restore has made its volumes; the old ones are in service.
fn making() -> Inventory {
    let mut inventory = clean();
    let new: Vec<Volume> = inventory.volumes.iter().map(made).collect();
    inventory.volumes.extend(new);
    set_records(
        &mut inventory,
        vec![record(RESTORE, &[turn("restore", &MAKING)])],
    );
    inventory
}

/// An account in the middle of an exchange: all old volumes are out of the masters' sight, the new ones of
/// so many members are in it.
fn exchanging(brought: usize) -> Inventory {
    let mut inventory = clean();
    for (nth, mut old) in std::mem::take(&mut inventory.volumes)
        .into_iter()
        .enumerate()
    {
        let mut new = made(&old);
        let was = retire(&mut old);
        if nth < brought {
            new.tags.extend(was);
        }
        inventory.volumes.extend([old, new]);
    }
    set_records(
        &mut inventory,
        vec![record(RESTORE, &[turn("restore", &EXCHANGING)])],
    );
    inventory
}

/// Done, and the masters left alone: they have the old volumes attached.
fn done() -> Inventory {
    let mut inventory = exchanging(MEMBERS.len());
    set_records(
        &mut inventory,
        vec![record(RESTORE, &[turn("restore", &DONE)])],
    );
    inventory.masters = ["a", "b", "c"].map(master).into();
    inventory
}

fn master(name: &str) -> TaggedMaster {
    let volumes = ["main", "events"].map(|etcd_cluster| volume(etcd_cluster, name).id);
    TaggedMaster {
        id: format!("i-0-{name}").into(),
        state: InstanceState::Running,
        volumes: volumes.into(),
        tags: tags(&[("k8s.io/role/master", "1")]),
    }
}

/// The findings but for the orphans, which what is retired has for the moment.
fn findings_beside_orphans(inventory: Inventory) -> Vec<String> {
    let mut findings = findings(inventory);
    findings.retain(|line| line != "info snapshots_orphaned");
    findings
}

/// The finding of a kind, as JSON.
fn found(inventory: Inventory, kind: &str) -> Value {
    let report = report(inventory);
    let mut found = report.findings.iter();
    let found = found.find(|finding| finding.kind.name() == kind);
    serde_json::to_value(found.unwrap_or_else(|| panic!("no {kind}"))).unwrap()
}

#[test]
fn what_an_unfinished_restore_takes_is_in_no_command() {
    let mut inventory = clean();
    inventory.volumes.clear();
    let deletes = |inventory: &Inventory| {
        let report = report_at(inventory.clone(), "2027-01-22T07:35:00Z");
        let json = serde_json::to_value(&report.findings).unwrap().to_string();
        let words: BTreeSet<&str> = json.split([' ', ';']).collect();
        ["snap-0-main-a-2", "snap-0-main-a-3"].map(|id| words.contains(id))
    };
    assert_eq!(deletes(&inventory), [true, true]);
    let mut of_day_three = record(RESTORE, &[turn("restore", &MAKING)]);
    for (key, member) in &mut of_day_three.members {
        let id = format!("snap-0-{}-{}-3", key.etcd_cluster, key.member);
        member.snapshot.id = id.into();
    }
    set_records(&mut inventory, vec![of_day_three]);
    assert_eq!(deletes(&inventory), [true, false]);
}

#[test]
fn a_restore_left_in_the_middle_is_found_whatever_the_tags_say() {
    assert_eq!(
        findings_beside_orphans(making()),
        ["warning restore_unfinished"]
    );
    let mut stripped = making();
    for volume in &mut stripped.volumes {
        volume
            .tags
            .retain(|key, _| !key.starts_with("etcd-backup/"));
    }
    let unfinished = stripped.restores.clone();
    stripped.volumes.retain(|volume| !volume.tags.is_empty());
    stripped.restores = unfinished;
    assert_eq!(
        findings_beside_orphans(stripped),
        ["warning restore_unfinished"]
    );

    let mut suspended_too = making();
    suspended_too.suspended_groups.push(suspended(RESTORE));
    assert_eq!(
        findings_beside_orphans(suspended_too.clone()),
        ["critical restore_unfinished"]
    );
    let found = found(suspended_too, "restore_unfinished");
    assert_eq!(found["evidence"]["restore_id"], RESTORE);
    assert_eq!(found["evidence"]["run"], "2026-11-22T06:00:00Z");
    assert_eq!(found["evidence"]["began"], "2026-11-22T07:00:00Z");
    assert_eq!(
        found["evidence"]["suspended_groups"],
        json!(["master-eu-west-2a"])
    );
    assert_eq!(found["evidence"]["volume_ids"].as_array().unwrap().len(), 6);
}

#[test]
fn a_restore_that_exchanges_tags_loses_nothing() {
    for brought in [0, 1, 5, 6] {
        assert_eq!(
            findings_beside_orphans(exchanging(brought)),
            ["warning restore_unfinished"],
            "{brought}"
        );
    }
    // What it is to bring is gone: then the members are.
    let mut lost = exchanging(0);
    lost.restores.volumes.clear();
    let lost = findings_beside_orphans(lost);
    assert!(
        lost.contains(&"critical no_etcd_volumes main".to_owned()),
        "{lost:?}"
    );
    // Nor is a loss any part of a restore that has not come to its exchange.
    let mut early = exchanging(0);
    let making = vec![record(RESTORE, &[turn("restore", &MAKING)])];
    set_records(&mut early, making);
    let early = findings_beside_orphans(early);
    assert!(
        early.contains(&"critical no_etcd_volumes main".to_owned()),
        "{early:?}"
    );
}

#[test]
fn an_undo_or_redo_left_in_the_middle_awaits_its_own_volumes() {
    let undoing = [turn("restore", &DONE), turn("undo", &["exchanging"])];
    let mut inventory = exchanging(0);
    set_records(&mut inventory, vec![record(RESTORE, &undoing)]);
    assert_eq!(
        findings_beside_orphans(inventory.clone()),
        ["warning restore_unfinished"]
    );
    let undo = found(inventory, "restore_unfinished");
    assert_eq!(undo["evidence"]["direction"], "undo");
    assert!(
        undo["evidence"]["volume_ids"]
            .as_array()
            .unwrap()
            .contains(&json!("vol-0-main-a"))
    );
    insta::assert_snapshot!(undo["message"].as_str().unwrap().replace("vol-0-", ""), @r#"The undo of r-1f2e3d4c5b6a, begun 2026-11-22T07:00:00Z, is unfinished: events-a, events-b, events-c, main-a, main-b, main-c are not tagged for masters to find. Ask restore for this cluster's status: its next steps have the event that goes on, and the one that turns back."#);

    let redoing = [
        turn("restore", &DONE),
        turn("undo", &UNDONE),
        turn("redo", &["exchanging"]),
    ];
    let mut inventory = exchanging(6);
    set_records(&mut inventory, vec![record(RESTORE, &redoing)]);
    let redo = found(inventory, "restore_unfinished");
    assert_eq!(redo["evidence"]["volume_ids"], json!([]));
    insta::assert_snapshot!(redo["message"].as_str().unwrap(), @r#"The redo of r-1f2e3d4c5b6a, begun 2026-11-22T07:00:00Z, is unfinished. Ask restore for this cluster's status: its next steps have the event that goes on, and the one that turns back."#);
}

#[test]
fn a_loss_that_a_restore_is_mending_is_still_one_and_says_what_goes_on() {
    let mut inventory = making();
    inventory
        .volumes
        .retain(|volume| volume.id.as_str().ends_with("-new"));
    let making = vec![record(RESTORE, &[turn("restore", &MAKING)])];
    set_records(&mut inventory, making);
    let report = report(inventory);
    let of_main = report.findings.iter().find(|finding| {
        finding.kind.name() == "no_etcd_volumes"
            && finding.subject.within_cluster().as_deref() == Some("main")
    });
    let message = &of_main.expect("a total loss").message;
    assert!(message.contains(RESTORE), "{message}");
    assert!(!message.contains("\"plan\""), "{message}");
}

#[test]
fn launches_that_are_suspended_for_a_restore_that_is_over_are_found_too() {
    let mut inventory = clean();
    set_records(
        &mut inventory,
        vec![record(RESTORE, &[turn("restore", &DONE)])],
    );
    inventory.suspended_groups.push(suspended(RESTORE));
    let mut without_record = clean();
    without_record.suspended_groups.push(suspended(RESTORE));
    for inventory in [&inventory, &without_record] {
        assert_eq!(
            findings_beside_orphans(inventory.clone()),
            ["critical restore_unfinished"]
        );
    }
    let messages = [inventory, without_record]
        .map(|inventory| found(inventory, "restore_unfinished")["message"].clone());
    assert_eq!(messages[0], messages[1]);
    insta::assert_snapshot!(messages[0].as_str().unwrap(), @r#"Launches of master-eu-west-2a are suspended in the name of r-1f2e3d4c5b6a, of which no unfinished record is left: no master can come back. Invoke restore with {"action":"list"} and the cluster's name: masters_find must have one volume for each member, the one that is to be used. Then resume them: aws autoscaling resume-processes --region eu-west-2 --scaling-processes Launch --auto-scaling-group-name master-eu-west-2a && aws autoscaling delete-tags --region eu-west-2 --tags ResourceId=master-eu-west-2a,ResourceType=auto-scaling-group,Key=etcd-backup/suspended-by."#);
}

#[test]
fn masters_that_write_to_what_a_restore_retired_are_found() {
    let found = found(done(), "masters_on_retired_volumes");
    assert_eq!(found["severity"], "critical");
    assert_eq!(found["cluster"], CLUSTER);
    assert_eq!(found["evidence"]["restore_id"], RESTORE);
    assert_eq!(
        found["evidence"]["instance_ids"],
        json!(["i-0-a", "i-0-b", "i-0-c"])
    );
    assert_eq!(found["evidence"]["volume_ids"].as_array().unwrap().len(), 6);
    let message = found["message"].as_str().unwrap();
    // Which masters start first is for restore to say, of all of them.
    assert!(
        message.contains("{\"action\":\"status\",\"restore_id\":\"r-1f2e3d4c5b6a\"}"),
        "{message}"
    );
    assert!(!message.contains("terminate-instances"), "{message}");
}

#[test]
fn one_master_left_is_enough_and_one_that_is_gone_is_none() {
    let mut one = done();
    one.masters.truncate(1);
    let critical = ["critical masters_on_retired_volumes"];
    assert_eq!(findings_beside_orphans(one.clone()), critical);

    let mut gone = one.clone();
    gone.masters[0].state = InstanceState::Terminated;
    assert_eq!(findings_beside_orphans(gone), NOTHING);

    let mut detached = one.clone();
    detached.masters[0].volumes = vec!["vol-0-main-a-new".into()];
    assert_eq!(findings_beside_orphans(detached), NOTHING);

    // A volume that no listing shows, as nothing is left of its tags.
    let mut stripped = one;
    lose_volume(&mut stripped, "vol-0-main-a");
    lose_volume(&mut stripped, "vol-0-events-a");
    assert_eq!(findings_beside_orphans(stripped), critical);
}

#[test]
fn in_the_middle_of_a_restore_masters_are_where_they_should_be() {
    let mut inventory = exchanging(3);
    inventory.masters = done().masters;
    assert_eq!(
        findings_beside_orphans(inventory),
        ["warning restore_unfinished"]
    );
}

#[test]
fn the_last_exchange_tells_which_volumes_are_out_of_service() {
    let undone = [turn("restore", &DONE), turn("undo", &UNDONE)];
    let mut inventory = clean();
    set_records(&mut inventory, vec![record(RESTORE, &undone)]);
    inventory.masters = done().masters;
    assert_eq!(
        findings(inventory.clone()),
        NOTHING,
        "they are back where they were"
    );
    inventory.masters[0].volumes = vec!["vol-0-main-a-new".into()];
    let found = found(inventory.clone(), "masters_on_retired_volumes");
    assert_eq!(found["evidence"]["direction"], "undo");

    // A later restore that brought the same volume into service again.
    let mut later = record("r-000000000002", &[turn("restore", &DONE)]);
    for member in later.members.values_mut() {
        member.incoming.volume_id = Some(member.outgoing[0].id.clone());
        member.outgoing.clear();
    }
    let first = record(RESTORE, &[turn("restore", &DONE)]);
    inventory.masters = done().masters;
    set_records(&mut inventory, vec![first, later]);
    assert_eq!(findings(inventory), NOTHING);
}

#[test]
fn what_a_person_put_back_by_hand_is_in_service() {
    let mut inventory = done();
    for member in MEMBERS {
        let (etcd_cluster, name) = member.split_once('/').unwrap();
        let old = volume(etcd_cluster, name);
        volume_mut(&mut inventory, old.id.as_str()).tags = old.tags.clone();
        retire(volume_mut(&mut inventory, &new_id(&old)));
    }
    assert_eq!(findings_beside_orphans(inventory), NOTHING);
}

/// A run in which volumes were exchanged, with no tag left that tells of it.
#[test]
fn a_run_is_mixed_where_a_record_alone_tells_that_volumes_were_exchanged_in_it() {
    let mut inventory = done();
    for volume in &mut inventory.volumes {
        volume
            .tags
            .retain(|key, _| !key.starts_with("etcd-backup/"));
    }
    let mut of_new = snapshot(&volume("main", "a"), 0);
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    of_new.volume_id = "vol-0-main-a-new".into();
    of_new.started = at("2026-11-22T06:40:00Z");
    inventory.snapshots.push(of_new);
    let latest = |inventory: &Inventory| {
        let report = report(inventory.clone());
        let latest = report.clusters[0].latest_restore_point.unwrap();
        latest.to_string()
    };
    let mut restore = turn("restore", &DONE);
    for (nth, time) in ["06:10:00", "06:20:00", "06:21:00"].iter().enumerate() {
        restore["stages"][nth]["at"] = json!(format!("2026-11-22T{time}Z"));
    }
    restore["ended_at"] = json!("2026-11-22T06:21:00Z");
    set_records(&mut inventory, vec![record(RESTORE, &[restore])]);
    assert!(
        latest(&inventory).starts_with("2026-11-21T"),
        "{}",
        latest(&inventory)
    );

    set_records(&mut inventory, Vec::new());
    assert!(
        latest(&inventory).starts_with("2026-11-22T"),
        "{}",
        latest(&inventory)
    );
}

#[test]
fn records_that_cannot_be_read_are_reported_and_the_others_count() {
    let stored = |number, body: String| StoredRecord {
        number: RecordNumber(number),
        token: Tokens::new("a").fresh(),
        layout: 1,
        body,
    };
    let readable = record(RESTORE, &[turn("restore", &MAKING)]).body().unwrap();
    let mut restores = RecordedRestores::default();
    restores.add(
        CLUSTER.into(),
        &[stored(2, readable), stored(1, "{}".into())],
    );
    assert!(restores.unfinished(&CLUSTER.into()).is_some());

    let mut inventory = clean();
    inventory.restores.unreadable = restores.unreadable;
    let report = report(inventory);
    insta::assert_debug_snapshot!(report.warnings, @r#"
    [
        "a restore of k8s.mycompany.tld is not taken into account here: the record 1 can't be read: missing field `id` at line 1 column 2",
    ]
    "#);
    assert!(report.to_string().contains(&report.warnings[0]));
}
