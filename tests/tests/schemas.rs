//! The JSON Schemas in `events/schema`: made of the functions' own types, and true of every sample. That
//! they are true of answers is seen wherever a test invokes a function.

use std::fs;
use std::path::PathBuf;

use e2e::FUNCTIONS;
use e2e::schemas::{faults_of_answer, faults_of_event};
use schemars::Schema;
use serde_json::{Value, json};

/// What the types say, by function: its events and its answers.
fn of_types() -> [(&'static str, Schema, Schema); 4] {
    [
        (
            "converge",
            converge::schema::event(),
            converge::schema::answer(),
        ),
        ("audit", audit::schema::event(), audit::schema::answer()),
        (
            "restore",
            restore::schema::event(),
            restore::schema::answer(),
        ),
        ("verify", verify::schema::event(), verify::schema::answer()),
    ]
}

fn events(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../events")
        .join(folder)
}

#[test]
fn what_is_committed_is_what_the_types_say() {
    assert_eq!(of_types().map(|(name, ..)| name), FUNCTIONS);
    let mut differing = Vec::new();
    for (function, event, answer) in of_types() {
        for (kind, schema) in [("event", event), ("answer", answer)] {
            let path = events("schema").join(format!("{function}-{kind}.json"));
            let says = format!("{:#}\n", schema.as_value());
            if fs::read_to_string(&path).unwrap_or_default() != says {
                differing.push(format!("{function}-{kind}"));
                if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                    fs::write(&path, says).unwrap();
                }
            }
        }
    }
    assert!(
        differing.is_empty(),
        "{differing:?} differ: `make schemas` writes them anew"
    );
}

#[test]
fn every_sample_is_of_its_functions_schema() {
    let mut seen = 0;
    for function in FUNCTIONS {
        for entry in fs::read_dir(events(function)).unwrap() {
            let path = entry.unwrap().path();
            let sample = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let faults = faults_of_event(function, &sample);
            assert!(faults.is_empty(), "{}: {faults:#?}", path.display());
            seen += 1;
        }
        let version = json!({"action": "version"});
        assert_eq!(faults_of_event(function, &version), Vec::<String>::new());
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn what_a_function_refuses_is_not_of_its_schema() {
    let refused = [
        ("converge", json!({"action": "delete"})),
        ("converge", json!({"action": null})),
        ("converge", json!({"dry_run": true})),
        ("converge", json!([])),
        ("audit", json!({"cluster": "k8s.mycompany.tld"})),
        ("audit", json!({"clusters": "k8s.mycompany.tld"})),
        ("audit", json!({"clusters": []})),
        ("audit", json!({"clusters": [""]})),
        ("audit", json!({"now": "yesterday"})),
        ("audit", json!({"describe": false})),
        ("restore", json!({})),
        ("restore", json!({"cluster": ""})),
        ("restore", json!({"cluster": "k8s.*"})),
        ("restore", json!({"cluster": "k8s", "action": "destroy"})),
        ("restore", json!({"cluster": 5})),
        (
            "restore",
            json!({"cluster": "k8s", "action": {"plan": null}}),
        ),
        (
            "restore",
            json!({"cluster": "k8s", "masters": {"replace": null}}),
        ),
        (
            "restore",
            json!({"cluster": "k8s", "volume": ["gp3", 3000, 125, null, null]}),
        ),
        ("restore", json!({"cluster": "k8s", "plan_id": null})),
        ("restore", json!({"cluster": "k8s", "time": "x"})),
        ("restore", json!({"cluster": "k8s", "etcd_clusters": []})),
        (
            "restore",
            json!({"cluster": "k8s", "snapshots": {"a": "snap-0a"}}),
        ),
        ("restore", json!({"cluster": "k8s", "snapshots": {}})),
        ("restore", json!({"cluster": "k8s", "volume": {"iops": 0}})),
        (
            "restore",
            json!({"cluster": "k8s", "volume": {"initialization_rate": 50}}),
        ),
        ("restore", json!({"cluster": "k8s", "skew_minutes_max": -1})),
        ("verify", json!({"snapshot": "snap-0a"})),
        ("verify", json!({"cluster": "k8s", "snapshots": {}})),
        ("verify", json!({"cluster": "k8s", "at": "yesterday"})),
        ("restore", json!({"action": "version", "cluster": "k8s"})),
    ];
    for (function, event) in refused {
        assert_ne!(
            faults_of_event(function, &event),
            Vec::<String>::new(),
            "{function}: {event}"
        );
    }
}

#[test]
fn an_answer_of_another_shape_is_seen() {
    let good = json!({"action": "version", "function": "audit", "version": "0.2.0", "text": "audit 0.2.0"});
    assert_eq!(faults_of_answer("audit", &good), Vec::<String>::new());
    for (field, value) in [
        ("versions", json!("0.2.0")),
        ("version", json!(2)),
        ("text", Value::Null),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        assert_ne!(
            faults_of_answer("audit", &wrong),
            Vec::<String>::new(),
            "{field}"
        );
    }
}
