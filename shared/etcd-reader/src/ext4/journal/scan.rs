//! The journal's transactions, from the log's start to its end.
//!
//! Source: Linux, `fs/jbd2/recovery.c`, `do_one_pass`, whose three passes are one here: what a
//! transaction revokes is taken back when the transaction is complete, and a later one may log it again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::log::Log;
use super::superblock::{Checksums, JournalSuperblock};
use super::{MAGIC, journal_damaged};
use crate::ReadError;
use crate::block::BlockSource;
use crate::ext4::bytes::{be16, be32, be64, joined};
use crate::ext4::checksum::{crc32_be, crc32c, crc32c_without};
use crate::ext4::overlay::{Contents, Logged, Overlay};
use crate::ext4::unsupported;

/// The most blocks that the overlay holds, some 40 MiB of memory: 4 GiB of blocks of 4 KiB, while
/// `mkfs.ext4` makes journals of up to 1 GiB.
const OVERLAY_BLOCKS_MAX: usize = 1 << 20;

/// The most blocks that one transaction may revoke: 16 MiB of memory.
const REVOKED_BLOCKS_MAX: usize = 1 << 21;

/// How much of the log is read between two looks at what it found.
const LOOK_BYTES: u64 = 8 * 1024 * 1024;

const HEADER_BYTES: usize = 12;
const UUID_BYTES: usize = 16;

const TYPE_DESCRIPTOR: u32 = 1;
const TYPE_COMMIT: u32 = 2;
const TYPE_REVOKE: u32 = 5;

const CHECKSUM_TYPE_CRC32: u8 = 1;
const COMMIT_CHECKSUM_AT: usize = 0x10;
const COMMIT_SECONDS_AT: usize = 0x30;
/// Bytes of a commit block that are used. The rest is zeros.
const COMMIT_BYTES: usize = 0x40;

const TAG_ESCAPED: u16 = 1;
const TAG_SAME_UUID: u16 = 2;
const TAG_LAST: u16 = 8;

/// What a transaction has said so far. It counts when its commit block has been seen.
#[derive(Default)]
struct Transaction {
    /// Each with its contents, where there is room for them.
    logged: Vec<(u64, Logged, Option<Contents>)>,
    contents_count: usize,
    revoked: Vec<u64>,
    /// Logged blocks whose contents in the log don't match their checksums.
    damaged_blocks: Vec<u64>,
    /// A descriptor or revoke block doesn't match its checksum: the log has ended, or is damaged.
    is_doubtful: bool,
    /// The checksum over its blocks, where one in the commit block covers all.
    checksum: Option<u32>,
    /// Why it can't be recovered.
    fault: Option<String>,
}

enum Step {
    GoOn,
    End,
}

/// Reads the transactions of a log, and gives what it found so far to `look` now and then.
pub(super) struct Scan<'a, 'v, S> {
    superblock: &'a JournalSuperblock,
    block_bytes: usize,
    log: Log<'v, S>,
    /// The number of the transaction that is being read.
    sequence: u32,
    last_commit_seconds: u64,
    transaction: Transaction,
    /// Blocks of complete transactions that the kernel would find damaged. A later revocation makes
    /// it pass over them; a later copy doesn't.
    damaged_blocks: BTreeSet<u64>,
    overlay: Overlay,
    /// How many transactions were complete.
    transactions: u64,
    look: &'a dyn Fn(&Overlay),
    /// How much of the log had been read at the last look.
    looked_bytes: u64,
}

impl<'a, 'v, S: BlockSource> Scan<'a, 'v, S> {
    pub(super) fn of(
        superblock: &'a JournalSuperblock,
        log: Log<'v, S>,
        block_bytes: u32,
        look: &'a dyn Fn(&Overlay),
    ) -> Self {
        Self {
            superblock,
            block_bytes: block_bytes as usize,
            log,
            sequence: superblock.sequence,
            last_commit_seconds: 0,
            transaction: Transaction::default(),
            damaged_blocks: BTreeSet::new(),
            overlay: Overlay::default(),
            transactions: 0,
            look,
            looked_bytes: 0,
        }
    }

    /// Gives the blocks to recover, and how many transactions they are from.
    pub(super) fn run(mut self) -> Result<(Overlay, u64), ReadError> {
        self.read_log()?;
        self.log.forget_rest();
        match self.damaged_blocks.first() {
            Some(block) => Err(journal_damaged(format!(
                "the checksum of its copy of block {block} is wrong"
            ))),
            None => Ok((self.overlay, self.transactions)),
        }
    }

    /// Reads the log to its end, which is where anything else stands than what would follow.
    fn read_log(&mut self) -> Result<(), ReadError> {
        let mut bytes = vec![0; self.block_bytes];
        loop {
            self.log.next(|_, block| bytes.copy_from_slice(block))?;
            let [magic, kind, sequence] = [0, 4, 8].map(|at| be32(&bytes, at));
            if magic != MAGIC || sequence != self.sequence {
                return Ok(());
            }
            let step = match kind {
                TYPE_DESCRIPTOR => self.descriptor(&bytes)?,
                TYPE_REVOKE => self.revoke(&bytes)?,
                TYPE_COMMIT => self.commit(&bytes)?,
                _ => Step::End,
            };
            if let Step::End = step {
                return Ok(());
            }
        }
    }

    /// Takes a descriptor and the blocks after it, which it describes.
    fn descriptor(&mut self, bytes: &[u8]) -> Result<Step, ReadError> {
        self.check_tail(bytes);
        if self.superblock.checksums == Checksums::Commit {
            let before = self.transaction.checksum.unwrap_or(!0);
            self.transaction.checksum = Some(crc32_be(before, bytes));
        }
        let tag_bytes = self.superblock.tag_bytes();
        let end = self.block_bytes - self.superblock.tail_bytes();
        let mut at = HEADER_BYTES;
        while let Some(tag) = bytes
            .get(at..at + tag_bytes)
            .filter(|_| at + tag_bytes <= end)
        {
            // The low half of version 3's flags stands where the others have theirs.
            let flags = be16(tag, 6);
            self.logged_block(tag, flags)?;
            at += tag_bytes;
            if flags & TAG_SAME_UUID == 0 {
                at += UUID_BYTES;
            }
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        Ok(Step::GoOn)
    }

    fn logged_block(&mut self, tag: &[u8], flags: u16) -> Result<(), ReadError> {
        let superblock = self.superblock;
        let high = if superblock.is_64bit { be32(tag, 8) } else { 0 };
        let block = joined(high, be32(tag, 0));
        let sequence = self.sequence.to_be_bytes();
        let transaction_checksum = self.transaction.checksum;
        let has_room = self.overlay.has_room(self.transaction.contents_count);
        let is_escaped = flags & TAG_ESCAPED != 0;
        let (place, is_sound, checksum, written) = self.log.next(|place, contents| {
            let of_block = || crc32c(crc32c(superblock.checksum_seed, &sequence), contents);
            let is_sound = match superblock.checksums {
                Checksums::V3 => of_block() == be32(tag, 12),
                Checksums::V2 => of_block() as u16 == be16(tag, 4),
                Checksums::Commit | Checksums::None => true,
            };
            (
                place,
                is_sound,
                transaction_checksum.map(|before| crc32_be(before, contents)),
                has_room.then(|| unescaped(contents, is_escaped)),
            )
        })?;
        self.transaction.checksum = checksum;
        if self.transaction.is_doubtful {
            return Ok(());
        }
        if !is_sound {
            self.transaction.damaged_blocks.push(block);
        }
        let logged = Logged {
            block: place,
            escaped: is_escaped,
        };
        self.transaction.contents_count += usize::from(written.is_some());
        self.transaction.logged.push((block, logged, written));
        check_overlay(self.overlay.len().max(self.transaction.logged.len()))
    }

    fn revoke(&mut self, bytes: &[u8]) -> Result<Step, ReadError> {
        self.check_tail(bytes);
        if self.transaction.is_doubtful {
            return Ok(Step::GoOn);
        }
        let record_bytes = if self.superblock.is_64bit { 8 } else { 4 };
        let used_bytes = be32(bytes, HEADER_BYTES) as usize;
        if used_bytes > self.block_bytes - self.superblock.tail_bytes() {
            self.transaction.fault = Some("a list of revoked blocks is too long".to_owned());
            return Ok(Step::GoOn);
        }
        let records = bytes.get(HEADER_BYTES + 4..used_bytes).unwrap_or_default();
        let blocks = records.chunks_exact(record_bytes).map(|record| {
            if record_bytes == 8 {
                be64(record, 0)
            } else {
                u64::from(be32(record, 0))
            }
        });
        self.transaction.revoked.extend(blocks);
        if self.transaction.revoked.len() > REVOKED_BLOCKS_MAX {
            return Err(unsupported(format!(
                "A transaction of the journal revokes more than {REVOKED_BLOCKS_MAX} blocks."
            )));
        }
        Ok(Step::GoOn)
    }

    /// Ends a transaction: it counts, or it is what an older log left here, or the log is damaged.
    fn commit(&mut self, bytes: &[u8]) -> Result<Step, ReadError> {
        let seconds = be64(bytes, COMMIT_SECONDS_AT);
        let transaction = std::mem::take(&mut self.transaction);
        if transaction.is_doubtful || !self.is_commit_sound(bytes, transaction.checksum) {
            // The log's blocks aren't cleared when they are used again, so what stands here may be
            // of an older log with the same numbers. Then it was committed before the last one.
            if seconds < self.last_commit_seconds {
                return Ok(Step::End);
            }
            return Err(journal_damaged(format!(
                "transaction {} has a wrong checksum",
                self.sequence
            )));
        }
        if let Some(fault) = transaction.fault {
            return Err(journal_damaged(format!(
                "in transaction {}, {fault}",
                self.sequence
            )));
        }
        let overlay = &mut self.overlay;
        for (block, logged, contents) in transaction.logged {
            overlay.insert(block, logged, contents);
        }
        check_overlay(overlay.len())?;
        self.damaged_blocks.extend(transaction.damaged_blocks);
        for block in transaction.revoked {
            overlay.remove(block);
            self.damaged_blocks.remove(&block);
        }
        self.transactions += 1;
        self.last_commit_seconds = seconds;
        self.sequence = self.sequence.wrapping_add(1);
        let read_bytes = self.log.read_blocks() * self.block_bytes as u64;
        if read_bytes >= self.looked_bytes + LOOK_BYTES {
            self.looked_bytes = read_bytes;
            (self.look)(&self.overlay);
        }
        Ok(Step::GoOn)
    }

    fn is_commit_sound(&self, bytes: &[u8], transaction_checksum: Option<u32>) -> bool {
        let found = be32(bytes, COMMIT_CHECKSUM_AT);
        match self.superblock.checksums {
            Checksums::None => true,
            Checksums::V2 | Checksums::V3 => {
                let seed = self.superblock.checksum_seed;
                let is_whole = crc32c_without(seed, bytes, COMMIT_CHECKSUM_AT, 4) == found;
                is_whole || self.is_header_sound(bytes)
            }
            Checksums::Commit => {
                let kind = bytes.get(12..14).unwrap_or_default();
                let expected = transaction_checksum.unwrap_or(!0);
                let is_unused = kind == [0, 0] && found == 0;
                is_unused || (kind == [CHECKSUM_TYPE_CRC32, 4] && found == expected)
            }
        }
    }

    /// Whether a commit block is what it was made as, but for sectors after the first that hold
    /// something older: it was cut off while it was written. Nothing but zeros was to be there.
    ///
    /// Source: Linux 6.11, `jbd2_commit_block_csum_verify_partial`.
    fn is_header_sound(&self, bytes: &[u8]) -> bool {
        let mut made = vec![0; bytes.len()];
        let header_bytes = COMMIT_BYTES.min(bytes.len());
        made[..header_bytes].copy_from_slice(&bytes[..header_bytes]);
        let seed = self.superblock.checksum_seed;
        crc32c_without(seed, &made, COMMIT_CHECKSUM_AT, 4) == be32(bytes, COMMIT_CHECKSUM_AT)
    }

    /// Checks a descriptor or revoke block. One that is wrong may be what an older log left here, so
    /// it is the commit block that tells.
    fn check_tail(&mut self, bytes: &[u8]) {
        if !self.superblock.checksums.are_of_each_block() {
            return;
        }
        let tail = self.block_bytes - 4;
        let seed = self.superblock.checksum_seed;
        if crc32c_without(seed, bytes, tail, 4) != be32(bytes, tail) {
            self.transaction.is_doubtful = true;
        }
    }
}

/// A logged block's contents as they would be written.
fn unescaped(contents: &[u8], is_escaped: bool) -> Contents {
    let mut contents: Contents = contents.into();
    if is_escaped {
        // Nobody else has them yet, so this always succeeds.
        let written = Arc::get_mut(&mut contents).unwrap_or_default();
        for (byte, magic) in written.iter_mut().zip(MAGIC.to_be_bytes()) {
            *byte = magic;
        }
    }
    contents
}

fn check_overlay(blocks: usize) -> Result<(), ReadError> {
    if blocks > OVERLAY_BLOCKS_MAX {
        return Err(unsupported(format!(
            "The journal holds more than {OVERLAY_BLOCKS_MAX} blocks to recover."
        )));
    }
    Ok(())
}
