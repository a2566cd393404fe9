//! verify beside listing and fetching the same blocks and doing nothing with them: members with a database of 128 MiB each
//! in volumes of 20 GiB, at 30 ms a call.

use std::time::Duration;

use bench::snapshots::token;
use bench::{RuntimeApi, SnapshotAws, Started, Taken};
use e2e::emulated_aws::sdk_config;
use e2e::etcd_images;
use etcd_backup_aws::Aws;
use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::snapshot_blocks::{ListedBlock, SnapshotBlocks};
use futures::future::join_all;
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use verify::collect::members::calls_max;

use crate::binary;
use crate::report::{Floor, Report, Row, Target, median, mib, ms};

/// Of each call to AWS.
pub const LATENCY: Duration = Duration::from_millis(30);
const MEMBERS: [&str; 6] = [
    "main/a", "main/b", "main/c", "events/a", "events/b", "events/c",
];
const RUNS: usize = 3;
const WALL_MS_MAX: f64 = 4000.0;
const PEAK_MIB_MAX: f64 = 200.0;
const RATIO_MAX: f64 = 1.3;
/// Calls that wait for each other, beside which there is nothing yet to be fetched, and which are not among the
/// peer's: what snapshots there are, a volume's superblock, and its journal's.
const STEPS: usize = 3;

/// Measures verify, of a cluster's six members and of one.
pub async fn measure(report: &mut Report) {
    let images = etcd_images("large-3.5.16");
    for members in [MEMBERS.len(), 1] {
        let aws = SnapshotAws::start(&images.images["a"], members, LATENCY).await;
        of(&aws, report).await;
    }
}

async fn of(aws: &SnapshotAws, report: &mut Report) {
    let members = aws.snapshots.len();
    let calls = calls_max(members);
    let (mut ours, mut blocks) = (Vec::new(), 0);
    let (mut unread, mut checked, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (taken, answer) = verify(aws).await;
        blocks = blocks_read(&answer);
        ours.push(taken);
        unread.push(ms(fetch(aws, blocks, calls).await));
        checked.push(ms(fetch_checked(aws, blocks, calls).await));
        // One of its calls lists.
        steps.push(ms(fetch_checked(aws, STEPS - 1, 1).await));
    }
    let wall = median(ours.iter().map(|taken| ms(taken.wall)).collect());
    let unread = median(unread);
    let floor = Some(Floor {
        value: median(steps) + unread,
        reason: format!("{STEPS} calls one after the other, and then the peer's"),
    });
    let unread = Some((
        "the same blocks, listed and fetched, unread".to_owned(),
        unread,
    ));
    let checked = Some((
        "the same by the SDK, checksums compared".to_owned(),
        median(checked),
    ));
    let peak = median(ours.iter().map(|taken| mib(taken.peak_kib)).collect());
    let cpu = median(ours.iter().map(|taken| ms(taken.cpu)).collect());
    let is_whole = members == MEMBERS.len();
    let wall_max = is_whole.then_some(Target::Value(WALL_MS_MAX));
    let peak_max = is_whole.then_some(Target::Value(PEAK_MIB_MAX));
    let ratio_max = Some(Target::Ratio(RATIO_MAX));
    let many = if members == 1 { "" } else { "s" };
    for (measure, ours, peer, target, floor) in [
        ("wall, ms", wall, None, wall_max, None),
        ("wall, ms", wall, unread, ratio_max, floor),
        ("wall, ms", wall, checked, None, None),
        ("CPU, ms", cpu, None, None, None),
        ("peak memory, MiB", peak, None, peak_max, None),
        ("blocks", blocks as f64, None, None, None),
    ] {
        report.add(Row {
            work: format!(
                "verify, {members} member{many}, databases of 128 MiB in volumes of 20 GiB, process start included"
            ),
            measure,
            ours,
            peer,
            target,
            floor,
        });
    }
}

/// Verifies the snapshots that there are, as those of the first members.
pub async fn verify(aws: &SnapshotAws) -> (Taken, Value) {
    let snapshots = MEMBERS.iter().zip(&aws.snapshots);
    let snapshots: Map<String, Value> = snapshots
        .map(|(member, id)| ((*member).to_owned(), json!(id)))
        .collect();
    let event = json!({"cluster": "k8s.mycompany.tld", "snapshots": snapshots});
    let runtime = RuntimeApi::start(Some(&event)).await;
    let mut variables = runtime.variables();
    variables.push(("AWS_ENDPOINT_URL".to_owned(), aws.endpoint()));
    let started = Started::new(binary("verify"), &[], &variables);
    let (taken, answer) = started.until(runtime.answer()).await;
    (taken, answer.expect("verify answers"))
}

/// How many blocks were read for an answer.
pub fn blocks_read(answer: &Value) -> usize {
    let of = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let etcd_clusters = of(answer, "etcd_clusters").into_iter();
    let members = etcd_clusters.flat_map(|etcd_cluster| of(&etcd_cluster, "members"));
    let blocks = members.filter_map(|member| member["blocks_read"].as_u64());
    blocks.map(|blocks| blocks as usize).sum()
}

/// Lists the snapshots' blocks, as their tokens come from nowhere else, fetches so many of them, as many at the same
/// time as verify does, and does nothing with them.
async fn fetch(aws: &SnapshotAws, blocks: usize, calls: usize) -> Duration {
    let client = reqwest::Client::new();
    let list = |id: &String| {
        let url = format!("{}/snapshots/{id}/blocks", aws.endpoint());
        let listed = client.get(url).send();
        async { listed.await.expect("a list").bytes().await.expect("a list") }
    };
    let listed = join_all(aws.snapshots.iter().map(list));
    together(aws, blocks, calls, listed, |id, index| {
        let client = client.clone();
        let url = format!("{}/snapshots/{id}/blocks/{index}", aws.endpoint());
        async move {
            let block = client.get(url).send().await.expect("a block");
            block.bytes().await.expect("a block is whole");
        }
    })
    .await
}

/// Lists and fetches them by the SDK, and compares their checksums, as whoever reads them must.
async fn fetch_checked(aws: &SnapshotAws, blocks: usize, calls: usize) -> Duration {
    let client = Aws::new(sdk_config(&aws.endpoint()));
    let list = async |id: &String| {
        let id = SnapshotId::from(id.as_str());
        client.block_page(&id, None).await.expect("a list")
    };
    let listed = join_all(aws.snapshots.iter().map(list));
    together(aws, blocks, calls, listed, |id, index| {
        let client = client.clone();
        let block = ListedBlock {
            index,
            token: token(index).into(),
        };
        async move {
            client
                .block(&SnapshotId::from(id.as_str()), &block)
                .await
                .expect("a block");
        }
    })
    .await
}

/// Fetches so many blocks of all snapshots when they are listed, each on whichever thread is free, as verify does.
async fn together<Fetched>(
    aws: &SnapshotAws,
    blocks: usize,
    calls: usize,
    listed: impl Future,
    fetch: impl Fn(String, u64) -> Fetched,
) -> Duration
where
    Fetched: Future<Output = ()> + Send + 'static,
{
    let each = aws.written.iter().flat_map(|index| {
        let of_each = aws.snapshots.iter();
        of_each.map(move |id| (id.clone(), *index))
    });
    let started = Instant::now();
    listed.await;
    stream::iter(each.cycle().take(blocks))
        .for_each_concurrent(calls, |(id, index)| {
            let fetched = tokio::spawn(fetch(id, index));
            async move { fetched.await.expect("nothing panics") }
        })
        .await;
    started.elapsed()
}
