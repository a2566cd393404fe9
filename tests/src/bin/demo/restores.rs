//! The scenes about restore: a loss of two clusters at once, a plan that the restore is bound to, masters
//! that start in the right order, and the way back.

use std::collections::BTreeSet;

use e2e::candidates::etcd_manager_candidates;
use e2e::restore_bed::{event_of, while_masters_start_fast};
use e2e::restores::{forget_lease, restore_function};
use e2e::{BackedUpFleet, Cluster, Function, MasterDid, MountedBy};
use serde_json::{Value, json};

use crate::stage::Stage;

/// Both clusters' volumes are lost, and both are restored at the same time.
pub async fn loss_of_two_clusters(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene("All etcd volumes of both clusters are lost: quorum is gone");
    for cluster in [&fleet.cluster, &fleet.other] {
        cluster.lose_volumes(&fleet.aws).await;
    }
    what_masters_find(stage, fleet).await;
    let name = fleet.cluster.name();
    let restore = restore_function(&fleet.aws).await;
    stage.scene("restore list: what is there to go back to?");
    let list = event_of(name, json!({"action": "list"}));
    stage.invoke(&restore, "restore", list).await;
    stage.scene("restore plan: what would it do?");
    let plan = event_of(name, json!({"action": "plan"}));
    let plan = stage.invoke(&restore, "restore", plan).await;

    stage.scene(
        "restore, by the plan's id: that and nothing else; the other cluster at the same time",
    );
    let other = restore_function(&fleet.aws).await;
    let by_plan = event_of(name, json!({"plan_id": plan["plan_id"]}));
    let other_event = event_of(fleet.other.name(), json!({}));
    stage.command("restore", &by_plan);
    stage.command("restore", &other_event);
    fleet.aws.clear_calls().await;
    let slow = json!({"volume_creating_seconds": 2});
    fleet.aws.settings(slow).await;
    let (one, two) = tokio::join!(restore.invoke(by_plan.clone()), other.invoke(other_event));
    for answer in [one, two] {
        let answer = answer.expect("neither waits for the other");
        stage.say(&format!("{}: {}", answer["cluster"], answer["phase"]));
        stage.show(answer["text"].as_str().unwrap_or_default());
    }
    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 0}))
        .await;
    stage.scene("The same event once more, as a retry would send it: nothing is made twice");
    fleet.aws.clear_calls().await;
    restore.invoke(by_plan).await.expect("the restore is done");
    let writes = fleet.aws.writes().await;
    let writes = writes.iter().filter(|call| call.service != "dynamodb");
    stage.say(&format!(
        "{} calls that change volumes, instances or groups.",
        writes.count()
    ));
    stage.scene("What a starting master now finds, by etcd-manager's own filters");
    what_masters_find(stage, fleet).await;
}

/// Back to yesterday, masters replaced: planned, killed in the middle, looked at, gone on with.
pub async fn bad_change_and_back(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene(
        "A week later somebody deletes the wrong namespaces: back to yesterday, masters replaced",
    );
    let name = fleet.cluster.name();
    fleet.cluster.boot_masters(&fleet.aws).await;
    fleet
        .aws
        .start_masters(&fleet.cluster, MountedBy::EtcdManager)
        .await;
    for _ in 0..7 {
        fleet.next_morning().await;
    }
    let terminating = json!({"instance_terminating_seconds": 2});
    fleet.aws.settings(terminating).await;
    let mut restore = restore_function(&fleet.aws).await;
    let event = |more: Value| event_of(name, more);
    let plan = event(json!({"action": "plan", "masters": "replace"}));
    let plan = stage.invoke(&restore, "restore", plan).await;
    stage.scene(
        "The function is killed in the middle: the masters are gone, the exchange has not begun",
    );
    let replace = event(json!({"masters": "replace", "plan_id": plan["plan_id"]}));
    killed_after(fleet, &restore, "TerminateInstances", replace.clone()).await;
    restore.restart().await;
    let status = event(json!({"action": "status"}));
    stage.invoke(&restore, "restore", status.clone()).await;
    stage.say("The killed invocation's lease runs out within some ten seconds; the next one waits for it.");
    forget_lease(&fleet.aws, name).await;

    stage.scene("The same event again: it goes on where it stopped; status tells how far it is");
    fleet.aws.forget_master_events().await;
    let onlooker = restore_function(&fleet.aws).await;
    stage.command("restore", &replace);
    let watching = watch(stage, &onlooker, &status);
    let going_on = while_masters_start_fast(&fleet.aws, restore.invoke(replace));
    let answer = tokio::select! {
        answer = going_on => answer.expect("it goes on"),
        () = watching => unreachable!("it watches until the restore is done"),
    };
    stage.show(answer["text"].as_str().unwrap_or_default());
    stage.scene("The order in which masters started: the newest member among the first quorum");
    start_order(stage, fleet, &answer).await;

    stage.scene("It was not the namespaces after all: undo");
    let undo = event(json!({"action": "undo", "masters": "replace"}));
    stage.command("restore", &undo);
    let undone = while_masters_start_fast(&fleet.aws, restore.invoke(undo)).await;
    let undone = undone.expect("it is undone");
    stage.show(undone["text"].as_str().unwrap_or_default());
    stage.scene("history: what was done to this cluster");
    let history = event(json!({"action": "history"}));
    stage.invoke(&restore, "restore", history).await;
    let (states, violations) = fleet.aws.candidate_violations().await;
    stage.say(&format!(
        "In {} of {states} states of the volumes' tags would masters have found two volumes for one member.",
        violations.len()
    ));
}

/// Asks for the status again and again, and says each phase once. Never returns.
async fn watch(stage: &Stage, onlooker: &Function, status: &Value) {
    let mut seen = BTreeSet::new();
    loop {
        if let Ok(answer) = onlooker.invoke(status.clone()).await {
            let phase = answer["phase"].as_str().unwrap_or_default().to_owned();
            let suspended = answer["masters"]["suspended"]
                .as_array()
                .map_or(0, Vec::len);
            if seen.insert((phase.clone(), suspended)) {
                stage.say(&format!(
                    "status: {phase}; groups whose launches are held: {suspended}"
                ));
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}

async fn start_order(stage: &Stage, fleet: &BackedUpFleet, answer: &Value) {
    stage.say(&format!("start_first: {}", answer["start_first"]));
    for event in fleet.aws.master_events().await {
        match event.event {
            MasterDid::Launched => stage.say(&format!(
                "{}  {} launches {}",
                event.at, event.group, event.instance
            )),
            MasterDid::Attached => stage.say(&format!(
                "{}  {} attaches {}, {}/{}",
                event.at,
                event.instance,
                event
                    .volume
                    .map(|volume| volume.to_string())
                    .unwrap_or_default(),
                event.etcd_cluster.unwrap_or_default(),
                event.member.unwrap_or_default(),
            )),
        }
    }
}

/// Invokes restore and kills it when a call was made.
async fn killed_after(fleet: &BackedUpFleet, restore: &Function, operation: &str, event: Value) {
    fleet.aws.clear_calls().await;
    let called = async {
        let is_called =
            |calls: Vec<e2e::Call>| calls.iter().any(|call| call.operation == operation);
        while !is_called(fleet.aws.calls().await) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = restore.invoke(event) => {}
        () = called => restore.kill().await,
    }
}

async fn what_masters_find(stage: &Stage, fleet: &BackedUpFleet) {
    for cluster in [&fleet.cluster, &fleet.other] {
        for (member, zone) in &cluster.kops.members {
            for etcd_cluster in &cluster.kops.etcd_clusters {
                let found = found_in(fleet, cluster, etcd_cluster, zone).await;
                stage.say(&format!(
                    "{}, {zone}, {etcd_cluster}/{member}: {found}",
                    cluster.name()
                ));
            }
        }
    }
}

async fn found_in(
    fleet: &BackedUpFleet,
    cluster: &Cluster,
    etcd_cluster: &str,
    zone: &str,
) -> String {
    let found = etcd_manager_candidates(&fleet.aws, cluster.name(), etcd_cluster, zone).await;
    let found: Vec<&str> = found.iter().map(|volume| volume.as_str()).collect();
    if found.is_empty() {
        "nothing".to_owned()
    } else {
        found.join(", ")
    }
}
