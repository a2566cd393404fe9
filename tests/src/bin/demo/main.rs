//! The story of one cluster's backups, told with the real binaries on an emulated AWS: set up,
//! sabotaged, repaired, audited, lost, restored, restored again and undone. Needs no AWS account and leaves nothing running.

mod calendar_page;
mod stage;

use e2e::candidates::etcd_manager_candidates;
use e2e::story::next_noon;
use e2e::{BackedUpFleet, EmulatedAws, Function, Kops, Outcome};
use serde_json::{Value, json};

use crate::stage::Stage;

const CLUSTER: &str = "k8s.mycompany.tld";

#[tokio::main]
async fn main() {
    let mut stage = Stage::new();
    let fleet = set_up(&mut stage).await;
    drift(&mut stage, &fleet).await;
    fifteen_days(&mut stage, &fleet).await;
    missing_snapshot(&mut stage, &fleet).await;
    calendar(&mut stage, &fleet).await;
    loss_and_restore(&mut stage, &fleet).await;
    bad_change_and_back(&mut stage, &fleet).await;
    stage.end();
}

async fn set_up(stage: &mut Stage) -> BackedUpFleet {
    stage.scene("A kops cluster: three masters, etcd main and events on EBS, no backups");
    let aws = EmulatedAws::start().await;
    aws.set_clock(next_noon(aws.clock().await)).await;
    let cluster = Kops::new(CLUSTER).seed(&aws).await;
    let other = Kops::new("live-2.mycompany.tld").seed(&aws).await;
    let strangers = e2e::fleet::strangers(&aws, 10).await;
    let topic_arn = aws.create_topic("etcd-backup-alerts").await;
    stage.say(&format!(
        "{CLUSTER} has {} etcd volumes; {} has as many; {} volumes belong to others.",
        cluster.volumes.len(),
        other.name(),
        strangers.len()
    ));

    stage.scene("converge: what would it make?");
    let converge = Function::start(&aws, "converge", &[("ALERT_TOPIC_ARN", &topic_arn)]).await;
    stage
        .invoke(&converge, "converge", json!({"action": "plan"}))
        .await;
    stage.scene("converge: make it");
    let made = stage.invoke(&converge, "converge", json!({})).await;
    stage.scene("converge again, as every hour: nothing to do");
    stage.invoke(&converge, "converge", json!({})).await;
    let policy = made["policy_id"]
        .as_str()
        .expect("converge names the policy")
        .into();
    BackedUpFleet {
        aws,
        cluster,
        other,
        strangers,
        topic_arn,
        policy,
    }
}

async fn drift(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene("Somebody disables the DLM policy; converge repairs it");
    stage.say(&format!(
        "$ aws dlm update-lifecycle-policy --policy-id {} --state DISABLED",
        fleet.policy
    ));
    let disable = fleet
        .aws
        .dlm()
        .update_lifecycle_policy()
        .policy_id(fleet.policy.as_str());
    let disable = disable.state(aws_sdk_dlm::types::SettablePolicyStateValues::Disabled);
    disable.send().await.expect("the policy is there");
    let converge = fleet.function("converge").await;
    stage.invoke(&converge, "converge", json!({})).await;
}

async fn fifteen_days(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene("Fifteen days pass: DLM takes snapshots at 06:00 UTC and keeps fourteen");
    for _ in 0..15 {
        for run in fleet.next_morning().await {
            stage.say(&format!(
                "{}  {} snapshots taken, {} deleted",
                run.scheduled,
                run.created.len(),
                run.deleted.len()
            ));
        }
    }
    stage.scene("audit: proves it");
    let audit = fleet.function("audit").await;
    stage
        .invoke(&audit, "audit", json!({"now": fleet.now().await}))
        .await;
}

async fn missing_snapshot(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene("The next day one snapshot fails to appear: audit is red");
    fleet
        .aws
        .plant(fleet.cluster.volume("main/b"), Outcome::Missing, 1)
        .await;
    fleet.next_morning().await;
    let audit = fleet.function("audit").await;
    stage
        .invoke(&audit, "audit", json!({"now": fleet.now().await}))
        .await;
    stage.scene("The alert, as a subscriber of the topic gets it");
    for message in fleet.aws.messages().await {
        stage.show(&format!(
            "Subject: {}\nAttributes: {}\n\n{}",
            message.subject.unwrap_or_default(),
            Value::Object(message.attributes),
            message.message
        ));
    }
}

async fn calendar(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene("The same day as a CloudWatch dashboard shows it, in both of its themes");
    let audit = fleet.function("audit").await;
    let mut fragments = Vec::new();
    for theme in ["light", "dark"] {
        let context = json!({"theme": theme, "width": 1180});
        let event = json!({"now": fleet.now().await, "widgetContext": context});
        fragments.push((theme, stage.fragment(&audit, "audit", event).await));
    }
    let page = calendar_page::write(&fragments).expect("the target folder is writable");
    stage.say(&format!("Open {} in a browser.", page.display()));
}

async fn loss_and_restore(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene("All etcd volumes of the cluster are lost: quorum is gone");
    fleet.cluster.lose_volumes(&fleet.aws).await;
    what_masters_find(stage, fleet).await;
    let restore = fleet.function("restore").await;
    stage.scene("restore list: what is there to go back to?");
    stage
        .invoke(
            &restore,
            "restore",
            json!({"action": "list", "cluster": CLUSTER}),
        )
        .await;
    stage.scene("restore plan: what would it do?");
    stage
        .invoke(
            &restore,
            "restore",
            json!({"action": "plan", "cluster": CLUSTER}),
        )
        .await;
    stage.scene("restore");
    stage
        .invoke(&restore, "restore", json!({"cluster": CLUSTER}))
        .await;
    stage.scene("The same event once more, as a retry would send it: nothing is made twice");
    fleet.aws.clear_calls().await;
    restore
        .invoke(json!({"cluster": CLUSTER}))
        .await
        .expect("the restore is done");
    stage.say(&format!(
        "{} calls that write.",
        fleet.aws.writes().await.len()
    ));
    stage.scene("What a starting master now finds, by etcd-manager's own filters");
    what_masters_find(stage, fleet).await;
}

async fn bad_change_and_back(stage: &mut Stage, fleet: &BackedUpFleet) {
    stage.scene(
        "A week later somebody deletes the wrong namespaces: back to yesterday, masters replaced",
    );
    fleet.cluster.boot_masters(&fleet.aws).await;
    for _ in 0..7 {
        fleet.next_morning().await;
    }
    let terminating = json!({"instance_terminating_seconds": 2});
    fleet.aws.settings(terminating).await;
    let restore = fleet.function("restore").await;
    let event = |more: Value| {
        let mut event = json!({"cluster": CLUSTER});
        let fields = event.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        event
    };
    let plan = event(json!({"action": "plan", "masters": "replace"}));
    stage.invoke(&restore, "restore", plan).await;
    stage.scene(
        "The function is killed in the middle: the masters are gone, the exchange has not begun",
    );
    let replace = event(json!({"masters": "replace"}));
    let cut = crash_after(fleet, "TerminateInstances", replace.clone());
    cut.await;
    let status = event(json!({"action": "status"}));
    stage.invoke(&restore, "restore", status).await;
    stage.scene("The same event again: it goes on where it stopped");
    stage.invoke(&restore, "restore", replace).await;
    stage.scene("New masters start, and take what they find");
    masters_start(stage, fleet).await;
    stage.scene("It was not the namespaces after all: undo");
    let undo = event(json!({"action": "undo", "masters": "replace"}));
    stage.invoke(&restore, "restore", undo).await;
    masters_start(stage, fleet).await;
    let (states, violations) = fleet.aws.candidate_violations().await;
    stage.say(&format!(
        "In {} of {states} states of the volumes' tags would masters have found two volumes for one member.",
        violations.len()
    ));
}

/// Invokes restore and kills it when a call was made.
async fn crash_after(fleet: &BackedUpFleet, operation: &str, event: Value) {
    fleet.aws.clear_calls().await;
    let restore = fleet.function("restore").await;
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

async fn masters_start(stage: &mut Stage, fleet: &BackedUpFleet) {
    for (instance, volumes) in fleet.cluster.boot_masters(&fleet.aws).await {
        let volumes: Vec<&str> = volumes.iter().map(|volume| volume.as_str()).collect();
        stage.say(&format!("{instance} attaches {}", volumes.join(", ")));
    }
}

async fn what_masters_find(stage: &mut Stage, fleet: &BackedUpFleet) {
    for (member, zone) in &fleet.cluster.kops.members {
        for etcd_cluster in &fleet.cluster.kops.etcd_clusters {
            let found = etcd_manager_candidates(&fleet.aws, CLUSTER, etcd_cluster, zone).await;
            let found: Vec<&str> = found.iter().map(|volume| volume.as_str()).collect();
            let found = if found.is_empty() {
                "nothing".to_owned()
            } else {
                found.join(", ")
            };
            stage.say(&format!("{zone}, {etcd_cluster}/{member}: {found}"));
        }
    }
}
