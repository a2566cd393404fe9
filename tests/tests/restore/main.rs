//! restore, the real binary over real HTTP: masters find exactly the restored volumes, nobody else's
//! are touched, and the same event never makes a second set.

mod exchange;
mod faults;
mod masters;
mod refusals;
mod resume;
mod shapes;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::candidates::{etcd_manager_candidates, protokube_candidates, volumes_where};
use e2e::{
    BackedUpFleet, Cluster, EmulatedAws, Fault, Function, InvocationOptions, Kops, LambdaError,
    Outcome, backed_up_fleet, backed_up_once,
};
use etcd_backup_core::ids::{SnapshotId, VolumeId};
use serde_json::{Value, json};

const CLUSTER: &str = "k8s.mycompany.tld";

/// A volume as EC2 shows it, as far as a restore may or may not change it.
type Volumes = BTreeMap<VolumeId, (String, BTreeMap<String, String>)>;

async fn volumes(aws: &EmulatedAws) -> Volumes {
    let listed = aws.ec2().describe_volumes().into_paginator().items().send();
    let listed = listed.collect::<Result<Vec<_>, _>>().await.unwrap();
    let tags = |volume: &aws_sdk_ec2::types::Volume| {
        let tags = volume.tags().iter();
        tags.map(|tag| {
            (
                tag.key().unwrap().to_owned(),
                tag.value().unwrap().to_owned(),
            )
        })
        .collect()
    };
    let entry = |volume: aws_sdk_ec2::types::Volume| {
        let id = VolumeId::from(volume.volume_id().unwrap());
        (
            id,
            (volume.state().unwrap().as_str().to_owned(), tags(&volume)),
        )
    };
    listed.into_iter().map(entry).collect()
}

fn event() -> Value {
    json!({"cluster": CLUSTER})
}

fn with(more: Value) -> Value {
    let mut event = event();
    event
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    event
}

/// Takes off every tag that a restore puts on a volume when it makes it, as `kops update cluster` does.
fn forgotten() -> serde_json::Map<String, Value> {
    let ours = [
        "restore-id",
        "cluster",
        "member",
        "member-count",
        "run",
        "options",
    ];
    let nulls = ours.map(|key| (format!("etcd-backup/{key}"), Value::Null));
    serde_json::Map::from_iter(nulls)
}

/// The new volume of each member, as the answer has it.
fn new_volumes(answer: &Value) -> BTreeMap<String, VolumeId> {
    let members = answer["members"].as_array().unwrap().iter();
    members
        .map(|member| {
            let name = |field: &str| member[field].as_str().unwrap().to_owned();
            let key = format!("{}/{}", name("etcd_cluster"), name("member"));
            (key, VolumeId::from(name("volume_id")))
        })
        .collect()
}

/// Per zone, etcd-manager and protokube find exactly these volumes, and in no state on the way did they
/// find two for a member.
async fn assert_masters_find(
    aws: &EmulatedAws,
    cluster: &Cluster,
    expected: &BTreeMap<String, VolumeId>,
) {
    for (member, zone) in &cluster.kops.members {
        let mut of_zone = BTreeSet::new();
        for etcd_cluster in &cluster.kops.etcd_clusters {
            let own = expected[&format!("{etcd_cluster}/{member}")].clone();
            let found = etcd_manager_candidates(aws, cluster.name(), etcd_cluster, zone).await;
            assert_eq!(
                found,
                std::slice::from_ref(&own),
                "etcd-manager, {etcd_cluster} in {zone}"
            );
            of_zone.insert(own);
        }
        // It looks at root volumes too, and passes them over for want of an etcd tag.
        let of_etcd = volumes_where(aws, &[("tag-key", "k8s.io/etcd/*")]).await;
        let found = protokube_candidates(aws, cluster.name(), zone).await;
        let found: BTreeSet<_> = found
            .into_iter()
            .filter(|volume| of_etcd.contains(volume))
            .collect();
        assert_eq!(found, of_zone, "protokube in {zone}");
    }
    assert_never_two_candidates(aws).await;
}

async fn invoke(restore: &Function, event: Value) -> Value {
    let answer = restore.invoke(event).await;
    answer.unwrap_or_else(|error| panic!("{error}\n{}", restore.logs()))
}

/// A refusal, after which everything is as it was.
async fn refused(fleet: &BackedUpFleet, event: Value) -> LambdaError {
    let restore = fleet.function("restore").await;
    let before = volumes(&fleet.aws).await;
    fleet.aws.clear_calls().await;
    let error = restore
        .invoke(event.clone())
        .await
        .expect_err(&event.to_string());
    assert_eq!(fleet.aws.writes().await.len(), 0, "{event}: {error}");
    assert_eq!(volumes(&fleet.aws).await, before, "{event}");
    error
}

/// No state since the world was made had two volumes for one member.
async fn assert_never_two_candidates(aws: &EmulatedAws) {
    let (states, violations) = aws.candidate_violations().await;
    assert!(states > 0, "the recorder saw nothing");
    assert!(violations.is_empty(), "{violations:#?}");
}

fn volumes_seeded(fleet: &BackedUpFleet) -> usize {
    let of_cluster = |cluster: &Cluster| cluster.volumes.len() + cluster.masters.len();
    of_cluster(&fleet.cluster) + of_cluster(&fleet.other) + fleet.strangers.len()
}

/// A restore stopped after its old volumes were untagged and before its new ones are tagged.
async fn stopped_in_mid_exchange(fleet: &BackedUpFleet, restore: &Function, event: Value) {
    let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.nth(7).forever()).await;
    let error = restore.invoke(event).await.unwrap_err();
    assert_eq!(error.error_type, "AwsError");
    assert!(
        error.message.contains("send the same event again"),
        "{}",
        error.message
    );
    fleet.aws.clear_faults().await;
}
