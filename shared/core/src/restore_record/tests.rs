//! A record is read as it was written, and has the turn, stage and exchanges that it should.

use proptest::prelude::*;

use super::*;
use crate::ids::InstanceId;
use crate::restore_table::{RecordNumber, Token};

fn record() -> RestoreRecord {
    let body = r#"{
        "id": "r-1f2e3d4c5b6a",
        "cluster": "k8s.mycompany.tld",
        "event": {"masters": "replace", "partial": false},
        "started_at": "2026-11-22T09:00:00Z",
        "run": "2026-11-22T06:00:00Z",
        "members": {
            "main/a": {
                "snapshot": {"id": "snap-0a", "started_at": "2026-11-22T06:03:59Z", "volume_id": "vol-0o", "revision": 5544},
                "incoming": {
                    "zone": "eu-west-2a", "size_gib": 20,
                    "volume_type": "gp3", "iops": 3000, "throughput": 125,
                    "encrypted": true, "kms_key_id": "alias/etcd", "initialization_rate_mib_s": 300,
                    "tags": {"k8s.io/etcd/main": "a/a", "owner": "platform"},
                    "client_token_base": "r-1f2e3d4c5b6a-0123456789ab", "attempt": 1,
                    "volume_id": "vol-0n", "failed": ["vol-0f"]
                },
                "outgoing": [{
                    "id": "vol-0o", "zone": "eu-west-2a", "size_gib": 20, "volume_type": "gp2",
                    "created_at": "2025-01-01T00:00:00Z",
                    "tags": {"Name": "a.etcd-main.k8s.mycompany.tld", "k8s.io/etcd/main": "a/a"}
                }]
            }
        },
        "start_order": {"first": ["main/a"], "first_groups": ["master-a"], "second_groups": []},
        "held_groups": ["master-a"],
        "restore": {"direction": "restore", "masters": "replace", "terminated": ["i-0a"], "stages": [
            {"stage": "creating", "at": "2026-11-22T09:00:00Z"},
            {"stage": "exchanging", "at": "2026-11-22T09:03:00Z"},
            {"stage": "done", "at": "2026-11-22T09:04:00Z"}
        ], "ended_at": "2026-11-22T09:04:00Z"},
        "later_turns": [
            {"direction": "undo", "masters": "leave", "gives_up": true, "stages": [
                {"stage": "exchanging", "at": "2026-11-22T10:00:00Z"}
            ]}
        ],
        "warnings": ["no volume is encrypted"]
    }"#;
    serde_json::from_str(body).unwrap()
}

fn stored(layout: u32, body: &str) -> StoredRecord {
    StoredRecord {
        number: RecordNumber::FIRST,
        token: Token::from("8476a536.1/1".to_owned()),
        layout,
        body: body.to_owned(),
    }
}

#[test]
fn a_record_survives_the_round_trip() {
    let mut abandoned = record();
    abandoned.abandoned_at = Some("2026-11-23T00:00:00Z".parse().unwrap());
    abandoned.again = true;
    for record in [record(), abandoned] {
        let body = record.body().unwrap();
        assert_eq!(RestoreRecord::read(&stored(LAYOUT, &body)).unwrap(), record);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_why() {
    let error = |layout, body: &str| {
        RestoreRecord::read(&stored(layout, body))
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(error(LAYOUT + 1, "{}"), @"the record 1 is in layout 2, and this program knows 1: deploy the newer version again");
    insta::assert_snapshot!(error(LAYOUT, "{}"), @"the record 1 can't be read: missing field `id` at line 1 column 2");
}

#[test]
fn the_last_turn_counts() {
    let mut record = record();
    assert!(record.is_unfinished() && record.is_put_back() && !record.is_undone());
    assert!(record.was_ever_done());
    let end: Timestamp = "2026-11-22T10:01:00Z".parse().unwrap();
    record.turn_mut().end(end);
    assert!(record.is_undone());
    assert_eq!(record.stage(), RestoreStage::Undone);
    assert_eq!(record.turned_at(Direction::Undo), Some(end));
    assert_eq!(record.turned_at(Direction::Redo), None);
    let ids: Vec<_> = record.volume_ids().map(VolumeId::as_str).collect();
    assert_eq!(ids, ["vol-0n", "vol-0o"]);
}

#[test]
fn an_instance_is_named_once_whenever_it_is_terminated() {
    let mut turn = record().restore;
    let [first, second] = ["i-0a", "i-0b"].map(InstanceId::from);
    assert!(!turn.name_terminated(std::slice::from_ref(&first)));
    assert!(turn.name_terminated(&[first.clone(), second.clone()]));
    assert!(!turn.name_terminated(&[second.clone(), first.clone()]));
    assert_eq!(turn.terminated, [first, second]);
}

#[test]
fn each_turn_that_came_to_it_is_an_exchange() {
    let mut record = record();
    let told = |record: &RestoreRecord| -> Vec<String> {
        let exchanges = record.exchanges().into_iter();
        exchanges
            .map(|exchange| {
                let member = &exchange.members[&"main/a".parse().unwrap()];
                let incoming = &member.incoming[0];
                format!(
                    "{} {:?} -> {} from {:?} {}",
                    exchange.at,
                    member.outgoing,
                    incoming.volume,
                    incoming.made_from,
                    incoming.returns
                )
            })
            .collect()
    };
    insta::assert_debug_snapshot!(told(&record), @r#"
    [
        "2026-11-22T09:03:00Z [VolumeId(\"vol-0o\")] -> vol-0n from Some(SnapshotId(\"snap-0a\")) false",
        "2026-11-22T10:00:00Z [VolumeId(\"vol-0n\")] -> vol-0o from None true",
    ]
    "#);
    record
        .restore
        .stages
        .retain(|entry| entry.stage == RestoreStage::Creating);
    assert_eq!(
        told(&record),
        Vec::<String>::new(),
        "given up before anything was exchanged"
    );
}

proptest! {
    #[test]
    fn tags_of_any_text_survive_the_round_trip(
        tags in proptest::collection::btree_map(".{1,128}", ".{0,256}", 0..50)
    ) {
        let mut record = record();
        let key: MemberKey = "main/a".parse().unwrap();
        record.members.get_mut(&key).unwrap().outgoing[0].tags = tags.into();
        let body = record.body().unwrap();
        prop_assert_eq!(RestoreRecord::read(&stored(LAYOUT, &body)).unwrap(), record);
    }

    #[test]
    fn a_turn_is_in_the_stage_that_it_entered_last(count in 1_usize..8, again in 0_usize..8) {
        use RestoreStage::{Creating, Exchanging, Starting, WaitingForMasters};
        let at: Timestamp = "2026-11-22T09:00:00Z".parse().unwrap();
        let mut turn = Turn::begin(Direction::Restore, MastersOption::Replace, Creating, at);
        let stages = [WaitingForMasters, Exchanging, Starting];
        for index in 0..count {
            let stage = stages[(index * again) % stages.len()];
            turn.enter(stage, at);
            prop_assert_eq!(turn.stage(), stage);
        }
        let distinct = turn.stages.windows(2).all(|pair| pair[0].stage != pair[1].stage);
        prop_assert!(distinct);
    }
}
