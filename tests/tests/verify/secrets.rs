//! Nothing that is a key's name or a value of a database leaves verify: not in an answer, a log, a metric, a
//! tag, nor in what is asked of AWS.

use e2e::verify_bed::CLUSTER;
use e2e::{Function, VerifyBed, etcd_images};
use serde_json::json;

/// What values and key names of the fixtures hold.
const MARKS: [&str; 3] = ["SECRETVALUE", "leakname", "/registry/"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_and_no_value_is_ever_written_out() {
    let folder = tempfile::tempdir().unwrap();
    let set = etcd_images("etcd-3.6.14-b").copy_to(folder.path());
    // The marks are there to be found.
    let holds_mark = |image: &std::path::Path, mark: &str| {
        let mut grep = std::process::Command::new("grep");
        grep.args(["--quiet", "--text", "--fixed-strings", mark])
            .arg(image)
            .status()
            .unwrap()
            .success()
    };
    for mark in MARKS {
        assert!(holds_mark(&set.images["a"], mark), "{mark}");
    }
    let bed = VerifyBed::of(&set).await;
    let verify = bed
        .verify_with(&[("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")])
        .await;
    let mut told = String::new();
    for damage in [false, true] {
        if damage {
            set.damage_database("a");
            set.damage_database("b");
            bed.next_run().await;
        }
        let newest = bed.newest("main/a").await;
        for event in [
            json!({}),
            json!({"cluster": CLUSTER}),
            json!({"snapshot_id": newest}),
            json!({"cluster": CLUSTER, "snapshots": bed.newest_of_all().await}),
        ] {
            told += &verify.invoke(event).await.unwrap().to_string();
        }
        for member in ["main/a", "main/b", "main/c"] {
            told += &format!("{:?}", bed.verdict_tags(member).await);
        }
    }
    assert!(told.contains("damaged") && told.contains("restorable") && told.contains("objects"));
    for name in ["audit", "restore"] {
        let function = Function::start(&bed.aws, name, &[]).await;
        let event = if name == "audit" {
            json!({"now": bed.aws.clock().await})
        } else {
            json!({"action": "list", "cluster": CLUSTER})
        };
        told += &function.invoke(event).await.unwrap().to_string();
        told += &function.logs();
    }
    told += &format!("{:?}", bed.aws.calls().await);
    let is_logged = |logs: &str| logs.contains("VerifyDurationMs") && logs.contains("verified");
    told += &verify.logs_once(is_logged).await;
    for mark in MARKS {
        assert!(!told.contains(mark), "{mark}");
    }
}
