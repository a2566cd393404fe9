//! The bridge between the reader, which waits for each block, and the calls that fetch blocks: that it
//! fetches ahead, holds no more than it may, and fails where it should.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::snapshot_blocks::{
    BLOCK_BYTES, BlockError, BlockPage, ListedBlock, SnapshotBlocks,
};
use etcd_reader::ReadError;
use etcd_reader::block::BlockSource;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use verify::collect::snapshot_volume::{GaveUp, Limits, SnapshotVolume, Subject};

const HELD_MAX: usize = 8;
const CALLS_MAX: usize = 6;
const CALL: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(60);

/// Blocks that are filled with their own index, as many at a time as somebody asks for.
#[derive(Clone, Default)]
struct Blocks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    written: Vec<u64>,
    page_size: usize,
    refused: Vec<u64>,
    /// What is said of those that are refused.
    refusal: Option<BlockError>,
    /// No block comes before so many were asked for at the same time.
    together: usize,
    /// From this block on, or below it, none ever comes.
    silent_from: Option<u64>,
    silent_below: Option<u64>,
    /// Blocks that were handed out, to see which are still held.
    handed_out: Mutex<BTreeMap<u64, Vec<Weak<Vec<u8>>>>>,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
    calls: AtomicUsize,
}

impl Blocks {
    fn new(written: impl IntoIterator<Item = u64>, page_size: usize, refused: &[u64]) -> Self {
        Self(Arc::new(Inner {
            written: written.into_iter().collect(),
            page_size,
            refused: refused.to_vec(),
            ..Inner::default()
        }))
    }

    fn held(&self) -> usize {
        let handed_out = self.0.handed_out.lock().unwrap();
        let all = handed_out.values().flatten();
        all.filter(|block| block.strong_count() > 0).count()
    }
}

impl SnapshotBlocks for Blocks {
    async fn block_page(
        &self,
        _: &SnapshotId,
        page: Option<&str>,
    ) -> Result<BlockPage, BlockError> {
        sleep(CALL).await;
        let from: usize = page.map_or(0, |page| page.parse().unwrap());
        let to = (from + self.0.page_size).min(self.0.written.len());
        let blocks = self.0.written[from..to].iter().map(|index| ListedBlock {
            index: *index,
            token: index.to_string().into(),
        });
        Ok(BlockPage {
            blocks: blocks.collect(),
            volume_size_gib: 1,
            next: (to < self.0.written.len()).then(|| to.to_string()),
        })
    }

    async fn block(&self, _: &SnapshotId, block: &ListedBlock) -> Result<Arc<Vec<u8>>, BlockError> {
        assert_eq!(*block.token, *block.index.to_string());
        let under_way = self.0.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.under_way_max.fetch_max(under_way, Ordering::SeqCst);
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        sleep(CALL).await;
        until(|| self.0.under_way_max.load(Ordering::SeqCst) >= self.0.together).await;
        if self.0.silent_from.is_some_and(|from| block.index >= from)
            || self.0.silent_below.is_some_and(|below| block.index < below)
        {
            std::future::pending::<()>().await;
        }
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.0.refused.contains(&block.index) {
            let invalid = || BlockError::Aws(refusal("ValidationException"));
            return Err(self.0.refusal.clone().unwrap_or_else(invalid));
        }
        let content: Arc<Vec<u8>> = vec![block.index as u8; BLOCK_BYTES].into();
        let mut handed_out = self.0.handed_out.lock().unwrap();
        let of_block = handed_out.entry(block.index).or_default();
        of_block.push(Arc::downgrade(&content));
        Ok(content)
    }
}

/// Waits for what comes sooner or later, on the slowest machine too; who waits in vain is ended by the volume's
/// deadline, or by that of the test.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(CALL).await;
    }
}

fn refusal(code: &str) -> AwsError {
    AwsError {
        operation: "ebs:GetSnapshotBlock",
        code: Some(code.to_owned()),
        message: "no".to_owned(),
        request_id: None,
        certainly_refused: true,
    }
}

fn open(blocks: &Blocks, time: Duration) -> SnapshotVolume<Blocks> {
    let subject = Subject {
        id: "snap-0".into(),
        size_gib: 1,
        kms_key_id: None,
    };
    let limits = Limits {
        calls: Arc::new(Semaphore::new(100)),
        calls_of_one_max: CALLS_MAX,
        held_max: HELD_MAX,
        deadline: Instant::now() + time,
    };
    SnapshotVolume::open(blocks, subject, limits)
}

type Read = Result<Option<u8>, ReadError>;

/// Reads blocks as a reader does, on a thread of its own; gives the byte that each is filled with.
async fn read(
    volume: SnapshotVolume<Blocks>,
    indexes: Vec<u64>,
) -> (SnapshotVolume<Blocks>, Vec<Read>) {
    let reading = spawn_blocking(move || {
        let read = indexes.into_iter().map(|index| {
            let block = volume.block(index)?;
            Ok(block.map(|block| {
                assert!(block.len() == BLOCK_BYTES && block.first() == block.last());
                block[0]
            }))
        });
        let read = read.collect();
        (volume, read)
    });
    reading.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_announced_comes_many_at_a_time_and_once() {
    let blocks = Blocks(Arc::new(Inner {
        written: (0..200).collect(),
        page_size: 50,
        together: CALLS_MAX,
        ..Inner::default()
    }));
    let volume = open(&blocks, LONG);
    let all: Vec<u64> = (0..200).collect();
    volume.prefetch(&all);
    volume.prefetch(&all);
    let (volume, read) = read(volume, all).await;
    let expected: Vec<Read> = (0..200).map(|index| Ok(Some(index as u8))).collect();
    assert_eq!(read, expected);
    assert_eq!(blocks.0.calls.load(Ordering::SeqCst), 200);
    assert_eq!(blocks.0.under_way_max.load(Ordering::SeqCst), CALLS_MAX);
    let (traffic, gave_up) = volume.outcome();
    assert_eq!((traffic.blocks, traffic.pages, traffic.unused), (200, 4, 0));
    assert_eq!(gave_up, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_readers_do_not_displace_what_the_other_announced() {
    let blocks = Blocks::new(0..200, 200, &[]);
    let volume = open(&blocks, LONG);
    // Each announces many times what may be held, and they take turns.
    volume.prefetch(&(0..100).collect::<Vec<_>>());
    volume.prefetch(&(100..200).collect::<Vec<_>>());
    let in_turn: Vec<u64> = (0..100).flat_map(|nth| [nth, 100 + nth]).collect();
    let (volume, read) = read(volume, in_turn.clone()).await;
    let expected: Vec<Read> = in_turn.iter().map(|index| Ok(Some(*index as u8))).collect();
    assert_eq!(read, expected);
    assert_eq!(blocks.0.calls.load(Ordering::SeqCst), 200);
    assert_eq!(volume.outcome().0.unused, 0);
    let under_way_max = blocks.0.under_way_max.load(Ordering::SeqCst);
    assert!(under_way_max <= CALLS_MAX + 1, "{under_way_max}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_waits_for_goes_before_what_was_announced() {
    let blocks = Blocks(Arc::new(Inner {
        written: (0..200).collect(),
        page_size: 200,
        // Nothing that was announced ever comes, and all calls are taken by it.
        silent_below: Some(100),
        ..Inner::default()
    }));
    let volume = open(&blocks, LONG);
    volume.prefetch(&(0..100).collect::<Vec<_>>());
    let all_taken = until(|| blocks.0.calls.load(Ordering::SeqCst) >= CALLS_MAX);
    timeout(LONG, all_taken).await.expect("calls");
    let (_, read) = read(volume, vec![150, 151]).await;
    assert_eq!(read, [Ok(Some(150)), Ok(Some(151))]);
    assert_eq!(blocks.0.calls.load(Ordering::SeqCst), CALLS_MAX + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_written_reads_as_zeros_and_is_not_asked_for() {
    let blocks = Blocks::new([3, 700, 2000], 1, &[]);
    let volume = open(&blocks, LONG);
    volume.prefetch(&[0, 1, 2, 3, 699, 2047]);
    let (_, read) = read(volume, vec![0, 3, 4, 699, 700, 1999, 2000, 2001, 2047]).await;
    let read: Vec<_> = read.into_iter().map(|block| block.unwrap()).collect();
    let byte = |index: u64| Some(index as u8);
    let expected = [
        None,
        byte(3),
        None,
        None,
        byte(700),
        None,
        byte(2000),
        None,
        None,
    ];
    assert_eq!(read, expected);
    assert_eq!(blocks.0.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_announced_in_vain_is_let_go() {
    let blocks = Blocks::new(0..100, 100, &[]);
    let volume = open(&blocks, LONG);
    // Twice as much as may be held, and nobody comes for it.
    volume.prefetch(&(0..2 * HELD_MAX as u64).collect::<Vec<_>>());
    let all_came = until(|| blocks.held() >= HELD_MAX);
    timeout(LONG, all_came).await.expect("all that may be held");
    sleep(10 * CALL).await;
    assert_eq!(blocks.held(), HELD_MAX);
    let (volume, others) = read(volume, (50..100).collect()).await;
    assert!(
        others
            .iter()
            .all(|block| matches!(block, Ok(Some(50..100))))
    );
    assert!(blocks.held() <= HELD_MAX + 1);
    assert!(volume.outcome().0.unused >= HELD_MAX as u64 / 2);
    // It is fetched again where somebody comes for it all the same.
    let (volume, again) = read(volume, vec![0, 1]).await;
    assert_eq!(again, [Ok(Some(0)), Ok(Some(1))]);
    drop(volume);
    let all_went = until(|| blocks.held() == 0);
    timeout(LONG, all_went).await.expect("none is held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_makes_room() {
    let blocks = Blocks::new(0..100, 100, &[]);
    let volume = open(&blocks, LONG);
    let in_vain: Vec<u64> = (0..2 * HELD_MAX as u64).collect();
    volume.prefetch(&in_vain);
    let some_came = until(|| blocks.held() >= HELD_MAX / 2);
    timeout(LONG, some_came)
        .await
        .expect("half of what may be held");
    volume.forget(&in_vain);
    // Whether they were here, on their way or not asked for yet: nobody is served them, and they hold up nothing.
    volume.prefetch(&(50..50 + HELD_MAX as u64).collect::<Vec<_>>());
    let are_here = |of: std::ops::Range<u64>| {
        let handed_out = blocks.0.handed_out.lock().unwrap();
        let here = handed_out.range(of);
        let here = here.filter(|(_, all)| all.iter().any(|block| block.strong_count() > 0));
        here.count()
    };
    let others_came = until(|| are_here(50..100) == HELD_MAX && are_here(0..50) == 0);
    timeout(LONG, others_came)
        .await
        .expect("what was announced since");
    assert!(blocks.0.calls.load(Ordering::SeqCst) <= 2 * HELD_MAX);
    let (volume, read) = read(volume, vec![50, 0, 57]).await;
    assert_eq!(read, [Ok(Some(50)), Ok(Some(0)), Ok(Some(57))]);
    assert!(volume.outcome().0.unused >= HELD_MAX as u64 / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_and_wanted_all_the_same_is_fetched_once() {
    let blocks = Blocks(Arc::new(Inner {
        written: (0..10).collect(),
        page_size: 10,
        // So that the block is on its way until another one is asked for too.
        together: 2,
        ..Inner::default()
    }));
    let volume = open(&blocks, LONG);
    volume.prefetch(&[0]);
    let on_its_way = until(|| blocks.0.calls.load(Ordering::SeqCst) == 1);
    timeout(LONG, on_its_way).await.expect("a call");
    volume.forget(&[0]);
    volume.prefetch(&[0, 1]);
    let (volume, read) = read(volume, vec![0, 1]).await;
    assert_eq!(read, [Ok(Some(0)), Ok(Some(1))]);
    assert_eq!(blocks.0.calls.load(Ordering::SeqCst), 2);
    assert_eq!(volume.outcome().0.unused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_told_whenever_the_block_is_asked_for_and_nowhere_else() {
    let blocks = Blocks::new(0..10, 10, &[5]);
    let volume = open(&blocks, LONG);
    volume.prefetch(&[5, 6, 7]);
    sleep(10 * CALL).await;
    let (volume, read) = read(volume, vec![6, 7, 5, 8, 5]).await;
    assert_eq!(read[..2], [Ok(Some(6)), Ok(Some(7))]);
    let Err(ReadError::Unreadable(why)) = &read[2] else {
        panic!("{:?}", read[2]);
    };
    let said = "snap-0 can't be read: ebs:GetSnapshotBlock failed with ValidationException";
    assert!(why.contains(said), "{why}");
    assert_eq!(read[3], Ok(Some(8)));
    assert_eq!(read[4], read[2]);
    assert_eq!(volume.outcome().1, Some(GaveUp::ForGood));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_said_of_the_snapshot_itself_is_for_good() {
    let lost = AwsError {
        code: None,
        certainly_refused: false,
        ..refusal("")
    };
    for (refusal, expected, said) in [
        (
            BlockError::Aws(refusal("ValidationException")),
            GaveUp::ForGood,
            "snap-0 can't be read",
        ),
        (
            BlockError::Aws(refusal("AccessDeniedException")),
            GaveUp::ThisTime,
            "Let verify's role have ebs:GetSnapshotBlock",
        ),
        (
            BlockError::Aws(refusal("ExpiredTokenException")),
            GaveUp::ThisTime,
            "ExpiredTokenException",
        ),
        (
            BlockError::Aws(refusal("ThrottlingException")),
            GaveUp::ThisTime,
            "ThrottlingException",
        ),
        (
            BlockError::Key(refusal("AccessDeniedException")),
            GaveUp::ThisTime,
            "KmsKeyArns",
        ),
        (
            BlockError::Key(refusal("ValidationException")),
            GaveUp::ThisTime,
            "the account's default key",
        ),
        (BlockError::Aws(lost), GaveUp::ThisTime, "got no answer"),
    ] {
        let blocks = Blocks(Arc::new(Inner {
            written: vec![0],
            page_size: 1,
            refused: vec![0],
            refusal: Some(refusal),
            ..Inner::default()
        }));
        let (volume, read) = read(open(&blocks, LONG), vec![0]).await;
        let Err(ReadError::Unreadable(why)) = &read[0] else {
            panic!("{said}: {:?}", read[0]);
        };
        assert!(why.contains(said), "{why}");
        assert_eq!(volume.outcome().1, Some(expected), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_at_the_deadline() {
    let blocks = Blocks(Arc::new(Inner {
        written: (0..1000).collect(),
        page_size: 1000,
        silent_from: Some(1),
        ..Inner::default()
    }));
    // A hundred times what the first one takes.
    let volume = open(&blocks, 200 * CALL);
    let reading = read(volume, (0..1000).collect());
    let (volume, read) = timeout(LONG, reading).await.expect("no wait without end");
    assert!(matches!(read[0], Ok(Some(0))));
    let Err(ReadError::Unreadable(why)) = &read[1] else {
        panic!("{:?}", read[1]);
    };
    assert!(why.contains("time was up"), "{why}");
    assert_eq!(read[999], read[1]);
    assert_eq!(volume.outcome().1, Some(GaveUp::ThisTime));
}
