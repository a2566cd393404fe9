//! A database of gigabytes, whose pages lie anywhere: what it takes of memory, and that each block is asked for
//! once. Its pages are made when they are read.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;

use etcd_reader::ReadError;
use etcd_reader::files::{Entry, EntryKind, Files};
use etcd_reader::judge::judge_member;
use etcd_reader::member::{MemberContext, read};

const PAGE_BYTES: u64 = 4096;
const BLOCK_BYTES: u64 = 512 * 1024;
/// A prime, so that steps of any length pass every leaf.
const LEAVES: u64 = 524_287;
const STEP: u64 = 104_729;
const PER_LEAF: u64 = 4;
const PER_BRANCH: u64 = 100;
/// Pages: two meta pages, the root bucket's, the bucket `key`'s branches, then its leaves.
const FIRST_BRANCH: u64 = 3;

struct Large {
    /// Branch pages of each level, the root first.
    levels: Vec<u64>,
    /// The step that undoes [`STEP`].
    step_back: u64,
    /// Blocks of the database as they were read, each time another one than before.
    blocks: Mutex<(Vec<u64>, u64)>,
}

impl Large {
    fn new() -> Self {
        let mut levels = vec![LEAVES.div_ceil(PER_BRANCH)];
        while levels[0] > 1 {
            levels.insert(0, levels[0].div_ceil(PER_BRANCH));
        }
        // By Fermat's little theorem.
        let step_back = (0..LEAVES - 2).fold(1, |power, _| power * STEP % LEAVES);
        Self {
            levels,
            step_back,
            blocks: Mutex::default(),
        }
    }

    fn first_leaf(&self) -> u64 {
        FIRST_BRANCH + self.levels.iter().sum::<u64>()
    }

    fn pages(&self) -> u64 {
        self.first_leaf() + LEAVES
    }

    fn page(&self, id: u64) -> Vec<u8> {
        let (mut branch, mut level) = (id.saturating_sub(FIRST_BRANCH), 0);
        match id {
            0 | 1 => self.meta(id),
            2 => leaf(
                id,
                &[(
                    b"key".to_vec(),
                    [FIRST_BRANCH.to_le_bytes(), [0; 8]].concat(),
                    true,
                )],
            ),
            _ if id >= self.first_leaf() => {
                // The leaf that lies here: leaves are strewn over the file.
                let place = id - self.first_leaf();
                let number = place * self.step_back % LEAVES;
                let entries: Vec<_> = (0..PER_LEAF)
                    .map(|entry| revision(1 + number * PER_LEAF + entry))
                    .collect();
                leaf(id, &entries)
            }
            _ => {
                while branch >= self.levels[level] {
                    branch -= self.levels[level];
                    level += 1;
                }
                self.branch(id, level, branch)
            }
        }
    }

    fn branch(&self, id: u64, level: usize, number: u64) -> Vec<u8> {
        let below = self.levels.get(level + 1).copied();
        let children =
            number * PER_BRANCH..((number + 1) * PER_BRANCH).min(below.unwrap_or(LEAVES));
        // Leaves below a child of this level.
        let leaves = PER_BRANCH.pow((self.levels.len() - 1 - level) as u32);
        let first_below = FIRST_BRANCH + self.levels[..=level].iter().sum::<u64>();
        let page = |child| {
            if below.is_some() {
                first_below + child
            } else {
                self.first_leaf() + child * STEP % LEAVES
            }
        };
        let elements: Vec<_> = children
            .map(|child| (revision_name(1 + child * leaves * PER_LEAF), page(child)))
            .collect();
        let mut bytes = header(id, 1, elements.len());
        let mut at = 16 + 16 * elements.len();
        for (index, (key, page)) in elements.iter().enumerate() {
            bytes.extend(((at - 16 - 16 * index) as u32).to_le_bytes());
            bytes.extend((key.len() as u32).to_le_bytes());
            bytes.extend(page.to_le_bytes());
            at += key.len();
        }
        elements.iter().for_each(|(key, _)| bytes.extend(key));
        padded(bytes)
    }

    fn meta(&self, id: u64) -> Vec<u8> {
        let mut meta = Vec::new();
        for number in [0xED0C_DAED_u32, 2, PAGE_BYTES as u32, 0] {
            meta.extend(number.to_le_bytes());
        }
        for number in [2, 0, u64::MAX, self.pages(), id] {
            meta.extend(number.to_le_bytes());
        }
        let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        meta.extend(sum.to_le_bytes());
        padded([header(id, 4, 0), meta].concat())
    }
}

fn header(id: u64, flags: u16, count: usize) -> Vec<u8> {
    [
        &id.to_le_bytes()[..],
        &flags.to_le_bytes(),
        &(count as u16).to_le_bytes(),
        &[0; 4],
    ]
    .concat()
}

fn padded(mut page: Vec<u8>) -> Vec<u8> {
    assert!(page.len() <= PAGE_BYTES as usize);
    page.resize(PAGE_BYTES as usize, 0);
    page
}

fn leaf(id: u64, entries: &[(Vec<u8>, Vec<u8>, bool)]) -> Vec<u8> {
    let mut bytes = header(id, 2, entries.len());
    let mut at = 16 + 16 * entries.len();
    for (index, (key, value, is_bucket)) in entries.iter().enumerate() {
        for number in [
            usize::from(*is_bucket),
            at - 16 - 16 * index,
            key.len(),
            value.len(),
        ] {
            bytes.extend((number as u32).to_le_bytes());
        }
        at += key.len() + value.len();
    }
    entries
        .iter()
        .for_each(|(key, value, _)| bytes.extend([&key[..], value].concat()));
    padded(bytes)
}

fn revision_name(revision: u64) -> Vec<u8> {
    [&revision.to_be_bytes()[..], b"_", &[0; 8]].concat()
}

/// A key put once, with a value of some hundred bytes.
fn revision(revision: u64) -> (Vec<u8>, Vec<u8>, bool) {
    let varint = |mut number: u64| {
        let mut bytes = Vec::new();
        while number > 127 {
            bytes.push(number as u8 | 128);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let key = format!("/registry/pods/ns/{revision}");
    let number = varint(revision);
    let mut value = [
        &[0x0a, key.len() as u8][..],
        key.as_bytes(),
        &[0x10],
        &number,
        &[0x18],
        &number,
        &[0x20, 1, 0x2a],
    ]
    .concat();
    value.extend(varint(800));
    value.extend([b'v'; 800]);
    (revision_name(revision), value, false)
}

const DIRECTORIES: [&str; 6] = [
    "/var",
    "/var/etcd",
    "/var/etcd/data",
    "/var/etcd/data/member",
    "/var/etcd/data/member/snap",
    "/",
];

impl Files for Large {
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
            self.pages() * PAGE_BYTES
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
        let page = self.page(offset / PAGE_BYTES);
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
    let large = Large::new();
    let size_bytes = large.pages() * PAGE_BYTES;
    assert!(size_bytes > 2_140_000_000);
    let report = judge_member(&read(&large, &MemberContext::default()));
    assert_eq!(report.key_entries, Some(LEAVES * PER_LEAF), "{report:?}");
    assert_eq!(report.revision, Some(LEAVES * PER_LEAF));
    assert_eq!(report.db_in_use, Some(size_bytes));
    assert_eq!(report.objects.unwrap()["pods"], LEAVES * PER_LEAF);
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
