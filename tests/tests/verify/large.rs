//! Databases of 128 MiB in volumes of 20 GiB: what reading them takes of memory. What it takes of time is
//! measured by `make bench`, as a build for tests hashes slowly.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::verify_bed::{CLUSTER, answered};
use e2e::{EtcdImages, InvocationOptions, VerifyBed, etcd_images};
use serde_json::json;

/// For all members together, in a build for tests.
const MEMORY_MIB_MAX: f64 = 240.0;
/// Lambda's longest.
const TIME: Duration = Duration::from_secs(900);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_large_members_are_read_at_once_in_bounded_memory() {
    let large = etcd_images("large-3.5.16");
    let image = &large.images["a"];
    // One member's volume in the place of all: that they are the same is found, after all were read whole.
    let images: BTreeMap<_, _> = ["a", "b", "c"]
        .map(|member| (member.to_owned(), image.clone()))
        .into();
    let set = EtcdImages {
        name: large.name.clone(),
        images,
    };
    let bed = VerifyBed::of(&set).await;
    let verify = bed.verify().await;
    let within = InvocationOptions::within(TIME);
    let answer = verify
        .invoke_with(json!({"cluster": CLUSTER}), within)
        .await;
    let answer = answered(&verify, answer);
    let mut members = 0;
    for of in answer["etcd_clusters"].as_array().unwrap() {
        for member in of["members"].as_array().unwrap() {
            assert_eq!(
                (&member["revision"], &member["key_entries"]),
                (&json!(25977), &json!(25972))
            );
            let blocks_read = member["blocks_read"].as_u64().unwrap();
            // The image has 698; what was announced in vain, or let go and fetched again, comes on top.
            assert!((400..900).contains(&blocks_read), "{blocks_read}");
            members += 1;
        }
    }
    assert_eq!(members, 3);
    let peak_mib = verify.memory_peak_mib();
    println!("{peak_mib:.0} MiB at most");
    assert!(peak_mib < MEMORY_MIB_MAX, "{peak_mib:.0} MiB");
}
