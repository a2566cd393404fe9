//! The journal's log as a stream of blocks, which begins anew at its first block after its last.

use std::ops::Range;

use super::journal_damaged;
use crate::ReadError;
use crate::block::BlockSource;
use crate::ext4::map::FileMap;
use crate::ext4::volume::Volume;

/// How far ahead of its reading the log is hinted at least, and at most. Where it ends is known only when it is
/// there, and what is fetched beyond is fetched in vain.
const AHEAD_BYTES_MIN: u64 = 16 * 1024 * 1024;
const AHEAD_BYTES_MAX: u64 = 20 * 1024 * 1024;

/// Reads a log block by block, at most once around.
pub(super) struct Log<'v, S> {
    volume: &'v Volume<S>,
    map: &'v FileMap,
    /// The journal's blocks that the log uses, and the one that it starts with.
    blocks: Range<u32>,
    start: u32,
    /// How many blocks were read, and hinted, from the start on.
    read: u64,
    hinted: u64,
}

impl<'v, S: BlockSource> Log<'v, S> {
    /// `start` is one of `blocks`.
    pub(super) fn new(
        volume: &'v Volume<S>,
        map: &'v FileMap,
        blocks: Range<u32>,
        start: u32,
    ) -> Self {
        Self {
            volume,
            map,
            blocks,
            start,
            read: 0,
            hinted: 0,
        }
    }

    /// Gives the next block to `look`, with its place on the volume.
    ///
    /// A log that comes back to its start has no end, and nothing in it would stop the reading.
    pub(super) fn next<T>(&mut self, look: impl FnOnce(u64, &[u8]) -> T) -> Result<T, ReadError> {
        if self.read >= self.length() {
            return Err(journal_damaged("its log has no end".to_owned()));
        }
        self.hint();
        let block = self.nth(self.read);
        self.read += 1;
        let Ok((place, _)) = self.map.locate(block) else {
            return Err(journal_damaged(format!("block {block} of it is missing")));
        };
        self.volume
            .with_log_block(place, |bytes| look(place, bytes))
    }

    /// How many blocks were read.
    pub(super) fn read_blocks(&self) -> u64 {
        self.read
    }

    fn length(&self) -> u64 {
        u64::from(self.blocks.end - self.blocks.start)
    }

    /// The journal's block that is the log's nth.
    fn nth(&self, nth: u64) -> u64 {
        let into = u64::from(self.start - self.blocks.start) + nth;
        u64::from(self.blocks.start) + into % self.length()
    }

    /// Names what is read next, many blocks at a time.
    pub(super) fn hint(&mut self) {
        let block_bytes = u64::from(self.volume.block_bytes());
        let ahead = |bytes: u64| (self.read + bytes / block_bytes).min(self.length());
        if self.hinted >= ahead(AHEAD_BYTES_MIN) {
            return;
        }
        let until = ahead(AHEAD_BYTES_MAX);
        self.volume.hint_stored(self.places(self.hinted..until));
        self.hinted = until;
    }

    /// Takes back what was hinted beyond the log's end, which was just read.
    pub(super) fn forget_rest(&self) {
        let rest = self.places(self.read..self.hinted);
        self.volume.forget_stored(rest);
    }

    /// Where the volume has some of the log's blocks, counted from its start.
    fn places(&self, of: Range<u64>) -> Vec<Range<u64>> {
        let mut places = Vec::new();
        let mut at = of.start;
        while at < of.end {
            let block = self.nth(at);
            let to_end = u64::from(self.blocks.end) - block;
            let most = (of.end - at).min(to_end);
            at += match self.map.locate(block) {
                Ok((place, follow)) => {
                    let blocks = follow.min(most);
                    places.push(place..place + blocks);
                    blocks
                }
                Err(missing) => missing.min(most),
            };
        }
        places
    }
}
