//! restore, killed before and after every AWS call that it makes: the same event then comes to the same
//! end as an undisturbed run. The same volumes are in service, none is made twice, none is lost, no
//! launches stay suspended, and in no state on the way do masters find two volumes for one member.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use e2e::candidates::volumes_where;
use e2e::{Cluster, CrashPoint, EmulatedAws, Function, Kops, backed_up_once};
use etcd_backup_core::ids::VolumeId;
use serde_json::{Value, json};

const CLUSTER: &str = "k8s.mycompany.tld";
/// Boundaries tried at the same time, each on a copy of the same AWS: they mostly wait.
const AT_ONCE: u32 = 12;

/// A cluster of three masters with one etcd cluster, backed up once: small, as there are many of it.
async fn world() -> (EmulatedAws, Cluster) {
    backed_up_once(Kops::new(CLUSTER).etcd_clusters(&["main"])).await
}

/// A volume as it ends, by a name that is the same in every copy: what it is made from, for which
/// member, and its tags but for the ids and times in them.
type Ended = BTreeSet<(String, BTreeMap<String, String>, bool)>;

/// How everything stands at the end.
#[derive(Debug, PartialEq, Eq)]
struct End {
    phase: String,
    volumes: Ended,
    groups: BTreeSet<(String, bool, bool, usize)>,
}

async fn end(aws: &EmulatedAws, cluster: &Cluster, answer: &Value) -> End {
    let listed = aws.ec2().describe_volumes().into_paginator().items().send();
    let listed = listed.collect::<Result<Vec<_>, _>>().await.unwrap();
    let seeded: BTreeSet<&str> = cluster.volumes.values().map(VolumeId::as_str).collect();
    let etcd = volumes_where(aws, &[("tag-key", "*etcd*")]).await;
    let volumes = listed
        .iter()
        .filter(|volume| etcd.contains(&volume.volume_id().unwrap().into()));
    let volumes = volumes.map(|volume| {
        let tags = volume.tags().iter().map(|tag| {
            let (key, value) = (tag.key().unwrap(), tag.value().unwrap());
            let differs = ["etcd-backup/retired-at", "etcd-backup/replaced-by"].contains(&key);
            (
                key.to_owned(),
                if differs {
                    String::new()
                } else {
                    value.to_owned()
                },
            )
        });
        let id = volume.volume_id().unwrap();
        let is_seeded = seeded.contains(id);
        let name = match is_seeded {
            true => id.to_owned(),
            false => volume.snapshot_id().unwrap().to_owned(),
        };
        (name, tags.collect(), !volume.attachments().is_empty())
    });
    let volumes: Vec<_> = volumes.collect();
    let distinct: Ended = volumes.iter().cloned().collect();
    assert_eq!(
        distinct.len(),
        volumes.len(),
        "two volumes of the same make: {volumes:#?}"
    );
    let described = aws.autoscaling().describe_auto_scaling_groups().send();
    let groups = described.await.unwrap().auto_scaling_groups.unwrap();
    let groups = groups.iter().map(|group| {
        let mut tags = group.tags().iter();
        (
            group.auto_scaling_group_name().unwrap().to_owned(),
            group.suspended_processes().is_empty(),
            tags.any(|tag| tag.key().unwrap().starts_with("etcd-backup/")),
            group.instances().len(),
        )
    });
    End {
        phase: answer["phase"].as_str().unwrap().to_owned(),
        volumes: distinct,
        groups: groups.collect(),
    }
}

/// A scenario: an AWS in which an event is about to be sent.
struct Scenario {
    name: &'static str,
    aws: EmulatedAws,
    cluster: Cluster,
    event: Value,
    undisturbed: End,
}

impl Scenario {
    async fn new(name: &'static str, aws: EmulatedAws, cluster: Cluster, event: Value) -> Self {
        let copy = aws.fork().await;
        let restore = Function::start(&copy, "restore", &[]).await;
        let answer = restore.invoke(event.clone()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let undisturbed = end(&copy, &cluster, &answer).await;
        Self {
            name,
            aws,
            cluster,
            event,
            undisturbed,
        }
    }

    /// `false` when it was done before it came to the point.
    async fn survives(&self, point: CrashPoint) -> bool {
        let Self { name, event, .. } = self;
        let aws = self.aws.fork().await;
        aws.forget_candidates().await;
        let mut restore = Function::start(&aws, "restore", &[]).await;
        let crashed = restore.invoke_and_crash(&aws, event.clone(), point).await;
        if crashed.is_some() {
            return false;
        }
        restore.restart().await;
        let answer = restore.invoke(event.clone()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}, {point:?}: {error}"));
        let end = end(&aws, &self.cluster, &answer).await;
        assert_eq!(end, self.undisturbed, "{name}, {point:?}");
        let (_, violations) = aws.candidate_violations().await;
        assert!(violations.is_empty(), "{name}, {point:?}: {violations:#?}");
        true
    }

    /// Tries every boundary, and gives how many there are.
    async fn survives_everywhere(self) -> u32 {
        let this = Arc::new(self);
        let mut boundaries = 0;
        for first in (1_u32..).step_by(AT_ONCE as usize / 2) {
            let calls = first..first + AT_ONCE / 2;
            let points = calls.flat_map(|nth| [CrashPoint::Before(nth), CrashPoint::After(nth)]);
            let tries: Vec<_> = points
                .map(|point| {
                    let this = Arc::clone(&this);
                    tokio::spawn(async move { this.survives(point).await })
                })
                .collect();
            let mut came_to_all = true;
            for task in tries {
                match task.await.unwrap() {
                    true => boundaries += 1,
                    false => came_to_all = false,
                }
            }
            if !came_to_all {
                break;
            }
        }
        // Past the capture of a test's output: how much was tried is to be seen when all is well.
        let _ = writeln!(
            std::io::stdout(),
            "{}: {boundaries} boundaries tried",
            this.name
        );
        boundaries
    }
}

async fn restored(event: &Value) -> (EmulatedAws, Cluster) {
    let (aws, cluster) = world().await;
    let restore = Function::start(&aws, "restore", &[]).await;
    restore.invoke(event.clone()).await.unwrap();
    (aws, cluster)
}

fn event(more: &Value) -> Value {
    let mut event = json!({"cluster": CLUSTER});
    event
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore() {
    let (aws, cluster) = world().await;
    let scenario = Scenario::new("restore", aws, cluster, event(&json!({}))).await;
    assert!(scenario.survives_everywhere().await >= 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_replaces_masters() {
    let (aws, cluster) = world().await;
    let replace = event(&json!({"masters": "replace"}));
    let scenario = Scenario::new("restore, masters replaced", aws, cluster, replace).await;
    assert!(scenario.survives_everywhere().await >= 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_restore() {
    let (aws, cluster) = world().await;
    let one = event(&json!({"members": ["b"], "partial": true}));
    let scenario = Scenario::new("partial restore", aws, cluster, one).await;
    assert!(scenario.survives_everywhere().await >= 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_of_vanished_volumes() {
    let (aws, cluster) = world().await;
    cluster.lose_volumes(&aws).await;
    let scenario = Scenario::new(
        "restore of vanished volumes",
        aws,
        cluster,
        event(&json!({})),
    )
    .await;
    assert!(scenario.survives_everywhere().await >= 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo() {
    let (aws, cluster) = restored(&event(&json!({}))).await;
    let undo = event(&json!({"action": "undo"}));
    let scenario = Scenario::new("undo", aws, cluster, undo).await;
    assert!(scenario.survives_everywhere().await >= 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_replaces_masters() {
    let (aws, cluster) = restored(&event(&json!({"masters": "replace"}))).await;
    cluster.boot_masters(&aws).await;
    let undo = event(&json!({"action": "undo", "masters": "replace"}));
    let scenario = Scenario::new("undo, masters replaced", aws, cluster, undo).await;
    assert!(scenario.survives_everywhere().await >= 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_of_an_unfinished_restore() {
    let (aws, cluster) = world().await;
    let mut restore = Function::start(&aws, "restore", &[]).await;
    // Cut off while it tags: one new volume is in service, two are not.
    let mut nth = 1;
    loop {
        let copy = aws.fork().await;
        let mut probe = Function::start(&copy, "restore", &[]).await;
        let crashed = probe
            .invoke_and_crash(&copy, event(&json!({})), CrashPoint::After(nth))
            .await;
        assert!(
            crashed.is_none(),
            "no boundary leaves one new volume tagged"
        );
        let new = [
            ("tag-key", "etcd-backup/restore-id"),
            ("tag-key", "k8s.io/etcd/main"),
        ];
        if volumes_where(&copy, &new).await.len() == 1 {
            restore.restart().await;
            break;
        }
        probe.restart().await;
        nth += 1;
    }
    restore
        .invoke_and_crash(&aws, event(&json!({})), CrashPoint::After(nth))
        .await;
    let undo = event(&json!({"action": "undo"}));
    let scenario = Scenario::new("undo of an unfinished restore", aws, cluster, undo).await;
    assert!(scenario.survives_everywhere().await >= 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_of_an_undo() {
    let (aws, cluster) = restored(&event(&json!({}))).await;
    let restore = Function::start(&aws, "restore", &[]).await;
    let undone = restore
        .invoke(event(&json!({"action": "undo"})))
        .await
        .unwrap();
    let redo = event(&json!({"action": "undo", "restore_id": undone["undo_id"]}));
    let scenario = Scenario::new("undo of an undo", aws, cluster, redo).await;
    assert!(scenario.survives_everywhere().await >= 40);
}
