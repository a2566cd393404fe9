//! A source that fails at any moment: what couldn't be read is never called damaged.

use crate::support;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_reader::ReadError;
use etcd_reader::files::{Entry, Files};
use etcd_reader::judge::{Verdict, judge_set};
use etcd_reader::member::read;
use support::memory::MemoryFiles;
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
            cases += 1;
        }
    }
    println!("{cases} of {calls} calls failed");
    assert!(cases > 200);
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
