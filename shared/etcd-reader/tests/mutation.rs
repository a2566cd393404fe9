//! Databases, logs, raft snapshots and `/state` with anything in them: nothing panics, hangs, or takes memory
//! without a bound, whatever is answered.
//!
//! What checksums would catch at once is put right after a change, so that the decoders behind them are
//! reached. `make fuzz` runs each kind for ten minutes, with other cases than those of each test run.

#[path = "reader/images/mod.rs"]
mod images;
#[path = "reader/support"]
mod support {
    pub mod memory;
    pub mod pages;
    pub mod records;
    pub mod sets;
}

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use etcd_reader::judge::judge_set;
use etcd_reader::member::read;
use support::memory::MemoryFiles;
use support::pages::{PAGE_BYTES, in_use};
use support::records::{CRC, Writer, records};
use support::sets::{Chance, Set, context};

const CASES: u64 = 150;
/// A sound member takes milliseconds.
const CASE_MAX: Duration = Duration::from_secs(20);
/// For all kinds at the same time, as they share a process: what a reader may take, several times, and what the
/// tests themselves do, but nothing that grows with the number of cases.
const GROWN_MIB_MAX: u64 = 512;

/// Runs cases, which change files, and judges each; says how many there were and how long the slowest took. For
/// `MUTATION_SECONDS`, where that is given, from where the clock starts it; a case's number says all about it.
fn run(kind: &str, seed: u64, set: &str, mut change: impl FnMut(&mut Chance, &mut MemoryFiles)) {
    let set = Set::load(set);
    let mut files = set.files[0].deep_clone();
    let seconds = std::env::var("MUTATION_SECONDS").ok();
    let limit = seconds.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let first = limit.map_or(0, |_| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::from(now.unwrap().subsec_nanos())
    });
    let end = Instant::now() + limit.unwrap_or_default();
    let (mut number, mut slowest) = (first, Duration::ZERO);
    // Has the kernel begin anew with the peak (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory_kib("VmRSS");
    while number - first < CASES || Instant::now() < end {
        let mut chance = Chance((seed << 32) | number);
        change(&mut chance, &mut files);
        let began = Instant::now();
        let mut members = set.members.clone();
        members[0] = read(&files, &context("a"));
        let report = judge_set(&members);
        slowest = slowest.max(began.elapsed());
        assert!(
            began.elapsed() < CASE_MAX,
            "{kind} {number} took {:?}",
            began.elapsed()
        );
        for member in &report.members {
            let explained = member.verdict == etcd_reader::judge::Verdict::Restorable
                || !member.problems.is_empty();
            assert!(explained, "{kind} {number}: {member:#?}");
        }
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            !text.contains("SECRETVALUE") && !text.contains("leakname"),
            "{kind} {number}: {text}"
        );
        files.undo();
        number += 1;
    }
    let grown_mib = memory_kib("VmHWM").saturating_sub(before) >> 10;
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "{kind}: {} cases from {first} on, the slowest took {slowest:?}; memory grew by {grown_mib} MiB at most",
        number - first
    );
    assert!(grown_mib < GROWN_MIB_MAX, "{kind}: {grown_mib} MiB");
}

/// A line of the kernel's account of this process.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A value that breaks arithmetic more often than others.
fn awkward(chance: &mut Chance) -> u64 {
    match chance.below(6) {
        0 => 0,
        1 => u64::MAX >> chance.below(64),
        2 => 1 << chance.below(64),
        3 => (1 << chance.below(64)) - 1,
        4 => chance.below(5000) as u64,
        _ => chance.next(),
    }
}

/// Changes some bytes of a range.
fn mutate(chance: &mut Chance, files: &mut MemoryFiles, path: &str, from: usize, to: usize) {
    for _ in 0..1 + chance.below(3) {
        let at = from + chance.below(to - from);
        match chance.below(3) {
            0 => files.flip(path, at, chance.below(8) as u32),
            1 => files.overwrite(path, at, &[awkward(chance) as u8]),
            _ => {
                let bytes = 1 << chance.below(4);
                let value = awkward(chance).to_le_bytes();
                files.overwrite(path, at, &value[..bytes.min(to - at)]);
            }
        }
    }
}

fn fnv_64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn databases() {
    let set = Set::load("quiet-single");
    let path = set.files[0].path("/member/snap/db");
    let used = in_use(&set.files[0].contents(&path).bytes);
    run(
        "databases",
        1,
        "quiet-single",
        |chance, files| match chance.below(8) {
            0 => {
                // A meta page, with a checksum that is right.
                let page = chance.below(2) * PAGE_BYTES;
                mutate(chance, files, &path, page + 16 + 8, page + 16 + 56);
                let sum = fnv_64a(&files.contents(&path).bytes[page + 16..page + 16 + 56]);
                files.overwrite(&path, page + 16 + 56, &sum.to_le_bytes());
            }
            1 => {
                let page = chance.choose(&used.pages).id * PAGE_BYTES;
                let (from, to) = (page, page + PAGE_BYTES);
                mutate(chance, files, &path, from, to);
            }
            2 => {
                let size = chance.below(files.contents(&path).bytes.len());
                files.truncate(&path, size as u64);
            }
            3 => {
                // A value, of which the log and the other members know nothing.
                let value = chance.choose(&used.values).bytes.clone();
                mutate(chance, files, &path, value.start, value.end);
            }
            _ => {
                // Headers and elements, which say where all else is.
                let page = chance.choose(&used.pages);
                let elements = 16 + 16 * page.elements.min(200);
                mutate(
                    chance,
                    files,
                    &path,
                    page.id * PAGE_BYTES,
                    page.id * PAGE_BYTES + elements,
                );
            }
        },
    );
}

#[test]
fn logs() {
    let set = Set::load("etcd-3.6.14-b");
    let path = set.files[0].path("/0000000000000000-0000000000000000.wal");
    let bytes = set.files[0].contents(&path).bytes.clone();
    let sound = records(&bytes);
    let set_name = "etcd-3.6.14-b";
    run("logs", 2, set_name, |chance, files| match chance.below(3) {
        0 => {
            let record = chance.choose(&sound).clone();
            mutate(chance, files, &path, record.at, record.end);
        }
        1 => {
            let size = chance.below(bytes.len());
            files.truncate(&path, size as u64);
        }
        _ => {
            // Written anew with some records changed, left out or twice, and checksums that are right.
            let mut writer = Writer::new();
            for record in sound.iter().filter(|record| record.kind != CRC) {
                let mut data = bytes[record.data.clone()].to_vec();
                if chance.below(500) == 0 && !data.is_empty() {
                    let at = chance.below(data.len().min(40));
                    data[at] = awkward(chance) as u8;
                }
                match chance.below(3000) {
                    0 => continue,
                    1 => writer.add(chance.below(8) as u8, &data),
                    2 => writer.add(record.kind, &data),
                    _ => {}
                }
                writer.add(record.kind, &data);
            }
            files.put(&path, writer.segment);
        }
    });
}

#[test]
fn states_and_raft_snapshots() {
    let set = Set::load("etcd-3.5.30-b");
    let snapshots: Vec<String> = set.files[0]
        .paths()
        .filter(|path| path.ends_with(".snap"))
        .cloned()
        .collect();
    run(
        "states and raft snapshots",
        3,
        "etcd-3.5.30-b",
        |chance, files| match chance.below(4) {
            0 => {
                let length = files.contents("/state").size_bytes as usize;
                mutate(chance, files, "/state", 0, length);
            }
            1 => {
                let length = files.contents("/state").size_bytes;
                files.truncate("/state", chance.below(length as usize) as u64);
            }
            2 => {
                let path = chance.choose(&snapshots);
                let length = files.contents(path).size_bytes as usize;
                mutate(chance, files, path, 0, length);
            }
            _ => {
                let anything: Vec<_> = (0..chance.below(400))
                    .map(|_| chance.next() as u8)
                    .collect();
                files.put("/state", anything);
            }
        },
    );
}
