//! The journal: which blocks of the filesystem have newer contents in it than in their place.
//!
//! A snapshot of a mounted volume is what a crash would leave, and the kernel recovers it when it
//! mounts it: it writes the blocks of every complete transaction of the log to their places. This
//! module finds the same blocks and leaves them where they are.
//!
//! Sources: Linux, `include/linux/jbd2.h` (the format), `fs/jbd2/journal.c` and `fs/jbd2/recovery.c`.
//!
//! Invariants: a transaction counts when its commit block is there, and not before; `Damaged` is what
//! the kernel refuses to recover; the log is read once, in order, and little of it is kept.

mod log;
mod scan;
mod superblock;

use self::log::Log;
use self::scan::Scan;
use self::superblock::JournalSuperblock;
use super::damaged;
use super::map::FileMap;
use super::overlay::Overlay;
use super::volume::Volume;
use crate::ReadError;
use crate::block::BlockSource;

/// What every block of the journal's own begins with.
pub(super) const MAGIC: u32 = 0xc03b_3998;

/// What recovery would do.
#[derive(Default)]
pub(super) struct Recovery {
    pub(super) overlay: Overlay,
    /// Complete transactions in the log.
    pub(super) transactions: u64,
    /// Whether the kernel gave the journal up after an error.
    pub(super) is_aborted: bool,
    /// Whether the log holds anything, as it always does while the filesystem is mounted.
    pub(super) has_log: bool,
}

/// Finds what recovery would do with a journal whose contents are where `map` says.
/// Where the filesystem `needs_recovery` is false, the log counts for nothing, as for the kernel.
/// While the log is read, gives what it found so far to `look` now and then.
pub(super) fn recover<S: BlockSource>(
    volume: &Volume<S>,
    map: &FileMap,
    needs_recovery: bool,
    look: &dyn Fn(&Overlay),
) -> Result<Recovery, ReadError> {
    let superblock = JournalSuperblock::read(volume, map)?;
    let mut recovery = Recovery {
        is_aborted: superblock.is_aborted,
        has_log: superblock.start != 0,
        ..Recovery::default()
    };
    if !needs_recovery || superblock.start == 0 {
        return Ok(recovery);
    }
    let log_blocks = superblock.first..superblock.blocks;
    let mut log = Log::new(volume, map, log_blocks, superblock.start);
    log.hint();
    let scan = Scan::of(&superblock, log, volume.block_bytes(), look);
    (recovery.overlay, recovery.transactions) = scan.run()?;
    let volume_blocks = volume.size_bytes() / u64::from(volume.block_bytes());
    match recovery.overlay.last() {
        Some(block) if block >= volume_blocks => Err(journal_damaged(format!(
            "it holds block {block} of {volume_blocks}"
        ))),
        _ => Ok(recovery),
    }
}

fn journal_damaged(what: String) -> ReadError {
    damaged(format!("The filesystem's journal is damaged: {what}."))
}
