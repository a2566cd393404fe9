//! A second, simple reader of bbolt databases, which says what damage has to be found where.

// Not every test looks at all of it.
#![allow(dead_code)]

use std::ops::Range;

/// Page sizes of all fixtures.
pub const PAGE_BYTES: usize = 4096;

/// A page that is in use.
#[derive(Clone, Debug)]
pub struct Page {
    pub id: usize,
    /// Pages that it takes.
    pub pages: usize,
    pub leaf: bool,
    pub elements: usize,
}

/// A revision's value in the file.
#[derive(Clone, Debug)]
pub struct StoredValue {
    pub revision: u64,
    pub tombstone: bool,
    /// Where the encoded `KeyValue` lies.
    pub bytes: Range<usize>,
}

/// What is in use in a database.
#[derive(Debug, Default)]
pub struct InUse {
    pub pages: Vec<Page>,
    pub values: Vec<StoredValue>,
    /// The last compaction, under way or finished.
    pub compaction: u64,
    /// Where the consistent index lies.
    pub consistent_index: Range<usize>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(number)
}

/// Where a key and its value lie.
type Place = (Range<usize>, Range<usize>);

/// Reads a sound database.
pub fn in_use(file: &[u8]) -> InUse {
    let transaction = |meta: usize| number::<8>(file, meta + 16 + 48);
    let meta = if transaction(0) > transaction(PAGE_BYTES) {
        0
    } else {
        PAGE_BYTES
    };
    let mut found = InUse::default();
    let root = number::<8>(file, meta + 16 + 16) as usize;
    for (name, value) in visit(file, root, &mut found) {
        let root = number::<8>(file, value.start) as usize;
        let entries = if root == 0 {
            leaf(file, value.start + 16)
        } else {
            visit(file, root, &mut found)
        };
        for (key, value) in entries {
            let key = &file[key];
            if &file[name.clone()] == b"key" {
                let revision = u64::from_be_bytes(key[..8].try_into().unwrap());
                found.values.push(StoredValue {
                    revision,
                    tombstone: key.len() == 18,
                    bytes: value,
                });
            } else if key == b"consistent_index" {
                found.consistent_index = value;
            } else if key.ends_with(b"CompactRev") {
                let compaction = u64::from_be_bytes(file[value][..8].try_into().unwrap());
                found.compaction = found.compaction.max(compaction);
            }
        }
    }
    found
}

fn visit(file: &[u8], id: usize, found: &mut InUse) -> Vec<Place> {
    let at = id * PAGE_BYTES;
    let (flags, elements) = (
        number::<2>(file, at + 8),
        number::<2>(file, at + 10) as usize,
    );
    let pages = 1 + number::<4>(file, at + 12) as usize;
    found.pages.push(Page {
        id,
        pages,
        leaf: flags == 2,
        elements,
    });
    if flags == 2 {
        return leaf(file, at);
    }
    assert_eq!(flags, 1);
    let children = (0..elements).map(|index| number::<8>(file, at + 16 + 16 * index + 8) as usize);
    children
        .flat_map(|child| visit(file, child, found))
        .collect()
}

fn leaf(file: &[u8], at: usize) -> Vec<Place> {
    let elements = (0..number::<2>(file, at + 10) as usize).map(|index| at + 16 + 16 * index);
    let place = |element: usize| {
        let key = element + number::<4>(file, element + 4) as usize;
        let value = key + number::<4>(file, element + 8) as usize;
        (
            key..value,
            value..value + number::<4>(file, element + 12) as usize,
        )
    };
    elements.map(place).collect()
}
