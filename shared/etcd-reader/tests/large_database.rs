//! A database of gigabytes, whose pages lie anywhere: what it takes of memory, and that each block is asked for
//! once. Its pages are made when they are read.

#[path = "reader/support/large.rs"]
mod large;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;

use etcd_reader::ReadError;
use etcd_reader::files::{Entry, EntryKind, Files};
use etcd_reader::judge::judge_member;
use etcd_reader::member::{MemberContext, read};
use large::{Large, PAGE_BYTES};

const BLOCK_BYTES: u64 = 512 * 1024;

/// A database, and how it is read.
struct Recorded {
    database: Large,
    /// Blocks of the database as they were read, each time another one than before; and the bytes hinted.
    blocks: Mutex<(Vec<u64>, u64)>,
}

const DIRECTORIES: [&str; 6] = [
    "/var",
    "/var/etcd",
    "/var/etcd/data",
    "/var/etcd/data/member",
    "/var/etcd/data/member/snap",
    "/",
];

impl Files for Recorded {
    fn find(&self, path: &str) -> Result<Option<Entry>, ReadError> {
        let database = path == "/var/etcd/data/member/snap/db";
        if !database && !DIRECTORIES.contains(&path) {
            return Ok(None);
        }
        let kind = if database {
            EntryKind::File
        } else {
            EntryKind::Directory
        };
        let size_bytes = if database {
            self.database.pages() * PAGE_BYTES
        } else {
            0
        };
        Ok(Some(Entry {
            name: path.to_owned(),
            kind,
            inode: 1,
            size_bytes,
            modified_seconds: 0,
        }))
    }

    fn list(&self, _: &Entry) -> Result<Vec<Entry>, ReadError> {
        Ok(Vec::new())
    }

    fn read_at(&self, _: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let page = self.database.page(offset / PAGE_BYTES);
        let from = (offset % PAGE_BYTES) as usize;
        assert!(from + buffer.len() <= page.len(), "one page at a time");
        buffer.copy_from_slice(&page[from..from + buffer.len()]);
        let (blocks, _) = &mut *self.blocks.lock().unwrap();
        if blocks.last() != Some(&(offset / BLOCK_BYTES)) {
            blocks.push(offset / BLOCK_BYTES);
        }
        Ok(buffer.len())
    }

    fn prefetch(&self, _: &Entry, ranges: &[Range<u64>]) {
        self.blocks.lock().unwrap().1 += ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum::<u64>();
    }
}

fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn two_gigabytes_strewn_over_the_file_are_read_once_within_300_mib() {
    let large = Recorded {
        database: Large::new(),
        blocks: Mutex::default(),
    };
    let size_bytes = large.database.pages() * PAGE_BYTES;
    let revisions = large.database.revisions();
    assert!(size_bytes > 2_140_000_000);
    let report = judge_member(&read(&large, &MemberContext::default()));
    assert_eq!(report.key_entries, Some(revisions), "{report:?}");
    assert_eq!(report.revision, Some(revisions));
    assert_eq!(report.db_in_use, Some(size_bytes));
    assert_eq!(report.objects.unwrap()["pods"], revisions);
    let (blocks, hinted_bytes) = &*large.blocks.lock().unwrap();
    let distinct: HashSet<_> = blocks.iter().collect();
    // The first blocks hold the branches, which are read before.
    assert!(
        blocks.len() < distinct.len() + 20,
        "{} reads of {} blocks",
        blocks.len(),
        distinct.len()
    );
    assert!(*hinted_bytes < size_bytes + 100 * BLOCK_BYTES);
    let peak = memory_kib("VmHWM") >> 10;
    println!("{} MiB were judged with {peak} MiB", size_bytes >> 20);
    assert!(peak < 300, "{peak} MiB");
}
