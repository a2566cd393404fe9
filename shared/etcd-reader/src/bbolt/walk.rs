//! The walk over all reachable pages, which is the check.
//!
//! A bucket's tree is read level by level, each level in the order of the file: a database of some GiB
//! has its pages anywhere, and read in the order of the keys each block would be fetched many times.
//! So a visitor gets a bucket's entries in no particular order.
//!
//! Source: bbolt, `tx_check.go` (`checkBucket`, `recursivelyCheckPageKeyOrder`, `verifyKeyOrder`).

use std::ops::Range;

use super::level::{Level, Pending, UNBOUNDED, check_order};
use super::page::{Content, Elements, Header, u64_at};
use super::usage::Usage;
use super::{Bucket, Database, Root};
use crate::ReadError;

/// What follows a page that is too small for what it holds; etcd's largest value is some MiB.
const OVERFLOW_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// bbolt's trees have a handful of levels: two keys a branch page would make 30 of them.
const LEVELS_MAX: usize = 48;
/// etcd makes some ten.
const BUCKETS_MAX: usize = 1000;
/// How far ahead of the reading the hints go.
const PREFETCH_BYTES: u64 = 32 * 1024 * 1024;
const BLOCK_BYTES: u64 = crate::block::BLOCK_BYTES as u64;
/// Pages so near to each other are hinted as one range: what lies between adds no block of the source to those
/// that hold the two.
const GAP_BYTES_MAX: u64 = BLOCK_BYTES / 2;

/// Gets every entry of a bucket.
pub(crate) trait Visitor {
    /// An entry, in no particular order. The error says what is wrong, without key or value.
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReadError>;
}

impl Database<'_> {
    /// Starts the check: the meta pages, and the freelist's where one is stored.
    pub(crate) fn begin(&self) -> Result<Usage, ReadError> {
        let pages = usize::try_from(self.pages())
            .map_err(|_| ReadError::Unsupported("the database has too many pages".to_owned()))?;
        let mut usage = Usage::new(pages);
        usage.mark(0)?;
        usage.mark(1)?;
        if let Some(id) = self.meta.freelist {
            let (header, _) = self.first_page(id)?;
            self.mark(&mut usage, id, &header)?;
        }
        Ok(usage)
    }

    /// The top-level buckets. etcd makes no bucket inside a bucket, and keeps nothing beside buckets.
    pub(crate) fn buckets(&self, usage: &mut Usage) -> Result<Vec<Bucket>, ReadError> {
        let mut buckets = Vec::new();
        self.walk_tree(usage, self.meta.root, &mut |page, elements: &Elements| {
            for element in elements.leaves() {
                if !element.is_bucket || buckets.len() >= BUCKETS_MAX {
                    return Err(damaged(
                        page,
                        "has something else than etcd's buckets in the root bucket",
                    ));
                }
                buckets.push(Bucket {
                    name: element.key.to_vec(),
                    root: decode_bucket(page, element.value)?,
                });
            }
            Ok(())
        })?;
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        let roots = buckets.iter().filter_map(|bucket| {
            if let Root::Page(page) = bucket.root {
                Some(page)
            } else {
                None
            }
        });
        let roots: Vec<_> = roots.map(|page| self.page_range(page, 1)).collect();
        self.files.prefetch(&self.file, &roots);
        Ok(buckets)
    }

    /// Checks a bucket, and gives each of its entries to the visitor.
    pub(crate) fn visit(
        &self,
        usage: &mut Usage,
        bucket: &Bucket,
        visitor: &mut dyn Visitor,
    ) -> Result<(), ReadError> {
        let mut visit = |page, elements: &Elements| {
            for element in elements.leaves() {
                if element.is_bucket {
                    return Err(damaged(
                        page,
                        "has a bucket inside a bucket, which etcd never makes",
                    ));
                }
                visitor.entry(element.key, element.value)?;
            }
            Ok(())
        };
        match &bucket.root {
            Root::Page(page) => self.walk_tree(usage, *page, &mut visit),
            Root::Inline(page) => {
                let header = Header::decode(page)
                    .ok_or_else(|| damaged(0, "is an inline bucket that is cut off"))?;
                let Content::Leaf(elements) =
                    header.content(page).map_err(|what| damaged(0, what))?
                else {
                    return Err(damaged(0, "is an inline bucket that is no leaf"));
                };
                check_order(0, elements.leaves().map(|element| element.key), None, None)?;
                visit(0, &elements)
            }
        }
    }

    /// The name of a bucket's last entry, found without reading the rest.
    pub(crate) fn last_key(&self, bucket: &Bucket) -> Result<Option<Vec<u8>>, ReadError> {
        let Root::Page(mut id) = bucket.root else {
            return Ok(None);
        };
        for _ in 0..LEVELS_MAX {
            let (header, page) = self.page(id)?;
            match header.content(&page).map_err(|what| damaged(id, what))? {
                Content::Leaf(elements) => {
                    return Ok(elements.leaves().last().map(|element| element.key.to_vec()));
                }
                Content::Branch(elements) => {
                    id = elements
                        .branches()
                        .last()
                        .ok_or_else(|| damaged(id, "is a branch without elements"))?
                        .page
                }
            }
        }
        Err(ReadError::Unsupported(format!(
            "the database's tree has more than {LEVELS_MAX} levels"
        )))
    }

    /// Ends the check: no reached page may be free. Gives the bytes in use.
    pub(crate) fn finish(&self, usage: &Usage) -> Result<u64, ReadError> {
        if let Some(id) = self.meta.freelist {
            let (header, page) = self.page(id)?;
            for free in header.free_pages(&page).map_err(|what| damaged(id, what))? {
                if usage.is_reached(free) {
                    return Err(damaged(free, "is in use and free at once"));
                }
            }
        }
        Ok(usage.pages * u64::from(self.meta.page_bytes))
    }

    fn walk_tree(
        &self,
        usage: &mut Usage,
        root: u64,
        leaf: &mut dyn FnMut(u64, &Elements) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let pages = vec![Pending {
            page: root,
            lower: UNBOUNDED,
            upper: UNBOUNDED,
        }];
        self.walk_level(usage, Level::of(pages), 0, leaf)
    }

    /// Reads a level and then what is below. Only a level too large to remember is read in parts.
    fn walk_level(
        &self,
        usage: &mut Usage,
        mut level: Level,
        depth: usize,
        leaf: &mut dyn FnMut(u64, &Elements) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if depth > LEVELS_MAX {
            return Err(ReadError::Unsupported(format!(
                "the database's tree has more than {LEVELS_MAX} levels"
            )));
        }
        level.pages.sort_unstable_by_key(|pending| pending.page);
        let mut below = Level::default();
        let mut hints = Hints::default();
        for (index, pending) in level.pages.iter().enumerate() {
            self.hint(&mut hints, &level.pages, index);
            let (header, first) = self.first_page(pending.page)?;
            self.mark(usage, pending.page, &header)?;
            let page = self.with_overflow(pending.page, &header, first)?;
            let (lower, upper) = (level.key(pending.lower), level.key(pending.upper));
            match header
                .content(&page)
                .map_err(|what| damaged(pending.page, what))?
            {
                Content::Leaf(elements) => {
                    check_order(
                        pending.page,
                        elements.leaves().map(|element| element.key),
                        lower,
                        upper,
                    )?;
                    leaf(pending.page, &elements)?;
                }
                Content::Branch(elements) => {
                    if elements.len() == 0 {
                        return Err(damaged(pending.page, "is a branch without elements"));
                    }
                    check_order(
                        pending.page,
                        elements.branches().map(|element| element.key),
                        lower,
                        upper,
                    )?;
                    below.add_children(&elements, upper);
                    if below.is_full() {
                        self.walk_level(usage, std::mem::take(&mut below), depth + 1, leaf)?;
                    }
                }
            }
        }
        drop(level);
        if below.pages.is_empty() {
            Ok(())
        } else {
            self.walk_level(usage, below, depth + 1, leaf)
        }
    }

    /// Reads a page, less those that belong to it.
    fn first_page(&self, id: u64) -> Result<(Header, Vec<u8>), ReadError> {
        if id >= self.meta.high_water || id < 2 {
            return Err(damaged(id, "is outside of the pages that are in use"));
        }
        let page = self.read(self.page_range(id, 1))?;
        let header = Header::decode(&page).ok_or_else(|| damaged(id, "is cut off"))?;
        if header.id != id {
            return Err(damaged(id, "says that it is another page"));
        }
        Ok((header, page))
    }

    fn mark(&self, usage: &mut Usage, id: u64, header: &Header) -> Result<(), ReadError> {
        let end = id.saturating_add(u64::from(header.overflow));
        if end >= self.pages() {
            return Err(damaged(id, "reaches beyond the end of the database"));
        }
        (id..=end).try_for_each(|page| usage.mark(page))
    }

    /// Adds the pages that belong to a page.
    fn with_overflow(
        &self,
        id: u64,
        header: &Header,
        mut page: Vec<u8>,
    ) -> Result<Vec<u8>, ReadError> {
        if header.overflow == 0 {
            return Ok(page);
        }
        let range = self.page_range(id + 1, u64::from(header.overflow));
        let bytes = range.end - range.start;
        if bytes > OVERFLOW_BYTES_MAX {
            return Err(ReadError::Unsupported(format!(
                "page {id} of the database goes on for {bytes} bytes, more than this reader takes"
            )));
        }
        page.extend(self.read(range)?);
        Ok(page)
    }

    /// Reads a whole page out of turn.
    fn page(&self, id: u64) -> Result<(Header, Vec<u8>), ReadError> {
        let (header, first) = self.first_page(id)?;
        let page = self.with_overflow(id, &header, first)?;
        Ok((header, page))
    }

    /// Keeps the hints ahead of the reading.
    fn hint(&self, hints: &mut Hints, pages: &[Pending], reading: usize) {
        if reading < hints.refill_at || hints.hinted >= pages.len() {
            return;
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut bytes = 0;
        hints.refill_at = hints.hinted;
        while bytes < PREFETCH_BYTES / 2 {
            let Some(pending) = pages.get(hints.hinted) else {
                break;
            };
            hints.hinted += 1;
            if pending.page >= self.pages() {
                continue;
            }
            let page = self.page_range(pending.page, 1);
            match ranges.last_mut() {
                Some(last) if page.start.saturating_sub(last.end) <= GAP_BYTES_MAX => {
                    bytes += page.end - last.end;
                    last.end = page.end;
                }
                _ => {
                    bytes += BLOCK_BYTES;
                    ranges.push(page);
                }
            }
        }
        self.files.prefetch(&self.file, &ranges);
    }
}

/// How far the hints went. A part is hinted when the reading reaches the part before it.
#[derive(Default)]
struct Hints {
    hinted: usize,
    refill_at: usize,
}

/// Source: bbolt, `bucket.go`: the root page's id and a sequence; page 0 means that the page follows.
fn decode_bucket(page: u64, value: &[u8]) -> Result<Root, ReadError> {
    let root = u64_at(value, 0).ok_or_else(|| damaged(page, "names a bucket without a root"))?;
    if root != 0 {
        return Ok(Root::Page(root));
    }
    let inline = value
        .get(16..)
        .ok_or_else(|| damaged(page, "names a bucket without a page"))?;
    Ok(Root::Inline(inline.to_vec()))
}

pub(super) fn damaged(page: u64, what: &str) -> ReadError {
    if page == 0 {
        return ReadError::Damaged(format!("an inline page of the database {what}"));
    }
    ReadError::Damaged(format!("page {page} of the database {what}"))
}
