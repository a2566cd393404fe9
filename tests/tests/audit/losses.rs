//! What is gone: members, etcd clusters, an account's all; and what a restore left undone.

use std::time::Duration;

use e2e::restore_bed::stopped_by_time;
use e2e::restores::restore_function;
use e2e::{BackedUpFleet, EmulatedAws, Function, Outcome, backed_up_fleet};
use serde_json::{Value, json};

use super::{audit, findings, invoke};

#[tokio::test]
async fn lost_volumes_are_reported_by_member_etcd_cluster_and_account() {
    let fleet = backed_up_fleet(2).await;
    let function = fleet.function("audit").await;
    fleet
        .cluster
        .lose_volume(&fleet.aws, fleet.cluster.volume("events/c"))
        .await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(
        findings(&answer),
        [
            "critical member_missing k8s.mycompany.tld events c",
            "info snapshots_orphaned k8s.mycompany.tld",
        ]
    );

    for member in ["a", "b"] {
        let volume = fleet.cluster.volume(&format!("events/{member}"));
        fleet.cluster.lose_volume(&fleet.aws, volume).await;
    }
    let answer = invoke(&fleet, &function).await;
    assert_eq!(
        findings(&answer),
        [
            "critical no_etcd_volumes k8s.mycompany.tld events",
            "info snapshots_orphaned k8s.mycompany.tld",
        ]
    );
    assert_eq!(answer["clusters"][0]["volumes"], 3);

    let asked = json!({"now": fleet.now().await, "clusters": ["typo.mycompany.tld"]});
    let answer = function.invoke(asked).await.unwrap();
    assert_eq!(
        findings(&answer),
        ["critical no_etcd_volumes typo.mycompany.tld"]
    );
}

#[tokio::test]
async fn an_etcd_cluster_that_never_had_a_restore_point_is_critical() {
    let fleet = backed_up_fleet(0).await;
    let volume = fleet.cluster.volume("events/b").clone();
    fleet.aws.plant(&volume, Outcome::Pending, 1).await;
    fleet.next_morning().await;
    let answer = audit(&fleet).await;
    assert_eq!(
        findings(&answer),
        ["critical no_restore_point k8s.mycompany.tld events"]
    );
    assert_eq!(answer["clusters"][0]["latest_restore_point"], Value::Null);
}

#[tokio::test]
async fn an_empty_account_is_a_finding_unless_on_purpose() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    converge.invoke(json!({})).await.unwrap();
    let audit = Function::start(&aws, "audit", &[]).await;
    let answer = audit.invoke(json!({})).await.unwrap();
    assert_eq!(findings(&answer), ["critical no_etcd_volumes"]);
    assert_eq!(answer["alerted"], false);
    assert!(
        answer["text"]
            .as_str()
            .unwrap()
            .contains("ALERT_TOPIC_ARN is not set")
    );

    let audit = Function::start(&aws, "audit", &[("EXPECT_CLUSTERS", "none")]).await;
    assert_eq!(audit.invoke(json!({})).await.unwrap()["worst"], "ok");

    let audit = Function::start(&aws, "audit", &[("EXPECT_CLUSTERS", "k8s.mycompany.tld")]).await;
    let answer = audit.invoke(json!({})).await.unwrap();
    assert_eq!(
        findings(&answer),
        ["critical no_etcd_volumes k8s.mycompany.tld"]
    );
}

#[tokio::test]
async fn an_unfinished_restore_is_reported_until_it_is_done() {
    let fleet = backed_up_fleet(1).await;
    let audit = fleet.function("audit").await;
    let restore = restore_function(&fleet.aws).await;
    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 600}))
        .await;
    let event = json!({"cluster": "k8s.mycompany.tld"});
    let within = Duration::from_secs(7);
    let started = stopped_by_time(&fleet.aws, event.clone(), "creating", within).await;
    let answer = invoke(&fleet, &audit).await;
    assert_eq!(
        findings(&answer),
        ["warning restore_unfinished k8s.mycompany.tld"]
    );
    assert_eq!(
        answer["findings"][0]["evidence"]["restore_id"],
        started["restore_id"]
    );

    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 0}))
        .await;
    restore.invoke(event).await.unwrap();
    terminate_masters(&fleet).await;
    let answer = invoke(&fleet, &audit).await;
    assert_eq!(
        findings(&answer),
        ["info snapshots_orphaned k8s.mycompany.tld"]
    );
    assert_eq!(
        answer["summary"]["volumes_covered"], 12,
        "the members' history goes on"
    );
    fleet.next_morning().await;
    let answer = invoke(&fleet, &audit).await;
    assert_eq!(answer["worst"], "info", "{}", answer["text"]);
}

/// As the next steps of a restore say that leaves the masters alone.
async fn terminate_masters(fleet: &BackedUpFleet) {
    let masters = fleet.cluster.masters.iter();
    let ids = masters.map(|master| master.instance.to_string()).collect();
    let terminate = fleet.aws.ec2().terminate_instances();
    let terminate = terminate.set_instance_ids(Some(ids));
    terminate.send().await.unwrap();
    fleet.aws.advance(Duration::from_secs(600)).await;
}

#[tokio::test]
async fn masters_left_on_what_a_restore_retired_are_reported_until_they_are_gone() {
    let fleet = backed_up_fleet(2).await;
    let function = fleet.function("audit").await;
    let restore = fleet.function("restore").await;
    let event = json!({"cluster": "k8s.mycompany.tld"});
    let done = restore.invoke(event).await.unwrap();
    assert_eq!(done["phase"], "done", "{done}");
    let of_masters = |answer: &Value| -> Vec<Value> {
        let findings = answer["findings"].as_array().unwrap().iter();
        let of_masters = findings.filter(|finding| finding["kind"] == "masters_on_retired_volumes");
        of_masters.cloned().collect()
    };
    let answer = invoke(&fleet, &function).await;
    let found = of_masters(&answer);
    assert_eq!(found.len(), 1, "{}", answer["text"].as_str().unwrap());
    assert_eq!(found[0]["severity"], "critical");
    assert_eq!(found[0]["cluster"], "k8s.mycompany.tld");
    let masters = fleet.cluster.masters.iter();
    let mut masters: Vec<&str> = masters.map(|master| master.instance.as_str()).collect();
    masters.sort();
    assert_eq!(found[0]["evidence"]["instance_ids"], json!(masters));
    assert_eq!(answer["worst"], "critical");

    terminate_masters(&fleet).await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(of_masters(&answer), Vec::<Value>::new());
}
