//! What an audit of a large account takes that doesn't depend on the machine: memory and calls. The
//! account is the benchmark AWS's; an audit that finds nothing wrong in it has seen each snapshot once, as
//! one missed is a gap, and their number is known.

use std::path::PathBuf;

use bench::{Behaviour, BenchmarkAws, Dataset, RuntimeApi, Started, Taken};
use serde_json::{Value, json};

const SNAPSHOTS_EACH: usize = 14;

/// A function as it was built with this test.
fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the running test has a path");
    let built = this.ancestors().nth(2).expect("it lies in target/*/deps");
    built.join(name)
}

async fn audit(volumes: usize, behaviour: Behaviour) -> (Taken, Value, BenchmarkAws, usize) {
    let dataset = Dataset::new(volumes, SNAPSHOTS_EACH);
    let (volumes, snapshots) = (dataset.volume_count(), dataset.snapshot_count());
    let event = json!({"now": dataset.now().to_string()});
    let aws = BenchmarkAws::start(dataset, behaviour).await;
    let runtime = RuntimeApi::start(Some(&event)).await;
    let mut variables = runtime.variables();
    variables.push(("AWS_ENDPOINT_URL".to_owned(), aws.endpoint()));
    let process = Started::new(binary("audit"), &[], &variables);
    let (taken, answer) = process.until(runtime.answer()).await;
    let answer = answer.unwrap_or_else(|error| panic!("the audit failed: {error}"));
    assert_eq!(answer["worst"], "ok", "{}", answer["text"]);
    assert_eq!(answer["summary"]["volumes"], volumes);
    assert_eq!(answer["summary"]["volumes_covered"], volumes);
    assert_eq!(answer["summary"]["snapshots"], snapshots);
    let pages = volumes.div_ceil(1000) + snapshots.div_ceil(1000);
    (taken, answer, aws, pages)
}

/// A hundred and forty thousand snapshots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_of_ten_thousand_volumes_is_small_and_asks_little() {
    const PEAK_KIB_MAX: u64 = 96 * 1024;
    let (taken, answer, aws, pages) = audit(10_000, Behaviour::default()).await;
    println!("{taken:?}");
    let restore_points = |cluster: &Value| cluster["restore_points"] == SNAPSHOTS_EACH;
    let clusters = answer["clusters"].as_array().unwrap();
    assert!(!clusters.is_empty() && clusters.iter().all(restore_points));
    let (calls, throttled) = aws.take_calls();
    let listings = calls["DescribeVolumes"] + calls["DescribeSnapshots"];
    assert!(listings <= pages as u64 + 20, "{pages} pages: {calls:?}");
    assert_eq!(throttled, 0);
    assert!(taken.peak_kib <= PEAK_KIB_MAX, "{} KiB", taken.peak_kib);
}

/// Whoever asks for more than EC2 gives gets everything all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_audit_sees_every_snapshot_once() {
    let behaviour = Behaviour {
        throttled_in_a_row: Some(3),
        ..Behaviour::default()
    };
    let (_, _, aws, _) = audit(1_500, behaviour).await;
    let (_, throttled) = aws.take_calls();
    assert!(throttled > 0);
}
