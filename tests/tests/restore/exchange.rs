//! What a restore does when all goes well: choice, exchange, tags, next steps.

use super::*;
use e2e::Outcome;

#[tokio::test]
async fn a_restore_exchanges_the_volumes_and_touches_nobody_elses() {
    let bed = RestoreBed::fleet(3).await;
    let before = bed.volumes().await;

    let plan = bed.ask(json!({"action": "plan"})).await;
    assert_eq!(plan["phase"], "planned");
    assert_eq!(plan["members"][0]["volume_id"], Value::Null);
    assert_eq!(bed.aws.writes().await.len(), 0, "a plan writes nothing");

    let done = bed.done(json!({})).await;
    assert_eq!(done["restore_point"], plan["restore_point"]);
    let new = answered_volumes(&done);
    assert_eq!(new.len(), 6);
    for found in done["masters_find"].as_array().unwrap() {
        let member = |field: &str| found[field].as_str().unwrap();
        let key = format!("{}/{}", member("etcd_cluster"), member("member"));
        assert_eq!(found["volume_ids"], json!([new[&key]]), "{key}");
    }

    let after = bed.volumes().await;
    let old: BTreeSet<_> = bed.old().into_values().collect();
    for (id, volume) in &before {
        if !old.contains(id) {
            assert_eq!(&after[id], volume, "{id} is nobody's business");
        }
    }
    for (key, old) in bed.old() {
        let (was, retired, restored) = (&before[&old], &after[&old], &after[&new[&key]]);
        assert_eq!(restored.zone, was.zone);
        for tag in &was.tags {
            assert_eq!(
                restored.tags.get(tag.0),
                Some(tag.1),
                "{key} gets the tag back"
            );
        }
        let is_foreign = |tag: &&String| tag.starts_with("aws:") || *tag == "SnapshotCreator";
        assert_eq!(restored.tags.keys().find(is_foreign), None);
        assert_eq!(retired.tags["etcd-backup/replaced-by"], new[&key].as_str());
        assert_eq!(
            json!(retired.tags["etcd-backup/retired-by"]),
            done["restore_id"]
        );
        assert!(retired.tags.contains_key("etcd-backup/retired-at"));
        let is_live = |tag: &&String| tag.starts_with("k8s.io/") || *tag == "Name";
        assert_eq!(retired.tags.keys().find(is_live), None);
        for (tag, value) in &was.tags {
            let parked = retired.tags.get(&format!("etcd-backup/was/{tag}"));
            let kept = retired.tags.get(tag).or(parked);
            assert_eq!(kept, Some(value), "{tag} of {old} is remembered");
        }
    }
    let steps = done["next_steps"].to_string();
    for master in &bed.cluster.masters {
        assert!(steps.contains(master.instance.as_str()), "{steps}");
    }
    for volume in &old {
        assert!(steps.contains(volume.as_str()), "{volume}: {steps}");
    }
}

#[tokio::test]
async fn vanished_volumes_come_back_from_their_snapshots_alone() {
    let bed = RestoreBed::fleet(2).await;
    bed.cluster.lose_volumes(&bed.aws).await;
    let list = bed.ask(json!({"action": "list"})).await;
    let points = list["restore_points"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    let [newest, older] = [&points[0], &points[1]];
    assert!(
        newest["run"].as_str() > older["run"].as_str(),
        "newest first"
    );
    assert_eq!(
        (&newest["complete"], &newest["doubtful"], &newest["mixed"]),
        (&json!(true), &json!(false), &json!(false))
    );
    assert_eq!(newest["missing"], json!([]));
    assert_eq!(newest["members"].as_array().unwrap().len(), 6);
    assert_eq!(newest["members"][0]["state"], "completed");
    assert_eq!(newest["members"][0]["size_gib"], 20);

    let done = bed.done(json!({})).await;
    assert_eq!(done["members"][0]["retired"], json!([]));
}

#[tokio::test]
async fn one_etcd_cluster_one_member_and_snapshots_by_hand() {
    let bed = RestoreBed::fleet(3).await;
    let before = bed.volumes().await;
    let mut expected = bed.old();

    let main = bed.done(json!({"etcd_clusters": ["main"]})).await;
    assert_eq!(answered_volumes(&main).len(), 3);
    let events = bed.cluster.volume("events/a");
    assert_eq!(bed.volumes().await[events], before[events]);
    expected.extend(answered_volumes(&main));

    let older = bed.aws.snapshots_of(events).await.remove(2);
    let by_hand = json!({"snapshots": {"events/a": older}, "partial": true});
    let one = bed.done(by_hand).await;
    assert_eq!(one["restore_point"]["run"], Value::Null);
    assert_eq!(one["members"][0]["snapshot_id"], older.as_str());
    assert_eq!(one["members"][0]["retired"], json!([events]));
    expected.extend(answered_volumes(&one));

    let member = json!({"etcd_clusters": ["events"], "members": ["b"], "partial": true});
    let one = bed.done(member).await;
    assert_eq!(
        strings(&json!(answered_volumes(&one).keys().collect::<Vec<_>>())),
        ["events/b"]
    );
    expected.extend(answered_volumes(&one));
    bed.assert_masters_find(&expected).await;
}

#[tokio::test]
async fn at_chooses_an_older_restore_point() {
    let bed = RestoreBed::fleet(3).await;
    let list = bed.ask(json!({"action": "list"})).await;
    let second = &list["restore_points"][1];
    let plan = bed
        .ask(json!({"action": "plan", "at": second["latest"]}))
        .await;
    assert_eq!(plan["restore_point"]["run"], second["run"]);
    bed.delete_snapshot(&bed.newest_snapshot("main/c").await)
        .await;
    let plan = bed.ask(json!({"action": "plan"})).await;
    let run = &plan["restore_point"]["run"];
    assert_eq!(run, &second["run"], "an incomplete run is no restore point");
    let list = bed.ask(json!({"action": "list"})).await;
    assert_eq!(list["restore_points"][0]["missing"], json!(["main/c"]));
}

#[tokio::test]
async fn a_run_with_a_failed_snapshot_is_no_restore_point() {
    let bed = RestoreBed::fleet(1).await;
    let volume = bed.cluster.volume("events/a");
    bed.aws.plant(volume, Outcome::Error, 1).await;
    bed.next_morning().await;
    let list = bed.ask(json!({"action": "list"})).await;
    let points = &list["restore_points"];
    assert_eq!(points[0]["complete"], false);
    assert_eq!(points[0]["missing"], json!(["events/a"]));
    let plan = bed.ask(json!({"action": "plan"})).await;
    assert_eq!(plan["restore_point"]["run"], points[1]["run"]);
}

#[tokio::test]
async fn a_restored_cluster_that_is_lost_again_is_restored_from_its_own_snapshots() {
    let bed = RestoreBed::fleet(2).await;
    let first = bed.done(json!({})).await;
    bed.next_morning().await;
    for volume in answered_volumes(&first).values() {
        bed.cluster.lose_volume(&bed.aws, volume).await;
    }
    let second = bed.done(json!({})).await;
    let run = |answer: &Value| answer["restore_point"]["run"].clone();
    assert_ne!(run(&second), run(&first));
    assert_ne!(second["restore_id"], first["restore_id"]);
}

/// Masters that were terminated by hand came back on the restored volumes: there is nothing to do.
#[tokio::test]
async fn masters_that_run_on_the_restored_volumes_are_not_to_be_terminated_again() {
    let bed = RestoreBed::fleet(1).await;
    let done = bed.done(json!({})).await;
    assert_says(&done["next_steps"], &["terminate-instances"]);
    let instances = bed.instances().await;
    let terminate = bed.aws.ec2().terminate_instances();
    let ids = instances.iter().map(|id| id.as_str().to_owned()).collect();
    terminate.set_instance_ids(Some(ids)).send().await.unwrap();
    for action in ["restore", "status"] {
        let repeated = bed.ask(json!({"action": action})).await;
        assert_eq!(repeated["phase"], "done");
        let steps = repeated["next_steps"].to_string();
        assert!(!steps.contains("terminate-instances"), "{steps}");
    }
}

#[tokio::test]
async fn a_master_on_a_restored_volume_beside_others_on_old_ones_is_told_of() {
    let bed = RestoreBed::fleet(1).await;
    bed.done(json!({})).await;
    let terminate = bed.aws.ec2().terminate_instances();
    let one = bed.cluster.masters[0].instance.as_str();
    terminate.instance_ids(one).send().await.unwrap();
    for action in ["restore", "status"] {
        let answer = bed.ask(json!({"action": action})).await;
        assert_says(&answer["next_steps"], &["terminate-instances"]);
    }
}
