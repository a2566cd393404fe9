//! The files of a member's volume in memory, to be damaged.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use etcd_reader::ReadError;
use etcd_reader::block::BlockSource;
use etcd_reader::ext4::Ext4;
use etcd_reader::files::{Entry, EntryKind, Files};

/// A file's contents, less the pages of zeros at its end.
#[derive(Clone)]
pub struct Contents {
    pub bytes: Arc<Vec<u8>>,
    pub size_bytes: u64,
    pub modified_seconds: i64,
}

/// Files by path. Changes can be undone, which is quicker than a copy of all files for each.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    /// None stands for a directory.
    entries: BTreeMap<String, Option<Contents>>,
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Bytes(String, usize, Vec<u8>),
    /// The entries as they were, which share the files' bytes.
    Entries(BTreeMap<String, Option<Contents>>),
}

#[allow(dead_code)]
impl MemoryFiles {
    /// Takes all files out of a volume, but for the private keys.
    pub fn of(volume: impl BlockSource) -> Self {
        let ext4 = Ext4::open(volume).unwrap();
        let mut files = Self::default();
        let root = ext4.find("/").unwrap().unwrap();
        files.take(&ext4, "", &root);
        files
    }

    fn take(&mut self, from: &dyn Files, path: &str, directory: &Entry) {
        for entry in from.list(directory).unwrap() {
            let path = format!("{path}/{}", entry.name);
            match entry.kind {
                EntryKind::Directory if path != "/pki" => {
                    self.entries.insert(path.clone(), None);
                    self.take(from, &path, &entry);
                }
                EntryKind::File => {
                    let mut bytes = vec![0; entry.size_bytes as usize];
                    assert_eq!(from.read_at(&entry, 0, &mut bytes).unwrap(), bytes.len());
                    let last = bytes.iter().rposition(|&byte| byte != 0);
                    bytes.truncate(last.map_or(0, |last| (last / 4096 + 1) * 4096));
                    bytes.shrink_to_fit();
                    let contents = Contents {
                        bytes: Arc::new(bytes),
                        size_bytes: entry.size_bytes,
                        modified_seconds: entry.modified_seconds,
                    };
                    self.entries.insert(path, Some(contents));
                }
                _ => {}
            }
        }
    }

    /// The only path that ends so.
    pub fn path(&self, end: &str) -> String {
        let mut paths = self.entries.keys().filter(|path| path.ends_with(end));
        let path = paths.next().unwrap_or_else(|| panic!("no {end}")).clone();
        assert_eq!(paths.next(), None, "several {end}");
        path
    }

    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    pub fn contents(&self, path: &str) -> &Contents {
        self.entries[path].as_ref().unwrap()
    }

    /// A copy that shares nothing.
    pub fn deep_clone(&self) -> Self {
        let mut copy = self.clone();
        for contents in copy.entries.values_mut().flatten() {
            contents.bytes = Arc::new(contents.bytes.to_vec());
        }
        copy
    }

    /// Takes all changes back.
    pub fn undo(&mut self) {
        while let Some(change) = self.changes.pop() {
            match change {
                Change::Bytes(path, at, bytes) => {
                    self.bytes_mut(&path)[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                Change::Entries(entries) => self.entries = entries,
            }
        }
    }

    fn bytes_mut(&mut self, path: &str) -> &mut Vec<u8> {
        Arc::make_mut(&mut self.entries.get_mut(path).unwrap().as_mut().unwrap().bytes)
    }

    pub fn overwrite(&mut self, path: &str, at: usize, bytes: &[u8]) {
        let there = &mut self.bytes_mut(path)[at..at + bytes.len()];
        let before = there.to_vec();
        there.copy_from_slice(bytes);
        self.changes
            .push(Change::Bytes(path.to_owned(), at, before));
    }

    pub fn flip(&mut self, path: &str, byte: usize, bit: u32) {
        let flipped = self.contents(path).bytes[byte] ^ 1 << bit;
        self.overwrite(path, byte, &[flipped]);
    }

    /// Cuts a file's end off.
    pub fn truncate(&mut self, path: &str, size_bytes: u64) {
        self.changes.push(Change::Entries(self.entries.clone()));
        let contents = self.entries.get_mut(path).unwrap().as_mut().unwrap();
        contents.size_bytes = size_bytes;
        Arc::make_mut(&mut contents.bytes).truncate(size_bytes as usize);
    }

    /// Puts a file there, with its directories.
    pub fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.changes.push(Change::Entries(self.entries.clone()));
        for (at, _) in path.match_indices('/').skip(1) {
            self.entries.entry(path[..at].to_owned()).or_insert(None);
        }
        let size_bytes = bytes.len() as u64;
        let contents = Contents {
            bytes: Arc::new(bytes),
            size_bytes,
            modified_seconds: 1_795_634_600,
        };
        self.entries.insert(path.to_owned(), Some(contents));
    }

    pub fn remove(&mut self, path: &str) {
        self.changes.push(Change::Entries(self.entries.clone()));
        self.entries
            .retain(|other, _| other != path && !other.starts_with(&format!("{path}/")));
    }

    pub fn shift_times(&mut self, seconds: i64) {
        self.changes.push(Change::Entries(self.entries.clone()));
        for contents in self.entries.values_mut().flatten() {
            contents.modified_seconds += seconds;
        }
    }

    fn entry(&self, index: usize, path: &str, contents: Option<&Contents>) -> Entry {
        Entry {
            name: path.rsplit('/').next().unwrap().to_owned(),
            kind: if contents.is_some() {
                EntryKind::File
            } else {
                EntryKind::Directory
            },
            inode: index as u64,
            size_bytes: contents.map_or(0, |contents| contents.size_bytes),
            modified_seconds: contents.map_or(0, |contents| contents.modified_seconds),
        }
    }
}

impl Files for MemoryFiles {
    fn find(&self, path: &str) -> Result<Option<Entry>, ReadError> {
        let found = self
            .entries
            .iter()
            .enumerate()
            .find(|(_, (other, _))| *other == path);
        Ok(found.map(|(index, (path, contents))| self.entry(index, path, contents.as_ref())))
    }

    fn list(&self, directory: &Entry) -> Result<Vec<Entry>, ReadError> {
        let path = self.entries.keys().nth(directory.inode as usize).unwrap();
        let child = |other: &str| {
            other
                .strip_prefix(path.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|name| !name.contains('/'))
        };
        let children = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, (other, _))| child(other));
        Ok(children
            .map(|(index, (path, contents))| self.entry(index, path, contents.as_ref()))
            .collect())
    }

    fn read_at(&self, file: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let contents = self
            .entries
            .values()
            .nth(file.inode as usize)
            .unwrap()
            .as_ref()
            .unwrap();
        let length = (buffer.len() as u64).min(contents.size_bytes.saturating_sub(offset)) as usize;
        let from = (offset as usize).min(contents.bytes.len());
        let stored = &contents.bytes[from..contents.bytes.len().min(from + length)];
        buffer[..stored.len()].copy_from_slice(stored);
        buffer[stored.len()..length].fill(0);
        Ok(length)
    }

    fn prefetch(&self, _: &Entry, _: &[Range<u64>]) {}
}
