//! What the tests of restore begin with: a cluster that was backed up, its masters ready to start, and
//! the function; and what they judge by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_backup_core::ids::{InstanceId, SnapshotId, VolumeId};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::backed_up::{backed_up_fleet, backed_up_once, next_morning};
use crate::emulated_aws::{Call, EmulatedAws, Fault, MountedBy, answered};
use crate::fleet::{Cluster, Kops, Style};
use crate::lambda::{Function, InvocationOptions, LambdaError};
use crate::restores::{
    ShownVolume, answered_volumes, forget_lease, found_by_masters, restore_function,
    suspended_groups, volumes,
};

/// The cluster of most tests.
pub const CLUSTER: &str = "k8s.mycompany.tld";
/// Long enough for everything that a test waits for, on the slowest machine too.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// The phases before a turn's end, as they follow each other.
const PHASES: [&str; 5] = [
    "planned",
    "creating",
    "waiting_for_masters",
    "exchanging",
    "starting",
];

/// A cluster that was backed up, in an AWS of its own.
#[derive(Debug)]
pub struct RestoreBed {
    /// The AWS.
    pub aws: EmulatedAws,
    /// The cluster.
    pub cluster: Cluster,
    /// The function; its clock is the emulated one.
    pub restore: Function,
    /// Clusters of others in the same account.
    pub others: Vec<Cluster>,
}

impl RestoreBed {
    /// Three masters with one etcd cluster, backed up once.
    pub async fn small() -> Self {
        Self::of(Kops::new(CLUSTER).etcd_clusters(&["main"])).await
    }

    /// A cluster that was backed up once.
    pub async fn of(kops: Kops) -> Self {
        let (aws, cluster) = backed_up_once(kops).await;
        Self::new(aws, cluster, Vec::new()).await
    }

    /// Two clusters of three masters with two etcd clusters, and volumes of strangers, backed up for so
    /// many days; the restores are of the first.
    pub async fn fleet(days: u32) -> Self {
        let fleet = backed_up_fleet(days).await;
        Self::new(fleet.aws, fleet.cluster, vec![fleet.other]).await
    }

    /// A cluster that is there already.
    pub async fn new(aws: EmulatedAws, cluster: Cluster, others: Vec<Cluster>) -> Self {
        let mounted_by = match cluster.kops.style {
            Style::New { .. } => MountedBy::EtcdManager,
            Style::Old => MountedBy::Protokube,
        };
        aws.start_masters(&cluster, mounted_by).await;
        aws.clear_calls().await;
        Self {
            restore: restore_function(&aws).await,
            aws,
            cluster,
            others,
        }
    }

    /// A copy of everything, with a function of its own.
    pub async fn fork(&self) -> Self {
        let aws = self.aws.fork().await;
        Self {
            restore: restore_function(&aws).await,
            aws,
            cluster: self.cluster.clone(),
            others: self.others.clone(),
        }
    }

    /// An event with these fields besides the cluster.
    pub fn event(&self, more: Value) -> Value {
        event_of(self.cluster.name(), more)
    }

    /// Invokes with these fields besides the cluster.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub async fn ask(&self, more: Value) -> Value {
        let answer = self.try_ask(more.clone()).await;
        answer.unwrap_or_else(|error| panic!("{more}: {error}\n{}", self.restore.logs()))
    }

    /// Invokes with these fields besides the cluster; masters start fast meanwhile.
    ///
    /// # Errors
    ///
    /// What Lambda gives a caller of a failed invocation.
    pub async fn try_ask(&self, more: Value) -> Result<Value, LambdaError> {
        let within = InvocationOptions::within(WAIT_MAX);
        self.try_ask_within(more, within).await
    }

    /// The same, with an invocation's options.
    ///
    /// # Errors
    ///
    /// What Lambda gives a caller of a failed invocation.
    pub async fn try_ask_within(
        &self,
        more: Value,
        options: InvocationOptions,
    ) -> Result<Value, LambdaError> {
        let invocation = self.restore.invoke_with(self.event(more), options);
        while_masters_start_fast(&self.aws, invocation).await
    }

    /// Restores, undoes, …, and masters find what the answer says.
    ///
    /// # Panics
    ///
    /// When it fails, or isn't done, or masters find anything else.
    pub async fn done(&self, more: Value) -> Value {
        let answer = self.ask(more.clone()).await;
        assert_eq!(answer["phase"], "done", "{more}: {answer}");
        self.assert_masters_find(&answered_volumes(&answer)).await;
        answer
    }

    /// Undoes, and masters find what the answer says.
    ///
    /// # Panics
    ///
    /// When it fails, or isn't undone, or masters find anything else.
    pub async fn undone(&self, more: Value) -> Value {
        let mut fields = json!({"action": "undo"});
        extend(&mut fields, more);
        let answer = self.ask(fields).await;
        assert_eq!(answer["phase"], "undone", "{answer}");
        self.assert_masters_find(&answered_volumes(&answer)).await;
        answer
    }

    /// An invocation whose time is up in a phase, see [`stopped_by_time`].
    ///
    /// # Panics
    ///
    /// When it fails, or is past the phase.
    pub async fn stopped_by_time(&self, more: Value, phase: &str, within: Duration) -> Value {
        stopped_by_time(&self.aws, self.event(more), phase, within).await
    }

    /// A refusal, after which everything is as it was.
    ///
    /// # Panics
    ///
    /// When it isn't refused by this name, or wrote anything but its lease.
    pub async fn refused(&self, more: Value, error_type: &str) -> LambdaError {
        let before = volumes(&self.aws).await;
        self.aws.clear_calls().await;
        let error = match self.try_ask(more.clone()).await {
            Err(error) => error,
            Ok(answer) => panic!("{more} is not refused: {answer}"),
        };
        assert_eq!(error.error_type, error_type, "{more}: {}", error.message);
        let writes = self.writes().await;
        assert!(writes.is_empty(), "{more}: {error}, and yet: {writes:#?}");
        assert_eq!(volumes(&self.aws).await, before, "{more}");
        error
    }

    /// The calls that may have changed volumes, instances or groups since calls were cleared last.
    pub async fn writes(&self) -> Vec<Call> {
        let mut writes = self.aws.writes().await;
        writes.retain(|call| call.service != "dynamodb");
        writes
    }

    /// Whether nothing but the table was written since calls were cleared last.
    ///
    /// # Panics
    ///
    /// When something was.
    pub async fn assert_nothing_written(&self) {
        let writes = self.writes().await;
        assert!(writes.is_empty(), "{writes:#?}");
    }

    /// An invocation that ends by an error as planted; the fault is over then.
    ///
    /// # Panics
    ///
    /// When it doesn't fail.
    pub async fn fails(&self, more: Value, fault: Fault) -> LambdaError {
        self.aws.fault(fault).await;
        let error = self.try_ask(more.clone()).await;
        self.aws.clear_faults().await;
        error.expect_err(&more.to_string())
    }

    /// The restore is stopped when its old volumes are untagged and none of its new ones is tagged.
    ///
    /// # Panics
    ///
    /// When it isn't stopped there.
    pub async fn stopped_in_the_middle(&self, more: Value) {
        let bed = self.fork().await;
        bed.aws.clear_calls().await;
        let answer = bed.try_ask(more.clone()).await;
        let calls = bed.aws.calls().await;
        let position = |operation: &str| {
            let mut calls = calls.iter();
            calls.rposition(|call| call.service == "ec2" && call.operation == operation)
        };
        let last = position("DeleteTags").unwrap_or_else(|| panic!("{more}: {answer:?}"));
        let tags_before = calls[..last]
            .iter()
            .filter(|call| call.service == "ec2" && call.operation == "CreateTags");
        let nth = u32::try_from(tags_before.count()).expect("few calls") + 1;
        let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
        let error = self.fails(more, denied.nth(nth).forever()).await;
        assert_eq!(error.error_type, "AwsError", "{error}");
        let found = found_by_masters(&self.aws, &self.cluster).await;
        let scope = answer
            .map(|answer| answered_volumes(&answer))
            .unwrap_or_default();
        let is_in_scope = |member: &&String| scope.contains_key(*member);
        assert_eq!(found.keys().find(is_in_scope), None, "it is in the middle");
    }

    /// Masters find exactly these volumes, by all their filters, and never found two for a member.
    ///
    /// # Panics
    ///
    /// When they find others, or did.
    pub async fn assert_masters_find(&self, expected: &BTreeMap<String, VolumeId>) {
        let found = found_by_masters(&self.aws, &self.cluster).await;
        for (member, volume) in expected {
            let one = BTreeSet::from([volume.clone()]);
            assert_eq!(found.get(member), Some(&one), "{member}");
        }
        self.assert_never_two_candidates().await;
    }

    /// In no state since the world was made, or since they were forgotten, did masters find two volumes
    /// for one member.
    ///
    /// # Panics
    ///
    /// When they did.
    pub async fn assert_never_two_candidates(&self) {
        let (states, violations) = self.aws.candidate_violations().await;
        assert!(states > 0, "the recorder saw nothing");
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// No launches are suspended, and nothing of a restore is left on groups.
    ///
    /// # Panics
    ///
    /// When something is.
    pub async fn assert_resumed(&self) {
        let suspended = suspended_groups(&self.aws, &self.cluster).await;
        assert_eq!(suspended, BTreeSet::new(), "suspended groups");
        for group in crate::restores::groups(&self.aws, &self.cluster).await {
            let keys = group.tags().iter().filter_map(|tag| tag.key());
            let ours: Vec<_> = keys.filter(|key| key.starts_with("etcd-backup/")).collect();
            assert!(ours.is_empty(), "{group:?}");
        }
    }

    /// All volumes.
    pub async fn volumes(&self) -> BTreeMap<VolumeId, ShownVolume> {
        volumes(&self.aws).await
    }

    /// The volumes that it began with, by member.
    pub fn old(&self) -> BTreeMap<String, VolumeId> {
        self.cluster.volumes_by_name()
    }

    /// The masters' instances.
    pub async fn instances(&self) -> BTreeSet<InstanceId> {
        self.cluster
            .instances(&self.aws)
            .await
            .into_iter()
            .collect()
    }

    /// The emulated time.
    pub async fn now(&self) -> Timestamp {
        self.aws.clock().await
    }

    /// Another run is over.
    pub async fn next_morning(&self) {
        self.aws.set_clock(next_morning(self.now().await)).await;
    }

    /// The newest snapshot of a member's seeded volume.
    pub async fn newest_snapshot(&self, member: &str) -> SnapshotId {
        let volume = self.cluster.volume(member);
        self.aws.snapshots_of(volume).await.remove(0)
    }

    /// Deletes a snapshot.
    pub async fn delete_snapshot(&self, snapshot: &SnapshotId) {
        let request = self.aws.ec2().delete_snapshot();
        let answer = request.snapshot_id(snapshot.as_str()).send().await;
        answered("DeleteSnapshot", answer);
    }

    /// Deletes a member's volume of the beginning.
    pub async fn lose(&self, member: &str) {
        let volume = self.cluster.volume(member).clone();
        self.cluster.lose_volume(&self.aws, &volume).await;
    }

    /// Takes a volume off the instance that it is attached to.
    pub async fn detach(&self, volume: &VolumeId) {
        let request = self.aws.ec2().detach_volume();
        let answer = request.volume_id(volume.as_str()).send().await;
        answered("DetachVolume", answer);
    }

    /// The masters' instances are stopped by hand: their volumes are free.
    pub async fn detach_all(&self) {
        for (id, volume) in self.volumes().await {
            let is_etcd = volume
                .tags
                .keys()
                .any(|key| key.starts_with("k8s.io/etcd/"));
            if volume.is_attached && is_etcd {
                self.detach(&id).await;
            }
        }
    }
}

/// An event of a cluster with these fields besides.
pub fn event_of(cluster: &str, more: Value) -> Value {
    let mut event = json!({"cluster": cluster});
    extend(&mut event, more);
    event
}

/// The answer of an invocation whose time is up in a phase that doesn't end by itself meanwhile. A machine that
/// is too slow to come there within so much time is given twice as much: the same event goes on.
///
/// # Panics
///
/// When it fails, or is past the phase, or never comes there.
pub async fn stopped_by_time(
    aws: &EmulatedAws,
    event: Value,
    phase: &str,
    mut within: Duration,
) -> Value {
    let place = |phase: &str| PHASES.iter().position(|known| *known == phase);
    while within < WAIT_MAX {
        let restore = restore_function(aws).await;
        let options = InvocationOptions::within(within);
        match restore.invoke_with(event.clone(), options).await {
            Ok(answer) if answer["phase"] == phase => return answer,
            Ok(answer) => {
                let came_to = place(answer["phase"].as_str().unwrap_or_default());
                let is_before = came_to.is_some_and(|came_to| Some(came_to) < place(phase));
                assert!(is_before, "not {phase}: {answer}");
            }
            Err(error) => {
                assert_eq!(error.error_type, "Sandbox.Timedout", "{event}: {error}");
                forget_lease(aws, event["cluster"].as_str().unwrap_or_default()).await;
            }
        }
        within *= 2;
    }
    panic!("{event} never came to {phase}");
}

/// Waits for something while masters that were launched start fast.
pub async fn while_masters_start_fast<T>(aws: &EmulatedAws, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        () = aws.let_masters_start_fast() => unreachable!("it goes on for ever"),
    }
}

fn extend(event: &mut Value, more: Value) {
    match (event, more) {
        (Value::Object(event), Value::Object(more)) => event.extend(more),
        (_, more) => panic!("{more} is no object"),
    }
}
