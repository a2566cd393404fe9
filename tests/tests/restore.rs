//! restore, the real binary over real HTTP: masters find exactly the restored volumes, nobody else's
//! are touched, and the same event never makes a second set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::candidates::{etcd_manager_candidates, protokube_candidates, volumes_where};
use e2e::{
    BackedUpFleet, Cluster, EmulatedAws, Fault, Function, InvocationOptions, Kops, LambdaError,
    Outcome, backed_up_fleet,
};
use etcd_backup_core::ids::{SnapshotId, VolumeId};
use serde_json::{Value, json};

const CLUSTER: &str = "k8s.mycompany.tld";

/// A volume as EC2 shows it, as far as a restore may or may not change it.
type Volumes = BTreeMap<VolumeId, (String, BTreeMap<String, String>)>;

async fn volumes(aws: &EmulatedAws) -> Volumes {
    let listed = aws.ec2().describe_volumes().into_paginator().items().send();
    let listed = listed.collect::<Result<Vec<_>, _>>().await.unwrap();
    let tags = |volume: &aws_sdk_ec2::types::Volume| {
        let tags = volume.tags().iter();
        tags.map(|tag| {
            (
                tag.key().unwrap().to_owned(),
                tag.value().unwrap().to_owned(),
            )
        })
        .collect()
    };
    let entry = |volume: aws_sdk_ec2::types::Volume| {
        let id = VolumeId::from(volume.volume_id().unwrap());
        (
            id,
            (volume.state().unwrap().as_str().to_owned(), tags(&volume)),
        )
    };
    listed.into_iter().map(entry).collect()
}

fn event() -> Value {
    json!({"cluster": CLUSTER})
}

fn with(more: Value) -> Value {
    let mut event = event();
    event
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    event
}

/// The new volume of each member, as the answer has it.
fn new_volumes(answer: &Value) -> BTreeMap<String, VolumeId> {
    let members = answer["members"].as_array().unwrap().iter();
    members
        .map(|member| {
            let name = |field: &str| member[field].as_str().unwrap().to_owned();
            let key = format!("{}/{}", name("etcd_cluster"), name("member"));
            (key, VolumeId::from(name("volume_id")))
        })
        .collect()
}

/// Per zone, etcd-manager and protokube find exactly these volumes.
async fn assert_masters_find(
    aws: &EmulatedAws,
    cluster: &Cluster,
    expected: &BTreeMap<String, VolumeId>,
) {
    for (member, zone) in &cluster.kops.members {
        let mut of_zone = BTreeSet::new();
        for etcd_cluster in &cluster.kops.etcd_clusters {
            let own = expected[&format!("{etcd_cluster}/{member}")].clone();
            let found = etcd_manager_candidates(aws, cluster.name(), etcd_cluster, zone).await;
            assert_eq!(
                found,
                std::slice::from_ref(&own),
                "etcd-manager, {etcd_cluster} in {zone}"
            );
            of_zone.insert(own);
        }
        let roots: BTreeSet<_> = cluster
            .masters
            .iter()
            .map(|master| master.root_volume.clone())
            .collect();
        let found = protokube_candidates(aws, cluster.name(), zone).await;
        let found: BTreeSet<_> = found
            .into_iter()
            .filter(|volume| !roots.contains(volume))
            .collect();
        assert_eq!(found, of_zone, "protokube in {zone}");
    }
}

async fn invoke(restore: &Function, event: Value) -> Value {
    let answer = restore.invoke(event).await;
    answer.unwrap_or_else(|error| panic!("{error}\n{}", restore.logs()))
}

/// A refusal, after which everything is as it was.
async fn refused(fleet: &BackedUpFleet, event: Value) -> LambdaError {
    let restore = fleet.function("restore").await;
    let before = volumes(&fleet.aws).await;
    fleet.aws.clear_calls().await;
    let error = restore
        .invoke(event.clone())
        .await
        .expect_err(&event.to_string());
    assert_eq!(fleet.aws.writes().await.len(), 0, "{event}: {error}");
    assert_eq!(volumes(&fleet.aws).await, before, "{event}");
    error
}

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

fn volumes_seeded(fleet: &BackedUpFleet) -> usize {
    let of_cluster = |cluster: &Cluster| cluster.volumes.len() + cluster.masters.len();
    of_cluster(&fleet.cluster) + of_cluster(&fleet.other) + fleet.strangers.len()
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
    let short = InvocationOptions {
        timeout: Duration::from_secs(8),
        ..InvocationOptions::default()
    };
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
        let ours = ["restore-id", "cluster", "member", "run", "options"];
        let nulls = ours.map(|key| (format!("etcd-backup/{key}"), Value::Null));
        fleet
            .aws
            .set_volume(volume, json!({"tags": serde_json::Map::from_iter(nulls)}))
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
async fn an_old_cluster_is_refused_while_its_masters_run_and_restored_when_they_are_stopped() {
    let aws = EmulatedAws::start().await;
    let cluster = Kops::old("old.mycompany.tld").seed(&aws).await;
    Function::start(&aws, "converge", &[])
        .await
        .invoke(json!({}))
        .await
        .unwrap();
    aws.advance(Duration::from_secs(25 * 3600)).await;
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
    let aws = EmulatedAws::start().await;
    let members = [
        ("1", "eu-west-2a"),
        ("2", "eu-west-2b"),
        ("3", "eu-west-2c"),
    ];
    let cluster = Kops::new(CLUSTER).members(&members).seed(&aws).await;
    Function::start(&aws, "converge", &[])
        .await
        .invoke(json!({}))
        .await
        .unwrap();
    aws.advance(Duration::from_secs(25 * 3600)).await;
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

/// A restore stopped after its old volumes were untagged and before its new ones are tagged.
async fn stopped_in_mid_exchange(fleet: &BackedUpFleet, restore: &Function, event: Value) {
    let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.nth(7).forever()).await;
    let error = restore.invoke(event).await.unwrap_err();
    assert_eq!(error.error_type, "AwsError");
    assert!(
        error.message.contains("send the same event again"),
        "{}",
        error.message
    );
    fleet.aws.clear_faults().await;
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
    let short = InvocationOptions {
        timeout: Duration::from_secs(7),
        ..InvocationOptions::default()
    };
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
    let master = &fleet.cluster.masters[0];
    let old = fleet.cluster.volume("main/a");
    fleet
        .aws
        .ec2()
        .detach_volume()
        .volume_id(old.as_str())
        .send()
        .await
        .unwrap();
    let attach = fleet
        .aws
        .ec2()
        .attach_volume()
        .volume_id(new_volumes(&done)["main/a"].as_str());
    attach
        .instance_id(master.instance.as_str())
        .device("/dev/xvdz")
        .send()
        .await
        .unwrap();
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
    let made = volumes_where(&fleet.aws, &[("tag-key", "etcd-backup/restore-id")]).await;
    assert_eq!(made.len(), 2);
    for volume in &made {
        assert!(error.message.contains(volume.as_str()), "{}", error.message);
        fleet
            .aws
            .ec2()
            .delete_volume()
            .volume_id(volume.as_str())
            .send()
            .await
            .unwrap();
    }
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
        let ours = [
            "restore-id",
            "cluster",
            "member",
            "member-count",
            "run",
            "options",
        ];
        let nulls = ours.map(|key| (format!("etcd-backup/{key}"), Value::Null));
        fleet
            .aws
            .set_volume(volume, json!({"tags": serde_json::Map::from_iter(nulls)}))
            .await;
    }
    let done = invoke(&restore, event()).await;
    let ids: BTreeSet<_> = new_volumes(&done).into_values().collect();
    assert_eq!(ids, made.into_iter().collect(), "nothing is made twice");
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
}
