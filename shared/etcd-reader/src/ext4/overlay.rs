//! What the journal says that the volume doesn't have in its place yet.

use std::collections::BTreeMap;

/// Where the newest contents of a block are, as recovery would write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    /// The block of the filesystem, inside its journal, that holds the contents.
    pub(super) block: u64,
    /// Whether the first four bytes, which are the journal's magic number, are kept as zeros there.
    pub(super) escaped: bool,
}

/// The filesystem's blocks whose newest contents are in the journal. The contents stay there, so that
/// the overlay's size is that of a map.
#[derive(Default)]
pub(super) struct Overlay {
    blocks: BTreeMap<u64, Logged>,
}

impl Overlay {
    pub(super) fn insert(&mut self, block: u64, logged: Logged) {
        self.blocks.insert(block, logged);
    }

    pub(super) fn remove(&mut self, block: u64) {
        self.blocks.remove(&block);
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The first block from `block` on that the overlay has.
    pub(super) fn next_from(&self, block: u64) -> Option<(u64, Logged)> {
        let mut following = self.blocks.range(block..);
        following.next().map(|(block, logged)| (*block, *logged))
    }

    /// The highest block that the overlay has.
    pub(super) fn last(&self) -> Option<u64> {
        self.blocks.last_key_value().map(|(block, _)| *block)
    }
}
