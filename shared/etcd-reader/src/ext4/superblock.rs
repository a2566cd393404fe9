//! The superblock: what kind of ext4 it is, and its geometry.
//!
//! Source: Linux, `fs/ext4/ext4.h` (`struct ext4_super_block`), `fs/ext4/super.c` (`ext4_fill_super`).

use super::bytes::{joined, le16, le32, text};
use super::checksum::crc32c;
use super::{damaged, unsupported};
use crate::ReadError;

/// Where the superblock begins on the volume, and its length, in bytes.
pub(super) const SUPERBLOCK_OFFSET: u64 = 1024;
pub(super) const SUPERBLOCK_BYTES: usize = 1024;

const MAGIC: u16 = 0xef53;
const MAGIC_AT: usize = 0x38;
const CHECKSUM_AT: usize = 0x3fc;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_DIR_INDEX: u32 = 0x20;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const COMPAT_FAST_COMMIT: u32 = 0x400;

const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_LARGEDIR: u32 = 0x4000;

/// Features that change how data is read, with the names that `dumpe2fs` gives them. Those that only
/// some inodes use (`inline_data`, `encrypt`) are refused where an inode does.
const INCOMPAT_KNOWN: u32 = 0x2 // filetype
    | INCOMPAT_RECOVER
    | INCOMPAT_META_BG
    | 0x40 // extent
    | INCOMPAT_64BIT
    | 0x100 // mmp
    | 0x200 // flex_bg
    | 0x400 // ea_inode
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_LARGEDIR
    | 0x8000 // inline_data
    | 0x1_0000 // encrypt
    | 0x2_0000; // casefold
const INCOMPAT_UNKNOWN_NAMES: [(u32, &str); 3] = [
    (0x1, "compression"),
    (0x8, "journal_dev"),
    (0x1000, "dirdata"),
];

const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

const CHECKSUM_TYPE_CRC32C: u8 = 1;
const CREATOR_LINUX: u32 = 0;
const STATE_ERRORS: u16 = 0x2;

/// What a superblock says, checked as far as the kernel checks it before it mounts.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) block_bytes: u32,
    pub(super) blocks: u64,
    pub(super) first_data_block: u32,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inodes: u32,
    pub(super) inode_bytes: usize,
    pub(super) descriptor_bytes: usize,
    pub(super) journal_inode: u32,
    pub(super) uuid: [u8; 16],
    /// What the checksums of metadata begin with.
    pub(super) checksum_seed: u32,
    pub(super) label: String,
    pub(super) last_mounted: String,
    pub(super) has_errors: bool,
    pub(super) error_count: u32,
    first_meta_group: u32,
    backup_groups: [u32; 2],
    made_by_linux: bool,
    compat: u32,
    incompat: u32,
    ro_compat: u32,
}

/// Whether these bytes claim to be the superblock of an ext filesystem.
pub(super) fn has_magic(bytes: &[u8]) -> bool {
    bytes.len() >= SUPERBLOCK_BYTES && le16(bytes, MAGIC_AT) == MAGIC
}

/// The block group whose copy of the superblock these bytes are.
pub(super) fn copy_of_group(bytes: &[u8]) -> u16 {
    le16(bytes, 0x5a)
}

impl Superblock {
    /// Takes what has the magic number.
    pub(super) fn parse(bytes: &[u8], volume_bytes: u64) -> Result<Self, ReadError> {
        // Features first: the checks below hold for the formats that are known.
        let [compat, incompat, ro_compat] = [0x5c, 0x60, 0x64].map(|at| le32(bytes, at));
        check_features(compat, incompat)?;
        check_checksum(bytes, ro_compat)?;

        let block_bytes = match le32(bytes, 0x18) {
            log @ 0..=2 => 1024 << log,
            log @ 3..=6 => {
                return Err(unsupported(format!(
                    "The filesystem has blocks of {} KiB; only 1, 2 and 4 KiB are supported.",
                    1 << log
                )));
            }
            log => {
                return Err(damaged(format!(
                    "The superblock's block size is impossible: 2^{log} KiB."
                )));
            }
        };
        let is_64bit = incompat & INCOMPAT_64BIT != 0;
        let has_extra_inode_sizes = le32(bytes, 0x4c) > 0;
        let mut uuid = [0; 16];
        uuid.copy_from_slice(bytes.get(0x68..0x78).unwrap_or(&[0; 16]));
        let superblock = Self {
            block_bytes,
            blocks: joined(
                if is_64bit { le32(bytes, 0x150) } else { 0 },
                le32(bytes, 0x4),
            ),
            first_data_block: le32(bytes, 0x14),
            blocks_per_group: le32(bytes, 0x20),
            inodes_per_group: le32(bytes, 0x28),
            inodes: le32(bytes, 0x0),
            inode_bytes: if has_extra_inode_sizes {
                usize::from(le16(bytes, 0x58))
            } else {
                128
            },
            descriptor_bytes: if is_64bit {
                usize::from(le16(bytes, 0xfe))
            } else {
                32
            },
            journal_inode: le32(bytes, 0xe0),
            uuid,
            checksum_seed: if incompat & INCOMPAT_CSUM_SEED != 0 {
                le32(bytes, 0x270)
            } else {
                crc32c(!0, &uuid)
            },
            label: text(bytes, 0x78, 16),
            last_mounted: text(bytes, 0x88, 64),
            has_errors: le16(bytes, 0x3a) & STATE_ERRORS != 0,
            error_count: le32(bytes, 0x194),
            first_meta_group: le32(bytes, 0x104),
            backup_groups: [le32(bytes, 0x24c), le32(bytes, 0x250)],
            made_by_linux: le32(bytes, 0x48) == CREATOR_LINUX,
            compat,
            incompat,
            ro_compat,
        };
        superblock.check_geometry(volume_bytes)?;
        Ok(superblock)
    }

    /// What `ext4_fill_super` refuses to mount.
    fn check_geometry(&self, volume_bytes: u64) -> Result<(), ReadError> {
        let wrong = |what: String| Err(damaged(format!("The superblock is damaged: {what}.")));
        let inode_bytes = self.inode_bytes;
        if !inode_bytes.is_power_of_two()
            || !(128..=self.block_bytes as usize).contains(&inode_bytes)
        {
            return wrong(format!("inodes of {inode_bytes} bytes"));
        }
        let descriptor_bytes = self.descriptor_bytes;
        let least_bytes = if self.is_64bit() { 64 } else { 32 };
        if !descriptor_bytes.is_power_of_two() || !(least_bytes..=1024).contains(&descriptor_bytes)
        {
            return wrong(format!("group descriptors of {descriptor_bytes} bytes"));
        }
        let bits = self.block_bytes * 8;
        let cluster_blocks_max = if self.ro_compat & RO_COMPAT_BIGALLOC != 0 {
            1 << 16
        } else {
            1
        };
        let blocks_per_group_max = u64::from(bits) * cluster_blocks_max;
        if self.blocks_per_group == 0 || u64::from(self.blocks_per_group) > blocks_per_group_max {
            return wrong(format!("{} blocks in a group", self.blocks_per_group));
        }
        if self.inodes_per_group == 0 || self.inodes_per_group > bits {
            return wrong(format!("{} inodes in a group", self.inodes_per_group));
        }
        if u64::from(self.first_data_block) >= self.blocks {
            return wrong(format!(
                "its first block is {} of {}",
                self.first_data_block, self.blocks
            ));
        }
        if self.blocks > volume_bytes / u64::from(self.block_bytes) {
            return wrong(format!(
                "it says {} blocks of {} bytes, while the volume has {volume_bytes} bytes",
                self.blocks, self.block_bytes
            ));
        }
        if self.inodes < 2 {
            return wrong(format!("{} inodes", self.inodes));
        }
        Ok(())
    }

    /// Where a group's descriptor is: the block, and the offset in it.
    ///
    /// Source: Linux, `fs/ext4/super.c`, `descriptor_loc`.
    pub(super) fn descriptor_location(&self, group: u32) -> (u64, usize) {
        let per_block = (self.block_bytes as usize / self.descriptor_bytes) as u32;
        let nth = group / per_block;
        let offset = (group % per_block) as usize * self.descriptor_bytes;
        let superblock_block = SUPERBLOCK_OFFSET / u64::from(self.block_bytes);
        if self.incompat & INCOMPAT_META_BG == 0 || nth < self.first_meta_group {
            return (superblock_block + u64::from(nth) + 1, offset);
        }
        let first_group = nth * per_block;
        // In a filesystem of small blocks with clusters, group 0 begins with the boot block.
        let boot_block =
            u64::from(self.block_bytes == 1024 && nth == 0 && self.first_data_block == 0);
        let before = u64::from(self.has_superblock(first_group)) + boot_block;
        let first_block = u64::from(first_group) * u64::from(self.blocks_per_group);
        (
            u64::from(self.first_data_block) + first_block + before,
            offset,
        )
    }

    /// Whether a group begins with a copy of the superblock.
    fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            true
        } else if self.compat & COMPAT_SPARSE_SUPER2 != 0 {
            self.backup_groups.contains(&group)
        } else {
            self.ro_compat & RO_COMPAT_SPARSE_SUPER == 0 || is_sparse_group(group)
        }
    }

    pub(super) fn has_journal(&self) -> bool {
        self.compat & COMPAT_HAS_JOURNAL != 0
    }

    pub(super) fn needs_recovery(&self) -> bool {
        self.incompat & INCOMPAT_RECOVER != 0
    }

    pub(super) fn is_64bit(&self) -> bool {
        self.incompat & INCOMPAT_64BIT != 0
    }

    /// Whether directories that say that they have an index by hash are looked up by it.
    pub(super) fn has_indexes(&self) -> bool {
        self.compat & COMPAT_DIR_INDEX != 0
    }

    /// Whether directories may be larger than 4 GiB, so that their sizes have 64 bits.
    pub(super) fn has_large_directories(&self) -> bool {
        self.incompat & INCOMPAT_LARGEDIR != 0
    }

    pub(super) fn has_metadata_checksums(&self) -> bool {
        self.ro_compat & RO_COMPAT_METADATA_CSUM != 0
    }

    /// Whether group descriptors alone have checksums, of the older kind.
    pub(super) fn has_descriptor_checksums(&self) -> bool {
        self.ro_compat & RO_COMPAT_GDT_CSUM != 0
    }

    /// Whether inodes have checksums: other systems than Linux keep other things in those fields.
    pub(super) fn has_inode_checksums(&self) -> bool {
        self.has_metadata_checksums() && self.made_by_linux
    }
}

/// Whether a group is one of those that have copies in a filesystem that saves most of them: 0, 1 and
/// the powers of 3, 5 and 7.
///
/// Source: Linux, `fs/ext4/balloc.c`, `ext4_bg_has_super`.
fn is_sparse_group(group: u32) -> bool {
    let is_power_of = |base: u64| {
        let mut power = base;
        while power < u64::from(group) {
            power *= base;
        }
        power == u64::from(group)
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}

fn check_features(compat: u32, incompat: u32) -> Result<(), ReadError> {
    let unknown = incompat & !INCOMPAT_KNOWN;
    if unknown != 0 {
        let names: Vec<String> = (0..32)
            .map(|bit| 1 << bit)
            .filter(|bit| unknown & bit != 0)
            .map(|bit| {
                let known = INCOMPAT_UNKNOWN_NAMES
                    .iter()
                    .find(|(feature, _)| *feature == bit);
                known.map_or_else(|| format!("{bit:#x}"), |(_, name)| (*name).to_owned())
            })
            .collect();
        return Err(unsupported(format!(
            "The filesystem has features that this reader doesn't support: {}.",
            names.join(", ")
        )));
    }
    if compat & COMPAT_FAST_COMMIT != 0 {
        return Err(unsupported(
            "The filesystem has the feature fast_commit, whose journal this reader doesn't support.",
        ));
    }
    Ok(())
}

fn check_checksum(bytes: &[u8], ro_compat: u32) -> Result<(), ReadError> {
    if ro_compat & RO_COMPAT_METADATA_CSUM == 0 {
        return Ok(());
    }
    let kind = bytes.get(0x175).copied().unwrap_or_default();
    if kind != CHECKSUM_TYPE_CRC32C {
        return Err(unsupported(format!(
            "The filesystem's checksums are of type {kind}; only crc32c (1) is supported."
        )));
    }
    let covered = bytes.get(..CHECKSUM_AT).unwrap_or_default();
    if crc32c(!0, covered) != le32(bytes, CHECKSUM_AT) {
        return Err(damaged("The superblock's checksum is wrong."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `dumpe2fs` lists them for a filesystem of 512 groups.
    #[test]
    fn sparse_groups() {
        let groups: Vec<u32> = (0..512).filter(|group| is_sparse_group(*group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
        assert!(!is_sparse_group(u32::MAX));
    }
}
