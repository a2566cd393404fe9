//! Group descriptors, and the inodes that they lead to.
//!
//! Source: Linux, `fs/ext4/ext4.h` (`struct ext4_group_desc`, `struct ext4_inode`), `fs/ext4/inode.c`
//! (`__ext4_iget`).
//!
//! The list of orphans doesn't matter to a reader: those are files that no directory names any more,
//! and files whose truncation wasn't complete, whose sizes are already the new ones.

use super::bytes::{joined, le16, le32};
use super::checksum::{crc16, crc32c, crc32c_without};
use super::{Filesystem, damaged};
use crate::ReadError;
use crate::block::BlockSource;
use crate::files::EntryKind;

/// The root directory.
pub(super) const ROOT: u32 = 2;

const DESCRIPTOR_CHECKSUM_AT: usize = 0x1e;
const CHECKSUM_LOW_AT: usize = 0x7c;
const CHECKSUM_HIGH_AT: usize = 0x82;
/// Bytes of an inode that every version has.
const BASE_BYTES: usize = 128;

const FLAG_ENCRYPTED: u32 = 0x800;
const FLAG_INDEXED: u32 = 0x1000;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// What an inode says of a file or directory.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) number: u32,
    pub(super) kind: EntryKind,
    pub(super) size_bytes: u64,
    pub(super) modified_seconds: i64,
    /// What the checksums of its directory's and extent tree's blocks begin with.
    pub(super) checksum_seed: u32,
    /// The root of its extent tree, or its list of blocks.
    pub(super) root: [u8; 60],
    flags: u32,
}

impl Inode {
    pub(super) fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    /// Whether it is a directory with an index by hash.
    pub(super) fn is_indexed(&self) -> bool {
        self.flags & FLAG_INDEXED != 0
    }

    /// The feature that keeps its contents where this reader doesn't look.
    pub(super) fn unsupported_feature(&self) -> Option<&'static str> {
        if self.flags & FLAG_INLINE_DATA != 0 {
            Some("inline_data")
        } else if self.flags & FLAG_ENCRYPTED != 0 {
            Some("encrypt")
        } else {
            None
        }
    }
}

impl<S: BlockSource> Filesystem<S> {
    /// Where an inode is, as an offset on the volume.
    pub(super) fn inode_offset(&self, number: u32) -> Result<u64, ReadError> {
        let superblock = &self.superblock;
        if number == 0 || number > superblock.inodes {
            return Err(damaged(format!(
                "A directory refers to inode {number} of {}.",
                superblock.inodes
            )));
        }
        let group = (number - 1) / superblock.inodes_per_group;
        let index = u64::from((number - 1) % superblock.inodes_per_group);
        let table = self.inode_table(group)?;
        Ok(table * u64::from(superblock.block_bytes) + index * superblock.inode_bytes as u64)
    }

    /// The first block of a group's inodes.
    fn inode_table(&self, group: u32) -> Result<u64, ReadError> {
        let superblock = &self.superblock;
        let (block, offset) = superblock.descriptor_location(group);
        let mut bytes = vec![0; superblock.descriptor_bytes];
        let start = block.saturating_mul(u64::from(superblock.block_bytes));
        self.volume
            .read(start.saturating_add(offset as u64), &mut bytes)?;
        self.check_descriptor(group, &bytes)?;

        let high = if superblock.is_64bit() {
            le32(&bytes, 0x28)
        } else {
            0
        };
        let table = joined(high, le32(&bytes, 0x8));
        let table_bytes = u64::from(superblock.inodes_per_group) * superblock.inode_bytes as u64;
        let table_blocks = table_bytes.div_ceil(u64::from(superblock.block_bytes));
        let end = table.checked_add(table_blocks);
        if table < u64::from(superblock.first_data_block)
            || end.is_none_or(|end| end > superblock.blocks)
        {
            return Err(damaged(format!(
                "The descriptor of block group {group} places its inodes at block {table}, outside the filesystem."
            )));
        }
        Ok(table)
    }

    /// Source: Linux, `fs/ext4/super.c`, `ext4_group_desc_csum`.
    fn check_descriptor(&self, group: u32, bytes: &[u8]) -> Result<(), ReadError> {
        let superblock = &self.superblock;
        let group_bytes = group.to_le_bytes();
        let expected = if superblock.has_metadata_checksums() {
            let seed = crc32c(superblock.checksum_seed, &group_bytes);
            crc32c_without(seed, bytes, DESCRIPTOR_CHECKSUM_AT, 2) as u16
        } else if superblock.has_descriptor_checksums() {
            let seed = crc16(crc16(!0, &superblock.uuid), &group_bytes);
            let before = crc16(seed, &bytes[..DESCRIPTOR_CHECKSUM_AT]);
            let after = DESCRIPTOR_CHECKSUM_AT + 2;
            if superblock.is_64bit() {
                crc16(before, &bytes[after..])
            } else {
                before
            }
        } else {
            return Ok(());
        };
        if le16(bytes, DESCRIPTOR_CHECKSUM_AT) != expected {
            return Err(damaged(format!(
                "The checksum of block group {group}'s descriptor is wrong."
            )));
        }
        Ok(())
    }

    /// Reads an inode that is in use.
    pub(super) fn inode(&self, number: u32) -> Result<Inode, ReadError> {
        let offset = self.inode_offset(number)?;
        let mut bytes = vec![0; self.superblock.inode_bytes];
        self.volume.read(offset, &mut bytes)?;

        let number_seed = crc32c(self.superblock.checksum_seed, &number.to_le_bytes());
        let checksum_seed = crc32c(number_seed, bytes.get(0x64..0x68).unwrap_or_default());
        let extra_bytes = extra_bytes(&bytes, number)?;
        if self.superblock.has_inode_checksums() {
            check_inode(&bytes, extra_bytes, checksum_seed, number)?;
        }
        let kind = match le16(&bytes, 0x0) & 0xf000 {
            0x8000 => EntryKind::File,
            0x4000 => EntryKind::Directory,
            0x1000 | 0x2000 | 0x6000 | 0xa000 | 0xc000 => EntryKind::Other,
            kind => {
                return Err(damaged(format!(
                    "Inode {number} is of an unknown kind ({kind:#x})."
                )));
            }
        };
        if le16(&bytes, 0x1a) == 0 {
            return Err(damaged(format!(
                "A directory refers to inode {number}, which is deleted."
            )));
        }
        let has_high_size = kind == EntryKind::File || self.superblock.has_large_directories();
        let size_bytes = joined(
            if has_high_size { le32(&bytes, 0x6c) } else { 0 },
            le32(&bytes, 0x4),
        );
        if size_bytes > u64::from(u32::MAX) * u64::from(self.superblock.block_bytes) {
            return Err(damaged(format!(
                "Inode {number} has an impossible size: {size_bytes} bytes."
            )));
        }
        let mut root = [0; 60];
        root.copy_from_slice(bytes.get(0x28..0x64).unwrap_or(&[0; 60]));
        Ok(Inode {
            number,
            kind,
            size_bytes,
            modified_seconds: modified_seconds(&bytes, extra_bytes),
            checksum_seed,
            root,
            flags: le32(&bytes, 0x20),
        })
    }
}

/// How many bytes after the first 128 are used by fields, which the inode says itself.
fn extra_bytes(bytes: &[u8], number: u32) -> Result<usize, ReadError> {
    if bytes.len() <= BASE_BYTES {
        return Ok(0);
    }
    let extra_bytes = usize::from(le16(bytes, 0x80));
    if BASE_BYTES + extra_bytes > bytes.len() || extra_bytes % 4 != 0 {
        return Err(damaged(format!(
            "Inode {number} has an impossible extra size: {extra_bytes}."
        )));
    }
    Ok(extra_bytes)
}

/// Source: Linux, `fs/ext4/inode.c`, `ext4_inode_csum`.
fn check_inode(bytes: &[u8], extra_bytes: usize, seed: u32, number: u32) -> Result<(), ReadError> {
    let base = crc32c_without(seed, &bytes[..BASE_BYTES], CHECKSUM_LOW_AT, 2);
    let has_high = BASE_BYTES + extra_bytes >= CHECKSUM_HIGH_AT + 2;
    let rest = &bytes[BASE_BYTES..];
    let (expected, found) = if has_high {
        let whole = crc32c_without(base, rest, CHECKSUM_HIGH_AT - BASE_BYTES, 2);
        let high = u32::from(le16(bytes, CHECKSUM_HIGH_AT));
        (whole, high << 16 | u32::from(le16(bytes, CHECKSUM_LOW_AT)))
    } else {
        (
            crc32c(base, rest) & 0xffff,
            u32::from(le16(bytes, CHECKSUM_LOW_AT)),
        )
    };
    if expected != found {
        return Err(damaged(format!("The checksum of inode {number} is wrong.")));
    }
    Ok(())
}

/// Seconds since 1970: a signed number of 32 bits, with two bits more where the inode has room.
fn modified_seconds(bytes: &[u8], extra_bytes: usize) -> i64 {
    const EXTRA_AT: usize = 0x88;
    let base = i64::from(le32(bytes, 0x10).cast_signed());
    let has_extra = BASE_BYTES + extra_bytes >= EXTRA_AT + 4;
    let epoch = if has_extra {
        le32(bytes, EXTRA_AT) & 3
    } else {
        0
    };
    base + (i64::from(epoch) << 32)
}
