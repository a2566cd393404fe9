//! Fetches the upper directories while the journal is read.
//!
//! Each step on the way to a file needs the one before it, and each costs the time of a call to the
//! source. What the volume itself has, and the journal as far as it was read, is at worst out of date, and
//! good enough to find out which blocks will be read next: nothing else is made of it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use super::Filesystem;
use super::inode::{Inode, ROOT};
use super::overlay::Overlay;
use crate::block::BlockSource;
use crate::both::both;
use crate::files::EntryKind;

/// How far below the root to go: `data`, token, `member`, `snap` and `wal`, and what is in them.
const LEVELS: usize = 6;

/// The most inodes to look at, and the largest directory: an etcd volume's are small.
const INODES_MAX: usize = 96;
const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// The largest overlay that is copied to be looked at: 2 MiB and its contents.
const OVERLAY_BLOCKS_MAX: usize = 1 << 15;

/// Does something that finds an overlay piece by piece, and reads ahead with each piece meanwhile.
pub(super) fn meanwhile<S: BlockSource, T>(
    filesystem: &Filesystem<S>,
    find: impl FnOnce(&dyn Fn(&Overlay)) -> T,
) -> T {
    // One piece may wait for its turn; others are passed over.
    let (sender, receiver) = sync_channel::<Overlay>(1);
    let is_over = &AtomicBool::new(false);
    let find = move || {
        let found = |overlay: &Overlay| {
            if overlay.len() <= OVERLAY_BLOCKS_MAX {
                let _ = sender.try_send(overlay.clone());
            }
        };
        found(&Overlay::default());
        let all = find(&found);
        is_over.store(true, Ordering::Relaxed);
        all
    };
    let receiver = Mutex::new(receiver);
    let read_ahead = || {
        let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
        for overlay in receiver.iter() {
            filesystem.with_overlay(overlay).read_ahead(is_over);
        }
    };
    both(find, read_ahead).0
}

impl<S: BlockSource> Filesystem<S> {
    /// Reads directories level by level, until it is over. An error ends it here, and is met again by who needs to
    /// know.
    fn read_ahead(&self, is_over: &AtomicBool) {
        let goes_on = || !is_over.load(Ordering::Relaxed);
        let mut numbers = vec![ROOT];
        let mut inodes_count = 0;
        for level in 0..LEVELS {
            numbers.truncate(INODES_MAX.saturating_sub(inodes_count));
            inodes_count += numbers.len();
            self.announce_inodes(&numbers);
            let wanted = numbers.iter().take_while(|_| goes_on());
            let inodes = wanted.filter_map(|number| self.inode(*number).ok());
            let (directories, files): (Vec<Inode>, Vec<Inode>) =
                inodes.partition(|inode| inode.kind == EntryKind::Directory);
            self.announce_trees(&files);
            self.announce_small(&directories);
            if level == 1 {
                // `/state` is one of them.
                self.announce_small(&files);
            }
            numbers.clear();
            let small = directories.iter().filter(|inode| is_small(inode));
            for directory in small.take_while(|_| goes_on()) {
                let visited = self.visit_names(directory, |name, number| {
                    if !matches!(name, b"." | b".." | b"lost+found") {
                        numbers.push(number);
                    }
                    ControlFlow::Continue(())
                });
                if visited.is_err() {
                    return;
                }
            }
        }
    }

    /// Names the blocks of these inodes as those that are read next.
    pub(super) fn announce_inodes(&self, numbers: &[u32]) {
        let block_bytes = u64::from(self.superblock.block_bytes);
        let offsets = numbers
            .iter()
            .filter_map(|number| self.inode_offset(*number).ok());
        let blocks = offsets.map(|offset| offset / block_bytes);
        self.volume
            .hint(blocks.map(|block| block..block.saturating_add(1)));
    }

    fn announce_small(&self, inodes: &[Inode]) {
        let small = inodes.iter().filter(|inode| is_small(inode));
        let maps: Vec<_> = small.filter_map(|inode| self.map(inode).ok()).collect();
        self.volume
            .hint(maps.iter().flat_map(|map| map.places(0..u64::MAX)));
    }

    fn announce_trees(&self, files: &[Inode]) {
        let trees = files.iter().flat_map(|inode| self.tree_blocks(inode));
        self.volume
            .hint(trees.map(|block| block..block.saturating_add(1)));
    }
}

fn is_small(inode: &Inode) -> bool {
    inode.size_bytes <= SMALL_BYTES_MAX
}
