//! Runs over the days: clean ones, one that failed, histories too short, too long or stuck.

use std::time::Duration;

use e2e::{BackedUpFleet, Outcome, backed_up_fleet};
use etcd_backup_core::ids::SnapshotId;
use serde_json::json;

use super::{audit, delete_snapshot, findings, invoke, newest_snapshot};

#[tokio::test]
async fn fifteen_clean_days_are_ok_and_cost_five_calls() {
    let fleet = backed_up_fleet(15).await;
    let answer = audit(&fleet).await;
    assert_eq!(
        findings(&answer),
        Vec::<String>::new(),
        "{}",
        answer["text"].as_str().unwrap()
    );
    assert_eq!(answer["worst"], "ok");
    assert_eq!(answer["alerted"], false);
    let calls: Vec<String> = fleet
        .aws
        .calls()
        .await
        .into_iter()
        .filter(|call| call.attempt == 1)
        .map(|call| call.operation)
        .collect();
    let mut sorted = calls.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "DescribeSnapshots",
            "DescribeVolumes",
            "GetLifecyclePolicies",
            "GetLifecyclePolicy",
            // Which clusters have records of restores.
            "Query",
        ]
    );
    let summary = &answer["summary"];
    assert_eq!(summary["clusters"], 2);
    assert_eq!(summary["volumes"], 12);
    assert_eq!(summary["volumes_covered"], 12);
    assert_eq!(
        summary["snapshots"],
        12 * 14,
        "retention keeps 14 of 15 days"
    );
    let cluster = &answer["clusters"][0];
    assert_eq!(cluster["cluster"], "k8s.mycompany.tld");
    assert_eq!(cluster["restore_points"], 14);
    assert!(cluster["skew_seconds"].as_i64().unwrap() < 600);
    assert!(fleet.aws.messages().await.is_empty());
}

#[tokio::test]
async fn a_day_without_its_snapshot_is_reported_by_one_message() {
    let fleet = backed_up_fleet(8).await;
    let volume = fleet.cluster.volume("main/a").clone();
    fleet.aws.plant(&volume, Outcome::Missing, 1).await;
    fleet.next_morning().await;
    fleet.aws.clear_calls().await;

    let answer = audit(&fleet).await;
    assert_eq!(
        findings(&answer),
        ["critical snapshot_missing k8s.mycompany.tld main a"]
    );
    assert_eq!(answer["alerted"], true);
    let finding = &answer["findings"][0];
    assert_eq!(finding["volume_id"], volume.as_str());
    assert_eq!(finding["evidence"]["expected_after"], answer["due_run"]);
    let latest = newest_snapshot(&fleet.aws, &volume).await;
    assert_eq!(finding["evidence"]["latest_snapshot"], latest.as_str());
    assert_eq!(answer["summary"]["volumes_covered"], 11);
    assert_eq!(answer["clusters"][0]["restore_points"], 8);

    let messages = fleet.aws.messages().await;
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(message.topic_arn, fleet.topic_arn);
    assert_eq!(
        message.subject.as_deref(),
        Some(
            "etcd backup CRITICAL: snapshot_missing in k8s.mycompany.tld (123456789012 eu-west-2)"
        )
    );
    assert!(
        message.message.contains(volume.as_str()),
        "{}",
        message.message
    );
    assert_eq!(message.attributes["severity"], "critical");
    assert_eq!(message.attributes["clusters"], json!(["k8s.mycompany.tld"]));
    assert_eq!(message.attributes["kinds"], json!(["snapshot_missing"]));

    for _ in 0..6 {
        fleet.next_morning().await;
    }
    let answer = audit(&fleet).await;
    assert_eq!(
        findings(&answer),
        ["warning snapshot_gap k8s.mycompany.tld main a"],
        "what is past is no longer critical, and not forgotten either"
    );
}

#[tokio::test]
async fn a_clean_fleet_is_ok_at_every_hour_and_a_failed_run_from_due_to_due() {
    let fleet = backed_up_fleet(16).await;
    let function = fleet.function("audit").await;
    fleet
        .aws
        .plant(fleet.cluster.volume("events/c"), Outcome::Error, 1)
        .await;
    let mut told = Vec::new();
    for _ in 0..60 {
        fleet.aws.advance(Duration::from_secs(3600)).await;
        let answer = invoke(&fleet, &function).await;
        told.push((answer["due_run"].clone(), findings(&answer)));
    }
    let failed_run = &told[24].0;
    for (due_run, findings) in &told {
        if due_run == failed_run {
            assert_eq!(
                findings,
                &["critical snapshot_failed k8s.mycompany.tld events c"]
            )
        } else {
            assert_eq!(findings, &Vec::<String>::new(), "{due_run}")
        }
    }
    assert_eq!(
        told.iter()
            .filter(|(due_run, _)| due_run == failed_run)
            .count(),
        24
    );
}

#[tokio::test]
async fn histories_that_end_early_go_on_too_long_or_are_stuck_are_found() {
    let fleet = backed_up_fleet(16).await;
    let function = fleet.function("audit").await;
    let (aws, cluster) = (&fleet.aws, &fleet.cluster);

    let left = [
        left_over(&fleet, "main/a", 14).await,
        left_over(&fleet, "main/a", 15).await,
    ];
    let answer = invoke(&fleet, &function).await;
    assert_eq!(
        findings(&answer),
        ["warning retention_exceeded k8s.mycompany.tld main a"]
    );
    assert_eq!(answer["findings"][0]["evidence"]["count"], 16);
    for snapshot in &left {
        delete_snapshot(aws, snapshot).await;
    }

    aws.plant(cluster.volume("main/b"), Outcome::Pending, 1)
        .await;
    fleet.next_morning().await;
    fleet.next_morning().await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(
        findings(&answer),
        ["warning snapshot_stuck k8s.mycompany.tld main b"]
    );

    let of_events = aws.snapshots_of(cluster.volume("events/a")).await;
    for oldest in of_events.iter().rev().take(3) {
        delete_snapshot(aws, oldest).await;
    }
    let answer = invoke(&fleet, &function).await;
    assert_eq!(
        findings(&answer),
        [
            "warning retention_short k8s.mycompany.tld events a",
            "warning snapshot_stuck k8s.mycompany.tld main b",
        ]
    );
    assert_eq!(answer["findings"][0]["evidence"]["count"], 3);
}

/// A snapshot that DLM left of a volume long ago and should have deleted since.
pub(super) async fn left_over(fleet: &BackedUpFleet, member: &str, days: u64) -> SnapshotId {
    let (etcd_cluster, name) = member.split_once('/').unwrap();
    let volume = fleet.cluster.volume(member);
    let create = fleet.aws.ec2().create_snapshot().volume_id(volume.as_str());
    let snapshot: SnapshotId = create.send().await.unwrap().snapshot_id.unwrap().into();
    let mut tags = fleet.cluster.kops.volume_tags(etcd_cluster, name);
    tags.insert("SnapshotCreator".into(), "DLM".into());
    tags.insert(
        "aws:dlm:lifecycle-policy-id".into(),
        fleet.policy.to_string(),
    );
    tags.insert(
        "aws:dlm:lifecycle-schedule-name".into(),
        "Daily 2 week etcd snapshots".into(),
    );
    let started = fleet.now().await - Duration::from_secs((days * 24 + 1) * 3600);
    let changes = json!({"start_time": started, "tags": tags});
    fleet.aws.set_snapshot(&snapshot, changes).await;
    snapshot
}
