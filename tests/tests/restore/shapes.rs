//! Clusters of every shape: restored with their masters replaced, put back as they were, and restored
//! from nothing but their snapshots.

use super::*;
use e2e::Style;

/// What one shape of cluster goes through, all of it judged by the masters' own filters.
async fn restored_and_undone(kops: Kops) {
    let bed = RestoreBed::of(kops).await;
    let before = bed.volumes().await;
    let done = bed.done(replace()).await;
    let new = answered_volumes(&done);
    assert_eq!(new.len(), bed.cluster.volumes.len());
    assert_eq!(bed.instances().await.len(), bed.cluster.masters.len());

    let undone = bed.undone(replace()).await;
    assert_eq!(answered_volumes(&undone), bed.old());
    let after = bed.volumes().await;
    for id in bed.cluster.volumes.values() {
        assert_eq!(after[id].tags, before[id].tags, "{id}");
    }

    // Everything gone: only snapshots tell what was there.
    for volume in bed.old().values().chain(new.values()) {
        bed.cluster.lose_volume(&bed.aws, volume).await;
    }
    let zones = bed.cluster.kops.members.iter().cloned();
    let zones = Map::from_iter(zones.map(|(member, zone)| (member, json!(zone))));
    bed.done(json!({"masters": "replace", "zones": zones}))
        .await;
    bed.assert_resumed().await;
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
    let newer = Style::New {
        control_plane: true,
    };
    restored_and_undone(kops.style(newer)).await;
}

#[tokio::test]
async fn an_old_cluster_of_members_named_by_zone() {
    restored_and_undone(Kops::old("old.mycompany.tld")).await;
}

#[tokio::test]
async fn an_encrypted_cluster() {
    restored_and_undone(Kops::new(CLUSTER).encrypted()).await;
}
