//! What is made: the new volumes' tags from the moment they exist, performance, keys and rates; and what
//! becomes of one that is never there.

use super::*;

/// The CreateVolume calls, by zone.
async fn created(bed: &RestoreBed) -> Vec<Value> {
    let writes = bed.writes().await.into_iter();
    let created = writes.filter(|call| call.operation == "CreateVolume");
    created.map(|call| call.parameters).collect()
}

/// The tags in a CreateVolume call.
fn tags_in(call: &Value) -> BTreeMap<String, String> {
    let tags = call["TagSpecifications"][0]["Tags"].as_array().unwrap();
    let text = |tag: &Value, field: &str| tag[field].as_str().unwrap_or_default().to_owned();
    tags.iter()
        .map(|tag| (text(tag, "Key"), text(tag, "Value")))
        .collect()
}

#[tokio::test]
async fn new_volumes_carry_all_but_discovery_tags_from_the_moment_they_exist() {
    let bed = RestoreBed::fleet(1).await;
    let more = json!({"tags": {"cost-centre": "17", "kubernetes.io/created-by": "kops"}});
    bed.aws.set_volume(bed.cluster.volume("main/b"), more).await;
    let done = bed.done(json!({})).await;
    let created = created(&bed).await;
    assert_eq!(created.len(), 6);
    let tokens: BTreeSet<_> = created
        .iter()
        .map(|call| call["ClientToken"].to_string())
        .collect();
    assert_eq!(tokens.len(), 6, "each has a token of its own");
    for call in &created {
        let tags = tags_in(call);
        assert_eq!(
            tags.get("environment").map(String::as_str),
            Some("production"),
            "{tags:?}"
        );
        for ours in ["etcd-backup/restore-id", "etcd-backup/member"] {
            assert!(tags.contains_key(ours), "{tags:?}");
        }
        let is_early = |key: &&String| {
            key.starts_with("k8s.io/")
                || key.starts_with("kubernetes.io/cluster/")
                || ["Name", "KubernetesCluster"].contains(&key.as_str())
        };
        assert_eq!(tags.keys().find(is_early), None, "too early");
    }
    let labelled = created
        .iter()
        .filter(|call| tags_in(call).contains_key("cost-centre"));
    assert_eq!(labelled.count(), 1);
    let new = &answered_volumes(&done)["main/b"];
    let tags = &bed.volumes().await[new].tags;
    assert_eq!(tags["etcd-backup/member"], "main/b");
    assert_eq!(json!(tags["etcd-backup/restore-id"]), done["restore_id"]);
}

/// Discovery tags and `Name` as kops writes them now; then the old volume's; then the snapshot's.
#[tokio::test]
async fn tags_come_from_kops_then_the_old_volume_then_the_snapshot() {
    let bed = RestoreBed::small().await;
    let snapshot = bed.newest_snapshot("main/a").await;
    let then = json!({"tags": {"Name": "restored-by-hand", "k8s.io/role/master": "0", "team": "then",
                               "only-then": "yes", "dlm:managed": "true", "aws:x": "y"}});
    bed.aws.set_snapshot(&snapshot, then).await;
    let now = json!({"tags": {"team": "now", "dlm:now": "true", "aws:now": "y"}});
    bed.aws.set_volume(bed.cluster.volume("main/a"), now).await;
    let done = bed.done(json!({})).await;
    let tags = &bed.volumes().await[&answered_volumes(&done)["main/a"]].tags;
    let tag = |key: &str| tags.get(key).map(String::as_str);
    let name = format!("a.etcd-main.{CLUSTER}");
    assert_eq!(tag("Name"), Some(name.as_str()));
    assert_eq!(tag("k8s.io/role/master"), Some("1"));
    assert_eq!(tag("team"), Some("now"));
    assert_eq!(tag("only-then"), Some("yes"));
    for absent in [
        "dlm:managed",
        "dlm:now",
        "aws:x",
        "aws:now",
        "SnapshotCreator",
    ] {
        assert_eq!(tag(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn new_volumes_are_like_the_old_ones() {
    let bed = RestoreBed::small().await;
    let volume = bed.cluster.volume("main/b").as_str();
    let modify = bed.aws.ec2().modify_volume().volume_id(volume);
    modify.iops(4500).throughput(250).send().await.unwrap();
    let done = bed.done(json!({})).await;
    let ids = answered_volumes(&done)
        .into_values()
        .map(|id| id.to_string());
    let listed = bed.aws.ec2().describe_volumes();
    let listed = listed
        .set_volume_ids(Some(ids.collect()))
        .send()
        .await
        .unwrap();
    for volume in listed.volumes() {
        let expected = match volume.availability_zone() {
            Some("eu-west-2b") => (Some(4500), Some(250)),
            _ => (Some(3000), Some(125)),
        };
        assert_eq!((volume.iops(), volume.throughput()), expected, "{volume:?}");
        assert_eq!(volume.volume_type().unwrap().as_str(), "gp3");
    }
}

/// 46 user tags once were refused: there was no room for what a restore noted on the old volume.
#[tokio::test]
async fn a_full_set_of_tags_is_no_obstacle_to_retire_a_volume() {
    let seeded = RestoreBed::small().await;
    let volume = seeded.cluster.volume("main/b");
    let own = seeded.volumes().await[volume].tags.len();
    let label = |count: usize| {
        let labels = (own..count).map(|i| (format!("label-{i}"), json!("x")));
        json!({"tags": Map::from_iter(labels)})
    };
    let bed = seeded.fork().await;
    bed.aws.set_volume(volume, label(46)).await;
    let before = bed.volumes().await[volume].tags.clone();
    assert_eq!(before.len(), 46);
    bed.done(json!({})).await;
    let undone = bed.undone(json!({})).await;
    let after = bed.volumes().await;
    assert_eq!(after[&answered_volumes(&undone)["main/b"]].tags, before);

    // The new one carries tags by which a person knows it, and fifty are the limit.
    let bed = seeded;
    let volume = bed.cluster.volume("main/b");
    bed.aws.set_volume(volume, label(50)).await;
    let before = bed.volumes().await[volume].tags.clone();
    assert_eq!(before.len(), 50);
    let error = bed.refused(json!({}), "TagLimit").await;
    assert_says(&json!(error.message), &["main/b"]);
}

#[tokio::test]
async fn a_key_is_taken_where_it_is_named_or_was_in_use() {
    let seeded = RestoreBed::of(Kops::new(CLUSTER).etcd_clusters(&["main"]).encrypted()).await;
    let key = "arn:aws:kms:eu-west-2:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666";
    let bed = seeded.fork().await;
    bed.done(json!({"volume": {"kms_key_id": key}})).await;
    for call in created(&bed).await {
        assert_eq!(
            (&call["KmsKeyId"], &call["Encrypted"]),
            (&json!(key), &json!(true))
        );
    }

    // The snapshot isn't encrypted, and what the volume is replaced by is: with its key.
    let bed = seeded.fork().await;
    for member in ["main/a", "main/b", "main/c"] {
        let snapshot = bed.newest_snapshot(member).await;
        bed.aws
            .set_snapshot(&snapshot, json!({"encrypted": false}))
            .await;
    }
    let done = bed.done(json!({})).await;
    let listed = bed.aws.ec2().describe_volumes().send().await.unwrap();
    let of = |id: &VolumeId| {
        let mut volumes = listed.volumes().iter();
        volumes
            .find(|volume| volume.volume_id() == Some(id.as_str()))
            .unwrap()
    };
    for (member, new) in answered_volumes(&done) {
        let (new, old) = (of(&new), of(&bed.old()[&member]));
        assert_eq!(new.encrypted(), Some(true), "{member}");
        assert_eq!(new.kms_key_id(), old.kms_key_id(), "{member}");
    }
}

#[tokio::test]
async fn nothing_encrypted_becomes_unencrypted_in_silence() {
    let bed = RestoreBed::small().await;
    let done = bed.done(json!({})).await;
    assert_says(&done["warnings"], &["ncrypted"]);
    let key = json!({"volume": {"kms_key_id": "alias/etcd"}});
    let plan = bed
        .ask(json!({"action": "plan", "volume": key["volume"]}))
        .await;
    assert!(
        !plan["warnings"].to_string().contains("unencrypted"),
        "{plan}"
    );
}

#[tokio::test]
async fn a_rate_of_initialization_is_asked_for_and_given_up_where_there_is_no_room() {
    let seeded = RestoreBed::small().await;
    let event = json!({"volume": {"initialization_rate": 300}});
    let bed = seeded.fork().await;
    let done = bed.done(event.clone()).await;
    for call in created(&bed).await {
        assert_eq!(call["VolumeInitializationRate"], 300);
    }
    assert!(!done["warnings"].to_string().contains("nitializ"), "{done}");

    for code in [
        "InsufficientVolumeCapacity",
        "VolumeLimitExceeded",
        "MaxVolumeInitializationRateExceeded",
    ] {
        let bed = seeded.fork().await;
        bed.aws
            .settings(json!({"initialization_rate_refusal": code}))
            .await;
        let done = bed.done(event.clone()).await;
        assert_says(&done["warnings"], &["nitializ"]);
        let created = created(&bed).await;
        let without = created
            .iter()
            .filter(|call| call.get("VolumeInitializationRate").is_none());
        assert_eq!(without.count(), 3, "{code}");
    }
    for wrong in [json!(99), json!(301), json!("fast")] {
        let event = json!({"volume": {"initialization_rate": wrong}});
        seeded.refused(event, "InvalidEvent").await;
    }
    // The deployment's own default.
    let variables = [("VOLUME_INITIALIZATION_RATE", "150")];
    let restore = e2e::Function::start_in_emulated_time(&seeded.aws, "restore", &variables).await;
    seeded.aws.clear_calls().await;
    restore.invoke(seeded.event(json!({}))).await.unwrap();
    for call in created(&seeded).await {
        assert_eq!(call["VolumeInitializationRate"], 150);
    }
}

/// A volume whose key can't be used vanishes within seconds. It once was made anew until the deadline.
#[tokio::test]
async fn a_volume_that_vanishes_is_a_failure_that_names_the_key_first() {
    let seeded = RestoreBed::of(Kops::new(CLUSTER).etcd_clusters(&["main"]).encrypted()).await;
    for (outcome, masters) in [
        ("vanished", "leave"),
        ("vanished", "replace"),
        ("error", "replace"),
    ] {
        let bed = seeded.fork().await;
        let before = bed.volumes().await;
        let instances = bed.instances().await;
        bed.aws
            .settings(json!({"volume_creating_seconds": 1}))
            .await;
        bed.aws.volumes_end(outcome, 2).await;
        let event = json!({"masters": masters});
        let error = bed.try_ask(event.clone()).await.unwrap_err();
        assert_eq!(error.error_type, "VolumeFailed", "{outcome}: {error}");
        assert_says(&json!(error.message), &["KMS", "main/"]);
        assert!(
            created(&bed).await.len() <= 4,
            "{outcome}: it was made again and again"
        );
        let after = bed.volumes().await;
        for (id, volume) in &before {
            assert_eq!(&after[id], volume, "{outcome}: {id} is as it was");
        }
        assert_eq!(
            bed.instances().await,
            instances,
            "{outcome}: no master died"
        );

        let given_up = bed.fork().await;
        given_up.undone(json!({})).await;
        assert_eq!(given_up.instances().await, instances);
        // The key is there again: only what failed is made anew.
        let made_before = created(&bed).await.len();
        bed.done(event).await;
        assert_eq!(created(&bed).await.len(), made_before + 1, "{outcome}");
    }
}

#[tokio::test]
async fn a_volume_that_stays_creating_leaves_the_old_ones_and_the_masters_alone() {
    let bed = RestoreBed::small().await;
    let before = bed.volumes().await;
    let instances = bed.instances().await;
    bed.aws.volumes_end("creating", 2).await;
    let answer = bed
        .stopped_by_time(replace(), "creating", Duration::from_secs(8))
        .await;
    let during = bed.volumes().await;
    for (id, volume) in &before {
        assert_eq!(&during[id], volume);
    }
    assert_eq!(bed.instances().await, instances, "no master died");
    let made = answered_volumes(&answer);
    for volume in made.values() {
        bed.aws
            .set_volume(volume, json!({"state": "available"}))
            .await;
    }
    let done = bed.done(replace()).await;
    assert_eq!(answered_volumes(&done), made, "nothing was made twice");
}
