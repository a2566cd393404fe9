//! What each event verifies, and what it leaves alone.

use std::time::Duration;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use e2e::verify_bed::{CLUSTER, answered, completed};
use e2e::{Fault, Function, InvocationOptions, VerifyBed, etcd_images};
use etcd_backup_core::ids::SnapshotId;
use serde_json::{Value, json};

async fn bed() -> VerifyBed {
    VerifyBed::of(&etcd_images("etcd-3.7.1-a")).await
}

async fn invoke(verify: &Function, event: Value) -> Value {
    answered(verify, verify.invoke(event).await)
}

async fn refused(verify: &Function, event: Value) -> String {
    verify.invoke(event).await.unwrap_err().to_string()
}

async fn blocks_read(bed: &VerifyBed) -> usize {
    let calls = bed.aws.calls().await;
    calls.iter().filter(|call| call.service == "ebs").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_member_to_complete_has_its_run_verified_once() {
    let bed = bed().await;
    let verify = bed.verify().await;
    let (first, last) = (bed.newest("main/a").await, bed.newest("main/c").await);
    bed.aws
        .set_snapshot(&last, json!({"state": "pending"}))
        .await;
    let answer = invoke(&verify, completed(&first)).await;
    assert!(
        answer["reason"]
            .as_str()
            .unwrap()
            .contains("isn't complete yet"),
        "{answer}"
    );
    assert_eq!(blocks_read(&bed).await, 0);
    // Its event comes, and EC2 shows it only after it was asked.
    bed.aws.clear_calls().await;
    let is_asked = async || {
        let calls = bed.aws.calls().await;
        calls
            .iter()
            .any(|call| call.operation == "DescribeSnapshots")
    };
    let (answer, ()) = tokio::join!(verify.invoke(completed(&last)), async {
        while !is_asked().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bed.aws
            .set_snapshot(&last, json!({"state": "completed"}))
            .await;
    });
    assert_eq!(answered(&verify, answer)["verdict"], "restorable");
    assert_eq!(bed.verdict_tags("main/a").await["verified"], "restorable");
    // Events come twice.
    bed.aws.clear_calls().await;
    let answer = invoke(&verify, completed(&last)).await;
    assert!(
        answer["reason"]
            .as_str()
            .unwrap()
            .contains("verdict already"),
        "{answer}"
    );
    assert_eq!(blocks_read(&bed).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_snapshots_and_other_events_cost_a_call_or_two() {
    let bed = bed().await;
    let verify = bed.verify().await;
    let tags = etcd_backup_core::Tags::from([("Name".to_owned(), "database".to_owned())]);
    let volume = e2e::fleet::etcd_volume(&bed.aws, "eu-west-2a", false, &tags).await;
    let made = bed
        .aws
        .ec2()
        .create_snapshot()
        .volume_id(volume.as_str())
        .send();
    let stranger: SnapshotId = made.await.unwrap().snapshot_id.unwrap().into();
    bed.aws.clear_calls().await;
    let answer = invoke(&verify, completed(&stranger)).await;
    assert!(
        answer["reason"]
            .as_str()
            .unwrap()
            .contains("no etcd volume"),
        "{answer}"
    );
    assert!(bed.aws.calls().await.len() <= 2);
    bed.aws.clear_calls().await;
    let gone = "snap-00000000000000000".into();
    for mut event in [completed(&gone), completed(&stranger), completed(&stranger)]
        .into_iter()
        .enumerate()
        .map(|(at, mut event)| {
            if at == 1 {
                event["detail"]["event"] = "copySnapshot".into();
            } else if at == 2 {
                event["detail-type"] = "EBS Volume Notification".into();
            }
            event
        })
    {
        event["anything"] = json!({"else": 1});
        assert!(invoke(&verify, event).await["reason"].is_string());
    }
    assert!(bed.aws.writes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweep_sees_to_what_has_no_verdict() {
    let bed = bed().await;
    let verify = bed.verify().await;
    let schedule = json!({"source": "aws.scheduler", "detail-type": "Scheduled Event", "x": 1});
    let answer = invoke(&verify, schedule).await;
    assert_eq!(answer["verified"], json!([CLUSTER]));
    assert_eq!(answer["left"], json!([]));
    assert_eq!(answer["restore_points"][0]["verdict"], "restorable");
    bed.aws.clear_calls().await;
    let answer = invoke(&verify, json!({})).await;
    assert_eq!(answer["verified"], json!([]));
    assert!(
        answer["text"].as_str().unwrap().contains("Nothing is left"),
        "{answer}"
    );
    assert_eq!(blocks_read(&bed).await, 0);
    bed.next_run().await;
    assert_eq!(
        invoke(&verify, json!({})).await["verified"],
        json!([CLUSTER])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_time_did_not_allow_is_left_and_gone_on_with() {
    let bed = bed().await;
    let mut seconds = 5;
    let (verify, answer) = loop {
        let verify = bed.verify().await;
        let slow = Duration::from_secs(seconds);
        let slow = Fault::delay("ebs", "GetSnapshotBlock", slow);
        bed.aws.fault(slow.forever()).await;
        let hurried = InvocationOptions::within(Duration::from_secs(seconds));
        let answer = verify.invoke_with(json!({}), hurried).await;
        let was_begun = match &answer {
            Ok(answer) => answer["restore_points"] != json!([]),
            Err(error) => error.error_type != "Sandbox.Timedout",
        };
        if was_begun || seconds > 300 {
            break (verify, answer);
        }
        // The machine was too slow to begin, or to answer, within so much time.
        bed.aws.clear_faults().await;
        seconds *= 3;
    };
    let answer = answered(&verify, answer);
    assert_eq!(answer["verified"], json!([]));
    assert_eq!(answer["left"], json!([CLUSTER]), "{answer:#}");
    let point = &answer["restore_points"][0];
    assert_eq!(point["verdict"], "unsupported");
    assert!(
        point["text"].as_str().unwrap().contains("time was up"),
        "{point:#}"
    );
    assert!(bed.verdict_tags("main/a").await.is_empty());
    bed.aws.clear_faults().await;
    assert_eq!(
        invoke(&verify, json!({})).await["verified"],
        json!([CLUSTER])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn off_and_daily_hold_back_what_is_not_asked_for_by_hand() {
    let bed = bed().await;
    let off = bed.verify_with(&[("VERIFY", "off")]).await;
    let last = bed.newest("main/c").await;
    for event in [json!({}), completed(&last)] {
        assert_eq!(invoke(&off, event).await["reason"], "VERIFY is off");
    }
    assert_eq!(blocks_read(&bed).await, 0);
    let twice_a_day = ("INTERVAL_HOURS", "12");
    let daily = bed.verify_with(&[twice_a_day, ("VERIFY", "daily")]).await;
    // Where nobody says, it is all of them.
    let all = bed.verify_with(&[twice_a_day]).await;
    assert_eq!(
        invoke(&daily, completed(&last)).await["verdict"],
        "restorable"
    );
    // The run of 18:00 of the same day.
    bed.aws.advance(Duration::from_secs(11 * 3600)).await;
    let last = snapshots_by_hand(&bed).await;
    let answer = invoke(&daily, completed(&last)).await;
    assert!(
        answer["reason"].as_str().unwrap().contains("daily"),
        "{answer}"
    );
    assert_eq!(invoke(&daily, json!({})).await["verified"], json!([]));
    assert!(bed.verdict_tags("main/a").await.is_empty());
    assert_eq!(
        invoke(&all, completed(&last)).await["verdict"],
        "restorable"
    );
    assert_eq!(bed.verdict_tags("main/a").await["verified"], "restorable");
}

/// Snapshots as DLM would make them; gives the last.
async fn snapshots_by_hand(bed: &VerifyBed) -> SnapshotId {
    let mut last = None;
    for (key, volume) in &bed.cluster.volumes {
        let mut tags = bed
            .cluster
            .kops
            .volume_tags(key.etcd_cluster.as_str(), key.member.as_str());
        tags.insert("SnapshotCreator".to_owned(), "DLM".to_owned());
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::Snapshot)
            .set_tags(Some(tags.collect()))
            .build();
        let made = bed.aws.ec2().create_snapshot().volume_id(volume.as_str());
        let made = made.tag_specifications(tags).send().await.unwrap();
        last = made.snapshot_id;
    }
    last.unwrap().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_chooses_by_time_by_snapshots_or_one_alone() {
    let bed = bed().await;
    let verify = bed.verify().await;
    let (monday, snapshots) = (bed.aws.clock().await, bed.newest_of_all().await);
    bed.next_run().await;
    let newest = invoke(&verify, json!({"cluster": CLUSTER})).await;
    let earlier = invoke(&verify, json!({"cluster": CLUSTER, "at": monday})).await;
    assert!(earlier["restore_point"].as_str() < newest["restore_point"].as_str());
    let by_hand = invoke(&verify, json!({"cluster": CLUSTER, "snapshots": snapshots})).await;
    for field in ["cluster_id", "revision", "tagged", "verdict"] {
        assert_eq!(
            by_hand["etcd_clusters"][0][field], earlier["etcd_clusters"][0][field],
            "{field}"
        );
    }
    let (key, snapshot) = snapshots.first_key_value().unwrap();
    bed.aws.clear_calls().await;
    let alone = invoke(&verify, json!({"snapshot_id": snapshot})).await;
    assert_eq!(
        (&alone["cluster"], &alone["verdict"]),
        (&json!(CLUSTER), &json!("restorable"))
    );
    assert_eq!(alone["restore_point"], earlier["restore_point"]);
    let text = alone["text"].as_str().unwrap();
    assert!(text.contains("This member by itself is sound"), "{text}");
    let main = &alone["etcd_clusters"][0];
    assert_eq!(main["members"][0]["member"], key.member.as_str());
    assert_eq!(
        main["members"][0]["revision"],
        earlier["etcd_clusters"][0]["members"][0]["revision"]
    );
    // One of three says nothing of the restore point.
    assert_eq!(
        (&main["tagged"], &main["start_first"]),
        (&json!(false), &json!([]))
    );
    assert!(bed.aws.writes().await.is_empty());
    let of_two = json!({"main/a": bed.newest("main/a").await, "main/b": snapshots[&"main/b".parse().unwrap()]});
    let mixed = invoke(&verify, json!({"cluster": CLUSTER, "snapshots": of_two})).await;
    assert_eq!(mixed["restore_point"], Value::Null);
    assert_eq!(mixed["etcd_clusters"][0]["tagged"], false);
    // As what etcd would be started from, one of three is no quorum.
    let of_one = json!({"main/a": bed.newest("main/a").await});
    let lone = invoke(&verify, json!({"cluster": CLUSTER, "snapshots": of_one})).await;
    assert_eq!(lone["verdict"], "damaged", "{lone:#}");
    let main = &lone["etcd_clusters"][0];
    assert_eq!(
        (&main["quorum"], &main["voting_members"]),
        (&json!(2), &json!(3))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_refused_and_nothing_is_read() {
    let bed = bed().await;
    let verify = bed.verify().await;
    let of_a = bed.newest("main/a").await;
    for (event, expected) in [
        (
            json!({"cluster": "live-9.mycompany.tld"}),
            "ClusterNotFound",
        ),
        (
            json!({"cluster": CLUSTER, "at": "2020-01-01T00:00:00Z"}),
            "NoRestorePoint",
        ),
        (
            json!({"cluster": CLUSTER, "snapshots": {"main/b": of_a}}),
            "is of main/a",
        ),
        (
            json!({"cluster": "live-9.mycompany.tld", "snapshots": {"main/a": of_a}}),
            "belongs to k8s",
        ),
        (
            json!({"snapshot_id": "snap-0123456789abcdef0"}),
            "is not a snapshot of this account",
        ),
        (
            json!({"cluster": CLUSTER, "action": "verify"}),
            "unknown field `action`",
        ),
    ] {
        let error = refused(&verify, event).await;
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(blocks_read(&bed).await, 0);
    assert!(bed.aws.writes().await.is_empty());
}
