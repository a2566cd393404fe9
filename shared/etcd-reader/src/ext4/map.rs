//! Where a file's contents are: runs of blocks, from an extent tree or from a list of blocks.
//!
//! Source: Linux, `fs/ext4/ext4_extents.h`, `fs/ext4/extents.c` (`__ext4_ext_check`),
//! `fs/ext4/indirect.c`.
//!
//! Invariant: runs ascend by their place in the file, and don't overlap.

use std::ops::Range;

use super::bytes::{joined, le16, le32};
use super::checksum::crc32c;
use super::inode::Inode;
use super::{Filesystem, damaged, unsupported};
use crate::ReadError;
use crate::block::BlockSource;

/// The most pieces that a file may be in: 16 MiB of memory. A database of 2 GiB that has not two
/// blocks beside each other is in half as many.
pub(super) const RUNS_MAX: usize = 1 << 20;

/// The most blocks that an extent tree or a list of blocks may itself have. A tree of [`RUNS_MAX`]
/// extents, and a list of [`RUNS_MAX`] blocks of 1 KiB, have fewer.
const NODES_MAX: usize = 1 << 16;

const EXTENT_MAGIC: u16 = 0xf30a;
const EXTENT_DEPTH_MAX: u16 = 5;
const EXTENT_BYTES: usize = 12;
/// A longer extent is unwritten: preallocated, and read as zeros.
const WRITTEN_BLOCKS_MAX: u16 = 1 << 15;

/// Blocks that follow each other in the file and on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first block in the file.
    pub(super) logical: u32,
    /// How many there are.
    pub(super) blocks: u32,
    /// The first block on the volume.
    pub(super) physical: u64,
}

impl Run {
    fn logical_end(&self) -> u64 {
        u64::from(self.logical) + u64::from(self.blocks)
    }
}

/// The written blocks of a file. What no run covers reads as zeros: it is a hole, or only preallocated.
#[derive(Debug, Default)]
pub(super) struct FileMap {
    /// The file's size.
    pub(super) size_bytes: u64,
    runs: Vec<Run>,
}

impl FileMap {
    /// How many runs there are, which is what the map's size in memory depends on.
    pub(super) fn runs_count(&self) -> usize {
        self.runs.len()
    }

    /// Where a block of the file is, with how many follow it there; or how many blocks from it on
    /// have no place.
    pub(super) fn locate(&self, logical: u64) -> Result<(u64, u64), u64> {
        let next = self
            .runs
            .partition_point(|run| run.logical_end() <= logical);
        match self.runs.get(next) {
            Some(run) if u64::from(run.logical) <= logical => {
                let into = logical - u64::from(run.logical);
                Ok((run.physical + into, u64::from(run.blocks) - into))
            }
            Some(run) => Err(u64::from(run.logical) - logical),
            None => Err(u64::MAX - logical),
        }
    }

    /// Where some blocks of the file are, piece by piece; those without a place are left out.
    pub(super) fn places(&self, logical: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let first = self
            .runs
            .partition_point(|run| run.logical_end() <= logical.start);
        let runs = self.runs.get(first..).unwrap_or_default().iter();
        runs.take_while(move |run| u64::from(run.logical) < logical.end)
            .map(move |run| {
                let before = logical.start.saturating_sub(u64::from(run.logical));
                let after = run.logical_end().saturating_sub(logical.end);
                run.physical + before..run.physical + u64::from(run.blocks) - after
            })
    }

    fn push(&mut self, run: Run, inode: &Inode) -> Result<(), ReadError> {
        if let Some(last) = self.runs.last_mut() {
            let follows = last.logical_end() == u64::from(run.logical)
                && last.physical + u64::from(last.blocks) == run.physical;
            if let (true, Some(blocks)) = (follows, last.blocks.checked_add(run.blocks)) {
                last.blocks = blocks;
                return Ok(());
            }
        }
        if self.runs.len() >= RUNS_MAX {
            return Err(unsupported(format!(
                "Inode {} is in more than {RUNS_MAX} pieces.",
                inode.number
            )));
        }
        self.runs.push(run);
        Ok(())
    }
}

impl<S: BlockSource> Filesystem<S> {
    /// The runs of a file or directory.
    pub(super) fn map(&self, inode: &Inode) -> Result<FileMap, ReadError> {
        if let Some(feature) = inode.unsupported_feature() {
            return Err(unsupported(format!(
                "Inode {} uses the feature {feature}, which this reader doesn't support.",
                inode.number
            )));
        }
        let mut map = if inode.has_extents() {
            self.map_extents(inode)?
        } else {
            self.map_block_list(inode)?
        };
        map.size_bytes = inode.size_bytes;
        map.runs.shrink_to_fit();
        Ok(map)
    }

    /// The blocks of an extent tree that the inode itself names, of which there are up to four.
    pub(super) fn tree_blocks(&self, inode: &Inode) -> Vec<u64> {
        let mut walk = TreeWalk {
            inode,
            blocks: self.superblock.blocks,
            next_logical: 0,
        };
        let mut children = Vec::new();
        let depth = le16(&inode.root, 6);
        if inode.has_extents() && depth > 0 {
            // What can't be followed is met again when the file is read.
            let _ = walk.node(&inode.root, depth, &mut children, &mut FileMap::default());
        }
        children.iter().map(|child| child.block).collect()
    }

    /// Goes through an extent tree level by level, so that a level's blocks can be fetched together.
    fn map_extents(&self, inode: &Inode) -> Result<FileMap, ReadError> {
        let mut map = FileMap::default();
        let mut walk = TreeWalk {
            inode,
            blocks: self.superblock.blocks,
            next_logical: 0,
        };
        let mut depth = le16(&inode.root, 6);
        if depth > EXTENT_DEPTH_MAX {
            return Err(walk.damaged(format!("its depth is {depth}")));
        }
        let mut level = Vec::new();
        let mut nodes_count = 0;
        walk.node(&inode.root, depth, &mut level, &mut map)?;
        let mut bytes = vec![0; self.superblock.block_bytes as usize];
        while depth > 0 {
            depth -= 1;
            walk.next_logical = 0;
            nodes_count += level.len();
            check_nodes(nodes_count, inode)?;
            self.volume.hint(
                level
                    .iter()
                    .map(|child| child.block..child.block.saturating_add(1)),
            );
            let mut below = Vec::new();
            for child in &level {
                self.read_block(child.block, &mut bytes)?;
                if u64::from(child.logical) < walk.next_logical {
                    return Err(walk.damaged("its extents overlap".to_owned()));
                }
                walk.next_logical = u64::from(child.logical);
                self.check_extent_block(inode, &bytes)?;
                walk.node(&bytes, depth, &mut below, &mut map)?;
                check_nodes(nodes_count + below.len(), inode)?;
            }
            level = below;
        }
        Ok(map)
    }

    /// Source: Linux, `fs/ext4/extents.c`, `ext4_extent_block_csum_verify`.
    fn check_extent_block(&self, inode: &Inode, bytes: &[u8]) -> Result<(), ReadError> {
        if !self.superblock.has_metadata_checksums() {
            return Ok(());
        }
        let tail = EXTENT_BYTES + usize::from(le16(bytes, 4)) * EXTENT_BYTES;
        let found = bytes.get(tail..tail + 4).map(|_| le32(bytes, tail));
        let covered = bytes.get(..tail).unwrap_or_default();
        if found != Some(crc32c(inode.checksum_seed, covered)) {
            return Err(damaged(format!(
                "The checksum of a block of inode {}'s extent tree is wrong.",
                inode.number
            )));
        }
        Ok(())
    }

    /// Goes through the list of blocks that files have where there are no extents: 12 blocks, then
    /// one that lists blocks, one that lists such lists, and one that lists those.
    fn map_block_list(&self, inode: &Inode) -> Result<FileMap, ReadError> {
        let mut map = FileMap::default();
        let block_bytes = u64::from(self.superblock.block_bytes);
        let mut list = ListWalk {
            filesystem: self,
            inode,
            next_logical: 0,
            end: inode.size_bytes.div_ceil(block_bytes),
            nodes_count: 0,
        };
        for nth in 0..15 {
            let height = u32::try_from(nth).unwrap_or_default().saturating_sub(11);
            list.entry(le32(&inode.root, nth * 4), height, &mut map)?;
        }
        Ok(map)
    }

    pub(super) fn read_block(&self, block: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        self.volume.read(
            block.saturating_mul(u64::from(self.superblock.block_bytes)),
            bytes,
        )
    }
}

fn check_nodes(nodes_count: usize, inode: &Inode) -> Result<(), ReadError> {
    if nodes_count > NODES_MAX {
        return Err(unsupported(format!(
            "Inode {} needs more than {NODES_MAX} blocks to say where its contents are.",
            inode.number
        )));
    }
    Ok(())
}

/// A block of the next level of an extent tree.
struct Child {
    logical: u32,
    block: u64,
}

struct TreeWalk<'a> {
    inode: &'a Inode,
    /// Blocks of the filesystem.
    blocks: u64,
    /// The first block of the file that the next entry may be about.
    next_logical: u64,
}

impl TreeWalk<'_> {
    /// Takes the entries of one node, of which there is one in the inode and one in each block.
    fn node(
        &mut self,
        bytes: &[u8],
        depth: u16,
        children: &mut Vec<Child>,
        map: &mut FileMap,
    ) -> Result<(), ReadError> {
        let [magic, entries, max, found_depth] = [0, 2, 4, 6].map(|at| le16(bytes, at));
        let room = bytes.len() / EXTENT_BYTES - 1;
        if magic != EXTENT_MAGIC {
            return Err(self.damaged("a node of it has no magic number".to_owned()));
        }
        if found_depth != depth {
            return Err(self.damaged(format!("a node of it has depth {found_depth}, not {depth}")));
        }
        if max == 0 || usize::from(max) > room || entries > max || (entries == 0 && depth > 0) {
            return Err(self.damaged(format!("a node of it has {entries} entries of {max}")));
        }
        let all = bytes
            .get(EXTENT_BYTES..)
            .unwrap_or_default()
            .chunks_exact(EXTENT_BYTES);
        for entry in all.take(usize::from(entries)) {
            if depth > 0 {
                children.push(self.child(entry)?);
            } else if let Some(run) = self.run(entry)? {
                map.push(run, self.inode)?;
            }
        }
        Ok(())
    }

    fn child(&mut self, entry: &[u8]) -> Result<Child, ReadError> {
        let logical = le32(entry, 0);
        let block = joined(u32::from(le16(entry, 8)), le32(entry, 4));
        self.advance(logical, 1)?;
        self.check_inside(block, 1)?;
        Ok(Child { logical, block })
    }

    /// The blocks of one extent; `None` for one that is unwritten.
    fn run(&mut self, entry: &[u8]) -> Result<Option<Run>, ReadError> {
        let logical = le32(entry, 0);
        let length = le16(entry, 4);
        let physical = joined(u32::from(le16(entry, 6)), le32(entry, 8));
        let is_written = length <= WRITTEN_BLOCKS_MAX;
        let blocks = u32::from(if is_written {
            length
        } else {
            length - WRITTEN_BLOCKS_MAX
        });
        if blocks == 0 {
            return Err(self.damaged("an extent of it is empty".to_owned()));
        }
        self.advance(logical, blocks)?;
        self.check_inside(physical, blocks)?;
        Ok(is_written.then_some(Run {
            logical,
            blocks,
            physical,
        }))
    }

    fn advance(&mut self, logical: u32, blocks: u32) -> Result<(), ReadError> {
        let end = u64::from(logical) + u64::from(blocks);
        if u64::from(logical) < self.next_logical || end > 1 << 32 {
            return Err(self.damaged("its extents overlap".to_owned()));
        }
        self.next_logical = end;
        Ok(())
    }

    fn check_inside(&self, block: u64, blocks: u32) -> Result<(), ReadError> {
        if block == 0 || block + u64::from(blocks) > self.blocks {
            return Err(self.damaged(format!("it refers to block {block} of {}", self.blocks)));
        }
        Ok(())
    }

    fn damaged(&self, what: String) -> ReadError {
        damaged(format!(
            "The extent tree of inode {} is damaged: {what}.",
            self.inode.number
        ))
    }
}

struct ListWalk<'a, S> {
    filesystem: &'a Filesystem<S>,
    inode: &'a Inode,
    /// The block of the file that the next entry is about.
    next_logical: u64,
    /// Blocks of the file.
    end: u64,
    nodes_count: usize,
}

impl<S: BlockSource> ListWalk<'_, S> {
    /// Takes one entry: a block of contents at height 0, a list of entries above.
    fn entry(&mut self, block: u32, height: u32, map: &mut FileMap) -> Result<(), ReadError> {
        let superblock = &self.filesystem.superblock;
        let entries_per_block = u64::from(superblock.block_bytes / 4);
        if self.next_logical >= self.end {
            return Ok(());
        }
        if block == 0 {
            self.next_logical += entries_per_block.pow(height);
            return Ok(());
        }
        if u64::from(block) >= superblock.blocks {
            return Err(damaged(format!(
                "The list of inode {}'s blocks refers to block {block} of {}.",
                self.inode.number, superblock.blocks
            )));
        }
        if height == 0 {
            let logical = u32::try_from(self.next_logical).map_err(|_| {
                damaged(format!(
                    "Inode {} has more blocks than a file may have.",
                    self.inode.number
                ))
            })?;
            self.next_logical += 1;
            return map.push(
                Run {
                    logical,
                    blocks: 1,
                    physical: u64::from(block),
                },
                self.inode,
            );
        }
        self.nodes_count += 1;
        check_nodes(self.nodes_count, self.inode)?;
        let mut bytes = vec![0; superblock.block_bytes as usize];
        self.filesystem.read_block(u64::from(block), &mut bytes)?;
        let entries: Vec<u32> = bytes.chunks_exact(4).map(|entry| le32(entry, 0)).collect();
        if height > 1 {
            let lists = entries.iter().filter(|block| **block != 0);
            let lists = lists.map(|block| u64::from(*block)..u64::from(*block) + 1);
            self.filesystem.volume.hint(lists);
        }
        entries
            .into_iter()
            .try_for_each(|entry| self.entry(entry, height - 1, map))
    }
}
