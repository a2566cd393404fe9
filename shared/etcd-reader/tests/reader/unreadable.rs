//! A source that fails at any moment: what couldn't be read is never called damaged.

use crate::{images, support};

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_reader::ReadError;
use etcd_reader::block::BlockSource;
use etcd_reader::files::{Entry, Files};
use etcd_reader::judge::{Verdict, judge_member, judge_set};
use etcd_reader::member::{Member, read, read_volume};
use images::MemoryVolume;
use support::memory::MemoryFiles;
use support::pages::in_use;
use support::sets::{Set, context};

/// Fails from a call on, as a source that is out of time, or at that call alone.
struct Failing<'a> {
    files: &'a MemoryFiles,
    calls: AtomicUsize,
    at: usize,
    once: bool,
}

impl Failing<'_> {
    fn call(&self) -> Result<(), ReadError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call == self.at || (call > self.at && !self.once) {
            return Err(ReadError::Unreadable("throttled for too long".to_owned()));
        }
        Ok(())
    }
}

impl Files for Failing<'_> {
    fn find(&self, path: &str) -> Result<Option<Entry>, ReadError> {
        self.call()?;
        self.files.find(path)
    }

    fn list(&self, directory: &Entry) -> Result<Vec<Entry>, ReadError> {
        self.call()?;
        self.files.list(directory)
    }

    fn read_at(&self, file: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.call()?;
        self.files.read_at(file, offset, buffer)
    }

    fn prefetch(&self, _: &Entry, _: &[Range<u64>]) {}
}

#[test]
fn what_could_not_be_read_is_unsupported_and_never_damaged() {
    let set = Set::load("etcd-3.6.14-b");
    let whole = Failing {
        files: &set.files[0],
        calls: AtomicUsize::new(0),
        at: usize::MAX,
        once: true,
    };
    read(&whole, &context("a"));
    let calls = whole.calls.into_inner();
    let mut cases = 0;
    for once in [true, false] {
        // The first calls find the layout; of the many that follow, some.
        for at in (0..60).chain((60..calls).step_by(calls / 100)) {
            let failing = Failing {
                files: &set.files[0],
                calls: AtomicUsize::new(0),
                at,
                once,
            };
            let mut members = set.members.clone();
            members[0] = read(&failing, &context("a"));
            let report = judge_set(&members);
            let member = &report.members[0];
            let hinted_only = once && member.verdict == Verdict::Restorable;
            assert!(
                hinted_only || member.verdict == Verdict::Unsupported,
                "call {at}: {member:#?}"
            );
            assert!(
                hinted_only || member.problems[0].contains("throttled"),
                "call {at}: {member:#?}"
            );
            // Two of three are sound, whatever the third is.
            assert!(
                report.verdict <= Verdict::Degraded,
                "call {at}: {report:#?}"
            );
            assert_eq!(
                members[0].is_cut_short(),
                member.verdict == Verdict::Unsupported,
                "call {at}"
            );
            cases += 1;
        }
    }
    println!("{cases} of {calls} calls failed");
    assert!(cases > 200);
}

/// A volume one of whose blocks can't be read, whoever asks.
struct Lacking {
    volume: MemoryVolume,
    index: u64,
}

impl BlockSource for Lacking {
    fn size_bytes(&self) -> u64 {
        self.volume.size_bytes()
    }

    fn block(&self, index: u64) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
        if index == self.index {
            return Err(ReadError::Unreadable("refused".to_owned()));
        }
        self.volume.block(index)
    }

    fn prefetch(&self, _: &[u64]) {}

    fn forget(&self, _: &[u64]) {}
}

#[test]
fn a_block_that_is_refused_changes_nothing_or_is_told() {
    let (_, volume) = images::volumes("etcd-3.6.14-b").pop_first().unwrap();
    let judge = |index| {
        let volume = volume.clone();
        let member = read_volume(Lacking { volume, index }, &context("a"));
        let report = serde_json::to_value(judge_member(&member)).unwrap();
        (member.is_cut_short(), report)
    };
    let whole = judge(u64::MAX);
    assert!(!whole.0);
    let mut told = 0;
    for index in volume.written() {
        let (is_cut_short, report) = judge(index);
        if is_cut_short {
            assert_eq!(report["verdict"], "unsupported", "block {index}");
            told += 1;
        } else {
            assert_eq!(report, whole.1, "block {index}");
        }
        // Not even which reader met it first is to be seen.
        assert_eq!(judge(index), (is_cut_short, report), "block {index}");
    }
    println!("{told} of {} blocks are needed", volume.written().len());
    assert!(told > 10 && told < volume.written().len());
}

#[test]
fn a_quorum_that_could_not_be_read_is_unsupported() {
    let set = Set::load("etcd-3.6.14-b");
    let mut members = set.members.clone();
    for at in 0..3 {
        let failing = Failing {
            files: &set.files[at],
            calls: AtomicUsize::new(0),
            at: 0,
            once: false,
        };
        members[at] = read(&failing, &context(["a", "b", "c"][at]));
        let report = judge_set(&members);
        let expected = if at == 0 {
            Verdict::Degraded
        } else {
            Verdict::Unsupported
        };
        assert_eq!(report.verdict, expected, "{report:#?}");
    }
}

/// Reads nothing at all.
fn unread(set: &Set, at: usize) -> Member {
    let failing = Failing {
        files: &set.files[at],
        calls: AtomicUsize::new(0),
        at: 0,
        once: false,
    };
    read(&failing, &context(["a", "b", "c"][at]))
}

/// The verdicts on a set whose first two members are at odds, with the third unread and with it read.
fn of_two(set: &Set, of_a: Member, of_b: Member) -> (Verdict, Verdict) {
    let judged = |third: Member| judge_set(&[of_a.clone(), of_b.clone(), third]).verdict;
    (judged(unread(set, 2)), judged(set.members[2].clone()))
}

#[test]
fn what_an_unread_member_would_settle_is_not_called_damaged() {
    let set = Set::load("etcd-3.6.14-b");
    let (of_a, of_b) = (set.members[0].clone(), set.members[1].clone());
    let db = set.files[0].path("/member/snap/db");
    let known = in_use(&set.files[0].contents(&db).bytes);
    // Of another cluster.
    let other = Set::load("etcd-3.7.1-b").files[0].clone();
    let stranger = read(&other, &context("a"));
    // At odds about one revision.
    let cut = known.compaction;
    let held = |revision: u64| {
        let mut members = set.report.members.iter();
        revision > cut && members.all(|member| Some(revision) <= member.revision)
    };
    let value = known
        .values
        .iter()
        .rev()
        .find(|value| !value.tombstone && held(value.revision))
        .unwrap();
    let mut flipped = set.files[0].clone();
    flipped.flip(&db, value.bytes.end - 1, 0);
    let flipped = read(&flipped, &context("a"));
    assert_eq!(judge_member(&flipped).verdict, Verdict::Restorable);
    // Ahead of both logs that were read.
    let ahead = |at: usize| {
        let mut files = set.files[at].clone();
        let path = files.path("/member/snap/db");
        let index = in_use(&files.contents(&path).bytes).consistent_index.start;
        files.overwrite(&path, index, &(1_u64 << 40).to_be_bytes());
        read(&files, &context(["a", "b"][at]))
    };
    for (what, of_a, of_b, expected) in [
        ("another cluster", stranger, of_b.clone(), Verdict::Degraded),
        ("a contradiction", flipped, of_b, Verdict::Degraded),
        ("ahead of the logs", ahead(0), ahead(1), Verdict::Damaged),
    ] {
        let (without_third, with_third) = of_two(&set, of_a, of_b);
        assert_eq!(without_third, Verdict::Unsupported, "{what}");
        assert_eq!(with_third, expected, "{what}");
    }
    // Two that are damaged by themselves are no quorum, whatever the third is.
    let broken = |at: usize| {
        let mut files = set.files[at].clone();
        let path = files.path("/member/snap/db");
        files.truncate(&path, 8192);
        read(&files, &context(["a", "b"][at]))
    };
    let (without_third, with_third) = of_two(&set, broken(0), broken(1));
    assert_eq!(
        (without_third, with_third),
        (Verdict::Damaged, Verdict::Damaged)
    );
    // And two at odds are damaged where the third is: nothing is left to settle it.
    let mut files = set.files[2].clone();
    let path = files.path("/member/snap/db");
    files.truncate(&path, 8192);
    let third = read(&files, &context("c"));
    let stranger = read(&other, &context("a"));
    let report = judge_set(&[stranger, of_a, third]);
    assert_eq!(report.verdict, Verdict::Damaged, "{report:#?}");
}
