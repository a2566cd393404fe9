//! One cluster's backups, shown with the real binaries on an emulated AWS: set up,
//! sabotaged, repaired, audited, read by verify, lost, restored by plan beside another, restored in the right order and undone. Needs no AWS account and leaves nothing running.

mod calendar_page;
mod restores;
mod stage;
mod verifies;

use e2e::backed_up::next_noon;
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
    verifies::read_before_relied_on(&mut stage).await;
    restores::loss_of_two_clusters(&mut stage, &fleet).await;
    restores::bad_change_and_back(&mut stage, &fleet).await;
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
