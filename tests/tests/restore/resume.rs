//! How a restore goes on after anything, and knows its own work.

use super::*;

#[tokio::test]
async fn the_same_event_makes_no_second_set() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let as_before = InvocationOptions {
        request_id: Some("8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ..InvocationOptions::default()
    };
    let first = restore
        .invoke_with(event(), as_before.clone())
        .await
        .unwrap();
    let after = volumes(&fleet.aws).await;
    fleet.aws.clear_calls().await;

    let same_id = restore.invoke_with(event(), as_before).await.unwrap();
    let new_id = restore.invoke(event()).await.unwrap();
    for answer in [&same_id, &new_id] {
        assert_eq!(answer["phase"], "done");
        assert_eq!(answer["restore_id"], first["restore_id"]);
        assert_eq!(new_volumes(answer), new_volumes(&first));
        assert_eq!(answer["members"], first["members"]);
    }
    assert_eq!(fleet.aws.writes().await.len(), 0);
    assert_eq!(volumes(&fleet.aws).await, after);

    let again = restore.invoke(with(json!({"again": true}))).await.unwrap();
    assert_ne!(again["restore_id"], first["restore_id"]);
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&again)).await;
    let repeated = restore.invoke(with(json!({"again": true}))).await.unwrap();
    assert_eq!(
        new_volumes(&repeated),
        new_volumes(&again),
        "a retry of again is the same again"
    );
}

#[tokio::test]
async fn two_invocations_at_the_same_time_make_one_set() {
    let fleet = backed_up_fleet(1).await;
    let (one, other) = tokio::join!(fleet.function("restore"), fleet.function("restore"));
    let (one, other) = tokio::join!(one.invoke(event()), other.invoke(event()));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(
        (&one["phase"], &other["phase"]),
        (&json!("done"), &json!("done"))
    );
    assert_eq!(new_volumes(&one), new_volumes(&other));
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&one)).await;
    assert_eq!(volumes(&fleet.aws).await.len(), volumes_seeded(&fleet) + 6);
}

#[tokio::test]
async fn an_unfinished_restore_goes_on_and_keeps_its_run() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let before = volumes(&fleet.aws).await;
    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 4}))
        .await;
    let short = InvocationOptions::within(Duration::from_secs(8));
    let started = restore.invoke_with(event(), short).await.unwrap();
    assert_eq!(started["phase"], "creating");
    assert!(
        started["next_steps"][0]
            .as_str()
            .unwrap()
            .contains("Send the same event again")
    );
    let during = volumes(&fleet.aws).await;
    for (id, volume) in &before {
        assert_eq!(
            &during[id], volume,
            "nothing is touched while volumes are being made"
        );
    }

    // The next run comes before anybody goes on.
    fleet.next_morning().await;
    let other = restore
        .invoke(with(json!({"skew_minutes_max": 30})))
        .await
        .unwrap_err();
    assert_eq!(other.error_type, "RestoreInProgress");
    assert!(
        other
            .message
            .contains(started["restore_id"].as_str().unwrap()),
        "{}",
        other.message
    );

    let done = invoke(&restore, event()).await;
    assert_eq!(done["phase"], "done");
    assert_eq!(done["restore_id"], started["restore_id"]);
    assert_eq!(done["restore_point"], started["restore_point"]);
    assert_eq!(new_volumes(&done), new_volumes(&started));
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;

    // A retry of the same event, though the newer run's snapshots are complete: they are of the
    // volumes that were replaced.
    fleet.aws.clear_calls().await;
    let repeated = invoke(&restore, event()).await;
    assert_eq!(repeated["restore_point"], done["restore_point"]);
    assert_eq!(repeated["members"], done["members"]);
    assert_eq!(fleet.aws.writes().await.len(), 0);
    assert_eq!(volumes(&fleet.aws).await.len(), volumes_seeded(&fleet) + 6);

    // A run of the restored volumes is another restore point.
    fleet.next_morning().await;
    let plan = invoke(&restore, with(json!({"action": "plan"}))).await;
    assert_ne!(plan["restore_id"], done["restore_id"]);
}

#[tokio::test]
async fn a_volume_that_fails_leaves_the_old_ones_alone_and_is_made_anew() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let before = volumes(&fleet.aws).await;
    fleet.aws.volumes_end("error", 3).await;
    let error = restore.invoke(event()).await.unwrap_err();
    assert_eq!(error.error_type, "VolumeFailed");
    let during = volumes(&fleet.aws).await;
    let failed = during
        .iter()
        .find(|(_, (state, _))| state == "error")
        .unwrap()
        .0;
    assert!(error.message.contains(failed.as_str()), "{}", error.message);
    for (id, volume) in &before {
        assert_eq!(&during[id], volume);
    }

    let done = invoke(&restore, event()).await;
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
    let after = volumes(&fleet.aws).await;
    assert_eq!(
        after.len(),
        during.len() + 1,
        "only the failed one was made anew"
    );
}

#[tokio::test]
async fn lost_answers_lagging_reads_and_throttling_change_nothing() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    fleet
        .aws
        .settings(json!({"stale_reads": 4, "page_size_max": 5}))
        .await;
    for operation in [
        "CreateVolume",
        "CreateTags",
        "DeleteTags",
        "DescribeVolumes",
        "DescribeSnapshots",
    ] {
        fleet
            .aws
            .fault(Fault::error("ec2", operation, "RequestLimitExceeded", 503).times(2))
            .await;
        fleet
            .aws
            .fault(Fault::drop_answer("ec2", operation).nth(4))
            .await;
    }
    let done = invoke(&restore, event()).await;
    assert_eq!(done["phase"], "done");
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
    assert_eq!(volumes(&fleet.aws).await.len(), volumes_seeded(&fleet) + 6);

    let calls = fleet.aws.calls().await;
    let untagged = calls
        .iter()
        .rposition(|call| call.operation == "DeleteTags")
        .unwrap();
    let is_discovery = |call: &e2e::Call| {
        call.operation == "CreateTags" && call.parameters.to_string().contains("\"k8s.io/etcd/")
    };
    let tagged = calls.iter().position(is_discovery).unwrap();
    assert!(
        untagged < tagged,
        "no new volume is tagged before the old ones are untagged"
    );
    let looks = calls[untagged..tagged]
        .iter()
        .filter(|call| call.operation == "DescribeVolumes");
    assert!(
        looks.count() >= 6,
        "the masters' filters are asked twice at least"
    );
}

#[tokio::test]
async fn a_begun_exchange_is_ended_whatever_became_of_its_snapshots() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    stopped_in_mid_exchange(&fleet, &restore, event()).await;
    for key in ["main/b", "events/c"] {
        let newest = fleet
            .aws
            .snapshots_of(fleet.cluster.volume(key))
            .await
            .remove(0);
        let delete = fleet
            .aws
            .ec2()
            .delete_snapshot()
            .snapshot_id(newest.as_str());
        delete.send().await.unwrap();
    }
    let done = invoke(&restore, event()).await;
    assert_eq!(done["phase"], "done");
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
}

#[tokio::test]
async fn a_begun_exchange_is_ended_for_an_etcd_cluster_without_recent_snapshots_too() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let at = fleet.now().await;
    for member in ["a", "b", "c"] {
        let volume = fleet.cluster.volume(&format!("events/{member}"));
        let untargeted =
            json!({"tags": {"k8s.io/role/master": null, "k8s.io/role/control-plane": "1"}});
        fleet.aws.set_volume(volume, untargeted).await;
    }
    for _ in 0..4 {
        fleet.next_morning().await;
    }
    let event = with(json!({"at": at}));
    stopped_in_mid_exchange(&fleet, &restore, event.clone()).await;
    let done = invoke(&restore, event).await;
    assert_eq!(new_volumes(&done).len(), 6);
    let found = etcd_manager_candidates(&fleet.aws, CLUSTER, "events", "eu-west-2a").await;
    assert_eq!(found, std::slice::from_ref(&new_volumes(&done)["events/a"]));
}

#[tokio::test]
async fn new_volumes_that_were_deleted_are_made_again() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 4}))
        .await;
    let short = InvocationOptions::within(Duration::from_secs(7));
    let started = restore.invoke_with(event(), short).await.unwrap();
    assert_eq!(started["phase"], "creating");
    tokio::time::sleep(Duration::from_secs(4)).await;
    for volume in new_volumes(&started).values() {
        fleet
            .aws
            .ec2()
            .delete_volume()
            .volume_id(volume.as_str())
            .send()
            .await
            .unwrap();
    }
    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 0}))
        .await;
    let io2 = json!({"volume": {"type": "io2", "iops": 500}});
    let done = invoke(&restore, with(io2)).await;
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;

    for volume in new_volumes(&done).values() {
        fleet.cluster.lose_volume(&fleet.aws, volume).await;
    }
    let again = invoke(&restore, event()).await;
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&again)).await;
}

#[tokio::test]
async fn a_restored_volume_that_somebody_untagged_is_no_unfinished_restore() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let done = invoke(&restore, event()).await;
    let untag = json!({"tags": {"k8s.io/etcd/main": null}});
    fleet
        .aws
        .set_volume(&new_volumes(&done)["main/a"], untag)
        .await;
    let plan = invoke(
        &restore,
        with(json!({"action": "plan", "etcd_clusters": ["events"]})),
    )
    .await;
    assert_eq!(plan["phase"], "planned");
}

#[tokio::test]
async fn a_restore_that_cannot_go_on_says_how_to_be_rid_of_it() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let denied = Fault::error("ec2", "CreateVolume", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.nth(3).forever()).await;
    restore.invoke(event()).await.unwrap_err();
    fleet.aws.clear_faults().await;
    let newest = fleet
        .aws
        .snapshots_of(fleet.cluster.volume("main/c"))
        .await
        .remove(0);
    fleet
        .aws
        .ec2()
        .delete_snapshot()
        .snapshot_id(newest.as_str())
        .send()
        .await
        .unwrap();

    let error = refused(&fleet, event()).await;
    assert_eq!(error.error_type, "NoRestorePoint");
    assert!(
        error
            .message
            .contains(r#"{"action":"undo","cluster":"k8s.mycompany.tld"}"#),
        "{}",
        error.message
    );
    let undone = invoke(&restore, with(json!({"action": "undo"}))).await;
    assert_eq!(undone["phase"], "undone");
    let made = volumes_where(&fleet.aws, &[("tag:etcd-backup/retired-by", "u-*")]).await;
    assert_eq!(made.len(), 2, "what was made is given up, and kept");
    let done = invoke(&restore, event()).await;
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
}

#[tokio::test]
async fn two_restores_that_together_did_all_are_not_done_a_third_time() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let main = invoke(&restore, with(json!({"etcd_clusters": ["main"]}))).await;
    let events = invoke(&restore, with(json!({"etcd_clusters": ["events"]}))).await;
    fleet.aws.clear_calls().await;
    let all = invoke(&restore, event()).await;
    let mut expected = new_volumes(&main);
    expected.extend(new_volumes(&events));
    assert_eq!(new_volumes(&all), expected);
    assert_eq!(fleet.aws.writes().await.len(), 0);
}

#[tokio::test]
async fn a_begun_restore_knows_its_volumes_after_kops_took_their_origin_off() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    fleet.cluster.lose_volumes(&fleet.aws).await;
    let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.nth(3).forever()).await;
    restore.invoke(event()).await.unwrap_err();
    fleet.aws.clear_faults().await;
    let made = volumes_where(&fleet.aws, &[("tag-key", "etcd-backup/restore-id")]).await;
    let tagged = volumes_where(
        &fleet.aws,
        &[
            ("tag:KubernetesCluster", CLUSTER),
            ("tag-key", "etcd-backup/restore-id"),
        ],
    )
    .await;
    assert_eq!((made.len(), tagged.len()), (6, 2));
    for volume in &tagged {
        fleet
            .aws
            .set_volume(volume, json!({"tags": forgotten()}))
            .await;
    }
    let done = invoke(&restore, event()).await;
    let ids: BTreeSet<_> = new_volumes(&done).into_values().collect();
    assert_eq!(ids, made.into_iter().collect(), "nothing is made twice");
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
}

#[tokio::test]
async fn a_repetition_with_at_makes_no_second_set_when_a_run_has_ended_meanwhile() {
    let fleet = backed_up_fleet(1).await;
    fleet
        .aws
        .settings(json!({"snapshot_pending_seconds": 3600}))
        .await;
    fleet.next_morning().await;
    let restore = fleet.function("restore").await;
    let event = with(json!({"at": fleet.now().await}));
    let done = invoke(&restore, event.clone()).await;
    fleet.aws.advance(Duration::from_secs(3700)).await;
    fleet.aws.clear_calls().await;
    let repeated = invoke(&restore, event).await;
    assert_eq!(repeated["restore_id"], done["restore_id"]);
    assert_eq!(new_volumes(&repeated), new_volumes(&done));
    assert_eq!(fleet.aws.writes().await.len(), 0);
}
