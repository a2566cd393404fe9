//! converge as CloudFormation's custom resource: the request as CloudFormation sends it, and the answer
//! put over real HTTP to an address like S3's pre-signed ones.

use std::time::Duration;

use aws_sdk_dlm::types::SettablePolicyStateValues;
use aws_sdk_iam::types::AttachedPolicy;
use e2e::{EmulatedAws, Fault, Function, InvocationOptions};
use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const STACK: &str = "arn:aws:cloudformation:eu-west-2:123456789012:stack/etcd-backup/0a1b2c3d";

/// Where CloudFormation waits.
struct Waiting {
    server: MockServer,
}

impl Waiting {
    /// Answers with these statuses, one after the other, the last one for ever.
    async fn answering(statuses: &[u16]) -> Self {
        let server = MockServer::start().await;
        for (index, status) in statuses.iter().enumerate() {
            let put = Mock::given(method("PUT"))
                .and(path("/stack/response"))
                .and(query_param("X-Amz-Signature", "f00d=+/"))
                .respond_with(ResponseTemplate::new(*status));
            let is_last = index + 1 == statuses.len();
            let put = if is_last { put } else { put.up_to_n_times(1) };
            put.mount(&server).await;
        }
        Self { server }
    }

    fn request(&self, kind: &str, more: &Value) -> Value {
        let signature = "X-Amz-Expires=7200&X-Amz-Signature=f00d%3D%2B%2F";
        let mut request = json!({
            "RequestType": kind,
            "ServiceToken": "arn:aws:lambda:eu-west-2:123456789012:function:converge",
            "ResponseURL": format!("{}/stack/response?{signature}", self.server.uri()),
            "StackId": STACK,
            "RequestId": "4f3b8a8e-8c5c-4f5e-9f3a-1d2c3b4a5e6f",
            "ResourceType": "Custom::ConvergedBackups",
            "LogicalResourceId": "ConvergedBackups",
            "ResourceProperties": {"ServiceToken": "arn:…", "RetainCount": "14"},
        });
        let fields = request.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        request
    }

    /// The one body that was put, after as many tries as were made.
    async fn told(&self, tries: usize) -> Value {
        let requests = self.server.received_requests().await.unwrap();
        assert_eq!(requests.len(), tries);
        let last = requests.last().unwrap();
        assert!(last.body.len() <= 4096, "{} bytes", last.body.len());
        assert!(
            !last.headers.contains_key("content-type"),
            "it isn't in the signature"
        );
        let body: Value = serde_json::from_slice(&last.body).unwrap();
        for (field, value) in [
            ("StackId", STACK),
            ("RequestId", "4f3b8a8e-8c5c-4f5e-9f3a-1d2c3b4a5e6f"),
            ("LogicalResourceId", "ConvergedBackups"),
        ] {
            assert_eq!(body[field], value);
        }
        body
    }
}

async fn on_delete(kind: &str, waiting: &Waiting, id: &Value) -> Value {
    let properties =
        json!({"ResourceProperties": {"OnDelete": "delete"}, "PhysicalResourceId": id});
    waiting.request(kind, &properties)
}

/// Invokes with what takes all on deletion, and gives what CloudFormation was told.
async fn answered(converge: &Function, kind: &str, id: &Value) -> Value {
    let waiting = Waiting::answering(&[200]).await;
    let event = on_delete(kind, &waiting, id).await;
    converge.invoke(event).await.unwrap();
    waiting.told(1).await
}

async fn policies(aws: &EmulatedAws) -> usize {
    let listed = aws.dlm().get_lifecycle_policies().send().await.unwrap();
    listed.policies().len()
}

async fn has_role(aws: &EmulatedAws) -> bool {
    aws.iam()
        .get_role()
        .role_name("dlm-lifecycle-role")
        .send()
        .await
        .is_ok()
}

#[tokio::test]
async fn a_deployment_converges_and_its_deletion_keeps_everything() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let waiting = Waiting::answering(&[200]).await;
    let answer = converge
        .invoke(waiting.request("Create", &json!({})))
        .await
        .unwrap();
    let told = waiting.told(1).await;
    assert_eq!(told, answer);
    assert_eq!(told["Status"], "SUCCESS");
    assert!(
        told["Data"]["PolicyId"]
            .as_str()
            .unwrap()
            .starts_with("policy-"),
        "{told}"
    );
    assert_eq!(told["Data"]["AuditSchedule"], "cron(30 7 * * ? *)");
    assert_eq!(told["Data"]["RestorePointAgeHoursMax"], "50");
    assert_eq!(policies(&aws).await, 1);

    let id = &told["PhysicalResourceId"];
    let again = Waiting::answering(&[200]).await;
    let update = again.request("Update", &json!({"PhysicalResourceId": id}));
    converge.invoke(update).await.unwrap();
    assert_eq!(
        &again.told(1).await["PhysicalResourceId"],
        id,
        "the id never changes"
    );
    assert_eq!(again.told(1).await["Data"]["Outcome"], "unchanged");

    for properties in [
        json!({}),
        json!({"OnDelete": "keep"}),
        json!({"OnDelete": "all"}),
        json!(7),
    ] {
        let gone = Waiting::answering(&[200]).await;
        let delete = json!({"PhysicalResourceId": id, "ResourceProperties": properties});
        aws.clear_calls().await;
        converge
            .invoke(gone.request("Delete", &delete))
            .await
            .unwrap();
        assert_eq!(gone.told(1).await["Status"], "SUCCESS", "{properties}");
        assert_eq!(aws.writes().await.len(), 0, "{properties}");
    }
    assert_eq!(policies(&aws).await, 1);
}

#[tokio::test]
async fn a_deletion_that_is_asked_to_deletes_what_was_made() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let created = answered(&converge, "Create", &Value::Null).await;
    // More than one version of the IAM policy, and somebody else's policy beside.
    let arn = "arn:aws:iam::123456789012:policy/dlm-policy";
    let other = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:DescribeVolumes","Resource":"*"}]}"#;
    let version = aws
        .iam()
        .create_policy_version()
        .policy_arn(arn)
        .policy_document(other);
    version.set_as_default(true).send().await.unwrap();
    let id = created["PhysicalResourceId"].clone();
    let told = answered(&converge, "Delete", &id).await;
    assert_eq!(told["Status"], "SUCCESS", "{told}");
    assert_eq!(policies(&aws).await, 0);
    assert!(!has_role(&aws).await);
    assert!(aws.iam().get_policy().policy_arn(arn).send().await.is_err());

    // Once more, as CloudFormation does where it heard nothing.
    let again = answered(&converge, "Delete", &id).await;
    assert_eq!(again["Status"], "SUCCESS");
}

/// What somebody else does with the role, by which IAM would refuse to delete it or they would lose it.
async fn use_role(aws: &EmulatedAws, how: &str) {
    let role = "dlm-lifecycle-role";
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:CreateGrant","Resource":"*"}]}"#;
    match how {
        "inline" => {
            let put = aws.iam().put_role_policy().role_name(role);
            let put = put.policy_name("inline").policy_document(document);
            put.send().await.unwrap();
        }
        "attached" => {
            let made = aws.iam().create_policy().policy_name("attached");
            let made = made.policy_document(document).send().await.unwrap();
            let attach = aws.iam().attach_role_policy().role_name(role);
            let arn = made.policy.unwrap().arn.unwrap();
            attach.policy_arn(arn).send().await.unwrap();
        }
        "profile" => {
            let profile = aws.iam().create_instance_profile();
            let profile = profile.instance_profile_name("profile");
            profile.send().await.unwrap();
            let add = aws.iam().add_role_to_instance_profile().role_name(role);
            let add = add.instance_profile_name("profile");
            add.send().await.unwrap();
        }
        _ => {
            let listed = aws.dlm().get_lifecycle_policies().send().await.unwrap();
            let id = listed.policies()[0].policy_id().unwrap();
            let ours = aws.dlm().get_lifecycle_policy().policy_id(id);
            let ours = ours.send().await.unwrap().policy.unwrap();
            let create = aws.dlm().create_lifecycle_policy().description("team b");
            let create = create
                .execution_role_arn(ours.execution_role_arn.unwrap())
                .state(SettablePolicyStateValues::Enabled)
                .policy_details(ours.policy_details.unwrap());
            create.send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_role_that_others_use_or_gave_policies_to_stays_and_the_deletion_succeeds() {
    for (how, said) in [
        ("policy", "other lifecycle policies use it: policy-"),
        ("inline", "it has inline policies: inline"),
        ("attached", "other policies are attached to it: attached"),
        ("profile", "it is in the instance profiles profile"),
    ] {
        let aws = EmulatedAws::start().await;
        let converge = Function::start(&aws, "converge", &[]).await;
        let waiting = Waiting::answering(&[200]).await;
        let create = on_delete("Create", &waiting, &Value::Null).await;
        converge.invoke(create).await.unwrap();
        use_role(&aws, how).await;
        let id = waiting.told(1).await["PhysicalResourceId"].clone();
        let strangers = policies(&aws).await - 1;
        // Once more, as CloudFormation does where it heard nothing.
        for _ in 0..2 {
            let gone = Waiting::answering(&[200]).await;
            let delete = on_delete("Delete", &gone, &id).await;
            converge.invoke(delete).await.unwrap();
            let told = gone.told(1).await;
            assert_eq!(told["Status"], "SUCCESS", "{how}: {told}");
            assert!(told["Reason"].as_str().unwrap().contains(said), "{told}");
        }
        assert_eq!(policies(&aws).await, strangers, "{how}");
        assert!(has_role(&aws).await, "{how}");
        let attached = aws.iam().list_attached_role_policies();
        let attached = attached
            .role_name("dlm-lifecycle-role")
            .send()
            .await
            .unwrap();
        let mut attached = attached.attached_policies().iter();
        let is_ours = |policy: &AttachedPolicy| policy.policy_name() == Some("dlm-policy");
        assert!(attached.any(is_ours), "{how}: what it may do stays with it");
    }
}

#[tokio::test]
async fn the_role_goes_with_the_last_region_that_uses_it() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let created = answered(&converge, "Create", &Value::Null).await;
    let tag = aws_sdk_iam::types::Tag::builder()
        .key("etcd-backup/used-in/eu-central-1")
        .value("yes");
    let elsewhere = aws.iam().tag_role().role_name("dlm-lifecycle-role");
    elsewhere.tags(tag.build().unwrap()).send().await.unwrap();
    let id = created["PhysicalResourceId"].clone();
    let told = answered(&converge, "Delete", &id).await;
    assert!(
        told["Reason"].as_str().unwrap().contains("eu-central-1"),
        "{told}"
    );
    assert_eq!(policies(&aws).await, 0);
    assert!(has_role(&aws).await);
    let role = aws
        .iam()
        .get_role()
        .role_name("dlm-lifecycle-role")
        .send()
        .await
        .unwrap();
    let tags = role.role().unwrap().tags();
    assert!(
        !tags.iter().any(|tag| tag.key().ends_with("eu-west-2")),
        "{tags:?}"
    );
}

#[tokio::test]
async fn a_failure_is_reported_and_its_rollback_deletes_nothing() {
    let aws = EmulatedAws::start().await;
    let adopted = Function::start(&aws, "converge", &[]).await;
    adopted.invoke(json!({})).await.unwrap();
    let denied = Fault::error("iam", "GetRole", "AccessDenied", 403);
    aws.fault(denied.forever()).await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let told = answered(&converge, "Create", &Value::Null).await;
    assert_eq!(told["Status"], "FAILED");
    assert!(
        told["Reason"].as_str().unwrap().contains("iam:GetRole"),
        "{told}"
    );
    aws.clear_faults().await;

    let rollback = answered(&converge, "Delete", &told["PhysicalResourceId"]).await;
    assert_eq!(rollback["Status"], "SUCCESS");
    assert_eq!(
        policies(&aws).await,
        1,
        "what was there before the stack stays"
    );
}

#[tokio::test]
async fn it_is_answered_in_time_also_where_aws_is_slow() {
    let aws = EmulatedAws::start().await;
    let slow = Fault::delay("iam", "GetRole", Duration::from_secs(25));
    aws.fault(slow.forever()).await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let waiting = Waiting::answering(&[200]).await;
    let options = InvocationOptions::within(Duration::from_secs(18));
    let request = waiting.request("Create", &json!({}));
    converge.invoke_with(request, options).await.unwrap();
    let told = waiting.told(1).await;
    assert_eq!(told["Status"], "FAILED");
    assert!(
        told["Reason"].as_str().unwrap().contains("too slow"),
        "{told}"
    );
}

#[tokio::test]
async fn requests_that_make_no_sense_are_answered_too() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    for more in [
        json!({"RequestType": "Explode"}),
        json!({"RequestType": null}),
        json!({"ResourceProperties": {"OnDelete": ["delete"]}}),
    ] {
        let waiting = Waiting::answering(&[200]).await;
        converge
            .invoke(waiting.request("Create", &more))
            .await
            .unwrap();
        let told = waiting.told(1).await;
        assert_eq!(told["Status"], "FAILED", "{more}");
        assert!(
            told["Reason"].as_str().unwrap().starts_with("InvalidEvent"),
            "{told}"
        );
    }
    assert_eq!(aws.writes().await.len(), 0);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_put_again_and_one_that_is_refused_fails_the_invocation() {
    let aws = EmulatedAws::start().await;
    let converge = Function::start(&aws, "converge", &[]).await;
    let busy = Waiting::answering(&[503, 500, 200]).await;
    converge
        .invoke(busy.request("Create", &json!({})))
        .await
        .unwrap();
    assert_eq!(busy.told(3).await["Status"], "SUCCESS");

    let expired = Waiting::answering(&[403]).await;
    let error = converge
        .invoke(expired.request("Create", &json!({})))
        .await
        .unwrap_err();
    assert_eq!(error.error_type, "ResponseUndelivered");
    assert!(error.message.contains("HTTP 403"), "{}", error.message);
    expired.told(1).await;
}
