//! Sets that real etcd left after crashes, compactions, upgrades and restores, read through the EBS direct APIs,
//! against what became of them when real etcd was started from them.

use std::io::Write;

use e2e::etcd_images::truth_of;
use e2e::verify_bed::{CLUSTER, answered};
use e2e::{VerifyBed, etcd_images};
use serde_json::{Value, json};

/// Each member serves as it did after the restart, at a revision inside the range that is named.
fn serves_as_said(name: &str, main: &Value, served: &Value) {
    let range = &main["revision"];
    let bounds = range["at_least"].as_u64().unwrap()..=range["at_most"].as_u64().unwrap();
    for (member, revision) in served.as_object().unwrap() {
        // One that is damaged, or learns, serves nothing.
        if let Some(revision) = revision.as_u64() {
            assert!(bounds.contains(&revision), "{name}/{member} {range}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_judged_as_its_restart_went() {
    let sets = truth_of("made-sets.json");
    let mut restarted = 0;
    for (name, known) in &sets {
        assert_eq!(known["etcd_cluster"], "main", "{name}");
        let bed = VerifyBed::of(&etcd_images(name)).await;
        let verify = bed.verify().await;
        let answer = answered(&verify, verify.invoke(json!({"cluster": CLUSTER})).await);
        assert_eq!(answer["verdict"], known["verdict"], "{name} {answer:#}");
        let main = &answer["etcd_clusters"][0];
        let members = main["members"].as_array().unwrap();
        assert_eq!(members.len(), known["members"].as_object().unwrap().len());
        for member in members {
            let letter = member["member"].as_str().unwrap();
            let expected = &known["members"][letter];
            assert_eq!(&member["verdict"], expected, "{name}/{letter} {member:#}");
            let tags = bed.verdict_tags(&format!("main/{letter}")).await;
            assert_eq!(
                Some(tags["verified"].as_str()),
                known["verdict"].as_str(),
                "{name}/{letter}"
            );
        }
        if known["served"].is_object() {
            serves_as_said(name, main, &known["served"]);
            restarted += 1;
        }
    }
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "verify judged {} made sets; {restarted} of them were restarted, and went as it says",
        sets.len()
    );
    assert!(restarted >= 9 && sets.len() > restarted);
}
