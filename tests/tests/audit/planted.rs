//! One thing broken in a clean world, and everything at once.

use std::time::Duration;

use aws_sdk_dlm::types::LifecyclePolicy;
use e2e::{BackedUpFleet, Outcome, backed_up_fleet};
use serde_json::json;

use super::runs::left_over;
use super::{audit, delete_snapshot, findings, invoke, newest_snapshot};

/// Ours, as DLM has it.
async fn own_policy(fleet: &BackedUpFleet) -> LifecyclePolicy {
    let id = fleet.policy.as_str();
    let policy = fleet.aws.dlm().get_lifecycle_policy().policy_id(id);
    policy.send().await.unwrap().policy.unwrap()
}

#[tokio::test]
async fn each_planted_fault_is_found_and_nothing_else() {
    let fleet = backed_up_fleet(3).await;
    let function = fleet.function("audit").await;
    let (aws, cluster) = (&fleet.aws, &fleet.cluster);
    let volume = cluster.volume("main/a").clone();
    let check = async |what: &str, expected: &[&str]| {
        let answer = invoke(&fleet, &function).await;
        assert_eq!(findings(&answer), expected, "{what}");
    };

    let failed = newest_snapshot(aws, &volume).await;
    aws.set_snapshot(&failed, json!({"state": "error"})).await;
    check(
        "snapshot_failed",
        &["critical snapshot_failed k8s.mycompany.tld main a"],
    )
    .await;
    aws.set_snapshot(&failed, json!({"state": "completed"}))
        .await;

    aws.set_volume(&volume, json!({"tags": {"k8s.io/role/master": null}}))
        .await;
    check(
        "volume_not_targeted",
        &[
            "critical volume_not_targeted k8s.mycompany.tld main a",
            "info snapshots_orphaned k8s.mycompany.tld",
        ],
    )
    .await;
    aws.set_volume(&volume, json!({"tags": {"k8s.io/role/master": "1"}}))
        .await;

    aws.set_volume(&volume, json!({"tags": {"k8s.io/etcd/main": "a:b"}}))
        .await;
    check(
        "volume_tag_wrong",
        &["warning volume_tag_wrong k8s.mycompany.tld"],
    )
    .await;
    aws.set_volume(&volume, json!({"tags": {"k8s.io/etcd/main": "a/a,b,c"}}))
        .await;

    let stray = &fleet.strangers[0];
    aws.set_volume(
        stray,
        json!({"tags": {"k8s.io/etcd/<b>": "ä/ö", "k8s.io/role/master": "1"}}),
    )
    .await;
    check("a stranger's tag", &["warning volume_tag_wrong"]).await;
    aws.set_volume(
        stray,
        json!({"tags": {"k8s.io/etcd/<b>": null, "k8s.io/role/master": null}}),
    )
    .await;

    aws.set_policy(
        &fleet.policy,
        json!({"state": "ERROR", "status_message": "role gone"}),
    )
    .await;
    check("policy_not_enabled", &["critical policy_not_enabled"]).await;
    aws.set_policy(&fleet.policy, json!({"state": "ENABLED"}))
        .await;

    let tags = cluster.kops.volume_tags("events", "b");
    let twin = e2e::fleet::etcd_volume(aws, "eu-west-2b", false, &tags).await;
    check(
        "member_duplicated",
        // The second volume is blank, beside snapshots of the first.
        &[
            "critical member_duplicated k8s.mycompany.tld events b",
            "warning volume_recreated k8s.mycompany.tld events b",
        ],
    )
    .await;
    aws.ec2()
        .delete_volume()
        .volume_id(twin.as_str())
        .send()
        .await
        .unwrap();

    check("clean again", &[]).await;
    let missing = newest_snapshot(aws, &volume).await;
    delete_snapshot(aws, &missing).await;
    check(
        "snapshot_missing",
        &["critical snapshot_missing k8s.mycompany.tld main a"],
    )
    .await;

    aws.dlm()
        .delete_lifecycle_policy()
        .policy_id(fleet.policy.as_str())
        .send()
        .await
        .unwrap();
    check(
        "policy_missing",
        &[
            "critical policy_missing",
            "critical snapshot_missing k8s.mycompany.tld main a",
        ],
    )
    .await;
}

#[tokio::test]
async fn each_weakness_is_found_and_nothing_else() {
    let fleet = backed_up_fleet(4).await;
    let function = fleet.function("audit").await;
    let (aws, cluster) = (&fleet.aws, &fleet.cluster);
    let volume = cluster.volume("main/a").clone();
    let newest = newest_snapshot(aws, &volume).await;
    let check = async |what: &str, expected: &[&str]| {
        let answer = invoke(&fleet, &function).await;
        assert_eq!(findings(&answer), expected, "{what}");
    };

    let discovery = json!({"tags": {"Name": null, "SnapshotCreator": "me"}});
    aws.set_snapshot(&newest, discovery).await;
    check(
        "snapshot_tag_wrong",
        &["warning snapshot_tag_wrong k8s.mycompany.tld main a"],
    )
    .await;
    let name = "a.etcd-main.k8s.mycompany.tld";
    aws.set_snapshot(
        &newest,
        json!({"tags": {"Name": name, "SnapshotCreator": "DLM"}}),
    )
    .await;

    for wrong in [
        json!({"Name": "b.etcd-main.k8s.mycompany.tld"}),
        json!({"kubernetes.io/cluster/k8s.mycompany.tld": null}),
        json!({"kubernetes.io/cluster/other.tld": "owned"}),
        json!({"k8s.io/role/control-plane": "yes"}),
    ] {
        aws.set_volume(&volume, json!({"tags": wrong})).await;
        let expected = ["warning volume_tag_wrong k8s.mycompany.tld main a"];
        check(&wrong.to_string(), &expected).await;
        let right = json!({
            "Name": name,
            "kubernetes.io/cluster/k8s.mycompany.tld": "owned",
            "kubernetes.io/cluster/other.tld": null,
            "k8s.io/role/control-plane": null,
        });
        aws.set_volume(&volume, json!({"tags": right})).await;
    }

    let started = fleet.now().await - Duration::from_secs(20 * 60);
    aws.set_snapshot(&newest, json!({"start_time": started}))
        .await;
    check(
        "restore_point_skewed",
        &["warning restore_point_skewed k8s.mycompany.tld"],
    )
    .await;
    let on_time = started - Duration::from_secs(70 * 60);
    aws.set_snapshot(&newest, json!({"start_time": on_time}))
        .await;

    let policy = own_policy(&fleet).await;
    let mut details = policy.policy_details.unwrap();
    let target = aws_sdk_dlm::types::Tag::builder()
        .key("KubernetesCluster")
        .value("k8s.mycompany.tld");
    details.target_tags = Some(vec![target.build()]);
    let theirs = aws
        .dlm()
        .create_lifecycle_policy()
        .description("another team")
        .execution_role_arn(policy.execution_role_arn.unwrap())
        .state(aws_sdk_dlm::types::SettablePolicyStateValues::Enabled)
        .policy_details(details);
    let theirs = theirs.send().await.unwrap().policy_id.unwrap();
    check("policy_duplicated", &["info policy_duplicated"]).await;
    aws.dlm()
        .delete_lifecycle_policy()
        .policy_id(theirs)
        .send()
        .await
        .unwrap();

    let root = &cluster.masters[0].root_volume;
    cluster.lose_volume(aws, root).await;
    check(
        "snapshots_orphaned",
        &["info snapshots_orphaned k8s.mycompany.tld"],
    )
    .await;
}

#[tokio::test]
async fn everything_wrong_at_once_is_found_each_by_its_name() {
    let fleet = backed_up_fleet(16).await;
    let (aws, ours, theirs) = (&fleet.aws, &fleet.cluster, &fleet.other);
    aws.plant(ours.volume("main/b"), Outcome::Pending, 1).await;
    aws.plant(ours.volume("main/c"), Outcome::Missing, 1).await;
    fleet.next_morning().await;
    aws.plant(ours.volume("events/a"), Outcome::Error, 1).await;
    aws.plant(ours.volume("events/b"), Outcome::Missing, 1)
        .await;
    fleet.next_morning().await;
    // After the last run, as DLM would delete them by the next.
    for days in [15, 16, 17] {
        left_over(&fleet, "main/a", days).await;
    }
    for oldest in aws
        .snapshots_of(ours.volume("events/c"))
        .await
        .iter()
        .rev()
        .take(3)
    {
        delete_snapshot(aws, oldest).await;
    }
    let late = fleet.now().await - Duration::from_secs(10 * 60);
    let of_theirs = newest_snapshot(aws, theirs.volume("main/a")).await;
    aws.set_snapshot(
        &of_theirs,
        json!({"start_time": late, "tags": {"Name": "x"}}),
    )
    .await;
    let wrong = json!({"tags": {"k8s.io/role/master": null, "Name": "x"}});
    aws.set_volume(theirs.volume("main/a"), wrong).await;
    theirs.lose_volume(aws, theirs.volume("main/b")).await;
    let twin = theirs.kops.volume_tags("main", "c");
    e2e::fleet::etcd_volume(aws, theirs.zone("c"), false, &twin).await;
    for member in ["a", "b", "c"] {
        theirs
            .lose_volume(aws, theirs.volume(&format!("events/{member}")))
            .await;
    }
    aws.set_policy(&fleet.policy, json!({"state": "DISABLED"}))
        .await;
    let policy = own_policy(&fleet).await;
    let doubled = aws
        .dlm()
        .create_lifecycle_policy()
        .description("etcd data lifecycle policy")
        .execution_role_arn(policy.execution_role_arn.unwrap())
        .policy_details(policy.policy_details.unwrap())
        .state(aws_sdk_dlm::types::SettablePolicyStateValues::Enabled);
    // Ours is disabled, so it takes two more for volumes to be taken twice.
    doubled.clone().send().await.unwrap();
    doubled.send().await.unwrap();

    let answer = audit(&fleet).await;
    assert_eq!(
        findings(&answer),
        [
            "critical policy_not_enabled",
            "critical snapshot_failed k8s.mycompany.tld events a",
            "critical snapshot_missing k8s.mycompany.tld events b",
            "critical no_etcd_volumes live-2.mycompany.tld events",
            "critical volume_not_targeted live-2.mycompany.tld main a",
            "critical member_missing live-2.mycompany.tld main b",
            "critical member_duplicated live-2.mycompany.tld main c",
            "warning policy_duplicated",
            "warning retention_short k8s.mycompany.tld events c",
            "warning retention_exceeded k8s.mycompany.tld main a",
            "warning snapshot_stuck k8s.mycompany.tld main b",
            "warning snapshot_gap k8s.mycompany.tld main c",
            "warning restore_point_skewed live-2.mycompany.tld",
            "warning snapshot_tag_wrong live-2.mycompany.tld main a",
            "warning volume_tag_wrong live-2.mycompany.tld main a",
            "warning volume_recreated live-2.mycompany.tld main c",
            "info snapshots_orphaned live-2.mycompany.tld",
        ],
        "{}",
        answer["text"].as_str().unwrap()
    );
    assert_eq!(answer["worst"], "critical");
    assert_eq!(aws.messages().await.len(), 1, "one message for all");
}
