//! bbolt databases: meta pages, pages, buckets, and a check of the whole tree.
//!
//! Purpose: say whether etcd could open the database, and hand every entry to a [`Visitor`] on the way.
//! etcd opens its database without a stored freelist, so that bbolt walks all reachable pages at each
//! start and panics at what doesn't fit: the check here is that walk, and bbolt's check of the keys' order.
//!
//! Invariants: memory doesn't grow with the database but for one bit a page and some 40 bytes a page of
//! the level being read; pages are read in the order of the file, so that each block is fetched once.
//!
//! Source: bbolt 1.3 and 1.4, `page.go`, `bucket.go`, `db.go` (`mmap`, `freepages`), `tx_check.go`.

mod level;
mod meta;
mod page;
mod usage;
mod walk;

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::ReadError;
use crate::files::{Entry, Files};

pub(crate) use meta::Meta;
pub(crate) use usage::Usage;
pub(crate) use walk::Visitor;

/// Larger files are no database of etcd, which warns at 8 GiB.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024 * 1024;

/// A database whose meta pages were read.
pub(crate) struct Database<'a> {
    files: &'a dyn Files,
    file: Entry,
    meta: Meta,
    /// Says that one of the two meta pages is bad, which bbolt passes over.
    pub(crate) meta_warning: Option<String>,
}

/// A top-level bucket, as the root bucket lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) name: Vec<u8>,
    root: Root,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    Page(u64),
    /// A small bucket's only page lies in the value that names it.
    Inline(Vec<u8>),
}

impl<'a> Database<'a> {
    /// Reads the meta pages.
    pub(crate) fn open(files: &'a dyn Files, file: &Entry) -> Result<Self, ReadError> {
        if file.size_bytes > FILE_BYTES_MAX {
            return Err(ReadError::Unsupported(format!(
                "the database file has {} bytes, more than this reader takes",
                file.size_bytes
            )));
        }
        let found = meta::read(files, file)?;
        Ok(Self {
            files,
            file: file.clone(),
            meta: found.meta,
            meta_warning: found.warning,
        })
    }

    /// The file's size.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.file.size_bytes
    }

    /// Pages that the file could hold and the high-water mark allows: what a page id must be below.
    fn pages(&self) -> u64 {
        self.meta
            .high_water
            .min(self.file.size_bytes / u64::from(self.meta.page_bytes))
    }

    fn page_range(&self, id: u64, pages: u64) -> Range<u64> {
        let bytes = u64::from(self.meta.page_bytes);
        id.saturating_mul(bytes)..id.saturating_add(pages).saturating_mul(bytes)
    }

    /// Reads a range of the file, all of which it must have.
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let mut buffer = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        let read = self.files.read_at(&self.file, range.start, &mut buffer)?;
        if read < buffer.len() {
            let end = range.start + read as u64;
            return Err(ReadError::Damaged(format!(
                "the database ends at byte {end}, inside a page that is in use"
            )));
        }
        Ok(buffer)
    }
}
