//! What restore refuses, with what to do about it, and changes nothing.

use super::*;

#[tokio::test]
async fn refusals_say_what_to_do_and_change_nothing() {
    let fleet = backed_up_fleet(2).await;
    let error = refused(&fleet, json!({"cluster": "k8s.mycompany.tdl"})).await;
    assert_eq!(error.error_type, "ClusterNotFound");
    assert!(
        error
            .message
            .contains("k8s.mycompany.tld, live-2.mycompany.tld"),
        "{}",
        error.message
    );

    for event in [
        with(json!({"colour": "red"})),
        with(json!({"action": "explode"})),
        json!({"cluster": ""}),
        json!({}),
        with(json!({"members": ["a"]})),
        with(json!({"members": ["z"], "partial": true})),
        with(json!({"etcd_clusters": ["cilium"]})),
        with(json!({"zones": {"a": "mars-1a"}})),
        with(json!({"zones": {"z": "eu-west-2a"}})),
        with(json!({"snapshots": {"main/a": "snap-0123456789abcdef0"}, "partial": true})),
    ] {
        let error = refused(&fleet, event.clone()).await;
        assert_eq!(
            error.error_type, "InvalidEvent",
            "{event}: {}",
            error.message
        );
    }

    let error = refused(&fleet, with(json!({"at": "2020-01-01T00:00:00Z"}))).await;
    assert_eq!(error.error_type, "NoRestorePoint");

    let own = fleet
        .aws
        .snapshots_of(fleet.cluster.volume("main/a"))
        .await
        .remove(0);
    let by_hand = |member: &str, snapshot: &SnapshotId| {
        with(json!({"snapshots": {member: snapshot}, "partial": true}))
    };
    let error = refused(&fleet, by_hand("main/b", &own)).await;
    assert!(error.message.contains("is of main/a"), "{}", error.message);
    let foreign = fleet
        .aws
        .snapshots_of(fleet.other.volume("main/a"))
        .await
        .remove(0);
    let error = refused(&fleet, by_hand("main/a", &foreign)).await;
    assert!(
        error.message.contains("belongs to live-2.mycompany.tld"),
        "{}",
        error.message
    );
    let error = refused(&fleet, with(json!({"snapshots": {"main/a": own}}))).await;
    assert!(
        error.message.contains("leave out main/b, main/c"),
        "{}",
        error.message
    );

    let an_hour_later = fleet.now().await + Duration::from_secs(3600);
    fleet
        .aws
        .set_snapshot(&own, json!({"start_time": an_hour_later}))
        .await;
    let error = refused(&fleet, event()).await;
    assert_eq!(error.error_type, "SkewTooLarge");
    let restore = fleet.function("restore").await;
    invoke(
        &restore,
        with(json!({"action": "plan", "skew_minutes_max": 1000})),
    )
    .await;

    let tags = (0..45).map(|i| (format!("label-{i}"), json!("x")));
    let volume = fleet.cluster.volume("main/b");
    fleet
        .aws
        .set_snapshot(&own, json!({"state": "completed"}))
        .await;
    fleet
        .aws
        .set_volume(volume, json!({"tags": serde_json::Map::from_iter(tags)}))
        .await;
    let error = refused(&fleet, with(json!({"skew_minutes_max": 1000}))).await;
    assert_eq!(error.error_type, "TagLimit");
}

#[tokio::test]
async fn blank_volumes_made_after_a_loss_make_the_latest_point_doubtful() {
    let fleet = backed_up_fleet(2).await;
    fleet.cluster.lose_volumes(&fleet.aws).await;
    for key in fleet.cluster.volumes.keys() {
        let (etcd_cluster, member) = (key.etcd_cluster.as_str(), key.member.as_str());
        let tags = fleet.cluster.kops.volume_tags(etcd_cluster, member);
        e2e::fleet::etcd_volume(&fleet.aws, fleet.cluster.zone(member), false, &tags).await;
    }
    fleet.next_morning().await;
    let error = refused(&fleet, event()).await;
    assert_eq!(error.error_type, "RestorePointDoubtful");
    let restore = fleet.function("restore").await;
    let list = invoke(&restore, with(json!({"action": "list"}))).await;
    let points = &list["restore_points"];
    assert_eq!(
        (&points[0]["doubtful"], &points[1]["doubtful"]),
        (&json!(true), &json!(false))
    );
    for point in [&points[0], &points[1]] {
        assert!(
            error.message.contains(point["run"].as_str().unwrap()),
            "{}",
            error.message
        );
    }
    let plan = invoke(
        &restore,
        with(json!({"action": "plan", "at": points[1]["latest"]})),
    )
    .await;
    assert_eq!(plan["restore_point"]["run"], points[1]["run"]);
    let plan = invoke(
        &restore,
        with(json!({"action": "plan", "at": points[0]["latest"]})),
    )
    .await;
    assert_eq!(
        plan["restore_point"]["run"], points[0]["run"],
        "a person may insist"
    );
}

#[tokio::test]
async fn an_old_cluster_is_refused_while_its_masters_run_and_restored_when_they_are_stopped() {
    let (aws, cluster) = backed_up_once(Kops::old("old.mycompany.tld")).await;
    let restore = Function::start(&aws, "restore", &[]).await;
    let event = json!({"cluster": "old.mycompany.tld"});
    aws.clear_calls().await;
    let error = restore.invoke(event.clone()).await.unwrap_err();
    assert_eq!(error.error_type, "MastersRunning");
    assert!(
        error.message.contains(cluster.masters[0].instance.as_str()),
        "{}",
        error.message
    );
    assert_eq!(aws.writes().await.len(), 0);

    for volume in cluster.volumes.values() {
        aws.ec2()
            .detach_volume()
            .volume_id(volume.as_str())
            .send()
            .await
            .unwrap();
    }
    let done = invoke(&restore, event).await;
    let new = new_volumes(&done);
    for (member, zone) in &cluster.kops.members {
        let roots: Vec<_> = cluster
            .masters
            .iter()
            .map(|master| master.root_volume.clone())
            .collect();
        let mut found = protokube_candidates(&aws, "old.mycompany.tld", zone).await;
        found.retain(|volume| !roots.contains(volume));
        let mut expected = ["main", "events"].map(|etcd| new[&format!("{etcd}/{member}")].clone());
        expected.sort();
        assert_eq!(found, expected);
    }
    let tags = &volumes(&aws).await[&new["main/eu-west-2a"]].1;
    assert!(
        !tags
            .keys()
            .any(|key| key.starts_with("kubernetes.io/cluster/")),
        "{tags:?}"
    );
}

#[tokio::test]
async fn a_vanished_volumes_zone_that_nothing_tells_is_asked_for() {
    let members = [
        ("1", "eu-west-2a"),
        ("2", "eu-west-2b"),
        ("3", "eu-west-2c"),
    ];
    let (aws, cluster) = backed_up_once(Kops::new(CLUSTER).members(&members)).await;
    let restore = Function::start(&aws, "restore", &[]).await;
    for member in ["main/1", "main/2"] {
        cluster.lose_volume(&aws, cluster.volume(member)).await;
    }
    aws.clear_calls().await;
    let error = restore.invoke(event()).await.unwrap_err();
    assert_eq!(error.error_type, "ZoneUnknown");
    assert!(
        error.message.contains("\"zones\": {\"1\": "),
        "{}",
        error.message
    );
    assert_eq!(aws.writes().await.len(), 0);

    let done = invoke(
        &restore,
        with(json!({"zones": {"1": "eu-west-2a", "2": "eu-west-2b"}})),
    )
    .await;
    assert_masters_find(&aws, &cluster, &new_volumes(&done)).await;
}

#[tokio::test]
async fn a_volume_that_masters_would_find_beside_the_restored_one_is_refused_first() {
    let fleet = backed_up_fleet(1).await;
    let volume = fleet.cluster.volume("main/b");
    fleet
        .aws
        .set_volume(volume, json!({"tags": {"k8s.io/etcd/main": "b"}}))
        .await;
    let error = refused(&fleet, event()).await;
    assert_eq!(error.error_type, "VolumeTagWrong");
    assert!(error.message.contains(volume.as_str()), "{}", error.message);
    let right = json!({"tags": {"k8s.io/etcd/main": "b/a,b,c", "k8s.io/etcd/events": "b/a,b,c"}});
    fleet.aws.set_volume(volume, right).await;
    assert_eq!(refused(&fleet, event()).await.error_type, "VolumeTagWrong");
}

#[tokio::test]
async fn an_etcd_cluster_lost_long_ago_is_not_left_out_silently() {
    let fleet = backed_up_fleet(2).await;
    for member in ["a", "b", "c"] {
        let volume = fleet.cluster.volume(&format!("events/{member}"));
        fleet.cluster.lose_volume(&fleet.aws, volume).await;
    }
    for _ in 0..3 {
        fleet.next_morning().await;
    }
    let error = refused(&fleet, event()).await;
    assert_eq!(error.error_type, "RestorePointDoubtful");
    assert!(
        error.message.contains("\"etcd_clusters\": [\"main\"]"),
        "{}",
        error.message
    );
    let restore = fleet.function("restore").await;
    let events = invoke(&restore, with(json!({"etcd_clusters": ["events"]}))).await;
    assert_eq!(new_volumes(&events).len(), 3);
    assert_eq!(
        invoke(&restore, with(json!({"action": "plan"}))).await["phase"],
        "planned"
    );
}

#[tokio::test]
async fn what_ec2_would_refuse_is_refused_when_planning() {
    let fleet = backed_up_fleet(1).await;
    for volume in [
        json!({"type": "banana"}),
        json!({"type": "io2"}),
        json!({"type": "gp2", "iops": 3000}),
        json!({"iops": 1}),
        json!({"iops": 16000}),
    ] {
        let error = refused(&fleet, with(json!({"action": "plan", "volume": volume}))).await;
        assert_eq!(error.error_type, "InvalidEvent", "{volume}");
    }
    let own = fleet
        .aws
        .snapshots_of(fleet.cluster.volume("main/a"))
        .await
        .remove(0);
    fleet
        .aws
        .set_snapshot(&own, json!({"tags": {"k8s.io/etcd/main": null}}))
        .await;
    let twice = json!({"snapshots": {"main/a": own, "main/b": own}, "partial": true});
    assert_eq!(
        refused(&fleet, with(twice)).await.error_type,
        "InvalidEvent"
    );
}
