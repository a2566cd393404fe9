//! Databases made by hand, for what etcd's own never show: a stored freelist, and what no bbolt would write.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;

use super::*;
use crate::files::EntryKind;

const PAGE: usize = 4096;

/// A database in memory, with what was hinted and read of it.
#[derive(Default)]
struct OneFile {
    bytes: Vec<u8>,
    hinted: Mutex<Vec<Range<u64>>>,
    read: Mutex<Vec<Range<u64>>>,
}

impl Files for OneFile {
    fn find(&self, _: &str) -> Result<Option<Entry>, ReadError> {
        Ok(None)
    }

    fn list(&self, _: &Entry) -> Result<Vec<Entry>, ReadError> {
        Ok(Vec::new())
    }

    fn read_at(&self, _: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let rest = self.bytes.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        self.read
            .lock()
            .unwrap()
            .push(offset..offset + length as u64);
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn prefetch(&self, _: &Entry, ranges: &[Range<u64>]) {
        self.hinted.lock().unwrap().extend_from_slice(ranges);
    }
}

fn header(id: u64, flags: u16, count: u16, overflow: u32) -> Vec<u8> {
    [
        &id.to_le_bytes()[..],
        &flags.to_le_bytes(),
        &count.to_le_bytes(),
        &overflow.to_le_bytes(),
    ]
    .concat()
}

/// A page of leaf elements: flags, key, value.
fn leaf(id: u64, entries: &[(u32, &[u8], &[u8])]) -> Vec<u8> {
    let mut page = header(id, 2, entries.len() as u16, 0);
    let mut data = Vec::new();
    for (index, (flags, key, value)) in entries.iter().enumerate() {
        let position = 16 * (entries.len() - index) + data.len();
        for number in [
            *flags,
            position as u32,
            key.len() as u32,
            value.len() as u32,
        ] {
            page.extend(number.to_le_bytes());
        }
        data.extend([*key, *value].concat());
    }
    [page, data].concat()
}

fn branch(id: u64, children: &[(&[u8], u64)]) -> Vec<u8> {
    let mut page = header(id, 1, children.len() as u16, 0);
    let mut data = Vec::new();
    for (index, (key, child)) in children.iter().enumerate() {
        let position = 16 * (children.len() - index) + data.len();
        page.extend((position as u32).to_le_bytes());
        page.extend((key.len() as u32).to_le_bytes());
        page.extend(child.to_le_bytes());
        data.extend(*key);
    }
    [page, data].concat()
}

fn freelist(id: u64, free: &[u64]) -> Vec<u8> {
    let ids: Vec<u8> = free.iter().flat_map(|id| id.to_le_bytes()).collect();
    [header(id, 0x10, free.len() as u16, 0), ids].concat()
}

fn meta(id: u64, freelist: u64, high_water: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for number in [0xED0C_DAED_u32, 2, PAGE as u32, 0] {
        meta.extend(number.to_le_bytes());
    }
    for number in [3, 0, freelist, high_water, id] {
        meta.extend(number.to_le_bytes());
    }
    let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    [header(id, 4, 0, 0), meta, sum.to_le_bytes().to_vec()].concat()
}

/// A bucket that lies on a page.
fn on_page(page: u64) -> Vec<u8> {
    [page.to_le_bytes(), [0; 8]].concat()
}

/// Pages from the third on: the freelist, the root bucket's, and what follows.
fn database(pages: &[Vec<u8>]) -> OneFile {
    let count = pages.len() as u64 + 2;
    let mut file = Vec::new();
    for page in [meta(0, 2, count), meta(1, 2, count)].iter().chain(pages) {
        assert!(page.len() <= PAGE);
        file.extend(page);
        file.resize(file.len().div_ceil(PAGE) * PAGE, 0);
    }
    OneFile {
        bytes: file,
        ..OneFile::default()
    }
}

#[derive(Default)]
struct Seen(Vec<(Vec<u8>, Vec<u8>)>);

impl Visitor for Seen {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReadError> {
        self.0.push((key.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Walks all buckets; gives the keys and the bytes in use.
fn walk(file: &OneFile) -> Result<(Vec<Vec<u8>>, u64), ReadError> {
    let entry = Entry {
        name: "db".to_owned(),
        kind: EntryKind::File,
        inode: 1,
        size_bytes: file.bytes.len() as u64,
        modified_seconds: 0,
    };
    let database = Database::open(file, &entry)?;
    let mut usage = database.begin()?;
    let buckets = database.buckets(&mut usage)?;
    let mut seen = Seen::default();
    for bucket in &buckets {
        database.visit(&mut usage, bucket, &mut seen)?;
    }
    let in_use = database.finish(&usage)?;
    Ok((seen.0.into_iter().map(|(key, _)| key).collect(), in_use))
}

fn sound() -> Vec<Vec<u8>> {
    let inline = [on_page(0), leaf(0, &[(0, b"i", b"1")])].concat();
    vec![
        freelist(2, &[7]),
        leaf(3, &[(1, b"inline", &inline), (1, b"key", &on_page(4))]),
        branch(4, &[(b"a", 5), (b"m", 6)]),
        leaf(5, &[(0, b"a", b"1"), (0, b"b", b"2")]),
        leaf(6, &[(0, b"m", b"3")]),
        Vec::new(),
    ]
}

fn assert_damaged(pages: Vec<Vec<u8>>, what: &str) {
    match walk(&database(&pages)) {
        Err(ReadError::Damaged(error)) => assert!(error.contains(what), "{error}"),
        other => panic!("{what}: {other:?}"),
    }
}

fn changed(page: usize, by: Vec<u8>) -> Vec<Vec<u8>> {
    let mut pages = sound();
    pages[page - 2] = by;
    pages
}

#[test]
fn inline_buckets_branches_and_a_stored_freelist_are_read() {
    let (keys, in_use) = walk(&database(&sound())).unwrap();
    assert_eq!(keys, [b"i", b"a", b"b", b"m"]);
    // All but the free page.
    assert_eq!(in_use, 7 * PAGE as u64);
}

/// A block that was hinted and isn't read takes the place of one that is: also where a file begins somewhere
/// inside a block of the source.
#[test]
fn no_block_is_hinted_that_is_not_read() {
    const LEAVES: u64 = 40;
    const APART: u64 = 150;
    let ids: Vec<u64> = (0..LEAVES).map(|leaf| 5 + leaf * APART).collect();
    let keys: Vec<[u8; 1]> = (0..LEAVES).map(|leaf| [leaf as u8]).collect();
    let children: Vec<(&[u8], u64)> = keys.iter().map(|key| &key[..]).zip(ids.clone()).collect();
    let mut pages = vec![
        freelist(2, &[]),
        leaf(3, &[(1, b"key", &on_page(4))]),
        branch(4, &children),
    ];
    for (key, id) in &children {
        pages.resize(*id as usize - 2, vec![0]);
        pages.push(leaf(*id, &[(0, key, b"1")]));
    }
    let file = database(&pages);
    assert_eq!(walk(&file).unwrap().0, keys);

    let blocks = |ranges: &Mutex<Vec<Range<u64>>>, begins: u64| {
        let block = crate::block::BLOCK_BYTES as u64;
        let of =
            |range: &Range<u64>| (begins + range.start) / block..=(begins + range.end - 1) / block;
        let ranges = ranges.lock().unwrap();
        ranges.iter().flat_map(of).collect::<BTreeSet<_>>()
    };
    for begins in [0, PAGE as u64, 50 * PAGE as u64, 127 * PAGE as u64] {
        let (hinted, read) = (blocks(&file.hinted, begins), blocks(&file.read, begins));
        assert!(hinted.len() > 30, "{hinted:?}");
        assert!(hinted.is_subset(&read), "{begins}: {:?}", &hinted - &read);
    }
}

#[test]
fn a_page_that_is_free_and_in_use_is_damage() {
    assert_damaged(changed(2, freelist(2, &[6])), "free at once");
    // A count that doesn't fit stands before the ids.
    let long = [
        header(2, 0x10, 0xffff, 0),
        1u64.to_le_bytes().to_vec(),
        5u64.to_le_bytes().to_vec(),
    ]
    .concat();
    assert_damaged(changed(2, long), "free at once");
    let too_long = [header(2, 0x10, 0xffff, 0), u64::MAX.to_le_bytes().to_vec()].concat();
    assert_damaged(changed(2, too_long), "more than it has room for");
}

#[test]
fn what_no_bbolt_would_write_is_damage() {
    let cases: [(usize, Vec<u8>, &str); 14] = [
        (4, branch(4, &[(b"a", 5), (b"m", 5)]), "reached twice"),
        (4, branch(4, &[(b"a", 4)]), "reached twice"),
        (4, branch(4, &[(b"a", 99)]), "outside of the pages"),
        (4, branch(4, &[(b"a", 0)]), "outside of the pages"),
        (4, branch(4, &[]), "without elements"),
        (4, branch(4, &[(b"b", 5), (b"m", 6)]), "out of order"),
        (
            4,
            branch(4, &[(b"a", 5), (b"b", 6)]),
            "belong to the page after",
        ),
        (
            5,
            leaf(5, &[(0, b"b", b"2"), (0, b"a", b"1")]),
            "out of order",
        ),
        (
            5,
            leaf(5, &[(0, b"a", b"2"), (0, b"a", b"1")]),
            "out of order",
        ),
        (
            5,
            leaf(5, &[(1, b"a", &on_page(7))]),
            "bucket inside a bucket",
        ),
        (5, header(5, 2, 0, 9), "beyond the end"),
        (5, header(5, 2, 300, 0), "more elements than room"),
        (
            3,
            leaf(3, &[(0, b"key", b"no bucket")]),
            "something else than etcd's buckets",
        ),
        (3, leaf(3, &[(1, b"key", b"short")]), "without a root"),
    ];
    for (page, by, what) in cases {
        assert_damaged(changed(page, by), what);
    }
}

#[test]
fn elements_that_overlap_are_damage() {
    let mut page = leaf(5, &[(0, b"a", &[1; 3000]), (0, b"b", &[2; 500])]);
    // The second one's value is the first one's.
    page[16 + 16 + 12..16 + 16 + 16].copy_from_slice(&3000u32.to_le_bytes());
    page[16 + 16 + 4..16 + 16 + 8].copy_from_slice(&16u32.to_le_bytes());
    assert_damaged(changed(5, page), "overlap");
}

#[test]
fn a_tree_that_never_ends_is_told_and_not_followed() {
    let depth = 60;
    let mut pages = vec![freelist(2, &[]), leaf(3, &[(1, b"key", &on_page(4))])];
    for id in 4..4 + depth {
        pages.push(branch(id, &[(b"a", id + 1)]));
    }
    pages.push(leaf(4 + depth, &[(0, b"a", b"1")]));
    assert!(matches!(
        walk(&database(&pages)),
        Err(ReadError::Unsupported(_))
    ));
}
