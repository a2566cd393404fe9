//! What the journal says that the volume doesn't have in its place yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Blocks whose contents are remembered: 4 MiB of 4 KiB each. The journal holds what says what is where, of which
/// an etcd volume has little; where it holds more, the rest is read again out of the log.
const CONTENTS_MAX: usize = 1024;

/// A block's contents, as recovery would write them.
pub(super) type Contents = Arc<[u8]>;

/// Where the newest contents of a block are, as recovery would write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    /// The block of the filesystem, inside its journal, that holds the contents.
    pub(super) block: u64,
    /// Whether the first four bytes, which are the journal's magic number, are kept as zeros there.
    pub(super) escaped: bool,
}

/// The filesystem's blocks whose newest contents are in the journal. Most contents stay there, so that the
/// overlay's size is that of a map and of [`CONTENTS_MAX`] blocks.
#[derive(Clone, Default)]
pub(super) struct Overlay {
    blocks: BTreeMap<u64, Logged>,
    contents: HashMap<u64, Contents>,
}

impl Overlay {
    /// Whether one more block's contents can be remembered, beside so many that are to come.
    pub(super) fn has_room(&self, to_come: usize) -> bool {
        self.contents.len() + to_come < CONTENTS_MAX
    }

    /// Puts a newer block in place of an older one, with its contents where they are to be remembered.
    pub(super) fn insert(&mut self, block: u64, logged: Logged, contents: Option<Contents>) {
        self.blocks.insert(block, logged);
        match contents {
            Some(contents) => self.contents.insert(block, contents),
            None => self.contents.remove(&block),
        };
    }

    pub(super) fn remove(&mut self, block: u64) {
        self.blocks.remove(&block);
        self.contents.remove(&block);
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The first block from `block` on that the overlay has.
    pub(super) fn next_from(&self, block: u64) -> Option<(u64, Logged)> {
        let mut following = self.blocks.range(block..);
        following.next().map(|(block, logged)| (*block, *logged))
    }

    /// The contents of a block, where they are remembered.
    pub(super) fn contents(&self, block: u64) -> Option<&[u8]> {
        self.contents.get(&block).map(AsRef::as_ref)
    }

    /// The highest block that the overlay has.
    pub(super) fn last(&self) -> Option<u64> {
        self.blocks.last_key_value().map(|(block, _)| *block)
    }
}
