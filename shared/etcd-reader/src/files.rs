//! Files and directories, as the readers above a filesystem see them.

use std::ops::Range;

use crate::ReadError;

/// A file or directory on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in its directory, as bytes that are valid UTF-8; others are left out of listings.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// The number by which [`Files`] knows it.
    pub inode: u64,
    /// Size in bytes; of files alone.
    pub size_bytes: u64,
    /// When its contents changed last, in seconds since 1970.
    pub modified_seconds: i64,
}

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, device, socket or pipe: never followed.
    Other,
}

/// The files of a volume. Reading takes `&self`, so that several readers may share it.
pub trait Files: Send + Sync {
    /// What is at an absolute path with `/` between its parts; `None` where nothing is.
    fn find(&self, path: &str) -> Result<Option<Entry>, ReadError>;

    /// What is in a directory, without `.` and `..`, in no particular order.
    fn list(&self, directory: &Entry) -> Result<Vec<Entry>, ReadError>;

    /// Fills a buffer from an offset on. Holes and parts that were only preallocated read as zeros.
    /// Gives the bytes read: fewer than asked for only at the end of the file.
    fn read_at(&self, file: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError>;

    /// Says which parts of a file will be read soon, in this order. Returns at once, never fails.
    fn prefetch(&self, file: &Entry, ranges: &[Range<u64>]);
}
