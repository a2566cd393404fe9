//! What a test may do to its emulated AWS that no AWS request could: move the clock, plant failures,
//! read the calls and the messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use etcd_backup_core::ids::{PolicyId, SnapshotId, VolumeId};

use super::{Actor, EmulatedAws};

/// One call that the emulated AWS served, or lost as planted.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// Calls are numbered in the order in which they ended.
    pub n: u64,
    /// The number of the last call that had ended when this one came.
    pub began_after: u64,
    /// `ec2`, `dlm`, `dynamodb`, `iam`, `sns`, `autoscaling`.
    pub service: String,
    /// As AWS names it: `DescribeVolumes`.
    pub operation: String,
    /// Which of the SDK's attempts it is, from 1: a slow answer has it try again, and all attempts are calls.
    pub attempt: u32,
    /// Whether it may change anything.
    pub write: bool,
    /// The HTTP status; `None` where no answer was given.
    pub status: Option<u16>,
    /// AWS's code, where the answer was an error.
    pub error_code: Option<String>,
    /// As AWS's API reference names them.
    pub parameters: Value,
    /// AWS's request id.
    pub request_id: String,
    /// What was planted for it: `error`, `drop_answer`, `drop_request`, `delay`.
    pub fault: Option<String>,
}

/// A message that was published.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// The topic.
    pub topic_arn: String,
    /// What an e-mail subscriber sees first.
    pub subject: Option<String>,
    /// The body that e-mail subscribers get.
    pub message: String,
    /// What subscribers get by their protocol, where that differs.
    pub by_protocol: Option<BTreeMap<String, String>>,
    /// Message attributes; a `String.Array` is a JSON array.
    pub attributes: Map<String, Value>,
}

/// One run of a DLM schedule.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    /// Whose.
    pub policy_id: PolicyId,
    /// The scheduled time.
    pub scheduled: Timestamp,
    /// Snapshots made.
    pub created: Vec<SnapshotId>,
    /// Snapshots that retention deleted.
    pub deleted: Vec<SnapshotId>,
}

/// Two volumes that would be found for one member in one zone, after some call.
#[derive(Clone, Debug, Deserialize)]
pub struct Violation {
    /// The call: `CreateTags`; or the actor: `terraform-apply`.
    pub operation: String,
    /// Who would find them: `etcd-manager` or `protokube`.
    pub by: String,
    /// The etcd cluster.
    pub etcd_cluster: String,
    /// The member.
    pub member: String,
    /// The volumes.
    pub volumes: Vec<VolumeId>,
}

/// One action on one resource that a statement allowed, under enforced policies.
#[derive(Clone, Debug, Deserialize)]
pub struct Used {
    /// The access key that called.
    pub access_key_id: String,
    /// The statement that allowed it.
    pub sid: Option<String>,
    /// `ec2:CreateVolume`
    pub action: String,
}

/// A call that no statement allowed, or that one forbade.
#[derive(Clone, Debug, Deserialize)]
pub struct Denied {
    /// The access key that called.
    pub access_key_id: String,
    /// The action that was missing.
    pub action: String,
    /// On what.
    pub resource: String,
}

/// How a DLM run ends for one volume.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No snapshot.
    Missing,
    /// A snapshot in state `error`.
    Error,
    /// A snapshot that stays `pending`.
    Pending,
}

/// A failure to plant. It befalls the next call of its operation unless [`nth`](Self::nth),
/// [`times`](Self::times) or [`forever`](Self::forever) say otherwise; `"*"` is any service or
/// operation.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    service: String,
    operation: String,
    nth: u32,
    count: i32,
    fault: Value,
}

impl Fault {
    /// An error answer with AWS's code, like `RequestLimitExceeded` and 503.
    pub fn error(service: &str, operation: &str, code: &str, status: u16) -> Self {
        let fault = json!({"kind": "error", "code": code, "status": status});
        Self::new(service, operation, fault)
    }

    /// The work is done, but its answer is lost.
    pub fn drop_answer(service: &str, operation: &str) -> Self {
        Self::new(service, operation, json!({"kind": "drop_answer"}))
    }

    /// The request is lost: nothing is done.
    pub fn drop_request(service: &str, operation: &str) -> Self {
        Self::new(service, operation, json!({"kind": "drop_request"}))
    }

    /// The call is served later.
    pub fn delay(service: &str, operation: &str, by: Duration) -> Self {
        let fault = json!({"kind": "delay", "seconds": by.as_secs_f64()});
        Self::new(service, operation, fault)
    }

    /// Somebody else acts just before the call.
    pub fn act(service: &str, operation: &str, actor: &Actor) -> Self {
        Self::new(service, operation, json!({"kind": "act", "actor": actor}))
    }

    fn new(service: &str, operation: &str, fault: Value) -> Self {
        Self {
            service: service.to_owned(),
            operation: operation.to_owned(),
            nth: 1,
            count: 1,
            fault,
        }
    }

    /// Befalls the nth call from now, counted from 1.
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// Befalls so many calls in a row.
    pub fn times(self, count: i32) -> Self {
        Self { count, ..self }
    }

    /// Befalls all calls from then on.
    pub fn forever(self) -> Self {
        self.times(-1)
    }
}

/// Each panics where the emulated AWS says that the request makes no sense.
impl EmulatedAws {
    /// The emulated time.
    pub async fn clock(&self) -> Timestamp {
        #[derive(Deserialize)]
        struct Clock {
            now: Timestamp,
        }
        self.get::<Clock>("clock").await.now
    }

    /// Moves the clock; Lifecycle Manager does every run that comes due. Backwards only before
    /// anything exists.
    pub async fn set_clock(&self, to: Timestamp) -> Vec<Run> {
        self.move_clock(json!({"set": to})).await
    }

    /// Moves the clock on; Lifecycle Manager does every run that comes due.
    pub async fn advance(&self, by: Duration) -> Vec<Run> {
        self.move_clock(json!({"advance_seconds": by.as_secs_f64()}))
            .await
    }

    async fn move_clock(&self, request: Value) -> Vec<Run> {
        #[derive(Deserialize)]
        struct Moved {
            now: Timestamp,
            runs: Vec<Run>,
        }
        // By itself: who waits for it may be dropped, and the functions' clocks move with the emulated one
        // or not at all.
        let request = self.control.post(self.control_url("clock")).json(&request);
        let time = Arc::clone(self.time());
        let moving = tokio::spawn(async move {
            let moved = control::<Moved>("clock", request).await;
            time.moved_to(moved.now);
            moved.runs
        });
        moving.await.expect("the clock is moved")
    }

    /// How the next run of Lifecycle Manager, or more of them, ends for this volume.
    pub async fn plant(&self, volume: &VolumeId, outcome: Outcome, runs: u32) {
        let request = json!({"volume_id": volume, "outcome": outcome, "runs": runs});
        self.post::<Value>("dlm/plant", &request).await;
    }

    /// Plants a failure.
    pub async fn fault(&self, fault: Fault) {
        self.post::<Value>("faults", &fault).await;
    }

    /// How many calls have come, ended or not, that planted failures are for.
    pub async fn calls_seen_by_faults(&self) -> u32 {
        #[derive(Deserialize)]
        struct Planted {
            faults: Vec<Rule>,
        }
        #[derive(Deserialize)]
        struct Rule {
            calls_seen: u32,
        }
        let planted = self.get::<Planted>("faults").await;
        planted.faults.iter().map(|rule| rule.calls_seen).sum()
    }

    /// Forgets all planted failures.
    pub async fn clear_faults(&self) {
        self.delete("faults").await;
    }

    /// The calls since the start or since they were last cleared, in the order in which they ended.
    pub async fn calls(&self) -> Vec<Call> {
        #[derive(Deserialize)]
        struct Calls {
            calls: Vec<Call>,
        }
        self.get::<Calls>("calls").await.calls
    }

    /// The calls that may have changed something.
    pub async fn writes(&self) -> Vec<Call> {
        let mut calls = self.calls().await;
        calls.retain(|call| call.write);
        calls
    }

    /// Forgets the calls.
    pub async fn clear_calls(&self) {
        self.delete("calls").await;
    }

    /// Makes so many more clusters like one that is there; says how many etcd volumes those have.
    pub async fn copy_cluster(&self, cluster: &str, count: u32) -> usize {
        #[derive(Deserialize)]
        struct Copied {
            volumes: usize,
        }
        let request = json!({"cluster": cluster, "count": count});
        self.post::<Copied>("crowd", &request).await.volumes
    }

    /// What was published to SNS, in order.
    pub async fn messages(&self) -> Vec<Message> {
        #[derive(Deserialize)]
        struct Messages {
            messages: Vec<Message>,
        }
        self.get::<Messages>("sns/messages").await.messages
    }

    /// Forgets the messages.
    pub async fn clear_messages(&self) {
        self.delete("sns/messages").await;
    }

    /// Overrides `state`, `create_time` or `tags` of a volume: tags are merged, null deletes one,
    /// `aws:` ones are allowed.
    pub async fn set_volume(&self, volume: &VolumeId, changes: Value) {
        let path = format!("ec2/volumes/{volume}");
        self.post::<Value>(&path, &changes).await;
    }

    /// The volume is gone, attached or not.
    pub async fn lose_volume(&self, volume: &VolumeId) {
        let path = format!("ec2/volumes/{volume}/lose");
        self.post::<Value>(&path, &json!({})).await;
    }

    /// Overrides `state`, `start_time`, `owner_id`, `volume_id`, `storage_tier`, `encrypted` or
    /// `tags` of a snapshot.
    pub async fn set_snapshot(&self, snapshot: &SnapshotId, changes: Value) {
        let path = format!("ec2/snapshots/{snapshot}");
        self.post::<Value>(&path, &changes).await;
    }

    /// Overrides `state` (with `status_message`) of a DLM policy.
    pub async fn set_policy(&self, policy: &PolicyId, changes: Value) {
        let path = format!("dlm/policy/{policy}");
        self.post::<Value>(&path, &changes).await;
    }

    /// Settings of the emulation: `volume_creating_seconds`, `snapshot_pending_seconds`,
    /// `instance_terminating_seconds`, `role_assumable_after_seconds`, `page_size_max`, `stale_reads`,
    /// `authorization_lag_seconds`, `initialization_rate_refusal`.
    pub async fn settings(&self, changes: Value) {
        self.post::<Value>("settings", &changes).await;
    }

    /// How the nth volume made from now ends: `available`, `creating`, `error` or `vanished`.
    pub async fn volumes_end(&self, outcome: &str, nth: u32) {
        let request = json!({"outcome": outcome, "nth": nth});
        self.post::<Value>("ec2/volumes-end", &request).await;
    }

    /// A launch that is under way when the group's launches are suspended: it comes all the same.
    pub async fn late_launch(&self, group: &str) {
        self.post::<Value>("autoscaling/late-launch", &json!({"group": group}))
            .await;
    }

    /// Every state since the start, or since [`forget_candidates`](Self::forget_candidates), in which
    /// masters would have found two volumes for a member; and how many states there were.
    pub async fn candidate_violations(&self) -> (u32, Vec<Violation>) {
        #[derive(Deserialize)]
        struct Candidates {
            states: u32,
            violations: Vec<Violation>,
        }
        let seen = self.get::<Candidates>("candidates").await;
        (seen.states, seen.violations)
    }

    /// Forgets them.
    pub async fn forget_candidates(&self) {
        self.delete("candidates").await;
    }

    /// A copy with everything that is in it, on its own from then on.
    pub async fn fork(&self) -> Self {
        #[derive(Deserialize)]
        struct Forked {
            endpoint: String,
        }
        let forked = self.post::<Forked>("fork", &json!({})).await;
        Self::at(forked.endpoint, self.time().ahead())
    }

    /// From now on, calls with this access key are allowed only as these policies say.
    pub async fn enforce(&self, access_key_id: &str, policies: &[Value]) {
        let request = json!({"access_key_id": access_key_id, "policies": policies});
        self.post::<Value>("iam/enforce", &request).await;
    }

    /// What enforced policies allowed so far, and what they didn't.
    pub async fn permissions(&self) -> (Vec<Used>, Vec<Denied>) {
        #[derive(Deserialize)]
        struct Permissions {
            used: Vec<Used>,
            denied: Vec<Denied>,
        }
        let seen = self.get::<Permissions>("iam/used").await;
        (seen.used, seen.denied)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let request = self.control.get(self.control_url(path));
        control(path, request).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> T {
        let request = self.control.post(self.control_url(path)).json(body);
        control(path, request).await
    }

    pub(super) async fn delete(&self, path: &str) {
        let request = self.control.delete(self.control_url(path));
        control::<Value>(path, request).await;
    }

    fn control_url(&self, path: &str) -> String {
        format!("{}/emulator/{path}", self.endpoint())
    }
}

async fn control<T: DeserializeOwned>(path: &str, request: reqwest::RequestBuilder) -> T {
    let failed = |error: reqwest::Error| -> ! { panic!("the emulated AWS, {path}: {error:?}") };
    let answer = request.send().await.unwrap_or_else(|error| failed(error));
    let status = answer.status();
    let body = answer.text().await.unwrap_or_else(|error| failed(error));
    assert!(
        status.is_success(),
        "the emulated AWS, {path}: {status}: {body}"
    );
    serde_json::from_str(&body)
        .unwrap_or_else(|error| panic!("the emulated AWS, {path}: {error}: {body}"))
}
