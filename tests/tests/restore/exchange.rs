//! What a restore does when all goes well: choice, exchange, tags, next steps.

use super::*;

#[tokio::test]
async fn a_restore_exchanges_the_volumes_and_touches_nobody_elses() {
    let fleet = backed_up_fleet(3).await;
    let restore = fleet.function("restore").await;
    let before = volumes(&fleet.aws).await;

    let plan = invoke(&restore, with(json!({"action": "plan"}))).await;
    assert_eq!(plan["phase"], "planned");
    assert_eq!(plan["members"][0]["volume_id"], Value::Null);
    assert_eq!(fleet.aws.writes().await.len(), 0, "a plan writes nothing");

    let answer = invoke(&restore, event()).await;
    assert_eq!(answer["phase"], "done");
    assert_eq!(answer["restore_id"], plan["restore_id"]);
    assert_eq!(answer["restore_point"], plan["restore_point"]);
    let new = new_volumes(&answer);
    assert_eq!(new.len(), 6);
    assert_masters_find(&fleet.aws, &fleet.cluster, &new).await;

    let after = volumes(&fleet.aws).await;
    let old: BTreeSet<_> = fleet.cluster.volumes.values().cloned().collect();
    for (id, volume) in &before {
        if !old.contains(id) {
            assert_eq!(&after[id], volume, "{id} is nobody's business");
        }
    }
    for (key, old) in &fleet.cluster.volumes {
        let new_id = &new[&key.to_string()];
        let (old_tags, retired, restored) = (&before[old].1, &after[old].1, &after[new_id].1);
        for tag in old_tags {
            assert_eq!(restored.get(tag.0), Some(tag.1), "{key} gets the tag back");
        }
        assert!(
            restored
                .keys()
                .all(|tag| !tag.starts_with("aws:") && tag != "SnapshotCreator")
        );
        assert_eq!(retired["etcd-backup/replaced-by"], new_id.as_str());
        assert_eq!(
            retired["etcd-backup/retired-by"],
            answer["restore_id"].as_str().unwrap()
        );
        assert!(
            !retired
                .keys()
                .any(|tag| tag.starts_with("k8s.io/") || tag == "Name")
        );
        for (tag, value) in old_tags {
            let kept = retired
                .get(tag)
                .or_else(|| retired.get(&format!("etcd-backup/was/{tag}")));
            assert_eq!(kept, Some(value), "{tag} of {old} is remembered");
        }
    }
    let steps = answer["next_steps"].to_string();
    for master in &fleet.cluster.masters {
        assert!(steps.contains(master.instance.as_str()), "{steps}");
    }
    assert!(
        old.iter().all(|volume| steps.contains(volume.as_str())),
        "{steps}"
    );
}

#[tokio::test]
async fn new_volumes_are_like_the_old_ones_and_made_untagged() {
    let fleet = backed_up_fleet(1).await;
    let volume = fleet.cluster.volume("main/b");
    let modify = fleet
        .aws
        .ec2()
        .modify_volume()
        .volume_id(volume.as_str())
        .iops(4500)
        .throughput(250);
    modify.send().await.unwrap();
    let restore = fleet.function("restore").await;
    invoke(&restore, event()).await;
    let created: Vec<Value> = fleet
        .aws
        .writes()
        .await
        .into_iter()
        .filter(|call| call.operation == "CreateVolume")
        .map(|call| call.parameters)
        .collect();
    assert_eq!(created.len(), 6);
    let tokens: BTreeSet<String> = created
        .iter()
        .map(|call| call["ClientToken"].to_string())
        .collect();
    assert_eq!(tokens.len(), 6, "each has a token of its own");
    for call in &created {
        let tags = call["TagSpecifications"].to_string();
        assert!(tags.contains("etcd-backup/restore-id"), "{tags}");
        for discovery in ["k8s.io/", "KubernetesCluster", "kubernetes.io/", "\"Name\""] {
            assert!(!tags.contains(discovery), "{discovery} too early: {tags}");
        }
    }
    let answer = invoke(&restore, event()).await;
    let new = new_volumes(&answer);
    let ids = [new["main/a"].as_str(), new["main/b"].as_str()].map(str::to_owned);
    let listed = fleet
        .aws
        .ec2()
        .describe_volumes()
        .set_volume_ids(Some(ids.into()))
        .send()
        .await
        .unwrap();
    let performance: BTreeMap<_, _> = listed
        .volumes()
        .iter()
        .map(|v| {
            (
                v.availability_zone().unwrap(),
                (v.volume_type().unwrap().as_str(), v.iops(), v.throughput()),
            )
        })
        .collect();
    assert_eq!(performance["eu-west-2a"], ("gp3", Some(3000), Some(125)));
    assert_eq!(performance["eu-west-2b"], ("gp3", Some(4500), Some(250)));
}

#[tokio::test]
async fn vanished_volumes_come_back_from_their_snapshots_alone() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    fleet.cluster.lose_volumes(&fleet.aws).await;
    let list = invoke(&restore, with(json!({"action": "list"}))).await;
    let points = list["restore_points"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    assert!(
        points[0]["run"].as_str() > points[1]["run"].as_str(),
        "newest first"
    );
    assert_eq!(points[0]["complete"], true);
    assert_eq!(points[0]["doubtful"], false);
    assert_eq!(points[0]["missing"], json!([]));
    assert_eq!(points[0]["members"].as_array().unwrap().len(), 6);
    assert_eq!(points[0]["members"][0]["state"], "completed");
    assert_eq!(points[0]["members"][0]["size_gib"], 20);

    let done = invoke(&restore, event()).await;
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
    assert_eq!(done["members"][0]["retired"], json!([]));
    fleet.aws.clear_calls().await;
    let repeated = invoke(&restore, event()).await;
    assert_eq!(new_volumes(&repeated), new_volumes(&done));
    assert_eq!(repeated["restore_id"], done["restore_id"]);

    // kops update takes tags off that it doesn't know: the restore still knows its work.
    for volume in new_volumes(&done).values() {
        fleet
            .aws
            .set_volume(volume, json!({"tags": forgotten()}))
            .await;
    }
    let repeated = invoke(&restore, event()).await;
    assert_eq!(new_volumes(&repeated), new_volumes(&done));
    assert_eq!(fleet.aws.writes().await.len(), 0);
}

#[tokio::test]
async fn one_etcd_cluster_one_member_and_snapshots_by_hand() {
    let fleet = backed_up_fleet(3).await;
    let restore = fleet.function("restore").await;
    let before = volumes(&fleet.aws).await;

    let main = invoke(&restore, with(json!({"etcd_clusters": ["main"]}))).await;
    assert_eq!(new_volumes(&main).len(), 3);
    let events = fleet.cluster.volume("events/a");
    assert_eq!(volumes(&fleet.aws).await[events], before[events]);

    let older = fleet.aws.snapshots_of(events).await.remove(2);
    let by_hand =
        json!({"snapshots": {"events/a": older}, "partial": true, "zones": {"a": "eu-west-2a"}});
    let one = invoke(&restore, with(by_hand)).await;
    assert_eq!(one["restore_point"]["run"], Value::Null);
    assert_eq!(one["members"][0]["snapshot_id"], older.as_str());
    assert_eq!(one["members"][0]["retired"], json!([events]));

    let member = json!({"etcd_clusters": ["events"], "members": ["b"], "partial": true});
    let one = invoke(&restore, with(member)).await;
    assert_eq!(new_volumes(&one).keys().collect::<Vec<_>>(), ["events/b"]);

    let mut expected = new_volumes(&main);
    expected.insert(
        "events/a".to_owned(),
        etcd_manager_candidates(&fleet.aws, CLUSTER, "events", "eu-west-2a")
            .await
            .remove(0),
    );
    expected.extend(new_volumes(&one));
    expected.insert(
        "events/c".to_owned(),
        fleet.cluster.volume("events/c").clone(),
    );
    assert_masters_find(&fleet.aws, &fleet.cluster, &expected).await;
}

#[tokio::test]
async fn at_chooses_an_older_restore_point() {
    let fleet = backed_up_fleet(3).await;
    let restore = fleet.function("restore").await;
    let list = invoke(&restore, with(json!({"action": "list"}))).await;
    let second = &list["restore_points"][1];
    let plan = invoke(
        &restore,
        with(json!({"action": "plan", "at": second["latest"]})),
    )
    .await;
    assert_eq!(plan["restore_point"]["run"], second["run"]);
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
    let plan = invoke(&restore, with(json!({"action": "plan"}))).await;
    assert_eq!(
        plan["restore_point"]["run"], second["run"],
        "an incomplete run is no restore point"
    );
    let list = invoke(&restore, with(json!({"action": "list"}))).await;
    assert_eq!(list["restore_points"][0]["missing"], json!(["main/c"]));
}

#[tokio::test]
async fn a_restored_cluster_that_is_lost_again_is_restored_from_its_own_snapshots() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let first = invoke(&restore, event()).await;
    fleet.next_morning().await;
    for volume in new_volumes(&first).values() {
        fleet.cluster.lose_volume(&fleet.aws, volume).await;
    }
    let second = invoke(&restore, event()).await;
    assert_ne!(
        second["restore_point"]["run"],
        first["restore_point"]["run"]
    );
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&second)).await;
    let tags = &volumes(&fleet.aws).await[&new_volumes(&second)["main/a"]].1;
    assert_eq!(
        tags["etcd-backup/restore-id"],
        second["restore_id"].as_str().unwrap()
    );
}

#[tokio::test]
async fn a_run_with_a_failed_snapshot_is_no_restore_point() {
    let fleet = backed_up_fleet(1).await;
    fleet
        .aws
        .plant(fleet.cluster.volume("events/a"), Outcome::Error, 1)
        .await;
    fleet.next_morning().await;
    let restore = fleet.function("restore").await;
    let list = invoke(&restore, with(json!({"action": "list"}))).await;
    assert_eq!(list["restore_points"][0]["complete"], false);
    assert_eq!(list["restore_points"][0]["missing"], json!(["events/a"]));
    let plan = invoke(&restore, with(json!({"action": "plan"}))).await;
    assert_eq!(
        plan["restore_point"]["run"],
        list["restore_points"][1]["run"]
    );
}

#[tokio::test]
async fn masters_that_run_on_the_restored_volumes_are_not_to_be_terminated_again() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let done = invoke(&restore, event()).await;
    assert!(
        done["next_steps"][0]
            .as_str()
            .unwrap()
            .contains("terminate-instances")
    );
    for master in &fleet.cluster.masters {
        for (etcd_cluster, device) in [("main", "/dev/xvdu"), ("events", "/dev/xvdv")] {
            let member = format!("{etcd_cluster}/{}", master.member);
            let old = fleet.cluster.volume(&member).as_str();
            let detach = fleet.aws.ec2().detach_volume().volume_id(old);
            detach.send().await.unwrap();
            let attach = fleet.aws.ec2().attach_volume();
            let attach = attach.volume_id(new_volumes(&done)[&member].as_str());
            let attach = attach.instance_id(master.instance.as_str());
            attach.device(device).send().await.unwrap();
        }
    }
    for action in ["restore", "plan"] {
        let repeated = invoke(&restore, with(json!({"action": action}))).await;
        assert!(
            !repeated["next_steps"]
                .to_string()
                .contains("terminate-instances")
        );
        assert!(
            repeated["text"]
                .as_str()
                .unwrap()
                .contains("is done already")
        );
    }
}
