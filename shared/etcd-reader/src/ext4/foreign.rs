//! Names what is on a volume that has no ext filesystem.

use super::superblock::{self, SUPERBLOCK_BYTES};
use super::volume::Volume;
use super::{damaged, unsupported};
use crate::ReadError;
use crate::block::BlockSource;

/// What stands where in other formats, with their names. Sources: the formats' own headers, as
/// `util-linux` has them in `libblkid/src`.
const SIGNATURES: [(usize, &[u8], &str); 12] = [
    (0, b"XFSB", "an XFS filesystem"),
    (0, b"LUKS\xba\xbe", "a LUKS encrypted volume"),
    (0x200, b"LABELONE", "a physical volume of LVM"),
    (0, b"LABELONE", "a physical volume of LVM"),
    (0x400, b"LABELONE", "a physical volume of LVM"),
    (0x600, b"LABELONE", "a physical volume of LVM"),
    (0x200, b"EFI PART", "a GPT partition table"),
    (0x1_0040, b"_BHRfS_M", "a btrfs filesystem"),
    (0x400, b"\x10\x20\xf5\xf2", "an F2FS filesystem"),
    (0x1000, b"\xfc\x4e\x2b\xa9", "a member of a Linux RAID"),
    (0, b"\xfc\x4e\x2b\xa9", "a member of a Linux RAID"),
    (0xff6, b"SWAPSPACE2", "swap space"),
];

/// Bytes at the volume's beginning that hold all [`SIGNATURES`].
const HEAD_BYTES: usize = 0x1_1000;

/// Where the first copy of an ext superblock is, for blocks of 1, 2 and 4 KiB.
const FIRST_COPIES: [u64; 3] = [8193 * 1024, 16384 * 2048, 32768 * 4096];

/// Why a volume without an ext superblock can't be read.
///
/// # Errors
///
/// [`ReadError::Unreadable`] where the source fails.
pub(super) fn describe<S: BlockSource>(volume: &Volume<S>) -> Result<ReadError, ReadError> {
    let size = usize::try_from(volume.size_bytes()).unwrap_or(usize::MAX);
    let mut head = vec![0; HEAD_BYTES.min(size)];
    volume.read_stored(0, &mut head)?;
    let found = SIGNATURES.iter().find(|(at, signature, _)| {
        head.get(*at..)
            .is_some_and(|rest| rest.starts_with(signature))
    });
    let found = found.map(|(_, _, name)| *name);
    if let Some(name) = found.or_else(|| has_partitions(&head).then_some("a partition table")) {
        return Ok(unsupported(format!(
            "The volume holds {name} in place of an ext4 filesystem on the bare device."
        )));
    }
    for offset in FIRST_COPIES {
        let mut copy = [0; SUPERBLOCK_BYTES];
        if offset.saturating_add(SUPERBLOCK_BYTES as u64) > volume.size_bytes() {
            continue;
        }
        volume.read_stored(offset, &mut copy)?;
        if superblock::has_magic(&copy) && superblock::copy_of_group(&copy) == 1 {
            return Ok(damaged(
                "The ext4 filesystem's superblock is gone, while its first copy is still there.",
            ));
        }
    }
    if head.iter().all(|byte| *byte == 0) {
        return Ok(unsupported(
            "The volume holds no filesystem: it begins with zeros alone.",
        ));
    }
    Ok(unsupported(
        "The volume holds no ext4 filesystem, and nothing else that this reader knows.",
    ))
}

/// Whether the first sector is a DOS partition table with at least one partition.
fn has_partitions(head: &[u8]) -> bool {
    let is_boot_sector = head.get(0x1fe..0x200) == Some(&[0x55, 0xaa]);
    let entries = head.get(0x1be..0x1fe).unwrap_or_default();
    let is_partition = |entry: &[u8]| matches!(entry[0], 0 | 0x80) && entry[4] != 0;
    is_boot_sector && entries.chunks_exact(16).any(is_partition)
}
