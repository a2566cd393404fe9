//! What restore refuses, with what to do about it, and changes nothing.

use super::*;

#[tokio::test]
async fn events_that_make_no_sense_change_nothing() {
    let bed = RestoreBed::fleet(1).await;
    let other = bed.others[0].volume("main/a").clone();
    let foreign = bed.aws.snapshots_of(&other).await.remove(0);
    let own = bed.newest_snapshot("main/a").await;
    for event in [
        json!({"colour": "red"}),
        json!({"action": "explode"}),
        json!({"cluster": ""}),
        json!({"cluster": "*.mycompany.tld"}),
        json!({"cluster": "k8s.mycompany.tld "}),
        json!({"cluster": 7}),
        json!({"action": {"plan": null}}),
        json!({"masters": {"replace": null}}),
        json!({"volume": ["gp3", 3000, 125, null, null]}),
        json!({"plan_id": null}),
        json!({"members": ["a"]}),
        json!({"members": ["z"], "partial": true}),
        json!({"members": [], "partial": true}),
        json!({"etcd_clusters": ["cilium"]}),
        json!({"etcd_clusters": []}),
        json!({"zones": {"a": "mars-1a"}}),
        json!({"zones": {"z": "eu-west-2a"}}),
        json!({"at": "yesterday"}),
        json!({"at": bed.now().await, "snapshots": {"main/a": own}}),
        json!({"snapshots": {"main/a": "snap-0123456789abcdef0"}, "partial": true}),
        json!({"snapshots": {"main/b": own}, "partial": true}),
        json!({"snapshots": {"main/a": foreign}, "partial": true}),
        json!({"snapshots": {"cilium/a": own}, "partial": true}),
        json!({"snapshots": {"main/a": own}}),
        json!({"start": "together"}),
        json!({"masters": "reboot"}),
        json!({"volume": {"type": "banana"}}),
        json!({"volume": {"type": "io2"}}),
        json!({"volume": {"type": "gp2", "iops": 3000}}),
        json!({"volume": {"iops": 1}}),
        json!({"volume": {"iops": 16000}}),
        json!({"mounted_by": "hand"}),
        json!({"action": "undo", "etcd_clusters": ["main"]}),
        json!({"action": "history", "at": bed.now().await}),
    ] {
        bed.refused(event, "InvalidEvent").await;
    }
    let error = bed.refused(json!({"colour": "red"}), "InvalidEvent").await;
    assert_says(
        &json!(error.message),
        &["colour", "etcd_clusters", "skew_minutes_max"],
    );
    let error = bed.refused(json!({"cluster": 7}), "InvalidEvent").await;
    assert_says(&json!(error.message), &["cluster", "a string is wanted"]);
    let error = bed
        .refused(json!({"cluster": "k8s.mycompany.tdl"}), "ClusterNotFound")
        .await;
    assert_says(&json!(error.message), &["k8s.mycompany.tdl"]);
    bed.refused(json!({"at": "2020-01-01T00:00:00Z"}), "NoRestorePoint")
        .await;
}

#[tokio::test]
async fn snapshots_too_far_apart_are_refused_unless_told() {
    let bed = RestoreBed::small().await;
    let snapshot = bed.newest_snapshot("main/a").await;
    let later = (bed.now().await - HOUR / 12).to_string();
    bed.aws
        .set_snapshot(&snapshot, json!({"start_time": later}))
        .await;
    bed.refused(json!({}), "SkewTooLarge").await;
    bed.done(json!({"skew_minutes_max": 1000})).await;
}

#[tokio::test]
async fn blank_volumes_made_after_a_loss_make_the_latest_point_doubtful() {
    let bed = RestoreBed::small().await;
    bed.next_morning().await;
    bed.cluster.lose_volumes(&bed.aws).await;
    bed.aws.act(&Actor::kops_update(&bed.cluster, true)).await;
    bed.next_morning().await;
    let error = bed.refused(json!({}), "RestorePointDoubtful").await;
    let list = bed.ask(json!({"action": "list"})).await;
    let points = list["restore_points"].as_array().unwrap();
    assert_eq!(
        (&points[0]["doubtful"], &points[1]["doubtful"]),
        (&json!(true), &json!(false))
    );
    for point in &points[..2] {
        assert_says(&json!(error.message), &[point["latest"].as_str().unwrap()]);
        let insisted = json!({"action": "plan", "at": point["latest"]});
        let plan = bed.ask(insisted).await;
        assert_eq!(plan["restore_point"]["run"], point["run"]);
    }
    let older = bed
        .ask(json!({"action": "plan", "at": points[1]["latest"]}))
        .await;
    assert_ne!(
        older["warnings"],
        json!([]),
        "it is of before the volumes were made blank"
    );
}

#[tokio::test]
async fn a_vanished_volumes_zone_that_nothing_tells_is_asked_for() {
    let members = [
        ("1", "eu-west-2a"),
        ("2", "eu-west-2b"),
        ("3", "eu-west-2c"),
    ];
    let kops = Kops::new(CLUSTER).members(&members);
    let bed = RestoreBed::of(kops).await;
    for member in ["main/1", "main/2", "events/1"] {
        bed.lose(member).await;
    }
    let error = bed.refused(json!({}), "ZoneUnknown").await;
    // What it suggests is JSON, each key once.
    let from = error
        .message
        .find("{\"1\"")
        .unwrap_or_else(|| panic!("{}", error.message));
    let text = &error.message[from..];
    let to = text.find('}').unwrap();
    let suggested: Map<String, Value> = serde_json::from_str(&text[..=to]).unwrap();
    assert_eq!(suggested.len(), text[..=to].matches(':').count(), "{text}");
    assert_eq!(suggested.keys().collect::<Vec<_>>(), ["1", "2"]);
    bed.done(json!({"zones": {"1": "eu-west-2a", "2": "eu-west-2b"}}))
        .await;
}

#[tokio::test]
async fn a_vanished_volumes_zone_is_told_by_the_letter_of_its_member() {
    let members = [
        ("a-1", "eu-west-2a"),
        ("b-1", "eu-west-2b"),
        ("b-2", "eu-west-2b"),
    ];
    let kops = Kops::new(CLUSTER).members(&members);
    let bed = RestoreBed::of(kops.etcd_clusters(&["main"])).await;
    bed.cluster.lose_volumes(&bed.aws).await;
    let done = bed.done(json!({})).await;
    for member in done["members"].as_array().unwrap() {
        let name = member["member"].as_str().unwrap();
        assert_eq!(member["zone"], bed.cluster.zone(name), "{name}");
    }
    // Two members of one etcd cluster come into one zone.
    assert_says(&done["warnings"], &["eu-west-2b"]);
}

#[tokio::test]
async fn all_masters_in_one_zone_tell_the_zone() {
    let members = [
        ("x", "eu-west-2c"),
        ("y", "eu-west-2c"),
        ("z", "eu-west-2c"),
    ];
    let kops = Kops::new(CLUSTER).members(&members);
    let bed = RestoreBed::of(kops.etcd_clusters(&["main"])).await;
    bed.cluster.lose_volumes(&bed.aws).await;
    bed.done(json!({})).await;
}

/// It says that it is another cluster's, or has a space too many, and yet etcd-manager finds it.
#[tokio::test]
async fn a_volume_that_masters_would_find_beside_the_right_one_is_refused_first() {
    let seeded = RestoreBed::small().await;
    for name in [format!("{CLUSTER} "), "other.mycompany.tld".to_owned()] {
        let bed = seeded.fork().await;
        let mut tags = bed.cluster.kops.volume_tags("main", "a");
        tags.insert("KubernetesCluster".to_owned(), name.clone());
        let stray = e2e::fleet::etcd_volume(&bed.aws, "eu-west-2a", false, &tags).await;
        bed.aws.forget_candidates().await;
        for event in [json!({"action": "plan"}), json!({}), replace()] {
            let error = bed.refused(event, "VolumeTagWrong").await;
            assert_says(&json!(error.message), &[stray.as_str(), "delete-tags"]);
        }
        let untag = json!({"tags": {"k8s.io/etcd/main": null}});
        bed.aws.set_volume(&stray, untag).await;
        bed.done(replace()).await;
        bed.assert_resumed().await;
    }
}

#[tokio::test]
async fn tags_that_masters_can_not_read_are_refused_with_the_command_that_mends_them() {
    let seeded = RestoreBed::fleet(1).await;
    for wrong in [
        json!({"k8s.io/etcd/main": "b"}),
        json!({"k8s.io/etcd/main": "b/a,b,c", "k8s.io/etcd/events": "b/a,b,c"}),
    ] {
        let bed = seeded.fork().await;
        let volume = bed.cluster.volume("main/b");
        bed.aws.set_volume(volume, json!({"tags": wrong})).await;
        let error = bed.try_ask(json!({})).await.unwrap_err();
        let names = ["VolumeTagWrong", "MemberDuplicated"];
        assert!(names.contains(&error.error_type.as_str()), "{error}");
        assert_says(&json!(error.message), &[volume.as_str()]);
    }
}

#[tokio::test]
async fn a_member_with_two_volumes_is_refused_in_scope_and_told_outside() {
    let bed = RestoreBed::fleet(1).await;
    let tags = bed.cluster.kops.volume_tags("events", "c");
    let second = e2e::fleet::etcd_volume(&bed.aws, "eu-west-2c", false, &tags).await;
    bed.aws.forget_candidates().await;
    let error = bed.refused(json!({}), "MemberDuplicated").await;
    let first = bed.cluster.volume("events/c").as_str();
    assert_says(
        &json!(error.message),
        &[first, second.as_str(), "delete-tags", "events/c"],
    );
    let main = json!({"etcd_clusters": ["main"], "action": "plan"});
    let plan = bed.ask(main).await;
    assert_says(&plan["warnings"], &["events/c"]);
}

#[tokio::test]
async fn an_etcd_cluster_lost_long_ago_is_not_left_out_silently() {
    let bed = RestoreBed::fleet(2).await;
    for member in ["a", "b", "c"] {
        bed.lose(&format!("events/{member}")).await;
    }
    for _ in 0..3 {
        bed.next_morning().await;
    }
    match bed.try_ask(json!({"action": "plan"})).await {
        Err(error) => {
            assert_eq!(error.error_type, "RestorePointDoubtful", "{error}");
            assert_says(&json!(error.message), &["etcd_clusters"]);
        }
        Ok(plan) => assert_eq!(plan["members"].as_array().unwrap().len(), 6, "{plan}"),
    }
    let events = bed.done(json!({"etcd_clusters": ["events"]})).await;
    assert_eq!(answered_volumes(&events).len(), 3);
    let plan = bed.ask(json!({"action": "plan"})).await;
    assert_eq!(plan["phase"], "planned");
}

#[tokio::test]
async fn without_a_table_the_function_does_not_start() {
    let aws = e2e::EmulatedAws::start().await;
    let failed =
        e2e::Function::start_expecting_exit(&aws, "restore", &[("RESTORES_TABLE", "")]).await;
    assert_says(&json!(failed.logs), &["RESTORES_TABLE"]);
    let absent = [("RESTORES_TABLE", "nobody-made-this")];
    let restore = e2e::Function::start(&aws, "restore", &absent).await;
    let error = restore
        .invoke(json!({"cluster": CLUSTER}))
        .await
        .unwrap_err();
    assert_says(&json!(error.message), &["nobody-made-this"]);
}
