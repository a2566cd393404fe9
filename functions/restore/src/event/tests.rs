//! Which events are accepted, with which error others are refused, and which are the same.

use serde_json::json;

use super::*;

fn decode(json: &str) -> Result<Request, Diagnostic> {
    Request::decode(&serde_json::from_str(json).unwrap())
}

#[test]
fn every_sample_event_is_decoded() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/restore");
    let mut decoded = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let request = decode(&std::fs::read_to_string(&path).unwrap());
        assert!(request.is_ok(), "{}: {request:?}", path.display());
        decoded += 1;
    }
    assert_eq!(decoded, 15);
}

#[test]
fn what_is_not_accepted_is_named() {
    let message = |json: &str| decode(json).unwrap_err().message;
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","time":"x"}"#), @"the event is not accepted: unknown field `time`, expected one of `cluster`, `action`, `of`, `plan_id`, `etcd_clusters`, `members`, `partial`, `at`, `snapshots`, `skew_minutes_max`, `masters`, `start`, `again`, `volume`, `mounted_by`, `allow_damaged`, `zones`, `restore_id`");
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"destroy"}"#), @r#"the event is not accepted: "action" is "destroy", and one of "restore", "plan", "list", "status", "undo", "redo", "history" is wanted"#);
    insta::assert_snapshot!(message("{}"), @"the event is not accepted: missing field `cluster`");
    insta::assert_snapshot!(message(r#"{"cluster":" "}"#), @r#""cluster" is empty: name the cluster, like k8s.mycompany.tld"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s.*"}"#), @r#""cluster" is "k8s.*", which is no DNS name: name one cluster as kops does, like k8s.mycompany.tld"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s.mycompany.tld "}"#), @r#""cluster" is "k8s.mycompany.tld ", which is no DNS name: name one cluster as kops does, like k8s.mycompany.tld"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","members":["a"]}"#), @r#""members" without "partial": true: one restored member beside newer peers is dangerous, so say that it is meant"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","at":"2026-11-22T07:30:00Z","snapshots":{"main/a":"snap-0a"}}"#), @r#""at" and "snapshots" contradict: give one of them"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","snapshots":{"a":"snap-0a"}}"#), @r#"the event is not accepted: "snapshots": "a" names no member: write <etcd cluster>/<member>, like main/a"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","start":"together"}"#), @r#""start" goes with "masters": "replace": masters that are left to you start as you start them"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","volume":{}}"#), @r#""volume" is empty: give type, iops, throughput, kms_key_id or initialization_rate, or leave it out"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","volume":{"kms_key_id":"alias/etcd key"}}"#), @r#""volume.kms_key_id" is "alias/etcd key", and the id or ARN of a key or of an alias is wanted"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","volume":{"iops":0}}"#), @r#""iops" and "throughput" of "volume" are whole numbers above zero"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","volume":{"initialization_rate":50}}"#), @r#""initialization_rate" of "volume" is in MiB/s, from 100 to 300, not 50"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"undo","at":"2026-11-22T07:30:00Z"}"#), @r#""undo" takes "cluster", "restore_id", "masters", "mounted_by" and "plan_id" alone"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"plan","of":"redo","zones":{"a":"b"}}"#), @r#""redo" takes "cluster", "restore_id", "masters", "mounted_by" and "plan_id" alone"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"history","restore_id":"r-0a"}"#), @r#""history" takes "cluster" alone"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","of":"undo"}"#), @r#""of" goes with "plan" alone"#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"plan","plan_id":"p-0"}"#), @r#""plan_id" goes with "restore", "undo" and "redo""#);
    insta::assert_snapshot!(message(r#"{"cluster":"k8s","restore_id":"r-0a"}"#), @r#""restore_id" goes with "status", "undo" and "redo": a restore is gone on with by sending its event again"#);
    let as_it_was = r#"{"cluster":"k8s","action":"status","at":"2026-11-22T07:30:00Z"}"#;
    assert!(decode(as_it_was).is_ok());
    assert!(message("[]").starts_with("the event is not a JSON object"));
}

/// Those among them that serde alone would take.
#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_field() {
    let wrong = json!({
        "cluster": [5, null, ["k8s"]],
        "action": [5, null, {"plan": null}],
        "of": [5, {"undo": null}],
        "plan_id": [5, null],
        "etcd_clusters": ["main", [5]],
        "members": ["a", [5]],
        "partial": ["yes", null],
        "at": [5],
        "snapshots": ["snap-0a", ["snap-0a"], {"main/a": 5}],
        "skew_minutes_max": ["60", -1, 1.5, null],
        "masters": [5, {"replace": null}],
        "start": [5, {"together": null}],
        "again": ["yes"],
        "volume": [
            5, [], ["gp3", 3000, 125, null, null], {"type": 5}, {"iops": "3000"},
            {"throughput": 4_000_000_000_i64}, {"kms_key_id": 5}, {"initialization_rate": 1.5},
        ],
        "mounted_by": [5, {"protokube": null}],
        "allow_damaged": ["yes"],
        "zones": [[], {"a": 5}],
        "restore_id": [5],
    });
    for (field, values) in wrong.as_object().unwrap() {
        for value in values.as_array().unwrap() {
            let mut event = json!({"cluster": "k8s"});
            event[field] = value.clone();
            let message = Request::decode(&event).unwrap_err().message;
            let names_it = message.contains(&format!("\"{field}"));
            assert!(
                names_it && message.ends_with(" is wanted"),
                "{event}: {message}"
            );
        }
    }
}

#[test]
fn neither_order_nor_repetition_of_what_is_named_makes_another_event() {
    let options = |json: &str| decode(json).unwrap().options();
    let partial =
        r#"{"cluster":"k8s","partial":true,"etcd_clusters":["main","events"],"members":["b","a"]}"#;
    let again = r#"{"members":["a","b","a"],"etcd_clusters":["events","main","events"],"partial":true,"cluster":"k8s"}"#;
    assert_eq!(options(partial), options(again));
    let named = r#"{"cluster":"k8s","snapshots":{"main/a":"snap-0a","main/b":"snap-0b"}}"#;
    let turned = r#"{"cluster":"k8s","snapshots":{"main/b":"snap-0b","main/a":"snap-0a"}}"#;
    assert_eq!(options(named), options(turned));
}

#[test]
fn events_are_the_same_when_their_options_are() {
    let options = |json: &str| decode(json).unwrap().options();
    let plain = r#"{"cluster":"k8s"}"#;
    for same in [
        r#"{"cluster":"k8s","action":"restore"}"#,
        r#"{"cluster":"k8s","again":true}"#,
        r#"{"cluster":"k8s","plan_id":"p-0"}"#,
        r#"{"cluster":"k8s","masters":"leave","start":"ordered","skew_minutes_max":60,"zones":{}}"#,
        r#"{"cluster":"k8s","partial":false,"allow_damaged":false}"#,
    ] {
        assert_eq!(options(same), options(plain), "{same}");
    }
    for other in [
        r#"{"cluster":"k8s","etcd_clusters":["main"]}"#,
        r#"{"cluster":"k8s","masters":"replace"}"#,
        r#"{"cluster":"k8s","at":"2026-11-22T07:30:00Z"}"#,
        r#"{"cluster":"k8s","volume":{"initialization_rate":300}}"#,
        r#"{"cluster":"k8s","mounted_by":"protokube"}"#,
    ] {
        assert_ne!(options(other), options(plain), "{other}");
    }
}
