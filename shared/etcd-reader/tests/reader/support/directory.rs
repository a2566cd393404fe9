//! A volume's files, out of a directory on this machine.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use etcd_reader::ReadError;
use etcd_reader::files::{Entry, EntryKind, Files};

/// The files below a directory.
pub struct Directory {
    root: PathBuf,
    /// Paths by the number that stands for an inode.
    paths: Mutex<Vec<PathBuf>>,
}

impl Directory {
    /// Takes the directory for a volume's root.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            root: root.as_ref().to_owned(),
            paths: Mutex::new(Vec::new()),
        }
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = match metadata.file_type() {
            kind if kind.is_file() => EntryKind::File,
            kind if kind.is_dir() => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .map_err(io::Error::other)?;
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.push(path.to_owned());
        Ok(Entry {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            kind,
            inode: paths.len() as u64 - 1,
            size_bytes: if kind == EntryKind::File {
                metadata.len()
            } else {
                0
            },
            modified_seconds: modified.as_secs() as i64,
        })
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)[entry.inode as usize].clone()
    }
}

fn unreadable(error: io::Error) -> ReadError {
    ReadError::Unreadable(error.to_string())
}

impl Files for Directory {
    fn find(&self, path: &str) -> Result<Option<Entry>, ReadError> {
        match self.entry(&self.root.join(path.trim_start_matches('/'))) {
            Ok(entry) => Ok(Some(entry)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    fn list(&self, directory: &Entry) -> Result<Vec<Entry>, ReadError> {
        let entries = fs::read_dir(self.path(directory)).map_err(unreadable)?;
        entries
            .map(|entry| self.entry(&entry?.path()))
            .collect::<io::Result<_>>()
            .map_err(unreadable)
    }

    fn read_at(&self, file: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let opened = File::open(self.path(file)).map_err(unreadable)?;
        let mut read = 0;
        while read < buffer.len() {
            match opened
                .read_at(&mut buffer[read..], offset + read as u64)
                .map_err(unreadable)?
            {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }

    fn prefetch(&self, _: &Entry, _: &[Range<u64>]) {}
}
