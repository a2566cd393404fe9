//! converge, the real binary over real HTTP: made from nothing, adopted, drifted field by field,
//! interrupted anywhere, and never a second DLM policy.

mod adoption;
mod drift;
mod interruption;
mod policy_errors;

use std::time::Duration;

use aws_sdk_dlm::types::{
    LifecyclePolicy, PolicyDetails, RetainRule, Schedule, SettablePolicyStateValues, Tag,
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

async fn policy(aws: &EmulatedAws, id: &str) -> LifecyclePolicy {
    let got = aws.dlm().get_lifecycle_policy().policy_id(id).send().await;
    got.unwrap().policy.unwrap()
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

/// Changes the DLM policy's details by hand.
async fn edit(aws: &EmulatedAws, id: &str, change: impl FnOnce(&mut PolicyDetails)) {
    let mut details = policy(aws, id).await.policy_details.unwrap();
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

/// What takes long keeps nothing else waiting but what needs its answer.
#[tokio::test]
async fn calls_that_do_not_need_each_other_run_together() {
    let (aws, converge) = converged().await;
    let slow = [
        ("iam", "GetRole"),
        ("iam", "ListAttachedRolePolicies"),
        ("dlm", "GetLifecyclePolicies"),
    ];
    for (service, operation) in slow {
        let delay = Duration::from_secs(3);
        aws.fault(Fault::delay(service, operation, delay)).await;
    }
    let second = invoke(&converge, json!({"action": "plan"})).await;
    assert_eq!(second["outcome"], "unchanged");
    let calls = aws.calls().await;
    let call = |operation: &str| {
        let mut found = calls.iter().filter(|call| call.operation == operation);
        let first = found.next();
        let first = first.unwrap_or_else(|| panic!("no {operation} in {calls:?}"));
        assert!(found.next().is_none(), "{operation} was called twice");
        first
    };
    let slow = slow.map(|(_, operation)| call(operation));
    let first_that_ended = slow.map(|call| call.n).into_iter().min().unwrap();
    for call in slow.into_iter().chain([call("GetPolicyVersion")]) {
        assert!(call.began_after < first_that_ended, "{call:?} waited");
    }
    assert_eq!(calls.len(), 6, "{calls:?}");
    let versions_wait = call("GetPolicyVersion").began_after >= call("GetPolicy").n;
    assert!(versions_wait, "its version is in GetPolicy's answer");
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
    let policy = policy(&aws, &id).await;
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
    for (variable, value, accepted) in [
        ("INTERVAL_HOURS", "5", "1, 2, 3, 4, 6, 8, 12 or 24"),
        ("TAGS_TO_ADD", "team=a,Name=b", "up to 45 key=value"),
        ("PERMISSIONS_BOUNDARY", "a b", "the name of an IAM policy"),
        (
            "VOLUME_INITIALIZATION_RATE",
            "301",
            "a whole number from 100 to 300",
        ),
        ("ALERT_FORMAT", "html", "text or chat"),
        ("RESTORES_TABLE", "a/b", "the name of a DynamoDB table"),
    ] {
        let start = Function::start_expecting_exit(&aws, "converge", &[(variable, value)]).await;
        assert_eq!(start.exit_code, Some(1));
        let line = start.logs.trim();
        let expected = format!("InvalidSetting: {variable}=\"{value}\": expected {accepted}");
        assert!(
            line.starts_with(&expected) && !line.contains('\n'),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_refusal_of_aws_is_reported_with_its_request_id() {
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
