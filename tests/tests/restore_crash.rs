//! restore, killed before and after every AWS call that it makes: the same event then finds the same
//! end, nothing is made twice, and at no stop do masters find two volumes for one member.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::candidates::{etcd_manager_candidates, volumes_where};
use e2e::{Cluster, CrashPoint, EmulatedAws, Function, Kops};
use etcd_backup_core::ids::VolumeId;
use serde_json::{Value, json};

const CLUSTER: &str = "k8s.mycompany.tld";
/// Calls tried at the same time, before and after each: every try has an AWS of its own.
const AT_ONCE: u32 = 2;

/// A cluster of three masters with one etcd cluster, backed up once: small, as there are many of it.
async fn world() -> (EmulatedAws, Cluster) {
    let aws = EmulatedAws::start().await;
    let cluster = Kops::new(CLUSTER).etcd_clusters(&["main"]).seed(&aws).await;
    let converge = Function::start(&aws, "converge", &[]).await;
    converge.invoke(json!({})).await.unwrap();
    aws.advance(Duration::from_secs(25 * 3600)).await;
    (aws, cluster)
}

/// What masters find for each member.
async fn found(aws: &EmulatedAws, cluster: &Cluster) -> BTreeMap<String, Vec<VolumeId>> {
    let mut found = BTreeMap::new();
    for (member, zone) in &cluster.kops.members {
        let of_member = etcd_manager_candidates(aws, CLUSTER, "main", zone).await;
        found.insert(member.clone(), of_member);
    }
    found
}

/// `false` when the restore was done before it came to the point.
async fn survives(point: CrashPoint) -> bool {
    let (aws, cluster) = world().await;
    let event = json!({"cluster": CLUSTER});
    let mut restore = Function::start(&aws, "restore", &[]).await;
    if restore
        .invoke_and_crash(&aws, event.clone(), point)
        .await
        .is_some()
    {
        return false;
    }
    for (member, volumes) in found(&aws, &cluster).await {
        assert!(volumes.len() <= 1, "{point:?}: {member} has {volumes:?}");
    }
    restore.restart().await;
    let done: Value = restore
        .invoke(event)
        .await
        .unwrap_or_else(|error| panic!("{point:?}: {error}"));
    assert_eq!(done["phase"], "done", "{point:?}");
    for member in done["members"].as_array().unwrap() {
        let name = member["member"].as_str().unwrap();
        let new = VolumeId::from(member["volume_id"].as_str().unwrap());
        assert_eq!(found(&aws, &cluster).await[name], [new], "{point:?}");
        let retired = member["retired"].as_array().unwrap();
        assert_eq!(
            retired[..],
            [json!(cluster.volume(&format!("main/{name}")))],
            "{point:?}"
        );
    }
    let made = volumes_where(&aws, &[("tag-key", "etcd-backup/restore-id")]).await;
    assert_eq!(made.len(), 3, "{point:?}: nothing is made twice");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_killed_at_any_call_is_finished_by_the_same_event() {
    let mut boundaries = 0;
    for first in (1_u32..).step_by(AT_ONCE as usize) {
        let calls = first..first + AT_ONCE;
        let points = calls.flat_map(|nth| [CrashPoint::Before(nth), CrashPoint::After(nth)]);
        let tasks: Vec<_> = points.map(|point| tokio::spawn(survives(point))).collect();
        let mut came_to_all = true;
        for task in tasks {
            match task.await.unwrap() {
                true => boundaries += 1,
                false => came_to_all = false,
            }
        }
        if !came_to_all {
            break;
        }
    }
    println!("{boundaries} boundaries tried");
    assert!(boundaries >= 40, "only {boundaries} boundaries were tried");
}
