//! What a restore asks of AWS, counted: an account's other clusters cost nothing, and a cluster's own
//! members little.

use std::time::{Duration, Instant};

use e2e::restore_bed::CLUSTER;
use e2e::restores::restore_function;
use e2e::{Kops, RestoreBed, Style};
use serde_json::{Value, json};

/// Clusters in the account besides the one that is asked about.
const CROWD: u32 = 1_999;
const CALLS_MAX: usize = 12;
const MEMORY_MAX_MIB: f64 = 40.0;

/// What an event asks of the table, and of everything else; and how long it took.
async fn calls_of(bed: &RestoreBed, event: Value) -> (usize, usize, Duration) {
    bed.aws.clear_calls().await;
    let began = Instant::now();
    bed.ask(event.clone()).await;
    let took = began.elapsed();
    let mut calls = bed.aws.calls().await;
    calls.retain(|call| call.attempt == 1);
    let operations: Vec<_> = calls.iter().map(|call| &call.operation).collect();
    println!("{event}: {} calls: {operations:?}", calls.len());
    let of_table = calls.iter().filter(|call| call.service == "dynamodb");
    let of_table = of_table.count();
    (of_table, calls.len() - of_table, took)
}

#[tokio::test]
async fn other_clusters_of_the_account_cost_neither_calls_nor_memory() {
    let bed = RestoreBed::of(Kops::new(CLUSTER)).await;
    bed.next_morning().await;
    let volumes = bed.aws.copy_cluster(CLUSTER, CROWD).await;
    assert_eq!(volumes, 6 * CROWD as usize);
    for event in [json!({"action": "list"}), json!({"action": "plan"})] {
        // A fresh process for each: its memory is what this event took.
        let restore = restore_function(&bed.aws).await;
        let idle_mib = restore.memory_peak_mib();
        bed.aws.clear_calls().await;
        let answer = restore.invoke(bed.event(event.clone())).await.unwrap();
        let mut calls = bed.aws.calls().await;
        calls.retain(|call| call.attempt == 1);
        let peak_mib = restore.memory_peak_mib();
        let operations: Vec<_> = calls.iter().map(|call| &call.operation).collect();
        println!(
            "{event}: {} calls, {peak_mib:.1} MiB ({idle_mib:.1} idle): {operations:?}",
            calls.len()
        );
        assert!(calls.len() <= CALLS_MAX, "{event}: {operations:?}");
        assert!(peak_mib <= MEMORY_MAX_MIB, "{event}: {peak_mib:.1} MiB");
        assert!(!answer.to_string().contains("crowd-"), "{event}");
    }
    // Its restore isn't any other's either.
    bed.done(json!({})).await;
}

#[tokio::test]
async fn a_restore_takes_few_calls_per_member() {
    for etcd_clusters in [
        &["main"][..],
        &["main", "events"],
        &["main", "events", "cilium"],
    ] {
        let newest = Style::New {
            control_plane: true,
        };
        let bed = RestoreBed::of(
            Kops::new(CLUSTER)
                .etcd_clusters(etcd_clusters)
                .style(newest),
        )
        .await;
        let members = bed.cluster.volumes.len();
        // Each member: made, noted on the old volume, tagged; the rest are looks. An undo and a redo make
        // nothing, and choose no snapshots.
        for (event, bound) in [
            (json!({}), 3 * members + 19),
            (json!({"action": "undo"}), 2 * members + 15),
            (json!({"action": "redo"}), 2 * members + 15),
        ] {
            let (of_table, others, took) = calls_of(&bed, event.clone()).await;
            assert!(
                others <= bound,
                "{event}: {others} calls for {members} members, at most {bound} were expected"
            );
            // Besides the renewals of its lease, one each two seconds.
            let renewals = usize::try_from(took.as_secs() / 2).unwrap();
            assert!(
                of_table <= 10 + renewals,
                "{event}: {of_table} calls of the table in {took:?}"
            );
        }
    }
}
