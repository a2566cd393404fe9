//! converge, the real binary over real HTTP: made from nothing, adopted, drifted field by field,
//! interrupted anywhere, and never a second DLM policy.

use std::future::Future;
use std::pin::Pin;

use aws_sdk_dlm::types::{
    PolicyDetails, RetainRule, Schedule, SettablePolicyStateValues, ShareRule, Tag,
};
use e2e::{CrashPoint, EmulatedAws, Fault, Function};
use serde_json::{Value, json};

const ROLE: &str = "dlm-lifecycle-role";
const POLICY_ARN: &str = "arn:aws:iam::123456789012:policy/dlm-policy";

async fn invoke(converge: &Function, event: Value) -> Value {
    let answer = converge.invoke(event).await;
    answer.unwrap_or_else(|error| panic!("{error}\n{}", converge.logs()))
}

/// An account in which converge ran once.
async fn converged() -> (EmulatedAws, Function) {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    invoke(&converge, json!({})).await;
    aws.clear_calls().await;
    (aws, converge)
}

async fn policy_ids(aws: &EmulatedAws) -> Vec<String> {
    let listed = aws.dlm().get_lifecycle_policies().send().await.unwrap();
    let policies = listed.policies.unwrap_or_default();
    policies
        .into_iter()
        .map(|policy| policy.policy_id.unwrap())
        .collect()
}

/// The changes, a line each: operation, resource and fields.
fn changes(answer: &Value) -> Vec<String> {
    let fields = |change: &Value| {
        let differences = change["differences"].as_array().unwrap().iter();
        differences
            .map(|d| d["field"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let line = |change: &Value| {
        let text = |field: &str| change[field].as_str().unwrap().to_owned();
        format!(
            "{} {} {}",
            text("operation"),
            text("resource"),
            fields(change)
        )
        .trim_end()
        .to_owned()
    };
    answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(line)
        .collect()
}

const ALL_CREATED: [&str; 4] = [
    "create iam-role",
    "create iam-policy",
    "create iam-attachment",
    "create dlm-policy",
];

#[tokio::test]
async fn from_nothing_everything_is_made_and_then_nothing_is_written() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let plan = invoke(&converge, json!({"action": "plan"})).await;
    assert_eq!(
        (&plan["action"], &plan["outcome"]),
        (&json!("plan"), &json!("drifted"))
    );
    assert_eq!(changes(&plan), ALL_CREATED);
    assert_eq!(aws.writes().await.len(), 0, "a plan writes nothing");

    let made = invoke(&converge, json!({})).await;
    assert_eq!(
        (&made["action"], &made["outcome"]),
        (&json!("apply"), &json!("changed"))
    );
    assert_eq!(changes(&made), ALL_CREATED);
    assert_eq!(
        policy_ids(&aws).await,
        [made["policy_id"].as_str().unwrap()]
    );
    assert_eq!(
        made["role_arn"],
        "arn:aws:iam::123456789012:role/dlm-lifecycle-role"
    );

    aws.clear_calls().await;
    let second = invoke(
        &converge,
        json!({"source": "aws.scheduler", "detail": "{}"}),
    )
    .await;
    assert_eq!(second["outcome"], "unchanged");
    assert_eq!(second["policy_id"], made["policy_id"]);
    assert_eq!(aws.writes().await.len(), 0);
    let calls = aws.calls().await;
    assert!(calls.len() <= 6, "{calls:?}");
}

#[tokio::test]
async fn what_is_made_lets_dlm_do_its_work_and_nobody_else() {
    let (aws, _converge) = converged().await;
    let role = aws
        .iam()
        .get_role()
        .role_name(ROLE)
        .send()
        .await
        .unwrap()
        .role
        .unwrap();
    let trust = percent_decoded(role.assume_role_policy_document().unwrap());
    assert_eq!(
        trust["Statement"][0],
        json!({
            "Effect": "Allow",
            "Principal": {"Service": "dlm.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:dlm:*:123456789012:policy/*"},
            },
        })
    );
    assert_eq!(role.tags()[0].key(), "managed-by");
    assert_eq!(
        role.description(),
        None,
        "Terraform's own role has none either"
    );

    let id = policy_ids(&aws).await.remove(0);
    let policy = aws
        .dlm()
        .get_lifecycle_policy()
        .policy_id(&id)
        .send()
        .await
        .unwrap()
        .policy
        .unwrap();
    let tags = policy.tags().unwrap();
    assert_eq!(tags["managed-by"], "etcd-backup");
    assert!(
        tags["etcd-backup/schedule-since"]
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
    let schedule = &policy.policy_details().unwrap().schedules()[0];
    assert_eq!(schedule.copy_tags(), Some(true));
    assert_eq!(schedule.create_rule().unwrap().times(), ["06:00"]);
    assert_eq!(schedule.retain_rule().unwrap().count(), Some(14));
}

fn percent_decoded(document: &str) -> Value {
    // IAM gives documents URL-encoded; the SDK leaves them so.
    let mut bytes = Vec::new();
    let mut rest = document.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap().to_owned();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    serde_json::from_slice(&bytes).unwrap()
}

/// Something that goes wrong with what converge made.
type Drift = for<'a> fn(&'a EmulatedAws, String) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Changes the DLM policy's details by hand.
async fn edit(aws: &EmulatedAws, id: &str, change: impl FnOnce(&mut PolicyDetails)) {
    let policy = aws
        .dlm()
        .get_lifecycle_policy()
        .policy_id(id)
        .send()
        .await
        .unwrap();
    let mut details = policy.policy.unwrap().policy_details.unwrap();
    change(&mut details);
    aws.dlm()
        .update_lifecycle_policy()
        .policy_id(id)
        .policy_details(details)
        .send()
        .await
        .unwrap();
}

fn schedule(details: &mut PolicyDetails) -> &mut Schedule {
    &mut details.schedules.as_mut().unwrap()[0]
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

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
            "update dlm-policy schedule.share_rules",
            drift!(|aws, id| {
                let rule = ShareRule::builder().target_accounts("999999999999").build();
                edit(aws, &id, |d| schedule(d).share_rules = Some(vec![rule])).await
            }),
        ),
        (
            "update dlm-policy schedules",
            drift!(|aws, id| {
                let change = |details: &mut PolicyDetails| {
                    let mut second = schedule(details).clone();
                    second.name = Some("Second".into());
                    details.schedules.as_mut().unwrap().push(second);
                };
                edit(aws, &id, change).await
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
async fn a_run_that_dies_at_any_call_is_finished_by_the_next() {
    let mut boundaries = 0;
    for nth in 1.. {
        for point in [CrashPoint::Before(nth), CrashPoint::After(nth)] {
            let aws = EmulatedAws::start().await;
            let mut converge = Function::start(&aws, "converge", &[]).await;
            if converge
                .invoke_and_crash(&aws, json!({}), point)
                .await
                .is_some()
            {
                assert!(boundaries >= 18, "only {boundaries} boundaries were tried");
                println!("{boundaries} boundaries tried");
                return;
            }
            boundaries += 1;
            converge.restart().await;
            invoke(&converge, json!({})).await;
            let last = invoke(&converge, json!({})).await;
            assert_eq!(last["outcome"], "unchanged", "{point:?}: {}", last["text"]);
            assert_eq!(policy_ids(&aws).await.len(), 1, "{point:?}");
        }
    }
}

#[tokio::test]
async fn lost_answers_and_throttling_never_make_a_second_policy() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    for (service, operation) in [
        ("iam", "CreateRole"),
        ("iam", "CreatePolicy"),
        ("iam", "AttachRolePolicy"),
        ("dlm", "CreateLifecyclePolicy"),
    ] {
        aws.fault(Fault::drop_answer(service, operation)).await;
    }
    let first = converge.invoke(json!({})).await;
    let second = invoke(&converge, json!({})).await;
    assert_eq!(policy_ids(&aws).await.len(), 1, "{first:?}");
    assert_eq!(second["policy_id"], policy_ids(&aws).await[0].as_str());
    let third = invoke(&converge, json!({})).await;
    assert_eq!(third["outcome"], "unchanged", "{}", third["text"]);

    aws.dlm()
        .delete_lifecycle_policy()
        .policy_id(&policy_ids(&aws).await[0])
        .send()
        .await
        .unwrap();
    aws.fault(Fault::error("dlm", "CreateLifecyclePolicy", "ThrottlingException", 429).times(2))
        .await;
    aws.fault(Fault::drop_request("dlm", "CreateLifecyclePolicy").nth(3))
        .await;
    let _ = converge.invoke(json!({})).await;
    invoke(&converge, json!({})).await;
    assert_eq!(policy_ids(&aws).await.len(), 1);
}

#[tokio::test]
async fn a_role_that_is_too_new_to_be_assumed_is_waited_for() {
    let aws = EmulatedAws::start().await;
    aws.settings(json!({"role_assumable_after_seconds": 3}))
        .await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let made = invoke(&converge, json!({})).await;
    assert_eq!(made["outcome"], "changed");
    let tries = aws
        .calls()
        .await
        .into_iter()
        .filter(|call| call.operation == "CreateLifecyclePolicy");
    assert!(tries.count() > 1);
    assert_eq!(policy_ids(&aws).await.len(), 1);
}

#[tokio::test]
async fn what_was_made_by_hand_is_adopted_and_duplicates_are_named() {
    let (aws, converge) = converged().await;
    let ours = policy_ids(&aws).await.remove(0);
    let policy = aws
        .dlm()
        .get_lifecycle_policy()
        .policy_id(&ours)
        .send()
        .await
        .unwrap()
        .policy
        .unwrap();
    aws.dlm()
        .delete_lifecycle_policy()
        .policy_id(&ours)
        .send()
        .await
        .unwrap();
    let create = || {
        aws.dlm()
            .create_lifecycle_policy()
            .description("etcd data lifecycle policy")
            .execution_role_arn(policy.execution_role_arn().unwrap())
            .state(SettablePolicyStateValues::Enabled)
            .policy_details(policy.policy_details().unwrap().clone())
    };
    let by_hand = create().send().await.unwrap().policy_id.unwrap();
    let adopted = invoke(&converge, json!({})).await;
    assert_eq!(adopted["policy_id"], by_hand.as_str());
    assert_eq!(changes(&adopted), ["update dlm-policy tags.managed-by"]);

    aws.advance(std::time::Duration::from_secs(60)).await;
    let second = create()
        .tags("managed-by", "etcd-backup")
        .send()
        .await
        .unwrap()
        .policy_id
        .unwrap();
    let answer = invoke(&converge, json!({})).await;
    assert_eq!(
        (&answer["policy_id"], &answer["outcome"]),
        (&json!(by_hand), &json!("unchanged"))
    );
    let warnings = answer["warnings"].to_string();
    assert!(
        warnings.contains(&by_hand) && warnings.contains(&second),
        "{warnings}"
    );
    assert_eq!(policy_ids(&aws).await.len(), 2, "none is deleted");
}

#[tokio::test]
async fn a_policy_in_error_is_repaired_and_told() {
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
    let event = json!({
        "source": "aws.dlm",
        "detail-type": "DLM Policy State Change",
        "detail": {"state": "ERROR", "cause": "Role not found", "policy_id": format!("arn:aws:dlm:eu-west-2:123456789012:policy/{id}")},
    });
    let answer = invoke(&converge, event).await;
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
async fn people_are_told_of_a_policy_in_error_even_if_it_cannot_be_repaired() {
    let event = json!({
        "source": "aws.dlm",
        "detail-type": "DLM Policy State Change",
        "detail": {"state": "ERROR", "cause": "Role not found", "policy_id": "policy-0123456789abcdef0"},
    });
    let aws = EmulatedAws::start().await;
    let topic_arn = aws.create_topic("alerts").await;
    let converge = Function::start(&aws, "converge", &[("ALERT_TOPIC_ARN", &topic_arn)]).await;
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

#[tokio::test]
async fn a_changed_schedule_records_since_when_and_nothing_else_does() {
    let (aws, converge) = converged().await;
    let id = policy_ids(&aws).await.remove(0);
    let since = async || {
        let policy = aws
            .dlm()
            .get_lifecycle_policy()
            .policy_id(&id)
            .send()
            .await
            .unwrap();
        policy.policy.unwrap().tags.unwrap()["etcd-backup/schedule-since"].clone()
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
async fn what_is_not_accepted_is_refused_before_anything_is_read() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    for event in [
        json!({"action": "destroy"}),
        json!({"actoin": "plan"}),
        json!({"action": 1}),
        json!([]),
        json!(null),
    ] {
        let error = converge.invoke(event.clone()).await.unwrap_err();
        assert_eq!(error.error_type, "InvalidEvent", "{event}");
    }
    assert!(aws.calls().await.is_empty());
    let start = Function::start_expecting_exit(&aws, "converge", &[("INTERVAL_HOURS", "5")]).await;
    assert_eq!(start.exit_code, Some(1));
    assert_eq!(
        start.logs.trim(),
        "InvalidSetting: INTERVAL_HOURS=\"5\": expected 1, 2, 3, 4, 6, 8, 12 or 24"
    );
}

#[tokio::test]
async fn a_refusal_of_aws_is_told_with_its_request_id() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    aws.fault(Fault::error("iam", "CreatePolicy", "AccessDenied", 403).forever())
        .await;
    let error = converge.invoke(json!({})).await.unwrap_err();
    assert_eq!(error.error_type, "AwsError");
    let refused = aws
        .calls()
        .await
        .into_iter()
        .rfind(|call| call.operation == "CreatePolicy")
        .unwrap();
    assert!(
        error
            .message
            .contains("iam:CreatePolicy failed with AccessDenied"),
        "{}",
        error.message
    );
    assert!(
        error.message.contains(&refused.request_id),
        "{}",
        error.message
    );
}
