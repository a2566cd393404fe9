//! Lifecycle Manager's word that it gave up on a policy: repaired and told, or none of our business.

use aws_sdk_dlm::types::{PolicyTypeValues, ResourceTypeValues};
use e2e::{Kops, Style, shown_in_chat};

use super::*;

/// The event, with the policy's ARN as Lifecycle Manager writes it.
fn gave_up_on(id: &str) -> Value {
    let arn = format!("arn:aws:dlm:eu-west-2:123456789012:policy/{id}");
    json!({
        "source": "aws.dlm",
        "detail-type": "DLM Policy State Change",
        "detail": {"state": "ERROR", "cause": "Role not found", "policy_id": arn},
    })
}

/// An account with a cluster, a topic and converge, and our policy in it.
async fn with_cluster() -> (EmulatedAws, Function) {
    let aws = EmulatedAws::start().await;
    let style = Style::New {
        control_plane: false,
    };
    let kops = Kops::new("k8s.mycompany.tld").etcd_clusters(&["main"]);
    kops.style(style).seed(&aws).await;
    let topic_arn = aws.create_topic("alerts").await;
    let converge = Function::start(&aws, "converge", &[("ALERT_TOPIC_ARN", &topic_arn)]).await;
    invoke(&converge, json!({})).await;
    (aws, converge)
}

/// Another team's policy: ours but for its name and what it goes by.
async fn another(aws: &EmulatedAws, change: impl FnOnce(&mut PolicyDetails)) -> String {
    let ours = policy_ids(aws).await.remove(0);
    let ours = policy(aws, &ours).await;
    let mut details = ours.policy_details.unwrap();
    change(&mut details);
    let create = aws
        .dlm()
        .create_lifecycle_policy()
        .description("team b")
        .execution_role_arn(ours.execution_role_arn.unwrap())
        .state(SettablePolicyStateValues::Enabled)
        .policy_details(details);
    create.send().await.unwrap().policy_id.unwrap()
}

#[tokio::test]
async fn another_teams_policy_that_takes_no_etcd_volume_is_not_reported() {
    let (aws, converge) = with_cluster().await;
    let databases = |details: &mut PolicyDetails| {
        details.target_tags = Some(vec![tag("app", "database")]);
    };
    let instances = |details: &mut PolicyDetails| {
        databases(details);
        details.resource_types = Some(vec![ResourceTypeValues::Instance]);
    };
    let images = |details: &mut PolicyDetails| {
        details.target_tags = Some(vec![tag("KubernetesCluster", "k8s.mycompany.tld")]);
        details.resource_types = Some(vec![ResourceTypeValues::Instance]);
        details.policy_type = Some(PolicyTypeValues::ImageManagement);
    };
    for stranger in [
        another(&aws, databases).await,
        another(&aws, instances).await,
        another(&aws, images).await,
    ] {
        let answer = invoke(&converge, gave_up_on(&stranger)).await;
        assert_eq!(answer["outcome"], "unchanged");
        assert_eq!(answer["warnings"], json!([]));
    }
    let messages = aws.messages().await;
    assert!(messages.is_empty(), "{messages:#?}");
    // Nor is it warned of where there is no topic.
    let untold = Function::start(&aws, "converge", &[]).await;
    let stranger = another(&aws, databases).await;
    let answer = invoke(&untold, gave_up_on(&stranger)).await;
    assert_eq!(answer["warnings"], json!([]));
}

#[tokio::test]
async fn a_policy_that_takes_etcd_volumes_is_reported_whosever_it_is() {
    let (aws, converge) = with_cluster().await;
    let cluster = |details: &mut PolicyDetails| {
        details.target_tags = Some(vec![tag("KubernetesCluster", "k8s.mycompany.tld")]);
    };
    let instances = |details: &mut PolicyDetails| {
        cluster(details);
        details.resource_types = Some(vec![ResourceTypeValues::Instance]);
    };
    let takers = [another(&aws, cluster).await, another(&aws, instances).await];
    for (told, taker) in takers.iter().enumerate() {
        invoke(&converge, gave_up_on(taker)).await;
        let messages = aws.messages().await;
        assert_eq!(messages.len(), told + 1);
        assert!(
            messages[told].message.contains(taker),
            "{}",
            messages[told].message
        );
    }
    // What it takes can't be read: better told in vain.
    let stranger = another(&aws, |details| {
        details.target_tags = Some(vec![tag("app", "database")]);
    });
    let stranger = stranger.await;
    let fault = Fault::error("ec2", "DescribeVolumes", "UnauthorizedOperation", 403);
    aws.fault(fault.forever()).await;
    invoke(&converge, gave_up_on(&stranger)).await;
    assert_eq!(aws.messages().await.len(), 3);
}

#[tokio::test]
async fn a_policy_in_error_is_repaired_and_reported() {
    let aws = EmulatedAws::start().await;
    let topic_arn = aws.create_topic("alerts").await;
    let converge = Function::start(&aws, "converge", &[("ALERT_TOPIC_ARN", &topic_arn)]).await;
    let made = invoke(&converge, json!({})).await;
    let id = made["policy_id"].as_str().unwrap();
    aws.set_policy(
        &id.into(),
        json!({"state": "ERROR", "status_message": "role gone"}),
    )
    .await;
    let answer = invoke(&converge, gave_up_on(id)).await;
    assert_eq!(changes(&answer), ["update dlm-policy state"]);
    let messages = aws.messages().await;
    assert_eq!(messages.len(), 1);
    assert!(messages[0].message.contains(id), "{}", messages[0].message);
    assert!(
        messages[0].message.contains("Role not found"),
        "{}",
        messages[0].message
    );
    assert_eq!(messages[0].attributes["severity"], "critical");
}

#[tokio::test]
async fn a_chat_channel_gets_the_alert_of_a_policy_in_error() {
    let aws = EmulatedAws::start().await;
    let topic_arn = aws.create_topic("alerts").await;
    let variables = [
        ("ALERT_TOPIC_ARN", topic_arn.as_str()),
        ("ALERT_FORMAT", "chat"),
        ("DASHBOARD_NAME", "etcd-backup-eu-west-2"),
    ];
    let converge = Function::start(&aws, "converge", &variables).await;
    let made = invoke(&converge, json!({})).await;
    let id = made["policy_id"].as_str().unwrap();
    invoke(&converge, gave_up_on(id)).await;
    let message = aws.messages().await.remove(0);
    let shown = shown_in_chat(&message);
    for told in [
        id,
        "Role not found",
        "docs/reference/findings.md#policy_not_enabled",
        "#dashboards/dashboard/etcd-backup-eu-west-2",
    ] {
        assert!(
            shown["content"].to_string().contains(told),
            "{told}: {shown}"
        );
        assert!(
            message.message.contains(told),
            "{told}: {}",
            message.message
        );
    }
}

#[tokio::test]
async fn a_policy_that_is_gone_is_not_reported() {
    let (aws, converge) = with_cluster().await;
    let gone = another(&aws, |details| {
        details.target_tags = Some(vec![tag("KubernetesCluster", "k8s.mycompany.tld")]);
    });
    let gone = gone.await;
    let delete = aws.dlm().delete_lifecycle_policy().policy_id(&gone);
    delete.send().await.unwrap();
    let answer = invoke(&converge, gave_up_on(&gone)).await;
    assert_eq!(answer["outcome"], "unchanged");
    assert_eq!(answer["warnings"], json!([]));
    let messages = aws.messages().await;
    assert!(messages.is_empty(), "{messages:#?}");
    // Whether it is gone can't be told where the policies can't be listed.
    let fault = Fault::error("dlm", "GetLifecyclePolicies", "AccessDeniedException", 403);
    aws.fault(fault.forever()).await;
    converge.invoke(gave_up_on(&gone)).await.unwrap_err();
    assert_eq!(aws.messages().await.len(), 1);
}

#[tokio::test]
async fn people_are_alerted_of_a_policy_in_error_even_if_it_cannot_be_repaired() {
    let aws = EmulatedAws::start().await;
    let topic_arn = aws.create_topic("alerts").await;
    let converge = Function::start(&aws, "converge", &[("ALERT_TOPIC_ARN", &topic_arn)]).await;
    let made = invoke(&converge, json!({})).await;
    let event = gave_up_on(made["policy_id"].as_str().unwrap());
    aws.fault(Fault::error("iam", "GetRole", "AccessDenied", 403).forever())
        .await;
    let error = converge.invoke(event.clone()).await.unwrap_err();
    assert_eq!(error.error_type, "AwsError");
    assert_eq!(aws.messages().await.len(), 1);
    aws.clear_faults().await;

    let untold = Function::start(&aws, "converge", &[]).await;
    let answer = invoke(&untold, event).await;
    assert!(
        answer["warnings"].to_string().contains("nobody was told"),
        "{}",
        answer["warnings"]
    );
    assert_eq!(aws.messages().await.len(), 1);
}
