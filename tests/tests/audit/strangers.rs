//! Other people's policies, volumes and snapshots in the account.

use aws_sdk_dlm::types::ResourceTypeValues;
use e2e::{BackedUpFleet, backed_up_fleet};
use serde_json::json;

use super::{NOTHING, delete_snapshot, findings, invoke, newest_snapshot};

#[tokio::test]
async fn thousands_of_strangers_and_odd_tags_disturb_nothing() {
    let fleet = backed_up_fleet(2).await;
    let function = fleet.function("audit").await;
    let long = "ä".repeat(250);
    let odd = json!({"tags": {"Name": long, "<script>": "<b>", "etcd-backup/restore-id": "x"}});
    for stranger in &fleet.strangers {
        fleet.aws.set_volume(stranger, odd.clone()).await;
    }
    let foreign = newest_snapshot(&fleet.aws, fleet.other.volume("main/a")).await;
    let kept = newest_snapshot(&fleet.aws, fleet.cluster.volume("main/a")).await;
    fleet
        .aws
        .set_snapshot(&kept, json!({"storage_tier": "archive"}))
        .await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(answer["worst"], "ok", "{}", answer["text"]);
    assert_eq!(
        answer["clusters"][0]["restore_points"], 1,
        "an archived one can't be restored from"
    );

    fleet
        .aws
        .set_snapshot(&foreign, json!({"owner_id": "999999999999"}))
        .await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(
        findings(&answer),
        ["critical snapshot_missing live-2.mycompany.tld main a"],
        "a snapshot shared by another account is not ours"
    );
}

/// Makes a policy of another team's for these resources, by tag.
async fn policy_of_others(fleet: &BackedUpFleet, resource: ResourceTypeValues, tag: (&str, &str)) {
    let ours = fleet.aws.dlm().get_lifecycle_policy();
    let ours = ours.policy_id(fleet.policy.as_str()).send().await.unwrap();
    let ours = ours.policy.unwrap();
    let mut details = ours.policy_details.unwrap();
    details.resource_types = Some(vec![resource]);
    let target = aws_sdk_dlm::types::Tag::builder().key(tag.0).value(tag.1);
    details.target_tags = Some(vec![target.build()]);
    let create = fleet.aws.dlm().create_lifecycle_policy();
    create
        .description("theirs")
        .execution_role_arn(ours.execution_role_arn.unwrap())
        .policy_details(details)
        .state(aws_sdk_dlm::types::SettablePolicyStateValues::Enabled)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_policy_for_instances_is_judged_by_the_masters_tags_and_costs_one_call() {
    let fleet = backed_up_fleet(2).await;
    let function = fleet.function("audit").await;
    let by_instance = ResourceTypeValues::Instance;
    policy_of_others(&fleet, by_instance, ("backup", "yes")).await;
    assert_eq!(findings(&invoke(&fleet, &function).await), NOTHING);

    let master = fleet.cluster.masters[0].instance.as_str();
    let tag = aws_sdk_ec2::types::Tag::builder()
        .key("backup")
        .value("yes");
    let tagged = fleet.aws.ec2().create_tags().resources(master);
    tagged.tags(tag.build()).send().await.unwrap();
    fleet.aws.clear_calls().await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(findings(&answer), ["info policy_duplicated"]);
    let calls = fleet.aws.calls().await;
    let asked = calls
        .iter()
        .filter(|call| call.operation == "DescribeInstances");
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn snapshots_of_another_policy_are_neither_cover_nor_orphans() {
    let fleet = backed_up_fleet(2).await;
    let function = fleet.function("audit").await;
    let by_volume = ResourceTypeValues::Volume;
    let cluster = ("KubernetesCluster", "k8s.mycompany.tld");
    policy_of_others(&fleet, by_volume, cluster).await;
    let volume = fleet.cluster.volume("main/a").clone();
    let before = fleet.aws.snapshots_of(&volume).await;
    let runs = fleet.next_morning().await;
    let ours = runs.iter().find(|run| run.policy_id == fleet.policy);
    let of_volume = fleet.aws.snapshots_of(&volume).await;
    let ours = ours.unwrap().created.iter();
    let mut ours = ours.filter(|id| of_volume.contains(id) && !before.contains(id));
    delete_snapshot(&fleet.aws, ours.next().unwrap()).await;
    fleet
        .cluster
        .lose_volume(&fleet.aws, fleet.cluster.volume("events/c"))
        .await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(
        findings(&answer),
        [
            "critical member_missing k8s.mycompany.tld events c",
            "critical snapshot_missing k8s.mycompany.tld main a",
            "info policy_duplicated",
            "info snapshots_orphaned k8s.mycompany.tld",
        ],
        "{}",
        answer["text"].as_str().unwrap()
    );
    assert_eq!(answer["findings"][3]["evidence"]["count"], 3);
    let text = answer.to_string();
    let theirs = runs.iter().filter(|run| run.policy_id != fleet.policy);
    for snapshot in theirs.flat_map(|run| &run.created) {
        assert!(!text.contains(snapshot.as_str()), "{snapshot}");
    }
}
