//! verify beside fetching the same blocks and doing nothing with them: six members with a database of 128
//! MiB each in volumes of 20 GiB, at 30 ms a call.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bench::process::cpu_of_this_process;
use bench::snapshots::{VOLUME_GIB, token};
use bench::{RuntimeApi, SnapshotAws, Started, Taken};
use e2e::emulated_aws::sdk_config;
use e2e::etcd_images;
use etcd_backup_aws::Aws;
use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::snapshot_blocks::{ListedBlock, SnapshotBlocks};
use etcd_reader::ReadError;
use etcd_reader::block::BlockSource;
use etcd_reader::member::{MemberContext, read_volume};
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::binary;
use crate::report::{Floor, Report, Row, Target, median, mib, ms};

/// Of each call to AWS.
pub const LATENCY: Duration = Duration::from_millis(30);
const MEMBERS: [&str; 6] = [
    "main/a", "main/b", "main/c", "events/a", "events/b", "events/c",
];
const RUNS: usize = 3;
/// As many as verify has under way.
const CALLS_MAX: usize = 96;
const WALL_MS_MAX: f64 = 4000.0;
const PEAK_MIB_MAX: f64 = 200.0;
const RATIO_MAX: f64 = 1.3;
/// Calls that wait for each other before a volume's journal is read: what snapshots there are, whose the policies
/// are, the list of blocks, superblock, journal's inode, journal.
const STEPS: u32 = 6;

/// Measures verify.
pub async fn measure(report: &mut Report) {
    let images = etcd_images("large-3.5.16");
    let aws = SnapshotAws::start(&images.images["a"], MEMBERS.len(), LATENCY).await;
    let (mut ours, mut blocks) = (Vec::new(), 0);
    let (mut unread, mut checked, mut checking) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (taken, answer) = verify(&aws).await;
        blocks = blocks_read(&answer);
        ours.push(taken);
        unread.push(ms(fetch(&aws, blocks).await));
        let before = cpu_of_this_process();
        checked.push(ms(fetch_checked(&aws, blocks).await));
        checking.push(ms(cpu_of_this_process() - before));
    }
    let wall = median(ours.iter().map(|taken| ms(taken.wall)).collect());
    let checked = median(checked);
    let unread = Some(("the same blocks, unread".to_owned(), median(unread)));
    let check = Some((
        "the same blocks by the SDK, their checksums compared".to_owned(),
        checked,
    ));
    // The AWS that is asked runs on the same cores. A volume says step by step where what is in it lies;
    // meanwhile nothing can be fetched ahead.
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get) as f64;
    let work = median(checking) + ms(read_from_memory(&aws));
    let floor = Some(Floor {
        value: work / cores + f64::from(STEPS) * ms(LATENCY),
        reason: format!(
            "sending and fetching the blocks, comparing checksums and reading, on {cores} cores that are never \
             idle, after {STEPS} calls that wait for each other"
        ),
    });
    let peak = median(ours.iter().map(|taken| mib(taken.peak_kib)).collect());
    let cpu = median(ours.iter().map(|taken| ms(taken.cpu)).collect());
    let wall_max = Some(Target::Value(WALL_MS_MAX));
    let peak_max = Some(Target::Value(PEAK_MIB_MAX));
    for (measure, ours, peer, target, floor) in [
        ("wall, ms", wall, None, wall_max, None),
        (
            "wall, ms",
            wall,
            unread,
            Some(Target::Ratio(RATIO_MAX)),
            floor,
        ),
        ("wall, ms", wall, check, None, None),
        ("CPU, ms", cpu, None, None, None),
        ("peak memory, MiB", peak, None, peak_max, None),
        ("blocks", blocks as f64, None, None, None),
    ] {
        report.add(Row {
            work: "verify, 6 members, 128 MiB databases in 20 GiB volumes, process start included"
                .to_owned(),
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

/// What reading alone takes of the processor, where all blocks are in memory.
fn read_from_memory(aws: &SnapshotAws) -> Duration {
    let volume = InMemory(aws.contents());
    let before = cpu_of_this_process();
    for _ in MEMBERS {
        std::hint::black_box(read_volume(&volume, &MemberContext::default()));
    }
    cpu_of_this_process() - before
}

struct InMemory(BTreeMap<u64, Arc<[u8]>>);

impl BlockSource for InMemory {
    fn size_bytes(&self) -> u64 {
        VOLUME_GIB << 30
    }

    fn block(&self, index: u64) -> Result<Option<Arc<[u8]>>, ReadError> {
        Ok(self.0.get(&index).cloned())
    }

    fn prefetch(&self, _: &[u64]) {}

    fn forget(&self, _: &[u64]) {}
}

/// Fetches so many blocks, as many at the same time as verify does, and does nothing with them.
async fn fetch(aws: &SnapshotAws, blocks: usize) -> Duration {
    let client = reqwest::Client::new();
    together(aws, blocks, |id, index| {
        let client = client.clone();
        let url = format!("{}/snapshots/{id}/blocks/{index}", aws.endpoint());
        async move {
            let block = client.get(url).send().await.expect("a block");
            block.bytes().await.expect("a block is whole");
        }
    })
    .await
}

/// Fetches them by the SDK, and compares their checksums, as whoever reads them must.
async fn fetch_checked(aws: &SnapshotAws, blocks: usize) -> Duration {
    let client = Aws::new(sdk_config(&aws.endpoint()));
    together(aws, blocks, |id, index| {
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

/// Fetches so many blocks of all snapshots, each on whichever thread is free, as verify does.
async fn together<Fetched>(
    aws: &SnapshotAws,
    blocks: usize,
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
    stream::iter(each.cycle().take(blocks))
        .for_each_concurrent(CALLS_MAX, |(id, index)| {
            let fetched = tokio::spawn(fetch(id, index));
            async move { fetched.await.expect("nothing panics") }
        })
        .await;
    started.elapsed()
}
