//! Clusters of every shape: restored with their masters replaced, and put back as they were.

use super::*;

use e2e::Style;
use etcd_backup_core::Tags;

/// What one shape of cluster goes through, all of it judged by the masters' own filters.
async fn restored_and_undone(kops: Kops) {
    let (aws, cluster) = backed_up_once(kops).await;
    let restore = Function::start(&aws, "restore", &[]).await;
    let name = cluster.name();
    let before = volumes(&aws).await;

    let event = json!({"cluster": name, "masters": "replace"});
    let done = invoke(&restore, event).await;
    assert_eq!(done["phase"], "done");
    let new = new_volumes(&done);
    assert_eq!(new.len(), cluster.volumes.len());
    assert_found(&aws, &cluster, &new).await;
    assert_eq!(cluster.instances(&aws).await.len(), cluster.masters.len());

    let undo = json!({"cluster": name, "action": "undo", "masters": "replace"});
    let undone = invoke(&restore, undo).await;
    assert_eq!(undone["phase"], "undone");
    let old = cluster.volumes_by_name();
    assert_found(&aws, &cluster, &old).await;
    let after = volumes(&aws).await;
    let tags = |volumes: &Volumes, id: &VolumeId| -> Tags { volumes[id].1.clone() };
    for id in cluster.volumes.values() {
        assert_eq!(tags(&after, id), tags(&before, id), "{id} of {name}");
    }

    // Everything gone: only snapshots tell what was there.
    cluster.lose_volumes(&aws).await;
    for volume in new.values() {
        cluster.lose_volume(&aws, volume).await;
    }
    let zones = cluster.kops.members.iter().cloned();
    let zones = serde_json::Map::from_iter(zones.map(|(member, zone)| (member, json!(zone))));
    let event = json!({"cluster": name, "masters": "replace", "zones": zones});
    let done = invoke(&restore, event).await;
    assert_found(&aws, &cluster, &new_volumes(&done)).await;
    assert_never_two_candidates(&aws).await;
}

/// Each member's volumes are found in its zone by whoever looks there, and by member they are these.
async fn assert_found(aws: &EmulatedAws, cluster: &Cluster, expected: &BTreeMap<String, VolumeId>) {
    let all = volumes(aws).await;
    for (key, volume) in expected {
        let (etcd_cluster, member) = key.split_once('/').unwrap();
        let zone = cluster.zone(member);
        let found = match cluster.kops.style {
            Style::New { .. } => {
                etcd_manager_candidates(aws, cluster.name(), etcd_cluster, zone).await
            }
            Style::Old => protokube_candidates(aws, cluster.name(), zone).await,
        };
        let etcd_tag = format!("k8s.io/etcd/{etcd_cluster}");
        let of_member = found.into_iter().filter(|id| {
            let value = all[id].1.get(&etcd_tag);
            value.is_some_and(|value| value.split('/').next() == Some(member))
        });
        assert_eq!(
            of_member.collect::<Vec<_>>(),
            std::slice::from_ref(volume),
            "{key} in {zone}"
        );
    }
}

#[tokio::test]
async fn one_master() {
    restored_and_undone(Kops::new(CLUSTER).members(&[("a", "eu-west-2a")])).await;
}

#[tokio::test]
async fn five_masters_two_to_a_zone() {
    let members = [
        ("a-1", "eu-west-2a"),
        ("a-2", "eu-west-2a"),
        ("b-1", "eu-west-2b"),
        ("b-2", "eu-west-2b"),
        ("c-1", "eu-west-2c"),
    ];
    restored_and_undone(Kops::new(CLUSTER).members(&members)).await;
}

#[tokio::test]
async fn a_third_etcd_cluster_and_both_roles() {
    let kops = Kops::new(CLUSTER).etcd_clusters(&["main", "events", "cilium"]);
    restored_and_undone(kops.style(Style::New {
        control_plane: true,
    }))
    .await;
}

#[tokio::test]
async fn an_old_cluster_of_members_named_by_zone() {
    restored_and_undone(Kops::old("old.mycompany.tld")).await;
}

#[tokio::test]
async fn an_encrypted_cluster() {
    restored_and_undone(Kops::new(CLUSTER).encrypted()).await;
}
