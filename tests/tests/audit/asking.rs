//! What is asked and told: events, pages, alerts.

use e2e::{EmulatedAws, Fault, Function, Outcome, backed_up_fleet, shown_in_chat};
use serde_json::json;

use super::invoke;

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
async fn a_chat_channel_gets_the_same_and_people_still_get_the_text() {
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
    function
        .logs_once(|logs| logs.contains("policy_not_enabled"))
        .await;
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
