//! An ext4 filesystem on the bare volume, as it would be once the kernel had mounted it.
//!
//! Unlike a mount it writes nothing: what the journal holds is read where it is. The modules, lowest
//! first: `overlay` (what the journal has), `volume` (bytes, the overlay's before the volume's own),
//! `superblock`, `inode`, `map` (where a file's contents are), `directory`, `journal` (makes the
//! overlay), `ahead` (has fetched what comes next); and `foreign`, which names what isn't ext4.
//!
//! Invariants: `Damaged` is what the kernel would refuse, or what contradicts itself in what is asked
//! for; the rest of the volume isn't looked at. Checksums are verified wherever the filesystem has them.
//! Memory depends on the journal's length and on the pieces of the files that are read, both bounded,
//! and not on the volume's size.

mod ahead;
mod bytes;
mod checksum;
mod directory;
mod foreign;
mod inode;
mod journal;
mod map;
mod overlay;
mod superblock;
mod volume;

use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use self::inode::{Inode, ROOT};
use self::map::{FileMap, RUNS_MAX};
use self::overlay::Overlay;
use self::superblock::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, Superblock};
use self::volume::Volume;
use crate::ReadError;
use crate::block::BlockSource;
use crate::files::{Entry, EntryKind, Files};

/// The most entries that a listing gives.
const ENTRIES_MAX: usize = 100_000;

/// The most files whose maps are kept. Their runs together are bounded too, by [`RUNS_MAX`].
const MAPS_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Where the superblock is, and where `mkfs.ext4` puts the first inodes on volumes from 8 GiB on: after
/// 1,024 blocks that it reserves for growing. Both are asked for at once; where the inodes are somewhere
/// else, one block was fetched in vain. In units of 1 KiB.
const FIRST_READS: [Range<u64>; 2] = [0..4, 4240..4244];

/// A filesystem on a volume. See the module.
pub struct Ext4<S> {
    filesystem: Filesystem<S>,
    facts: VolumeFacts,
    maps: Mutex<LruCache<u64, Arc<FileMap>>>,
}

/// What a filesystem says of itself that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFacts {
    /// The volume label, empty where it has none.
    pub label: String,
    /// Where it was last mounted: for etcd-manager a path that ends in `master-` and the volume's id.
    pub last_mounted: String,
    /// The kernel found errors in it, and no check has been run since.
    pub has_errors: bool,
    /// How many errors the kernel found since the last check.
    pub error_count: u32,
    /// Complete transactions in the journal that the next mount recovers.
    pub recovered_transactions: u64,
    /// Blocks whose newest contents are in the journal alone.
    pub recovered_blocks: u64,
    /// The journal holds transactions, but the filesystem says that it was unmounted: as the kernel
    /// does, the reader left them out.
    pub ignored_journal: bool,
}

/// A volume with what its superblock says.
struct Filesystem<S> {
    volume: Volume<S>,
    superblock: Superblock,
}

impl<S: BlockSource> Ext4<S> {
    /// Reads the superblock and the journal.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unsupported`] for what isn't ext4 on the bare volume, or has features that this
    /// reader doesn't know; [`ReadError::Damaged`] for what the kernel wouldn't mount.
    pub fn open(source: S) -> Result<Self, ReadError> {
        let mut volume = Volume::new(source);
        volume.hint_stored(FIRST_READS);
        let mut bytes = [0; SUPERBLOCK_BYTES];
        if volume.size_bytes() >= SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES as u64 {
            volume.read_stored(SUPERBLOCK_OFFSET, &mut bytes)?;
        }
        if !superblock::has_magic(&bytes) {
            return Err(foreign::describe(&volume)?);
        }
        let superblock = Superblock::parse(&bytes, volume.size_bytes())?;
        volume.set_block_bytes(superblock.block_bytes);
        let mut filesystem = Filesystem { volume, superblock };
        let recovery = filesystem.recovery()?;

        let recovered_blocks = recovery.overlay.len() as u64;
        filesystem = filesystem.with_overlay(recovery.overlay);
        let before = filesystem.superblock.clone();
        // The superblock's newest version may itself be in the journal. The kernel notes errors in
        // the volume's own without the journal, so those of both count.
        filesystem.volume.read(SUPERBLOCK_OFFSET, &mut bytes)?;
        filesystem.superblock = recovered_superblock(&before, &bytes, &filesystem.volume)?;
        let superblock = &filesystem.superblock;
        let facts = VolumeFacts {
            label: superblock.label.clone(),
            last_mounted: superblock.last_mounted.clone(),
            has_errors: before.has_errors || superblock.has_errors || recovery.is_aborted,
            error_count: before.error_count.max(superblock.error_count),
            recovered_transactions: recovery.transactions,
            recovered_blocks,
            ignored_journal: recovery.has_log && !before.needs_recovery(),
        };
        let maps = Mutex::new(LruCache::new(MAPS_MAX));
        Ok(Self {
            filesystem,
            facts,
            maps,
        })
    }

    /// What the filesystem says of itself.
    pub fn facts(&self) -> &VolumeFacts {
        &self.facts
    }

    /// Where a file's contents are, kept for the next read.
    fn map(&self, file: &Entry) -> Result<Arc<FileMap>, ReadError> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = maps.get(&file.inode) {
            return Ok(Arc::clone(map));
        }
        drop(maps);
        let inode = self.filesystem.inode(inode_number(file)?)?;
        if inode.kind != EntryKind::File {
            return Err(unsupported(format!("{} is not a regular file.", file.name)));
        }
        let map = Arc::new(self.filesystem.map(&inode)?);
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.put(file.inode, Arc::clone(&map));
        let mut runs_count: usize = maps.iter().map(|(_, map)| map.runs_count()).sum();
        while runs_count > RUNS_MAX && maps.len() > 1 {
            let oldest = maps.pop_lru();
            runs_count -= oldest.map_or(0, |(_, map)| map.runs_count());
        }
        Ok(map)
    }
}

impl<S: BlockSource> Filesystem<S> {
    /// The same filesystem with what the journal says.
    fn with_overlay(&self, overlay: Overlay) -> Self {
        Self {
            volume: self.volume.with_overlay(overlay),
            superblock: self.superblock.clone(),
        }
    }

    fn recovery(&self) -> Result<journal::Recovery, ReadError> {
        let superblock = &self.superblock;
        if !superblock.has_journal() {
            return Ok(journal::Recovery::default());
        }
        if superblock.journal_inode == 0 {
            return Err(unsupported(
                "The filesystem's journal is on another device, which the snapshot doesn't hold.",
            ));
        }
        let inode = self.inode(superblock.journal_inode)?;
        if inode.kind != EntryKind::File {
            return Err(damaged(
                "The filesystem's journal is damaged: it is not a file.",
            ));
        }
        let map = self.map(&inode)?;
        let needs_recovery = superblock.needs_recovery();
        ahead::meanwhile(self, |found| {
            journal::recover(&self.volume, &map, needs_recovery, found)
        })
    }

    fn entry(&self, name: &str, inode: &Inode) -> Entry {
        Entry {
            name: name.to_owned(),
            kind: inode.kind,
            inode: u64::from(inode.number),
            size_bytes: if inode.kind == EntryKind::File {
                inode.size_bytes
            } else {
                0
            },
            modified_seconds: inode.modified_seconds,
        }
    }

    /// The inode of a name in a directory.
    fn look_up(&self, directory: &Inode, name: &str) -> Result<Option<u32>, ReadError> {
        let mut found = None;
        self.visit_names(directory, |entry, number| {
            if entry == name.as_bytes() {
                found = Some(number);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

/// The superblock after recovery, which can't be of another format than before.
fn recovered_superblock<S: BlockSource>(
    before: &Superblock,
    bytes: &[u8],
    volume: &Volume<S>,
) -> Result<Superblock, ReadError> {
    if !superblock::has_magic(bytes) {
        return Err(damaged(
            "The superblock in the filesystem's journal is damaged.",
        ));
    }
    let after = Superblock::parse(bytes, volume.size_bytes())?;
    if after.block_bytes != before.block_bytes {
        return Err(damaged(
            "The superblock in the filesystem's journal has another block size.",
        ));
    }
    Ok(after)
}

impl<S: BlockSource> Files for Ext4<S> {
    fn find(&self, path: &str) -> Result<Option<Entry>, ReadError> {
        let filesystem = &self.filesystem;
        let mut inode = filesystem.inode(ROOT)?;
        if inode.kind != EntryKind::Directory {
            return Err(damaged("The filesystem's root is not a directory."));
        }
        let mut found = "/";
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if inode.kind != EntryKind::Directory {
                return Ok(None);
            }
            let Some(number) = filesystem.look_up(&inode, name)? else {
                return Ok(None);
            };
            inode = filesystem.inode(number)?;
            found = name;
        }
        Ok(Some(filesystem.entry(found, &inode)))
    }

    fn list(&self, directory: &Entry) -> Result<Vec<Entry>, ReadError> {
        let filesystem = &self.filesystem;
        let inode = filesystem.inode(inode_number(directory)?)?;
        if inode.kind != EntryKind::Directory {
            return Err(unsupported(format!(
                "{} is not a directory.",
                directory.name
            )));
        }
        let mut names = Vec::new();
        filesystem.visit_names(&inode, |name, number| {
            if let Ok(name) = std::str::from_utf8(name)
                && !matches!(name, "" | "." | "..")
                && !name.contains(['/', '\0'])
            {
                names.push((name.to_owned(), number));
            }
            if names.len() > ENTRIES_MAX {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if names.len() > ENTRIES_MAX {
            return Err(unsupported(format!(
                "The directory {} has more than {ENTRIES_MAX} entries.",
                directory.name
            )));
        }
        let numbers: Vec<u32> = names.iter().map(|(_, number)| *number).collect();
        filesystem.announce_inodes(&numbers);
        names
            .into_iter()
            .map(|(name, number)| Ok(filesystem.entry(&name, &filesystem.inode(number)?)))
            .collect()
    }

    fn read_at(&self, file: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let map = self.map(file)?;
        let block_bytes = u64::from(self.filesystem.superblock.block_bytes);
        let left = map.size_bytes.saturating_sub(offset);
        let length = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let mut rest = &mut buffer[..length];
        let mut at = offset;
        while !rest.is_empty() {
            let within = at % block_bytes;
            let located = map.locate(at / block_bytes);
            let (Ok((_, blocks)) | Err(blocks)) = located;
            let bytes = blocks.saturating_mul(block_bytes) - within;
            let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(rest.len());
            let (part, after) = rest.split_at_mut(length);
            match located {
                Ok((block, _)) => self
                    .filesystem
                    .volume
                    .read_file(block * block_bytes + within, part)?,
                Err(_) => part.fill(0),
            }
            at += length as u64;
            rest = after;
        }
        Ok(length)
    }

    fn prefetch(&self, file: &Entry, ranges: &[Range<u64>]) {
        // What can't be mapped fails when it is read, where somebody can be told.
        let Ok(map) = self.map(file) else { return };
        let block_bytes = u64::from(self.filesystem.superblock.block_bytes);
        let end = map.size_bytes.div_ceil(block_bytes);
        let blocks = ranges
            .iter()
            .filter(|range| !range.is_empty())
            .map(|range| {
                let to = range.end.div_ceil(block_bytes).min(end);
                range.start / block_bytes..to
            });
        self.filesystem
            .volume
            .hint(blocks.flat_map(|blocks| map.places(blocks)));
    }
}

/// An entry's inode number as ext4 has it. Others are of no entry that this filesystem gave.
fn inode_number(entry: &Entry) -> Result<u32, ReadError> {
    u32::try_from(entry.inode)
        .map_err(|_| unsupported(format!("There is no inode {} in ext4.", entry.inode)))
}

fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged(what.into())
}

fn unsupported(what: impl Into<String>) -> ReadError {
    ReadError::Unsupported(what.into())
}
