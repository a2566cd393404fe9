//! audit, the real binary over real HTTP: a clean fleet is ok, each planted fault is found and
//! nothing else, and what can't be read is never called healthy.

use std::time::Duration;

use aws_sdk_dlm::types::ResourceTypeValues;
use e2e::{
    BackedUpFleet, EmulatedAws, Fault, Function, InvocationOptions, Outcome, backed_up_fleet,
    shown_in_chat,
};
use etcd_backup_core::ids::{SnapshotId, VolumeId};
use serde_json::{Value, json};

const NOTHING: [&str; 0] = [];

async fn audit(fleet: &BackedUpFleet) -> Value {
    let audit = fleet.function("audit").await;
    invoke(fleet, &audit).await
}

async fn invoke(fleet: &BackedUpFleet, audit: &Function) -> Value {
    let answer = audit.invoke(json!({"now": fleet.now().await})).await;
    answer.unwrap_or_else(|error| panic!("{error}\n{}", audit.logs()))
}

/// The findings, a line each: severity, kind, cluster and member.
fn findings(answer: &Value) -> Vec<String> {
    let line = |finding: &Value| {
        let fields = ["severity", "kind", "cluster", "etcd_cluster", "member"];
        let present: Vec<&str> = fields
            .iter()
            .filter_map(|field| finding[*field].as_str())
            .collect();
        present.join(" ")
    };
    answer["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(line)
        .collect()
}

/// The newest snapshot of a volume.
async fn newest_snapshot(aws: &EmulatedAws, volume: &VolumeId) -> SnapshotId {
    aws.snapshots_of(volume).await.remove(0)
}

async fn delete_snapshot(aws: &EmulatedAws, snapshot: &SnapshotId) {
    aws.ec2()
        .delete_snapshot()
        .snapshot_id(snapshot.as_str())
        .send()
        .await
        .unwrap();
}

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
async fn a_day_without_its_snapshot_is_told_by_one_message() {
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
async fn lost_volumes_are_told_by_member_etcd_cluster_and_account() {
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
async fn every_page_is_read_and_none_may_be_missing() {
    let fleet = backed_up_fleet(3).await;
    let function = fleet.function("audit").await;
    fleet.aws.settings(json!({"page_size_max": 5})).await;
    let answer = invoke(&fleet, &function).await;
    assert_eq!(answer["worst"], "ok", "{}", answer["text"]);
    assert_eq!(answer["summary"]["snapshots"], 36);

    let throttled = Fault::error("ec2", "DescribeSnapshots", "RequestLimitExceeded", 503);
    fleet.aws.fault(throttled.nth(3).times(3)).await;
    assert_eq!(
        invoke(&fleet, &function).await["worst"],
        "ok",
        "throttling is waited out"
    );
    fleet.aws.clear_faults().await;

    let denied = Fault::error("ec2", "DescribeSnapshots", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.nth(4)).await;
    let error = function
        .invoke(json!({"now": fleet.now().await}))
        .await
        .unwrap_err();
    assert_eq!(error.error_type, "AwsError");
    let request_id = fleet
        .aws
        .calls()
        .await
        .into_iter()
        .rfind(|call| call.status == Some(403));
    let request_id = request_id.unwrap().request_id;
    assert!(
        error
            .message
            .contains("ec2:DescribeSnapshots failed with UnauthorizedOperation")
    );
    assert!(error.message.contains(&request_id), "{}", error.message);
    assert!(fleet.aws.messages().await.is_empty());
}

#[tokio::test]
async fn a_chat_channel_is_told_the_same_and_people_still_get_the_text() {
    let fleet = backed_up_fleet(2).await;
    let volume = fleet.cluster.volume("main/a").clone();
    fleet.aws.plant(&volume, Outcome::Missing, 1).await;
    fleet.next_morning().await;
    let links = [
        ("ALERT_TOPIC_ARN", fleet.topic_arn.as_str()),
        ("DASHBOARD_NAME", "etcd-backup-eu-west-2"),
        ("RESTORE_FUNCTION", "etcd-backup-restore"),
    ];
    let by_text = Function::start(&fleet.aws, "audit", &links).await;
    let variables = [links.as_slice(), &[("ALERT_FORMAT", "chat")]].concat();
    let by_chat = Function::start(&fleet.aws, "audit", &variables).await;
    let answer = invoke(&fleet, &by_text).await;
    assert_eq!(invoke(&fleet, &by_chat).await["alerted"], true);

    let messages = fleet.aws.messages().await;
    let [by_text, by_chat] = &messages[..] else {
        panic!("{messages:#?}");
    };
    assert_eq!(by_text.by_protocol, None);
    assert_eq!(by_chat.message, by_text.message);
    assert_eq!(by_chat.subject, by_text.subject);
    assert_eq!(by_chat.attributes, by_text.attributes);
    let shown = shown_in_chat(by_chat);
    let content = shown["content"].to_string();
    let finding = answer["findings"][0]["message"].as_str().unwrap();
    for told in [
        finding,
        "docs/reference/findings.md#snapshot_missing",
        "region=eu-west-2#dashboards/dashboard/etcd-backup-eu-west-2",
        "--function-name etcd-backup-restore",
    ] {
        assert!(content.contains(told), "{told}: {content}");
        assert!(
            by_text.message.contains(told),
            "{told}: {}",
            by_text.message
        );
    }
}

#[tokio::test]
async fn an_alert_that_cannot_be_published_fails_the_invocation_after_the_findings_are_logged() {
    let fleet = backed_up_fleet(1).await;
    let function = fleet.function("audit").await;
    fleet
        .aws
        .set_policy(&fleet.policy, json!({"state": "DISABLED"}))
        .await;
    fleet
        .aws
        .fault(Fault::error("sns", "Publish", "AuthorizationError", 403).forever())
        .await;
    let error = function
        .invoke(json!({"now": fleet.now().await}))
        .await
        .unwrap_err();
    assert_eq!(error.error_type, "AwsError");
    assert!(
        error
            .message
            .contains("sns:Publish failed with AuthorizationError"),
        "{}",
        error.message
    );
    assert!(
        function.logs().contains("policy_not_enabled"),
        "{}",
        function.logs()
    );
}

#[tokio::test]
async fn what_is_not_accepted_is_refused_before_anything_is_read() {
    let aws = EmulatedAws::start().await;
    let audit = Function::start(&aws, "audit", &[]).await;
    for event in [
        json!({"cluster": "k8s"}),
        json!({"clusters": []}),
        json!({"now": "x"}),
        json!([]),
    ] {
        let error = audit.invoke(event.clone()).await.unwrap_err();
        assert_eq!(error.error_type, "InvalidEvent", "{event}");
    }
    assert!(aws.calls().await.is_empty());

    let start = Function::start_expecting_exit(&aws, "audit", &[("RETAIN_COUNT", "0")]).await;
    assert_eq!(start.exit_code, Some(1));
    let line = "RETAIN_COUNT=\"0\": expected a whole number from 1 to 1000";
    assert_eq!(start.logs.trim(), format!("InvalidSetting: {line}"));
    assert!(start.init_error.unwrap().contains("InvalidSetting"));
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

    let policy = aws
        .dlm()
        .get_lifecycle_policy()
        .policy_id(fleet.policy.as_str())
        .send()
        .await;
    let policy = policy.unwrap().policy.unwrap();
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
async fn an_unfinished_restore_is_told_until_it_is_done() {
    let fleet = backed_up_fleet(1).await;
    let (audit, restore) = (
        fleet.function("audit").await,
        fleet.function("restore").await,
    );
    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 4}))
        .await;
    let event = json!({"cluster": "k8s.mycompany.tld"});
    let short = InvocationOptions::within(Duration::from_secs(7));
    let started = restore.invoke_with(event.clone(), short).await.unwrap();
    let answer = invoke(&fleet, &audit).await;
    assert_eq!(
        findings(&answer),
        ["warning restore_unfinished k8s.mycompany.tld"]
    );
    assert_eq!(
        answer["findings"][0]["evidence"]["restore_id"],
        started["restore_id"]
    );

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
        match due_run == failed_run {
            true => assert_eq!(
                findings,
                &["critical snapshot_failed k8s.mycompany.tld events c"]
            ),
            false => assert_eq!(findings, &Vec::<String>::new(), "{due_run}"),
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
async fn masters_left_on_what_a_restore_retired_are_told_until_they_are_gone() {
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

/// A snapshot that DLM left of a volume long ago and should have deleted since.
async fn left_over(fleet: &BackedUpFleet, member: &str, days: u64) -> SnapshotId {
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
    let policy = aws
        .dlm()
        .get_lifecycle_policy()
        .policy_id(fleet.policy.as_str())
        .send()
        .await;
    let policy = policy.unwrap().policy.unwrap();
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
