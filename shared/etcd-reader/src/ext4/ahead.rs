//! Fetches the upper directories while the journal is on its way.
//!
//! Each step on the way to a file needs the one before it, and each costs the time of a call to the
//! source. Before the journal has been read, the volume's own directories are at worst out of date, and
//! good enough to find out which blocks will be read next: nothing else is made of them.

use std::ops::ControlFlow;

use super::Filesystem;
use super::inode::{Inode, ROOT};
use crate::block::BlockSource;
use crate::files::EntryKind;

/// How far below the root to go: `data`, token, `member`, `snap` and `wal`, and what is in them.
const LEVELS: usize = 6;

/// The most inodes to look at, and the largest directory: an etcd volume's are small.
const INODES_MAX: usize = 96;
const DIRECTORY_BYTES_MAX: u64 = 64 * 1024;

impl<S: BlockSource> Filesystem<S> {
    /// Names the blocks of the root directory as those that are read next.
    pub(super) fn announce_root(&self) {
        if let Ok(root) = self.inode(ROOT) {
            self.announce_directories(&[root]);
        }
    }

    /// Reads directories level by level. An error ends it here, and is met again by who needs to know.
    pub(super) fn read_ahead(&self) {
        let mut numbers = vec![ROOT];
        let mut inodes_count = 0;
        for _ in 0..LEVELS {
            numbers.truncate(INODES_MAX.saturating_sub(inodes_count));
            inodes_count += numbers.len();
            self.announce_inodes(&numbers);
            let inodes = numbers.iter().filter_map(|number| self.inode(*number).ok());
            let (directories, files): (Vec<Inode>, Vec<Inode>) =
                inodes.partition(|inode| inode.kind == EntryKind::Directory);
            self.announce_trees(&files);
            self.announce_directories(&directories);
            numbers.clear();
            for directory in directories.iter().filter(|inode| is_small(inode)) {
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

    fn announce_directories(&self, directories: &[Inode]) {
        let small = directories.iter().filter(|inode| is_small(inode));
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

fn is_small(directory: &Inode) -> bool {
    directory.size_bytes <= DIRECTORY_BYTES_MAX
}
