//! The journal's own superblock: which format it has, and where its log starts.
//!
//! Source: Linux, `fs/jbd2/journal.c`, `journal_get_superblock`.

use super::{MAGIC, journal_damaged};
use crate::ReadError;
use crate::block::BlockSource;
use crate::ext4::bytes::be32;
use crate::ext4::checksum::{crc32c, crc32c_without};
use crate::ext4::map::FileMap;
use crate::ext4::unsupported;
use crate::ext4::volume::Volume;

const SUPERBLOCK_BYTES: usize = 1024;
const TYPE_V1: u32 = 3;
const TYPE_V2: u32 = 4;

const COMPAT_CHECKSUM: u32 = 0x1;
const INCOMPAT_REVOKE: u32 = 0x1;
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_KNOWN: u32 = INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
const INCOMPAT_UNKNOWN_NAMES: [(u32, &str); 2] = [(0x4, "async_commit"), (0x20, "fast_commit")];

const CHECKSUM_TYPE_CRC32C: u8 = 4;
const CHECKSUM_AT: usize = 0xfc;

/// Which checksums a journal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    None,
    /// One for a whole transaction, in its commit block.
    Commit,
    /// One for each block, those of logged blocks in their tags with 16 bits.
    V2,
    /// The same with 32 bits.
    V3,
}

impl Checksums {
    pub(super) fn are_of_each_block(self) -> bool {
        matches!(self, Self::V2 | Self::V3)
    }
}

/// The journal's own superblock.
pub(super) struct JournalSuperblock {
    /// Blocks of the journal, and the first of them that the log may use.
    pub(super) blocks: u32,
    pub(super) first: u32,
    /// Where the log starts, and the number of its first transaction; 0 where there is no log.
    pub(super) start: u32,
    pub(super) sequence: u32,
    pub(super) is_64bit: bool,
    pub(super) is_aborted: bool,
    pub(super) checksums: Checksums,
    pub(super) checksum_seed: u32,
}

impl JournalSuperblock {
    pub(super) fn read<S: BlockSource>(
        volume: &Volume<S>,
        map: &FileMap,
    ) -> Result<Self, ReadError> {
        let Ok((block, _)) = map.locate(0) else {
            return Err(journal_damaged("its first block is missing".to_owned()));
        };
        let map_blocks = map.size_bytes / u64::from(volume.block_bytes());
        volume.with_log_block(block, |bytes| {
            Self::parse(bytes, volume.block_bytes(), map_blocks)
        })?
    }

    fn parse(bytes: &[u8], block_bytes: u32, map_blocks: u64) -> Result<Self, ReadError> {
        let wrong = |what: String| journal_damaged(format!("its superblock {what}"));
        let [magic, kind, found_block_bytes, blocks, first] =
            [0x0, 0x4, 0xc, 0x10, 0x14].map(|at| be32(bytes, at));
        if magic != MAGIC || !matches!(kind, TYPE_V1 | TYPE_V2) {
            return Err(wrong("is not there".to_owned()));
        }
        let has_features = kind == TYPE_V2;
        let [compat, incompat, ro_compat] = if has_features {
            [0x24, 0x28, 0x2c].map(|at| be32(bytes, at))
        } else {
            [0; 3]
        };
        check_features(incompat, ro_compat)?;
        let checksums = checksums(bytes, compat, incompat)?;
        let superblock = bytes.get(..SUPERBLOCK_BYTES).unwrap_or_default();
        if checksums.are_of_each_block()
            && crc32c_without(!0, superblock, CHECKSUM_AT, 4) != be32(bytes, CHECKSUM_AT)
        {
            return Err(wrong("has a wrong checksum".to_owned()));
        }
        if found_block_bytes != block_bytes {
            return Err(wrong(format!(
                "says blocks of {found_block_bytes} bytes, the filesystem's {block_bytes}"
            )));
        }
        if u64::from(blocks) > map_blocks || first == 0 || first >= blocks {
            return Err(wrong(format!(
                "says that its log is from block {first} to {blocks} of {map_blocks}"
            )));
        }
        let start = be32(bytes, 0x1c);
        if start != 0 && !(first..blocks).contains(&start) {
            return Err(wrong(format!(
                "says that its log starts at block {start} of {blocks}"
            )));
        }
        Ok(Self {
            blocks,
            first,
            start,
            sequence: be32(bytes, 0x18),
            is_64bit: incompat & INCOMPAT_64BIT != 0,
            is_aborted: be32(bytes, 0x20) != 0,
            checksums,
            checksum_seed: crc32c(!0, bytes.get(0x30..0x40).unwrap_or_default()),
        })
    }

    /// Bytes that a descriptor has for each block that it describes.
    ///
    /// Source: Linux, `fs/jbd2/journal.c`, `journal_tag_bytes`.
    pub(super) fn tag_bytes(&self) -> usize {
        let high_bytes = if self.is_64bit { 4 } else { 0 };
        match self.checksums {
            Checksums::V3 => 16,
            Checksums::V2 => 10 + high_bytes,
            Checksums::Commit | Checksums::None => 8 + high_bytes,
        }
    }

    /// Bytes at the end of descriptor and revoke blocks that hold their checksum.
    pub(super) fn tail_bytes(&self) -> usize {
        if self.checksums.are_of_each_block() {
            4
        } else {
            0
        }
    }
}

fn check_features(incompat: u32, ro_compat: u32) -> Result<(), ReadError> {
    let unknown = incompat & !INCOMPAT_KNOWN;
    if unknown == 0 && ro_compat == 0 {
        return Ok(());
    }
    let names = INCOMPAT_UNKNOWN_NAMES
        .iter()
        .filter(|(feature, _)| unknown & feature != 0);
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    let names = if names.is_empty() {
        format!("{unknown:#x}, {ro_compat:#x}")
    } else {
        names.join(", ")
    };
    Err(unsupported(format!(
        "The filesystem's journal has features that this reader doesn't support: {names}."
    )))
}

fn checksums(bytes: &[u8], compat: u32, incompat: u32) -> Result<Checksums, ReadError> {
    let each = [
        (compat & COMPAT_CHECKSUM != 0, Checksums::Commit),
        (incompat & INCOMPAT_CSUM_V2 != 0, Checksums::V2),
        (incompat & INCOMPAT_CSUM_V3 != 0, Checksums::V3),
    ];
    let mut has = each
        .iter()
        .filter(|(has, _)| *has)
        .map(|(_, checksums)| *checksums);
    let checksums = has.next().unwrap_or(Checksums::None);
    let kind = bytes.get(0x50).copied().unwrap_or_default();
    let is_known = !checksums.are_of_each_block() || kind == CHECKSUM_TYPE_CRC32C;
    if has.next().is_some() || !is_known {
        return Err(journal_damaged(
            "its superblock says checksums that can't be together".to_owned(),
        ));
    }
    Ok(checksums)
}
