//! Least privilege: each function does all that it does under the policies that the template gives it,
//! conditions included, and under none of them with an action less.
//!
//! The policies are those of the deployed roles, as the emulated CloudFormation resolves them
//! (`make` writes them down); the emulated AWS then allows a function's calls only as they say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dlm::types::{ResourceTypeValues, SettablePolicyStateValues, Tag};
use e2e::policies::{granted, without};
use e2e::restore_bed::{event_of, while_masters_start_fast};
use e2e::{
    Actor, Cluster, EmulatedAws, Fault, Function, Kops, MountedBy, Outcome, REGION, RESTORES_TABLE,
    Style,
};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::restore_tags::{ORIGIN_TAGS, TAGS_MAX};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Each function's calls are told by its access key.
const ACCESS_KEYS: [(&str, &str); 3] = [
    ("converge", "AKIACONVERGE0EXAMPLE"),
    ("audit", "AKIAAUDIT0000EXAMPLE"),
    ("restore", "AKIARESTORE00EXAMPLE"),
];
/// Granted and never called by the function itself: the service named calls in its name.
const CALLED_BY_OTHERS: [(&str, &str); 3] = [
    (
        "sqs:SendMessage",
        "Lambda sends what failed to the dead letters",
    ),
    ("kms:*", "SNS and EC2 use keys in the function's name"),
    (
        "iam:PassRole",
        "no call of its own: it is checked where DLM is given the role",
    ),
];
/// What bounds the role, as the policies under test have it.
const BOUNDARY: &str = "team/boundary";
const NEW: &str = "k8s.mycompany.tld";
const NEWEST: &str = "live-2.mycompany.tld";
/// Denied, and only logged: the function's failure is another, and is told.
const BEST_EFFORT: [&str; 1] = ["dlm:UntagResource"];
/// Worlds at the same time.
const AT_ONCE: usize = 8;

type Policies = BTreeMap<String, Vec<Value>>;

fn policies() -> Policies {
    let binary = std::env::current_exe().unwrap();
    let target: PathBuf = binary.ancestors().nth(3).unwrap().into();
    let path = target.join("policies.json");
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}: run make", path.display()));
    let mut policies: Policies = serde_json::from_str(&text).unwrap();
    // verify's are in `verify_privileges`, as what it does takes volumes with an etcd inside.
    policies.retain(|function, _| ACCESS_KEYS.iter().any(|(name, _)| name == function));
    policies
}

fn access_key(function: &str) -> &'static str {
    let key = ACCESS_KEYS.iter().find(|(name, _)| *name == function);
    key.unwrap().1
}

/// Two clusters, older and newer tags, and what DLM left after two days; no function was restricted yet.
struct World {
    aws: EmulatedAws,
    topic_arn: String,
}

impl World {
    async fn new() -> Self {
        let aws = EmulatedAws::start().await;
        aws.set_clock(e2e::backed_up::next_noon(aws.clock().await))
            .await;
        let new = Kops::new(NEW).etcd_clusters(&["main"]).seed(&aws).await;
        let newest = Style::New {
            control_plane: true,
        };
        let newest = Kops::new(NEWEST).etcd_clusters(&["main"]).style(newest);
        let newest = newest.encrypted().seed(&aws).await;
        let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        let boundary = aws.iam().create_policy().path("/team/");
        let boundary = boundary.policy_name("boundary").policy_document(all);
        boundary.send().await.unwrap();
        for cluster in [&new, &newest] {
            aws.start_masters(cluster, MountedBy::EtcdManager).await;
        }
        take_master_role_off(&aws, &newest).await;
        let topic_arn = aws.create_topic("etcd-backup-AlertTopic").await;
        Self { aws, topic_arn }
    }

    async fn backed_up() -> Self {
        let world = Self::new().await;
        let converge = Function::start(&world.aws, "converge", &[]).await;
        converge.invoke(json!({})).await.unwrap();
        world.aws.advance(Duration::from_secs(2 * 24 * 3600)).await;
        world
    }

    async fn function(&self, name: &str) -> Function {
        let variables = [
            ("AWS_ACCESS_KEY_ID", access_key(name)),
            ("ALERT_TOPIC_ARN", self.topic_arn.as_str()),
            ("PERMISSIONS_BOUNDARY", BOUNDARY),
        ];
        Function::start_in_emulated_time(&self.aws, name, &variables).await
    }

    fn fork(&self, aws: EmulatedAws) -> Self {
        Self {
            aws,
            topic_arn: self.topic_arn.clone(),
        }
    }
}

/// A control plane without the older role's tag: kops set both when it renamed the role.
async fn take_master_role_off(aws: &EmulatedAws, cluster: &Cluster) {
    let role = "k8s.io/role/master";
    for master in &cluster.masters {
        let tag = aws_sdk_ec2::types::Tag::builder().key(role).build();
        let untag = aws.ec2().delete_tags().resources(master.instance.as_str());
        untag.tags(tag).send().await.unwrap();
        let tag = aws_sdk_autoscaling::types::Tag::builder()
            .resource_id(&master.group)
            .resource_type("auto-scaling-group")
            .key(role);
        aws.autoscaling()
            .delete_tags()
            .tags(tag.build())
            .send()
            .await
            .unwrap();
    }
}

/// The stack's topic and table have names of CloudFormation's making; the emulated ones are others.
fn with_names(documents: &[Value], topic_arn: &str) -> Vec<Value> {
    let mut documents = documents.to_vec();
    for statement in documents
        .iter_mut()
        .flat_map(|document| document["Statement"].as_array_mut().unwrap())
    {
        let is_topic = |value: &Value| value.as_str().is_some_and(|arn| arn.contains(":sns:"));
        let is_table = |value: &Value| value.as_str().is_some_and(|arn| arn.contains(":dynamodb:"));
        if is_topic(&statement["Resource"]) {
            statement["Resource"] = json!(topic_arn);
        } else if is_table(&statement["Resource"]) {
            let table = format!("arn:aws:dynamodb:{REGION}:123456789012:table/{RESTORES_TABLE}");
            statement["Resource"] = json!(table);
        }
    }
    documents
}

/// All that a function ever does; an error ends it, which is what a missing permission is to be.
async fn does_all(function: &str, world: &World) -> Result<(), String> {
    match function {
        "converge" => converges(world).await,
        "audit" => audits(world).await,
        _ => restores(world).await,
    }
}

async fn invoke(function: &Function, event: Value) -> Result<Value, String> {
    let answer = function.invoke(event.clone()).await;
    answer.map_err(|error| format!("{event}: {error}"))
}

async fn converges(world: &World) -> Result<(), String> {
    let aws = &world.aws;
    let converge = world.function("converge").await;
    let made = invoke(&converge, json!({})).await?;
    let policy: PolicyId = made["policy_id"].as_str().unwrap().into();
    // Drift of each kind.
    let role = "dlm-lifecycle-role";
    let arn = "arn:aws:iam::123456789012:policy/dlm-policy";
    let nothing = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:DescribeVolumes","Resource":"*"}]}"#;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"dlm.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    for _ in 0..4 {
        let version = aws.iam().create_policy_version().policy_arn(arn);
        let version = version.policy_document(nothing).set_as_default(true);
        version.send().await.unwrap();
    }
    let update = aws.iam().update_assume_role_policy().role_name(role);
    update.policy_document(trust).send().await.unwrap();
    aws.iam()
        .untag_role()
        .role_name(role)
        .tag_keys("managed-by")
        .send()
        .await
        .unwrap();
    aws.iam()
        .untag_policy()
        .policy_arn(arn)
        .tag_keys("managed-by")
        .send()
        .await
        .unwrap();
    aws.iam()
        .detach_role_policy()
        .role_name(role)
        .policy_arn(arn)
        .send()
        .await
        .unwrap();
    let unbound = aws.iam().delete_role_permissions_boundary();
    unbound.role_name(role).send().await.unwrap();
    aws.set_policy(&policy, json!({"state": "ERROR", "status_message": "x"}))
        .await;
    let error = json!({"source": "aws.dlm", "detail-type": "DLM Policy State Change",
                       "detail": {"state": "ERROR", "policy_id": policy.as_str()}});
    invoke(&converge, error).await?;
    is_silent_about_strangers(world, &converge, &policy).await?;
    // A schedule that changes, and one whose change DLM refuses.
    let hourly = [
        ("AWS_ACCESS_KEY_ID", access_key("converge")),
        ("INTERVAL_HOURS", "12"),
        ("PERMISSIONS_BOUNDARY", BOUNDARY),
    ];
    let hourly = Function::start(aws, "converge", &hourly).await;
    let arn = format!("arn:aws:dlm:{REGION}:123456789012:policy/{policy}");
    let untag = aws.dlm().untag_resource().resource_arn(arn);
    let untag = untag.tag_keys("etcd-backup/schedule-since");
    untag.send().await.unwrap();
    let refused = Fault::error(
        "dlm",
        "UpdateLifecyclePolicy",
        "InvalidRequestException",
        400,
    );
    aws.fault(refused).await;
    let _ = hourly.invoke(json!({})).await;
    invoke(&hourly, json!({})).await?;
    // The stack's own words.
    for (kind, on_delete) in [("Create", "delete"), ("Delete", "delete")] {
        told_to_stack(&converge, kind, on_delete).await?;
        if kind == "Create" {
            let elsewhere =
                aws_sdk_iam::types::Tag::builder().key("etcd-backup/used-in/eu-central-1");
            let elsewhere = elsewhere.value("yes").build().unwrap();
            aws.iam()
                .tag_role()
                .role_name(role)
                .tags(elsewhere)
                .send()
                .await
                .unwrap();
            told_to_stack(&converge, "Delete", on_delete).await?;
            let untag = aws.iam().untag_role().role_name(role);
            untag
                .tag_keys("etcd-backup/used-in/eu-central-1")
                .send()
                .await
                .unwrap();
        }
    }
    Ok(())
}

/// Another team's policy for instances gave up: what it takes must be looked at to be passed over.
async fn is_silent_about_strangers(
    world: &World,
    converge: &Function,
    ours: &PolicyId,
) -> Result<(), String> {
    let aws = &world.aws;
    let got = aws.dlm().get_lifecycle_policy().policy_id(ours.as_str());
    let ours = got.send().await.unwrap().policy.unwrap();
    let mut details = ours.policy_details.unwrap();
    let database = Tag::builder().key("app").value("database").build();
    details.target_tags = Some(vec![database]);
    details.resource_types = Some(vec![ResourceTypeValues::Instance]);
    let create = aws.dlm().create_lifecycle_policy().description("team b");
    let create = create
        .execution_role_arn(ours.execution_role_arn.unwrap())
        .state(SettablePolicyStateValues::Enabled)
        .policy_details(details);
    let theirs = create.send().await.unwrap().policy_id.unwrap();
    let messages = aws.messages().await.len();
    let error = json!({"source": "aws.dlm", "detail-type": "DLM Policy State Change",
                       "detail": {"state": "ERROR", "policy_id": theirs}});
    invoke(converge, error).await?;
    let delete = aws.dlm().delete_lifecycle_policy().policy_id(theirs);
    delete.send().await.unwrap();
    if aws.messages().await.len() == messages {
        Ok(())
    } else {
        Err("it told of a stranger's policy".to_owned())
    }
}

async fn told_to_stack(converge: &Function, kind: &str, on_delete: &str) -> Result<(), String> {
    let server = MockServer::start().await;
    let put = Mock::given(method("PUT")).respond_with(ResponseTemplate::new(200));
    put.mount(&server).await;
    let request = json!({"RequestType": kind, "ResponseURL": server.uri(), "StackId": "s",
                         "RequestId": "r", "LogicalResourceId": "l",
                         "ResourceProperties": {"OnDelete": on_delete}});
    let told = invoke(converge, request).await?;
    if told["Status"] == "SUCCESS" {
        Ok(())
    } else {
        Err(told.to_string())
    }
}

async fn audits(world: &World) -> Result<(), String> {
    let aws = &world.aws;
    let volumes = e2e::candidates::volumes_where(aws, &[("tag-key", "k8s.io/etcd/main")]).await;
    aws.plant(&volumes[0], Outcome::Missing, 1).await;
    let retired = json!({"tags": {"etcd-backup/retired-by": "r-0",
                                  "etcd-backup/retired-at": "2026-01-01T00:00:00Z"}});
    aws.set_volume(&volumes[1], retired).await;
    instance_policy(aws).await;
    aws.advance(Duration::from_secs(24 * 3600)).await;
    let audit = world.function("audit").await;
    let audited = invoke(&audit, json!({"now": aws.clock().await})).await?;
    if audited["alerted"] == true {
        Ok(())
    } else {
        Err("it had nobody to tell".to_owned())
    }
}

/// Another team's policy that goes by the tags of instances.
async fn instance_policy(aws: &EmulatedAws) {
    let listed = aws.dlm().get_lifecycle_policies().send().await.unwrap();
    let id = listed.policies()[0].policy_id().unwrap();
    let got = aws.dlm().get_lifecycle_policy().policy_id(id);
    let ours = got.send().await.unwrap().policy.unwrap();
    let mut details = ours.policy_details.unwrap();
    details.resource_types = Some(vec![ResourceTypeValues::Instance]);
    let create = aws.dlm().create_lifecycle_policy().description("team c");
    let create = create
        .execution_role_arn(ours.execution_role_arn.unwrap())
        .state(SettablePolicyStateValues::Enabled)
        .policy_details(details);
    create.send().await.unwrap();
}

/// Of two volumes the old one has no room for a whole journal, and the restored one for none at all,
/// before their tags are taken.
async fn fill_up_with_tags(aws: &EmulatedAws, cluster: &str) {
    let filters = [
        ("tag-key", "k8s.io/etcd/main"),
        ("tag:KubernetesCluster", cluster),
    ];
    let filled = &e2e::candidates::volumes_where(aws, &filters).await[0];
    let carried = e2e::restores::volumes(aws).await[filled].tags.len();
    let users = carried + ORIGIN_TAGS..TAGS_MAX;
    let tags: serde_json::Map<String, Value> = users
        .map(|index| (format!("team/{index}"), Value::from("x")))
        .collect();
    aws.set_volume(filled, json!({"tags": tags})).await;
}

async fn restores(world: &World) -> Result<(), String> {
    fill_up_with_tags(&world.aws, NEWEST).await;
    let restore = world.function("restore").await;
    for cluster in [NEW, NEWEST] {
        for event in [
            json!({"action": "list"}),
            json!({"action": "plan", "zones": {"a": "eu-west-2a"}}),
            json!({"masters": "replace"}),
            json!({"action": "status"}),
            json!({"action": "undo", "masters": "replace"}),
            json!({"action": "redo"}),
            json!({"action": "history"}),
            json!({"action": "undo"}),
        ] {
            let is_redo = event["action"] == "redo";
            let invocation = invoke(&restore, event_of(cluster, event));
            while_masters_start_fast(&world.aws, invocation).await?;
            if is_redo {
                // Whatever the policies look at on volumes, a cleaner may have taken it off.
                world.aws.act(&Actor::tag_cleaner()).await;
            }
        }
    }
    Ok(())
}

/// The world in which a function does all that it does.
async fn world_for(function: &str) -> World {
    match function {
        "converge" => World::new().await,
        _ => World::backed_up().await,
    }
}

fn is_called_by_others(action: &str) -> bool {
    CALLED_BY_OTHERS
        .iter()
        .any(|(other, _)| match other.strip_suffix('*') {
            Some(prefix) => action.starts_with(prefix),
            None => action == *other && *other != "iam:PassRole",
        })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_function_does_all_that_it_does_and_uses_all_that_it_may() {
    for (function, documents) in policies() {
        let world = world_for(&function).await;
        let documents = with_names(&documents, &world.topic_arn);
        world.aws.enforce(access_key(&function), &documents).await;
        let done = does_all(&function, &world).await;
        let (used, denied) = world.aws.permissions().await;
        assert!(denied.is_empty(), "{function}: {denied:#?}");
        done.unwrap_or_else(|error| panic!("{function}: {error}"));
        let used: BTreeSet<_> = used
            .into_iter()
            .map(|used| (used.sid, used.action))
            .collect();
        for (sid, action) in granted(&documents) {
            let is_used = used.contains(&(sid.clone(), action.clone()));
            assert!(
                is_used || is_called_by_others(&action),
                "{function} may {action} by {sid:?}, and never does"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_function_can_do_with_an_action_less() {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut tries = Vec::new();
    for (function, documents) in policies() {
        let world = world_for(&function).await;
        let documents = with_names(&documents, &world.topic_arn);
        for (sid, action) in granted(&documents) {
            if is_called_by_others(&action) {
                continue;
            }
            let less = without(&documents, sid.as_deref(), &action);
            let world = world.fork(world.aws.fork().await);
            let (function, at_once) = (function.clone(), Arc::clone(&at_once));
            tries.push(tokio::spawn(async move {
                let _permit = at_once.acquire().await.unwrap();
                world.aws.enforce(access_key(&function), &less).await;
                let done = does_all(&function, &world).await;
                let (_, denied) = world.aws.permissions().await;
                let is_missed = denied.iter().any(|denied| denied.action == action);
                let is_told = done.is_err() || BEST_EFFORT.contains(&action.as_str());
                match (is_missed, is_told) {
                    (true, true) => None,
                    (true, false) => Some(format!("{function} hides that {action} is denied")),
                    (false, _) => Some(format!("{function} does all without {action} of {sid:?}")),
                }
            }));
        }
    }
    let count = tries.len();
    let mut wrong = Vec::new();
    for tried in tries {
        wrong.extend(tried.await.unwrap());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "{count} granted actions taken away, one at a time"
    );
    assert!(count >= 40, "only {count} were tried");
}
