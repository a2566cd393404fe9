//! What goes wrong on the way: throttling, lost and spoilt answers, keys, and snapshots that AWS gives no
//! blocks of. None of it is ever called damage.

use e2e::verify_bed::{CLUSTER, answered};
use e2e::{Fault, VerifyBed, etcd_images};
use serde_json::{Value, json};

async fn bed() -> VerifyBed {
    VerifyBed::of(&etcd_images("etcd-3.7.1-a")).await
}

async fn verified(bed: &VerifyBed) -> Value {
    let verify = bed.verify().await;
    answered(&verify, verify.invoke(json!({"cluster": CLUSTER})).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_and_lost_answers_are_waited_out() {
    let bed = bed().await;
    for fault in [
        Fault::error("ebs", "GetSnapshotBlock", "ThrottlingException", 400).times(20),
        Fault::error("ebs", "GetSnapshotBlock", "RequestThrottledException", 400)
            .nth(25)
            .times(20),
        Fault::error("ebs", "GetSnapshotBlock", "InternalServerException", 500)
            .nth(50)
            .times(3),
        Fault::error(
            "ebs",
            "ListSnapshotBlocks",
            "RequestThrottledException",
            400,
        )
        .times(4),
        Fault::drop_answer("ebs", "GetSnapshotBlock")
            .nth(60)
            .times(4),
        Fault::drop_request("ebs", "ListSnapshotBlocks").nth(5),
    ] {
        bed.aws.fault(fault).await;
    }
    let answer = verified(&bed).await;
    assert_eq!(answer["verdict"], "restorable", "{answer:#}");
    let failed = bed.aws.calls().await;
    let failed = failed
        .iter()
        .filter(|call| call.service == "ebs" && call.fault.is_some());
    assert!(failed.count() > 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_come_wrong_are_fetched_again() {
    let bed = bed().await;
    for (member, kind) in [("main/a", "short"), ("main/b", "flipped")] {
        let spoilt = json!({"spoilt_blocks": {"-1": {"kind": kind, "times": 7}}});
        bed.aws
            .set_snapshot(&bed.newest(member).await, spoilt)
            .await;
    }
    assert_eq!(verified(&bed).await["verdict"], "restorable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_never_comes_right_is_no_damage() {
    let bed = bed().await;
    let spoilt = json!({"spoilt_blocks": {"0": {"kind": "flipped", "times": 1000}}});
    bed.aws
        .set_snapshot(&bed.newest("main/b").await, spoilt)
        .await;
    let answer = verified(&bed).await;
    let main = &answer["etcd_clusters"][0];
    let verdicts = main["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| &member["verdict"]);
    let verdicts: Vec<_> = verdicts.collect();
    assert_eq!(
        verdicts,
        ["restorable", "unsupported", "restorable"],
        "{answer:#}"
    );
    assert!(
        main["members"][1]["problems"][0]
            .as_str()
            .unwrap()
            .contains("checksum of block 0")
    );
    // Another time it may come right: nothing is written down.
    assert_eq!(main["tagged"], false);
    assert!(bed.verdict_tags("main/a").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_may_be_small_and_empty() {
    let bed = bed().await;
    bed.aws
        .settings(json!({"ebs_page_size_max": 7, "ebs_empty_pages": 1}))
        .await;
    assert_eq!(verified(&bed).await["verdict"], "restorable");
    let calls = bed.aws.calls().await;
    let pages = calls
        .iter()
        .filter(|call| call.operation == "ListSnapshotBlocks");
    assert!(pages.count() > 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_cannot_be_used_is_named_at_once() {
    let bed = bed().await;
    for member in ["main/a", "main/b", "main/c"] {
        let denied = json!({"encrypted": true, "key_denied": true});
        bed.aws
            .set_snapshot(&bed.newest(member).await, denied)
            .await;
    }
    let answer = verified(&bed).await;
    assert_eq!(answer["verdict"], "unsupported", "{answer:#}");
    // Nothing is asked again in the hope that it passes.
    let calls = bed.aws.calls().await;
    let calls = calls.iter().filter(|call| call.service == "ebs");
    assert_eq!(calls.count(), 3, "one for each member");
    let problem = answer["etcd_clusters"][0]["members"][0]["problems"][0]
        .as_str()
        .unwrap();
    for named in ["arn:aws:kms:", "KmsKeyArns", "DEPENDENCY_ACCESS_DENIED"] {
        assert!(problem.contains(named), "{problem}");
    }
    // Somebody may let it have the key: the next sweep reads it again.
    assert!(bed.verdict_tags("main/a").await.is_empty());
    let sweep = bed.verify().await;
    let swept = answered(&sweep, sweep.invoke(json!({})).await);
    assert_eq!(swept["left"], json!([CLUSTER]), "{swept:#}");
    for member in ["main/a", "main/b", "main/c"] {
        bed.aws
            .set_snapshot(&bed.newest(member).await, json!({"key_denied": false}))
            .await;
    }
    let swept = answered(&sweep, sweep.invoke(json!({})).await);
    assert_eq!(swept["verified"], json!([CLUSTER]), "{swept:#}");
    assert_eq!(bed.verdict_tags("main/a").await["verified"], "restorable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_aws_gives_no_blocks_of_is_unsupported() {
    let bed = bed().await;
    let verify = bed.verify().await;
    let snapshots = bed.newest_of_all().await;
    let event = json!({"cluster": CLUSTER, "snapshots": snapshots});
    for (changes, said) in [
        (json!({"storage_tier": "archive"}), "restore-snapshot-tier"),
        (
            json!({"storage_tier": "standard", "state": "error"}),
            "failed",
        ),
        (json!({"state": "pending"}), "still pending"),
    ] {
        for snapshot in snapshots.values() {
            bed.aws.set_snapshot(snapshot, changes.clone()).await;
        }
        let answer = answered(&verify, verify.invoke(event.clone()).await);
        assert_eq!(answer["verdict"], "unsupported", "{answer:#}");
        assert!(
            answer["text"].as_str().unwrap().contains(said),
            "{answer:#}"
        );
    }
    let calls = bed.aws.calls().await;
    assert!(calls.iter().all(|call| call.service != "ebs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_to_read_is_reported_and_does_not_hang() {
    let bed = bed().await;
    let denied = Fault::error("ebs", "GetSnapshotBlock", "AccessDeniedException", 403);
    bed.aws.fault(denied.forever()).await;
    let answer = verified(&bed).await;
    assert_eq!(answer["verdict"], "unsupported");
    assert!(
        answer["text"]
            .as_str()
            .unwrap()
            .contains("AccessDeniedException"),
        "{answer:#}"
    );
    // It may be allowed another time.
    assert!(bed.verdict_tags("main/a").await.is_empty());
}
