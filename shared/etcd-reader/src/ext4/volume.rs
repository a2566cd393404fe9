//! A volume's bytes by the filesystem's blocks, with the journal's newer ones in place of the old.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::journal;
use super::overlay::{Logged, Overlay};
use crate::ReadError;
use crate::block::{BLOCK_BYTES, BlockSource};

/// Blocks of the source that are kept, of what was read last for each purpose, so that reading the journal
/// or a file through doesn't displace where the filesystem says what is where. The newest copies of what the
/// journal holds are at its log's end, where they are read next. Of files, the log and the database are
/// read at the same time, and records and pages may lie across two blocks.
const KEPT_FILESYSTEM_BLOCKS: NonZeroUsize = NonZeroUsize::new(6).unwrap();
const KEPT_FILE_BLOCKS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
const KEPT_LOG_BLOCKS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// Blocks of the source named in one hint: 8 GiB. What comes after is fetched when it is read.
const HINT_BLOCKS_MAX: usize = 16 * 1024;

/// A volume that holds a filesystem with blocks of a known size.
pub(super) struct Volume<S> {
    source: Arc<Source<S>>,
    block_bytes: u32,
    overlay: Overlay,
}

/// The source's blocks, with those that were read last.
struct Source<S> {
    blocks: S,
    kept: Mutex<Kept>,
}

/// What was read last, by the source's indexes. `None` is a block that reads as zeros.
struct Kept {
    of_filesystem: LruCache<u64, Option<Arc<Vec<u8>>>>,
    of_files: LruCache<u64, Option<Arc<Vec<u8>>>>,
    of_log: LruCache<u64, Option<Arc<Vec<u8>>>>,
}

/// What a block is read for.
#[derive(Clone, Copy)]
enum Purpose {
    /// To find what is where.
    Filesystem,
    /// A file's contents.
    File,
    /// The journal's log.
    Log,
}

impl Kept {
    fn get(&mut self, index: u64) -> Option<Option<Arc<Vec<u8>>>> {
        let block = self
            .of_filesystem
            .get(&index)
            .or_else(|| self.of_files.get(&index))
            .or_else(|| self.of_log.get(&index));
        block.cloned()
    }

    fn put(&mut self, index: u64, block: Option<Arc<Vec<u8>>>, purpose: Purpose) {
        match purpose {
            Purpose::Filesystem => self.of_filesystem.put(index, block),
            Purpose::File => self.of_files.put(index, block),
            Purpose::Log => self.of_log.put(index, block),
        };
    }

    fn contains(&self, index: u64) -> bool {
        self.of_filesystem.contains(&index)
            || self.of_files.contains(&index)
            || self.of_log.contains(&index)
    }
}

impl<S: BlockSource> Volume<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source: Arc::new(Source {
                blocks: source,
                kept: Mutex::new(Kept {
                    of_filesystem: LruCache::new(KEPT_FILESYSTEM_BLOCKS),
                    of_files: LruCache::new(KEPT_FILE_BLOCKS),
                    of_log: LruCache::new(KEPT_LOG_BLOCKS),
                }),
            }),
            block_bytes: 1024,
            overlay: Overlay::default(),
        }
    }

    /// The same volume with what the journal says.
    pub(super) fn with_overlay(&self, overlay: Overlay) -> Self {
        Self {
            source: Arc::clone(&self.source),
            block_bytes: self.block_bytes,
            overlay,
        }
    }

    pub(super) fn set_block_bytes(&mut self, block_bytes: u32) {
        self.block_bytes = block_bytes;
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.source.blocks.size_bytes()
    }

    pub(super) fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Reads from an offset of the filesystem on, as it is after recovery, what says what is where.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.read_for(Purpose::Filesystem, offset, buffer)
    }

    /// The same of a file's contents.
    pub(super) fn read_file(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.read_for(Purpose::File, offset, buffer)
    }

    fn read_for(&self, purpose: Purpose, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let block_bytes = u64::from(self.block_bytes);
        let mut offset = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let block = offset / block_bytes;
            let within = offset % block_bytes;
            let next = self.overlay.next_from(block);
            let logged = next.filter(|(found, _)| *found == block);
            let until = match (logged, next) {
                (Some(_), _) => block.saturating_add(1),
                (None, Some((found, _))) => found,
                (None, None) => u64::MAX,
            };
            let length = until.saturating_mul(block_bytes) - offset;
            let length = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (part, after) = rest.split_at_mut(length);
            match logged {
                Some((_, logged)) => match self.overlay.contents(block) {
                    Some(contents) => {
                        part.copy_from_slice(part_of(contents, within as usize, length)?)
                    }
                    None => self.read_logged(purpose, logged, within, part)?,
                },
                None => self.read_stored_for(purpose, offset, part)?,
            }
            offset = offset.saturating_add(length as u64);
            rest = after;
        }
        Ok(())
    }

    /// Reads part of one block out of the journal.
    fn read_logged(
        &self,
        purpose: Purpose,
        logged: Logged,
        within: u64,
        part: &mut [u8],
    ) -> Result<(), ReadError> {
        let start = logged.block.saturating_mul(u64::from(self.block_bytes));
        self.read_stored_for(purpose, start.saturating_add(within), part)?;
        if logged.escaped {
            let magic = journal::MAGIC.to_be_bytes();
            let within = usize::try_from(within).unwrap_or(usize::MAX);
            for (byte, magic) in part.iter_mut().zip(magic.iter().skip(within)) {
                *byte = *magic;
            }
        }
        Ok(())
    }

    /// Reads from an offset on what the volume itself holds, without regard to the journal.
    pub(super) fn read_stored(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.read_stored_for(Purpose::Filesystem, offset, buffer)
    }

    fn read_stored_for(
        &self,
        purpose: Purpose,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), ReadError> {
        let mut offset = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = (offset % BLOCK_BYTES as u64) as usize;
            let length = (BLOCK_BYTES - within).min(rest.len());
            let (part, after) = rest.split_at_mut(length);
            match self.stored(purpose, offset, length)? {
                Some(block) => part.copy_from_slice(part_of(&block, within, length)?),
                None => part.fill(0),
            }
            offset = offset.saturating_add(length as u64);
            rest = after;
        }
        Ok(())
    }

    /// The source's block that holds `length` bytes at an offset; `None` where it reads as zeros.
    fn stored(
        &self,
        purpose: Purpose,
        offset: u64,
        length: usize,
    ) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > self.size_bytes()) {
            return Err(ReadError::Damaged(format!(
                "The filesystem refers to offset {offset}, which is beyond the volume's end at {}.",
                self.size_bytes()
            )));
        }
        let index = offset / BLOCK_BYTES as u64;
        if let Some(block) = self.kept().get(index) {
            return Ok(block);
        }
        // Other readers go on while this one waits.
        let block = self.source.blocks.block(index)?;
        self.kept().put(index, block.clone(), purpose);
        Ok(block)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.source
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives one block of the journal, as the volume itself holds it, to `look`.
    pub(super) fn with_log_block<T>(
        &self,
        block: u64,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, ReadError> {
        const ZEROS: [u8; BLOCK_BYTES_MAX] = [0; BLOCK_BYTES_MAX];
        let length = self.block_bytes as usize;
        let offset = block.saturating_mul(u64::from(self.block_bytes));
        let within = (offset % BLOCK_BYTES as u64) as usize;
        match self.stored(Purpose::Log, offset, length)? {
            Some(stored) => Ok(look(part_of(&stored, within, length)?)),
            None => Ok(look(&ZEROS[..length])),
        }
    }

    /// Names the source's blocks that hold these blocks of the filesystem, as it is after recovery,
    /// in this order.
    pub(super) fn hint(&self, ranges: impl IntoIterator<Item = Range<u64>>) {
        let mut hint = Hint::default();
        for range in ranges {
            let mut at = range.start;
            while at < range.end && !hint.is_full() {
                let next = self
                    .overlay
                    .next_from(at)
                    .filter(|(block, _)| *block < range.end);
                let until = next.map_or(range.end, |(block, _)| block);
                hint.add(self.indexes(at..until));
                at = until;
                if let Some((block, logged)) = next {
                    if self.overlay.contents(block).is_none() {
                        hint.add(self.indexes(logged.block..logged.block.saturating_add(1)));
                    }
                    at = block.saturating_add(1);
                }
            }
        }
        self.give(hint);
    }

    /// As [`Self::hint`], of what the volume itself holds.
    pub(super) fn hint_stored(&self, ranges: impl IntoIterator<Item = Range<u64>>) {
        let mut hint = Hint::default();
        for range in ranges {
            hint.add(self.indexes(range));
        }
        self.give(hint);
    }

    /// Takes back hints that were given by [`Self::hint_stored`].
    pub(super) fn forget_stored(&self, ranges: impl IntoIterator<Item = Range<u64>>) {
        let mut hint = Hint::default();
        for range in ranges {
            hint.add(self.indexes(range));
        }
        self.source.blocks.forget(&hint.indexes);
    }

    fn indexes(&self, blocks: Range<u64>) -> Range<u64> {
        let end = self.size_bytes().div_ceil(BLOCK_BYTES as u64);
        let byte = |block: u64| block.saturating_mul(u64::from(self.block_bytes));
        let first = byte(blocks.start) / BLOCK_BYTES as u64;
        let last = byte(blocks.end).div_ceil(BLOCK_BYTES as u64);
        if blocks.is_empty() {
            0..0
        } else {
            first.min(end)..last.min(end)
        }
    }

    fn give(&self, hint: Hint) {
        let mut indexes = hint.indexes;
        let kept = self.kept();
        indexes.retain(|index| !kept.contains(*index));
        drop(kept);
        if !indexes.is_empty() {
            self.source.blocks.prefetch(&indexes);
        }
    }
}

/// The largest block of a filesystem that this reader knows.
pub(super) const BLOCK_BYTES_MAX: usize = 4096;

fn part_of(block: &[u8], within: usize, length: usize) -> Result<&[u8], ReadError> {
    block.get(within..within + length).ok_or_else(|| {
        ReadError::Unreadable(format!(
            "The source gave a block of {} bytes in place of {BLOCK_BYTES}.",
            block.len()
        ))
    })
}

/// Indexes of the source's blocks, each once, in the order in which they were first added.
#[derive(Default)]
struct Hint {
    indexes: Vec<u64>,
    added: HashSet<u64>,
}

impl Hint {
    fn is_full(&self) -> bool {
        self.indexes.len() >= HINT_BLOCKS_MAX
    }

    fn add(&mut self, indexes: Range<u64>) {
        for index in indexes {
            if self.is_full() {
                return;
            }
            if self.added.insert(index) {
                self.indexes.push(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume of one block of the source, each of whose bytes says in which KiB it is.
    struct OneBlock;

    impl BlockSource for OneBlock {
        fn size_bytes(&self) -> u64 {
            BLOCK_BYTES as u64
        }

        fn block(&self, _: u64) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
            Ok(Some(Arc::new((0..BLOCK_BYTES).map(kib).collect())))
        }

        fn prefetch(&self, _: &[u64]) {}

        fn forget(&self, _: &[u64]) {}
    }

    fn kib(at: usize) -> u8 {
        (at / 1024 % 251) as u8
    }

    #[test]
    fn a_logged_block_reads_the_same_whether_its_contents_are_remembered_or_not() {
        for escaped in [false, true] {
            let mut written = vec![kib(300 * 1024); 1024];
            if escaped {
                written[..4].copy_from_slice(&journal::MAGIC.to_be_bytes());
            }
            let mut overlay = Overlay::default();
            let logged = Logged {
                block: 300,
                escaped,
            };
            overlay.insert(5, logged, None);
            let in_the_log = Volume::new(OneBlock).with_overlay(overlay.clone());
            overlay.insert(5, logged, Some(written.clone().into()));
            let remembered = Volume::new(OneBlock).with_overlay(overlay.clone());
            overlay.insert(5, logged, None);
            let logged_again = Volume::new(OneBlock).with_overlay(overlay);
            let mut whole: Vec<u8> = (0..8 * 1024).map(kib).collect();
            whole[5 * 1024..6 * 1024].copy_from_slice(&written);
            for (from, to) in [
                (0, 8192),
                (5120, 6144),
                (5121, 5124),
                (5123, 7000),
                (5000, 5122),
            ] {
                for volume in [&in_the_log, &remembered, &logged_again] {
                    let mut read = vec![0; to - from];
                    volume.read(from as u64, &mut read).unwrap();
                    assert_eq!(read, whole[from..to], "{from}..{to}");
                }
            }
        }
    }
}
