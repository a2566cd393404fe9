//! What drifts is found by a plan and repaired by an apply, and what means the same is no drift.

use std::future::Future;
use std::pin::Pin;

use aws_sdk_dlm::types::CreateRule;

use super::*;

/// Something that goes wrong with what converge made.
type Drift = for<'a> fn(&'a EmulatedAws, String) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! drift {
    (|$aws:ident, $id:ident| $body:expr) => {
        (|$aws: &EmulatedAws, $id: String| -> Pin<Box<dyn Future<Output = ()> + '_>> {
            Box::pin(async move {
                let _ = &$id;
                $body;
            })
        }) as Drift
    };
}

fn drifts() -> Vec<(&'static str, Drift)> {
    let mut drifts = iam_drifts();
    drifts.extend(dlm_drifts());
    drifts
}

fn iam_drifts() -> Vec<(&'static str, Drift)> {
    vec![
        (
            "update iam-role trust_policy",
            drift!(|aws, _id| {
                let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"dlm.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
                let update = aws.iam().update_assume_role_policy().role_name(ROLE);
                update.policy_document(trust).send().await.unwrap()
            }),
        ),
        (
            "update iam-role tags.managed-by",
            drift!(|aws, _id| {
                let untag = aws
                    .iam()
                    .untag_role()
                    .role_name(ROLE)
                    .tag_keys("managed-by");
                untag.send().await.unwrap()
            }),
        ),
        (
            "update iam-policy document",
            drift!(|aws, _id| {
                let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}"#;
                let version = aws.iam().create_policy_version().policy_arn(POLICY_ARN);
                version
                    .policy_document(document)
                    .set_as_default(true)
                    .send()
                    .await
                    .unwrap()
            }),
        ),
        (
            "update iam-policy tags.managed-by",
            drift!(|aws, _id| {
                let untag = aws
                    .iam()
                    .untag_policy()
                    .policy_arn(POLICY_ARN)
                    .tag_keys("managed-by");
                untag.send().await.unwrap()
            }),
        ),
        (
            "create iam-attachment",
            drift!(|aws, _id| {
                let detach = aws.iam().detach_role_policy().role_name(ROLE);
                detach.policy_arn(POLICY_ARN).send().await.unwrap()
            }),
        ),
    ]
}

fn dlm_drifts() -> Vec<(&'static str, Drift)> {
    vec![
        (
            "update dlm-policy state",
            drift!(|aws, id| {
                let update = aws.dlm().update_lifecycle_policy().policy_id(&id);
                update
                    .state(SettablePolicyStateValues::Disabled)
                    .send()
                    .await
                    .unwrap()
            }),
        ),
        (
            "update dlm-policy description",
            drift!(|aws, id| {
                let update = aws.dlm().update_lifecycle_policy().policy_id(&id);
                update.description("mine now").send().await.unwrap()
            }),
        ),
        (
            "update dlm-policy execution_role_arn",
            drift!(|aws, id| {
                let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"dlm.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
                let role = aws.iam().create_role().role_name("other");
                role.assume_role_policy_document(trust)
                    .send()
                    .await
                    .unwrap();
                let update = aws.dlm().update_lifecycle_policy().policy_id(&id);
                let arn = "arn:aws:iam::123456789012:role/other";
                update.execution_role_arn(arn).send().await.unwrap()
            }),
        ),
        (
            "update dlm-policy target_tags",
            drift!(|aws, id| edit(aws, &id, |d| d.target_tags = Some(vec![tag("a", "b")])).await),
        ),
        (
            "update dlm-policy schedule.name",
            drift!(|aws, id| edit(aws, &id, |d| schedule(d).name = Some("Other".into())).await),
        ),
        (
            "update dlm-policy schedule.copy_tags",
            drift!(|aws, id| edit(aws, &id, |d| schedule(d).copy_tags = Some(false)).await),
        ),
        (
            "update dlm-policy schedule.tags_to_add",
            drift!(|aws, id| edit(aws, &id, |d| schedule(d).tags_to_add = None).await),
        ),
        (
            "update dlm-policy schedule.create_rule.interval",
            drift!(|aws, id| {
                let change = |d: &mut PolicyDetails| {
                    schedule(d).create_rule.as_mut().unwrap().interval = Some(12)
                };
                edit(aws, &id, change).await
            }),
        ),
        (
            "update dlm-policy schedule.create_rule.times",
            drift!(|aws, id| {
                let times = Some(vec!["23:00".to_owned()]);
                let change =
                    |d: &mut PolicyDetails| schedule(d).create_rule.as_mut().unwrap().times = times;
                edit(aws, &id, change).await
            }),
        ),
        (
            "update dlm-policy schedule.retain_rule.count",
            drift!(|aws, id| {
                let rule = RetainRule::builder().count(3).build();
                edit(aws, &id, |d| schedule(d).retain_rule = Some(rule)).await
            }),
        ),
        (
            "update dlm-policy schedule.create_rule.interval schedule.create_rule.times \
             schedule.create_rule.cron_expression",
            drift!(|aws, id| {
                let rule = CreateRule::builder().cron_expression("cron(0 7 * * ? *)");
                let rule = rule.build();
                edit(aws, &id, |d| schedule(d).create_rule = Some(rule)).await
            }),
        ),
        (
            "update dlm-policy tags.managed-by",
            drift!(|aws, id| {
                let arn = format!("arn:aws:dlm:eu-west-2:123456789012:policy/{id}");
                let untag = aws
                    .dlm()
                    .untag_resource()
                    .resource_arn(arn)
                    .tag_keys("managed-by");
                untag.send().await.unwrap()
            }),
        ),
    ]
}

#[tokio::test]
async fn each_field_that_drifts_is_found_by_plan_and_repaired_by_apply() {
    let (aws, converge) = converged().await;
    let id = policy_ids(&aws).await.remove(0);
    for (expected, drift) in drifts() {
        drift(&aws, id.clone()).await;
        aws.clear_calls().await;
        let plan = invoke(&converge, json!({"action": "plan"})).await;
        assert_eq!(changes(&plan), [expected], "{}", plan["text"]);
        assert_eq!(plan["outcome"], "drifted");
        assert_eq!(
            aws.writes().await.len(),
            0,
            "{expected}: a plan writes nothing"
        );

        let applied = invoke(&converge, json!({})).await;
        assert_eq!(applied["outcome"], "changed");
        assert_eq!(applied["changes"], plan["changes"]);
        assert_eq!(applied["policy_id"], id.as_str());
        let again = invoke(&converge, json!({"action": "plan"})).await;
        assert_eq!(
            again["outcome"], "unchanged",
            "{expected}: {}",
            again["text"]
        );
    }
}

#[tokio::test]
async fn documents_that_mean_the_same_are_no_drift_and_six_others_fit_into_five_versions() {
    let (aws, converge) = converged().await;
    let get = aws
        .iam()
        .get_policy_version()
        .policy_arn(POLICY_ARN)
        .version_id("v1");
    let ours = get
        .send()
        .await
        .unwrap()
        .policy_version
        .unwrap()
        .document
        .unwrap();
    let mut ours = percent_decoded(&ours);
    let statements = ours["Statement"].as_array_mut().unwrap();
    statements.reverse();
    for (index, statement) in statements.iter_mut().enumerate() {
        if let Some(actions) = statement["Action"].as_array_mut() {
            actions.reverse();
        } else {
            statement["Action"] = json!([statement["Action"].clone()]);
        }
        statement["Sid"] = json!(format!("Shuffled{index}"));
    }
    put_document(&aws, &ours.to_string()).await;
    let plan = invoke(&converge, json!({"action": "plan"})).await;
    assert_eq!(plan["outcome"], "unchanged", "{}", plan["text"]);

    for action in ["Describe*", "Create*", "Delete*", "Get*", "Run*", "Stop*"] {
        let statement =
            json!({"Effect": "Allow", "Action": format!("ec2:{action}"), "Resource": "*"});
        put_document(
            &aws,
            &json!({"Version": "2012-10-17", "Statement": statement}).to_string(),
        )
        .await;
        let applied = invoke(&converge, json!({})).await;
        assert_eq!(changes(&applied), ["update iam-policy document"]);
    }
    let plan = invoke(&converge, json!({"action": "plan"})).await;
    assert_eq!(plan["outcome"], "unchanged");
}

/// Makes a document the policy's default, with room made for it as a person would.
async fn put_document(aws: &EmulatedAws, document: &str) {
    let versions = aws
        .iam()
        .list_policy_versions()
        .policy_arn(POLICY_ARN)
        .send()
        .await
        .unwrap();
    let versions = versions.versions.unwrap();
    if versions.len() == 5 {
        let spare = versions
            .iter()
            .find(|version| !version.is_default_version())
            .unwrap();
        let delete = aws.iam().delete_policy_version().policy_arn(POLICY_ARN);
        delete
            .version_id(spare.version_id().unwrap())
            .send()
            .await
            .unwrap();
    }
    let create = aws.iam().create_policy_version().policy_arn(POLICY_ARN);
    create
        .policy_document(document)
        .set_as_default(true)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_changed_schedule_records_since_when_and_nothing_else_does() {
    let (aws, converge) = converged().await;
    let id = policy_ids(&aws).await.remove(0);
    let since = async || {
        let tags = policy(&aws, &id).await.tags.unwrap();
        tags["etcd-backup/schedule-since"].clone()
    };
    let made = since().await;
    edit(&aws, &id, |details| {
        schedule(details).copy_tags = Some(false)
    })
    .await;
    invoke(&converge, json!({})).await;
    assert_eq!(since().await, made, "how runs are made is as it was");

    // The record is to the second.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let more = Function::start(&aws, "converge", &[("RETAIN_COUNT", "20")]).await;
    let changed = invoke(&more, json!({})).await;
    assert_eq!(
        changes(&changed),
        ["update dlm-policy schedule.retain_rule.count"]
    );
    let recorded = since().await;
    assert_ne!(recorded, made);

    aws.fault(Fault::error(
        "dlm",
        "UpdateLifecyclePolicy",
        "AccessDeniedException",
        403,
    ))
    .await;
    let refused = Function::start(&aws, "converge", &[("RETAIN_COUNT", "30")]).await;
    refused.invoke(json!({})).await.unwrap_err();
    assert_eq!(
        since().await,
        recorded,
        "a change that did not happen is not recorded"
    );
}

#[tokio::test]
async fn the_role_is_made_with_the_boundary_that_is_set_and_keeps_it() {
    let aws = EmulatedAws::start().await;
    let nothing = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}"#;
    for name in ["boundary", "other"] {
        let policy = aws.iam().create_policy().policy_name(name).path("/team/");
        policy.policy_document(nothing).send().await.unwrap();
    }
    let variables = [("PERMISSIONS_BOUNDARY", "team/boundary")];
    let converge = Function::start(&aws, "converge", &variables).await;
    let made = invoke(&converge, json!({})).await;
    assert_eq!(changes(&made), ALL_CREATED);
    let boundary = async || {
        let role = aws.iam().get_role().role_name(ROLE).send().await.unwrap();
        let boundary = role.role.unwrap().permissions_boundary?;
        boundary.permissions_boundary_arn
    };
    let ours = "arn:aws:iam::123456789012:policy/team/boundary";
    assert_eq!(boundary().await.as_deref(), Some(ours));
    assert_eq!(invoke(&converge, json!({})).await["outcome"], "unchanged");

    let other = "arn:aws:iam::123456789012:policy/team/other";
    let put = aws.iam().put_role_permissions_boundary().role_name(ROLE);
    put.permissions_boundary(other).send().await.unwrap();
    // Without the setting it is nobody's business.
    let unbounded = Function::start(&aws, "converge", &[]).await;
    assert_eq!(invoke(&unbounded, json!({})).await["outcome"], "unchanged");
    let repaired = invoke(&converge, json!({})).await;
    assert_eq!(changes(&repaired), ["update iam-role permissions_boundary"]);
    let difference = &repaired["changes"][0]["differences"][0];
    assert_eq!(
        (&difference["actual"], &difference["desired"]),
        (&json!(other), &json!(ours))
    );
    assert_eq!(boundary().await.as_deref(), Some(ours));

    let remove = aws.iam().delete_role_permissions_boundary().role_name(ROLE);
    remove.send().await.unwrap();
    let by_arn = [("PERMISSIONS_BOUNDARY", ours)];
    let converge = Function::start(&aws, "converge", &by_arn).await;
    let repaired = invoke(&converge, json!({})).await;
    assert_eq!(changes(&repaired), ["update iam-role permissions_boundary"]);
    assert_eq!(boundary().await.as_deref(), Some(ours));
}
