//! Directories, whose blocks are lists of entries.
//!
//! Source: Linux, `fs/ext4/dir.c` (`__ext4_check_dir_entry`), `fs/ext4/namei.c`.
//!
//! A directory with an index by hash (htree) reads as one without: to a reader that doesn't know them,
//! the index's own blocks look like blocks without entries. What follows the two entries of its first
//! block is no entry, and may be stale.

use std::ops::ControlFlow;

use super::bytes::{le16, le32};
use super::checksum::{crc32c, crc32c_without};
use super::inode::Inode;
use super::{Filesystem, damaged, unsupported};
use crate::ReadError;
use crate::block::BlockSource;

/// The largest directory that is read.
const DIRECTORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of an entry before its name.
const ENTRY_BYTES: usize = 8;
/// The smallest entry: a name of up to four bytes.
const ENTRY_BYTES_MIN: usize = 12;
/// The entry without a name that ends a block with the block's checksum.
const TAIL_BYTES: usize = 12;
const TAIL_TYPE: u8 = 0xde;

/// Where the counts of an index begin: after a block-filling entry; after `.`, `..` and the index's
/// own header.
const NODE_COUNTS_AT: usize = 8;
const ROOT_COUNTS_AT: usize = 32;
const INDEX_ENTRY_BYTES: usize = 8;

impl<S: BlockSource> Filesystem<S> {
    /// Gives each name in a directory, with its inode, to `visit`, `.` and `..` included.
    pub(super) fn visit_names(
        &self,
        directory: &Inode,
        mut visit: impl FnMut(&[u8], u32) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let map = self.map(directory)?;
        let block_bytes = u64::from(self.superblock.block_bytes);
        if map.size_bytes > DIRECTORY_BYTES_MAX {
            return Err(unsupported(format!(
                "The directory at inode {} has more than {DIRECTORY_BYTES_MAX} bytes.",
                directory.number
            )));
        }
        if map.size_bytes == 0 || !map.size_bytes.is_multiple_of(block_bytes) {
            return Err(directory_damaged(
                directory,
                "its size isn't that of whole blocks",
            ));
        }
        let blocks = map.size_bytes / block_bytes;
        self.volume.hint(map.places(0..blocks));
        let mut bytes = vec![0; self.superblock.block_bytes as usize];
        for logical in 0..blocks {
            let Ok((physical, _)) = map.locate(logical) else {
                return Err(directory_damaged(directory, "a block of it is missing"));
            };
            self.read_block(physical, &mut bytes)?;
            self.check_directory_block(directory, &bytes, logical == 0)?;
            if visit_block(directory, &bytes, &mut visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Source: Linux, `fs/ext4/namei.c`, `ext4_dirblock_csum_verify` and `ext4_dx_csum_verify`.
    fn check_directory_block(
        &self,
        directory: &Inode,
        bytes: &[u8],
        is_first: bool,
    ) -> Result<(), ReadError> {
        if !self.superblock.has_metadata_checksums() {
            return Ok(());
        }
        let is_sound = match index_counts_at(bytes).filter(|_| directory.is_indexed()) {
            Some(counts_at) => is_index_sound(directory, bytes, counts_at),
            // The kernel looks nothing up in a directory whose index has no root.
            None if is_first && directory.is_indexed() && self.superblock.has_indexes() => false,
            None => is_leaf_sound(directory, bytes),
        };
        if !is_sound {
            return Err(directory_damaged(
                directory,
                "the checksum of a block of it is wrong",
            ));
        }
        Ok(())
    }
}

/// Where the counts of an index are in a block, if it has the shape of an index's root or node.
fn index_counts_at(bytes: &[u8]) -> Option<usize> {
    let block_bytes = bytes.len();
    let first_bytes = usize::from(le16(bytes, 4));
    if le32(bytes, 0) == 0 && first_bytes == block_bytes {
        return Some(NODE_COUNTS_AT);
    }
    let is_root = first_bytes == 12
        && usize::from(le16(bytes, 12 + 4)) == block_bytes - 12
        && le32(bytes, 24) == 0
        && bytes.get(29) == Some(&8);
    is_root.then_some(ROOT_COUNTS_AT)
}

fn is_index_sound(directory: &Inode, bytes: &[u8], counts_at: usize) -> bool {
    let [limit, count] = [0, 2].map(|at| usize::from(le16(bytes, counts_at + at)));
    let tail = counts_at + limit * INDEX_ENTRY_BYTES;
    let end = counts_at + count * INDEX_ENTRY_BYTES;
    // The tail is a reserved word and the checksum; both lie behind the last possible entry.
    if tail + INDEX_ENTRY_BYTES > bytes.len() || count > limit {
        return false;
    }
    let entries = crc32c(
        directory.checksum_seed,
        bytes.get(..end).unwrap_or_default(),
    );
    let tail_bytes = bytes
        .get(tail..tail + INDEX_ENTRY_BYTES)
        .unwrap_or_default();
    crc32c_without(entries, tail_bytes, 4, 4) == le32(bytes, tail + 4)
}

fn is_leaf_sound(directory: &Inode, bytes: &[u8]) -> bool {
    let (covered, tail) = bytes.split_at(bytes.len() - TAIL_BYTES);
    let is_tail = le32(tail, 0) == 0
        && usize::from(le16(tail, 4)) == TAIL_BYTES
        && tail.get(6) == Some(&0)
        && tail.get(7) == Some(&TAIL_TYPE);
    is_tail && crc32c(directory.checksum_seed, covered) == le32(tail, 8)
}

fn visit_block(
    directory: &Inode,
    bytes: &[u8],
    visit: &mut impl FnMut(&[u8], u32) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let header = rest.get(..ENTRY_BYTES);
        let header = header.ok_or_else(|| directory_damaged(directory, "an entry is cut off"))?;
        let number = le32(header, 0);
        let entry_bytes = usize::from(le16(header, 4));
        let name_bytes = usize::from(header[6]);
        if entry_bytes < ENTRY_BYTES_MIN
            || !entry_bytes.is_multiple_of(4)
            || entry_bytes < ENTRY_BYTES + name_bytes
            || entry_bytes > rest.len()
        {
            return Err(directory_damaged(
                directory,
                "an entry has an impossible length",
            ));
        }
        let name = &rest[ENTRY_BYTES..ENTRY_BYTES + name_bytes];
        if number != 0 && visit(name, number).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        rest = &rest[entry_bytes..];
    }
    Ok(ControlFlow::Continue(()))
}

fn directory_damaged(directory: &Inode, what: &str) -> ReadError {
    damaged(format!(
        "The directory at inode {} is damaged: {what}.",
        directory.number
    ))
}
