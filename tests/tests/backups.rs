//! What counts as a backup, told by the real audit and the real restore: strangers' snapshots never do,
//! ours do after a rename, and empty volumes' only when a person says so.

use aws_sdk_dlm::types::SettablePolicyStateValues;
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use e2e::fleet::etcd_volume;
use e2e::{BackedUpFleet, Function, backed_up_fleet};
use serde_json::{Value, json};

const CLUSTER: &str = "k8s.mycompany.tld";

async fn invoke(function: &Function, event: Value) -> Value {
    let answer = function.invoke(event).await;
    answer.unwrap_or_else(|error| panic!("{error}\n{}", function.logs()))
}

/// The restore points of the cluster, newest first.
async fn points(restore: &Function) -> Vec<Value> {
    let list = invoke(restore, json!({"action": "list", "cluster": CLUSTER})).await;
    list["restore_points"].as_array().unwrap().clone()
}

/// How many members the due run left no snapshot of, as the audit says.
async fn missing(fleet: &BackedUpFleet, audit: &Function) -> usize {
    let answer = invoke(
        audit,
        json!({"now": fleet.now().await, "clusters": [CLUSTER]}),
    )
    .await;
    let findings = answer["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["kind"] == "snapshot_missing")
        .count()
}

/// Another team's policy that says whatever ours does: it takes the same volumes, adds the same tags.
async fn policy_of_another_team(fleet: &BackedUpFleet) -> String {
    let ours = fleet.aws.dlm().get_lifecycle_policy();
    let ours = ours.policy_id(fleet.policy.as_str()).send().await.unwrap();
    let ours = ours.policy.unwrap();
    let create = fleet.aws.dlm().create_lifecycle_policy();
    let created = create
        .description("every volume of team b")
        .execution_role_arn(ours.execution_role_arn.unwrap())
        .policy_details(ours.policy_details.unwrap())
        .state(SettablePolicyStateValues::Enabled)
        .send();
    created.await.unwrap().policy_id.unwrap()
}

/// A recovery point of AWS Backup for each of the cluster's volumes, with the volume's own tags.
async fn aws_backup_runs(fleet: &BackedUpFleet) {
    for (key, volume) in &fleet.cluster.volumes {
        let (etcd_cluster, member) = (key.etcd_cluster.as_str(), key.member.as_str());
        let mut tags = fleet.cluster.kops.volume_tags(etcd_cluster, member);
        tags.insert("SnapshotCreator".to_owned(), "DLM".to_owned());
        let tags = tags.into_iter();
        let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
        let specification = TagSpecification::builder()
            .resource_type(ResourceType::Snapshot)
            .set_tags(Some(tags.collect()));
        let create = fleet.aws.ec2().create_snapshot().volume_id(volume.as_str());
        let create = create.tag_specifications(specification.build());
        let id = create.send().await.unwrap().snapshot_id.unwrap();
        let arn = format!("arn:aws:ec2:eu-west-2:123456789012:volume/{volume}");
        let by_aws_backup = json!({"tags": {"aws:backup:source-resource": arn}});
        fleet
            .aws
            .set_snapshot(&id.as_str().into(), by_aws_backup)
            .await;
    }
}

#[tokio::test]
async fn strangers_snapshots_are_no_backup_whatever_they_carry() {
    let fleet = backed_up_fleet(1).await;
    let (audit, restore) = (
        fleet.function("audit").await,
        fleet.function("restore").await,
    );
    let theirs = policy_of_another_team(&fleet).await;
    fleet.next_morning().await;
    let both = points(&restore).await;
    assert_eq!(both.len(), 2);
    for member in both[0]["members"].as_array().unwrap() {
        let id = member["snapshot_id"].as_str().unwrap();
        let describe = fleet.aws.ec2().describe_snapshots().snapshot_ids(id);
        let snapshot = describe.send().await.unwrap().snapshots.unwrap().remove(0);
        let mut tags = snapshot.tags.unwrap().into_iter();
        let policy = tags.find(|tag| tag.key() == Some("aws:dlm:lifecycle-policy-id"));
        let policy = policy.and_then(|tag| tag.value).unwrap();
        assert_eq!(policy, fleet.policy.as_str(), "and not {theirs}");
    }
    // A day on which only they run is a day without a backup.
    let disabled = json!({"state": "DISABLED"});
    fleet.aws.set_policy(&fleet.policy, disabled).await;
    fleet.next_morning().await;
    aws_backup_runs(&fleet).await;
    assert_eq!(points(&restore).await, both);
    assert_eq!(missing(&fleet, &audit).await, fleet.cluster.volumes.len());
}

#[tokio::test]
async fn what_the_schedule_made_under_its_former_name_stays_a_backup_though_it_adds_no_tag() {
    let fleet = backed_up_fleet(0).await;
    let untagged = ("TAGS_TO_ADD", "");
    let renamed = [untagged, ("SCHEDULE_NAME", "Every day")];
    let converge = Function::start(&fleet.aws, "converge", &[untagged]).await;
    invoke(&converge, json!({})).await;
    fleet.next_morning().await;
    let restore = Function::start(&fleet.aws, "restore", &renamed).await;
    let before = points(&restore).await;
    assert_eq!(before.len(), 1);
    let converge = Function::start(&fleet.aws, "converge", &renamed).await;
    invoke(&converge, json!({})).await;
    assert_eq!(points(&restore).await, before);
    fleet.next_morning().await;
    let after = points(&restore).await;
    assert_eq!(after.len(), 2);
    assert_eq!(after[1], before[0]);
}

#[tokio::test]
async fn empty_volumes_are_asked_about_before_their_first_run_and_after_their_second() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    fleet.cluster.lose_volumes(&fleet.aws).await;
    for key in fleet.cluster.volumes.keys() {
        let (etcd_cluster, member) = (key.etcd_cluster.as_str(), key.member.as_str());
        let tags = fleet.cluster.kops.volume_tags(etcd_cluster, member);
        etcd_volume(&fleet.aws, fleet.cluster.zone(member), false, &tags).await;
    }
    let of_the_dead = points(&restore).await;
    for mornings in [0, 2] {
        for _ in 0..mornings {
            fleet.next_morning().await;
        }
        let plan = json!({"action": "plan", "cluster": CLUSTER});
        let error = restore.invoke(plan).await.unwrap_err();
        assert_eq!(
            error.error_type, "RestorePointDoubtful",
            "{}",
            error.message
        );
        // Each way that the message names is one.
        let newest = points(&restore).await.remove(0);
        for point in [&newest, &of_the_dead[0]] {
            let at = point["latest"].as_str().unwrap();
            let named = format!("\"at\": \"{at}\" takes the run of");
            assert!(error.message.contains(&named), "{}", error.message);
            let plan = json!({"action": "plan", "cluster": CLUSTER, "at": at});
            let plan = invoke(&restore, plan).await;
            assert_eq!(plan["restore_point"]["run"], point["run"]);
        }
    }
    let told: Vec<(bool, bool)> = points(&restore)
        .await
        .iter()
        .map(|point| (point["doubtful"] == true, point["mixed"] == true))
        .collect();
    let (empty, good) = ((true, false), (false, false));
    assert_eq!(told, [empty, empty, good, good]);
}

#[tokio::test]
async fn a_run_that_a_loss_falls_into_is_no_restore_point() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    // Of one member a new, empty volume is made within the last run, after the others' snapshots.
    let newest = points(&restore).await.remove(0);
    let (key, volume) = fleet.cluster.volumes.first_key_value().unwrap();
    let members = newest["members"].as_array().unwrap().iter();
    let own = |member: &&Value| {
        member["etcd_cluster"] == key.etcd_cluster.as_str()
            && member["member"] == key.member.as_str()
    };
    let snapshot = members.clone().find(own).unwrap()["snapshot_id"].as_str();
    fleet.cluster.lose_volume(&fleet.aws, volume).await;
    let (etcd_cluster, member) = (key.etcd_cluster.as_str(), key.member.as_str());
    let tags = fleet.cluster.kops.volume_tags(etcd_cluster, member);
    let new = etcd_volume(&fleet.aws, fleet.cluster.zone(member), false, &tags).await;
    let of_new = json!({"volume_id": new.as_str(), "start_time": fleet.now().await});
    fleet
        .aws
        .set_snapshot(&snapshot.unwrap().into(), of_new)
        .await;
    let point = points(&restore).await.remove(0);
    assert_eq!(
        (&point["mixed"], &point["complete"], &point["doubtful"]),
        (&json!(true), &json!(false), &json!(true))
    );
}
