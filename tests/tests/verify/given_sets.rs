//! The sets of real crashed members, read through the EBS direct APIs, against what their real restarts
//! showed.

use e2e::etcd_images::truth;
use e2e::verify_bed::{CLUSTER, answered};
use e2e::{VerifyBed, etcd_images};
use serde_json::{Value, json};

/// Fields of a member's answer and of what is known of it.
const FIELDS: [(&str, &str); 9] = [
    ("member_id", "member_id"),
    ("data_dir", "data_dir"),
    ("other_data_dirs", "other_data_dirs"),
    ("revision", "db_revision"),
    ("consistent_index", "consistent_index"),
    ("term", "term"),
    ("commit", "commit"),
    ("wal_last", "wal_last"),
    ("db_size", "db_size"),
];

async fn reads_as_known(name: &str) {
    let known = &truth()[name];
    let bed = VerifyBed::of(&etcd_images(name)).await;
    let verify = bed.verify().await;
    let answer = answered(&verify, verify.invoke(json!({"cluster": CLUSTER})).await);
    assert_eq!(answer["verdict"], "restorable", "{name} {answer:#}");
    assert_eq!(answer["cluster"], CLUSTER);
    assert!(
        answer["restore_point"]
            .as_str()
            .unwrap()
            .ends_with("T06:00:00Z")
    );
    let [main] = &answer["etcd_clusters"].as_array().unwrap()[..] else {
        panic!("{answer:#}");
    };
    assert_eq!(main["etcd_cluster"], "main");
    assert_eq!(main["cluster_id"], known["cluster_id"]);
    let members = main["members"].as_array().unwrap();
    assert_eq!(members.len(), known["members"].as_object().unwrap().len());
    for member in members {
        let letter = member["member"].as_str().unwrap();
        let of_member = &known["members"][letter];
        for (field, known_field) in FIELDS {
            assert_eq!(
                member[field], of_member[known_field],
                "{name}/{letter} {field}"
            );
        }
        assert_eq!(member["verdict"], "restorable");
        assert_eq!(member["problems"], json!([]));
        let snapshot = bed.newest(&format!("main/{letter}")).await;
        assert_eq!(member["snapshot_id"], snapshot.as_str());
        assert!(member["blocks_read"].as_u64().unwrap() > 4);
    }
    holds_after_restarts(name, main, known);
    is_written_down(name, &bed, main).await;
}

/// Each real restart ended inside the range, and needed the order that is named.
fn holds_after_restarts(name: &str, main: &Value, known: &Value) {
    let range = &main["revision"];
    let bounds = range["at_least"].as_u64().unwrap()..=range["at_most"].as_u64().unwrap();
    for (order, outcome) in known["orders"].as_object().unwrap() {
        for revision in outcome["revision"].as_object().unwrap().values() {
            assert!(
                bounds.contains(&revision.as_u64().unwrap()),
                "{name} {order} {range}"
            );
        }
    }
    let first = main["start_first"].as_array().unwrap();
    assert_eq!(
        first.is_empty(),
        known["any_order"].as_bool().unwrap(),
        "{name}"
    );
}

async fn is_written_down(name: &str, bed: &VerifyBed, main: &Value) {
    for member in main["members"].as_array().unwrap() {
        let letter = &member["member"];
        let tags = bed
            .verdict_tags(&format!("main/{}", letter.as_str().unwrap()))
            .await;
        assert_eq!(tags["verified"], "restorable", "{name} {tags:?}");
        assert_eq!(tags["verified-revision"], member["revision"].to_string());
        assert_eq!(tags["cluster-id"], main["cluster_id"].as_str().unwrap());
        let is_first = main["start_first"].as_array().unwrap().contains(letter);
        assert_eq!(
            tags.get("start-first").map(String::as_str),
            is_first.then_some("1")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_3_5_under_load() {
    reads_as_known("etcd-3.5.30-b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_3_6_under_load() {
    reads_as_known("etcd-3.6.14-b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_3_7_at_one_moment() {
    reads_as_known("etcd-3.7.1-a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_3_7_under_load() {
    reads_as_known("etcd-3.7.1-b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_data_directories() {
    reads_as_known("two-data-directories").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member() {
    reads_as_known("quiet-single").await;
}
