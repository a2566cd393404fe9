//! Least privilege of verify: it does all that it does under the policies that the template gives it,
//! conditions included, and misses each action that is taken away, and says so.

use std::io::Write;
use std::path::PathBuf;

use e2e::policies::{granted, without};
use e2e::verify_bed::{CLUSTER, completed};
use e2e::{EmulatedAws, Function, VerifyBed, etcd_images};
use etcd_backup_core::ids::SnapshotId;
use serde_json::{Value, json};

const ACCESS_KEY: &str = "AKIAVERIFY000EXAMPLE";
/// What Lambda calls in the function's name.
const CALLED_BY_OTHERS: &str = "sqs:SendMessage";

fn policies() -> Vec<Value> {
    let binary = std::env::current_exe().unwrap();
    let target: PathBuf = binary.ancestors().nth(3).unwrap().into();
    let path = target.join("policies.json");
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}: run make", path.display()));
    let policies: Value = serde_json::from_str(&text).unwrap();
    policies["verify"].as_array().unwrap().clone()
}

/// All that verify ever does; what isn't allowed is an error, or a verdict that nothing can be told.
async fn does_all(aws: &EmulatedAws, last: &SnapshotId) -> Result<(), String> {
    let variables = [("AWS_ACCESS_KEY_ID", ACCESS_KEY)];
    let verify = Function::start(aws, "verify", &variables).await;
    for event in [
        completed(last),
        json!({}),
        json!({"snapshot_id": last}),
        json!({"cluster": CLUSTER}),
        json!({"cluster": CLUSTER, "snapshots": {"main/a": last}}),
    ] {
        let answer = verify.invoke(event.clone()).await;
        let answer = answer.map_err(|error| format!("{event}: {error}"))?;
        if answer["verdict"] == "unsupported" {
            return Err(answer["text"].to_string());
        }
    }
    Ok(())
}

/// One member alone, which makes the run complete.
async fn bed() -> (VerifyBed, SnapshotId) {
    let bed = VerifyBed::of(&etcd_images("quiet-single")).await;
    let last = bed.newest("main/a").await;
    (bed, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_does_all_that_it_does_and_uses_all_that_it_may() {
    let (bed, last) = bed().await;
    let documents = policies();
    bed.aws.enforce(ACCESS_KEY, &documents).await;
    let done = does_all(&bed.aws, &last).await;
    let (used, denied) = bed.aws.permissions().await;
    assert!(denied.is_empty(), "{denied:#?}");
    done.unwrap();
    assert_eq!(bed.verdict_tags("main/a").await["verified"], "restorable");
    for (sid, action) in granted(&documents) {
        let is_used = used
            .iter()
            .any(|used| used.sid == sid && used.action == action);
        assert!(
            is_used || action == CALLED_BY_OTHERS,
            "{action} by {sid:?} is never used"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_can_do_with_no_action_less() {
    let (bed, last) = bed().await;
    let documents = policies();
    let mut tried = 0;
    for (sid, action) in granted(&documents) {
        if action == CALLED_BY_OTHERS {
            continue;
        }
        let aws = bed.aws.fork().await;
        let less = without(&documents, sid.as_deref(), &action);
        aws.enforce(ACCESS_KEY, &less).await;
        let done = does_all(&aws, &last).await;
        let (_, denied) = aws.permissions().await;
        assert!(
            denied.iter().any(|denied| denied.action == action),
            "{action} isn't missed"
        );
        let told = done.expect_err(&action);
        assert!(told.contains(&action), "{action} is hidden: {told}");
        tried += 1;
    }
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "{tried} actions of verify taken away, one at a time"
    );
    assert!(tried >= 7, "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_of_no_cluster_are_out_of_reach() {
    let (bed, last) = bed().await;
    bed.aws.enforce(ACCESS_KEY, &policies()).await;
    let bare = json!({"tags": {"KubernetesCluster": null}});
    bed.aws.set_snapshot(&last, bare).await;
    does_all(&bed.aws, &last).await.unwrap_err();
    let (_, denied) = bed.aws.permissions().await;
    let is_reading = |denied: &e2e::Denied| denied.action == "ebs:ListSnapshotBlocks";
    assert!(denied.iter().any(is_reading), "{denied:#?}");
    // What may be read another time leaves no verdict.
    let calls = bed.aws.calls().await;
    let tags_it = |call: &e2e::Call| {
        call.operation == "CreateTags" && call.parameters.to_string().contains(last.as_str())
    };
    assert!(!calls.iter().any(tags_it));
}
