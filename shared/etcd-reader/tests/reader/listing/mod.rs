//! Everything in a filesystem as text, by this crate's reader or from a mounted directory.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use etcd_reader::ReadError;
use etcd_reader::files::{Entry, EntryKind, Files};
use sha2::{Digest, Sha256};

/// Gives each file and directory below one to `visit`, with its path.
#[allow(dead_code)]
pub fn walk(files: &dyn Files, path: &str, directory: &Entry, visit: &mut dyn FnMut(&str, &Entry)) {
    for entry in files.list(directory).unwrap() {
        let path = format!("{path}/{}", entry.name);
        visit(&path, &entry);
        if entry.kind == EntryKind::Directory {
            walk(files, &path, &entry, visit);
        }
    }
}

/// A file's contents.
#[allow(dead_code)]
pub fn contents(files: &dyn Files, file: &Entry) -> Vec<u8> {
    let mut contents = vec![0xaa; usize::try_from(file.size_bytes).unwrap() + 1];
    let read = files.read_at(file, 0, &mut contents).unwrap();
    assert_eq!(read as u64, file.size_bytes);
    contents.truncate(read);
    contents
}

/// One line for each file and directory: kind, size, time, hash and path. Sorted.
#[allow(dead_code)]
pub fn listing(files: &dyn Files) -> Result<Vec<String>, ReadError> {
    let root = files.find("/")?.expect("a root");
    let mut lines = Vec::new();
    let mut directories = vec![(String::new(), root)];
    while let Some((above, directory)) = directories.pop() {
        for entry in files.list(&directory)? {
            let path = format!("{above}/{}", entry.name);
            let hash = match entry.kind {
                EntryKind::File => hash_of(files, &entry)?,
                EntryKind::Directory | EntryKind::Other => "-".to_owned(),
            };
            lines.push(line(
                entry.kind,
                entry.size_bytes,
                entry.modified_seconds,
                &hash,
                &path,
            ));
            if entry.kind == EntryKind::Directory {
                directories.push((path, entry));
            }
        }
    }
    lines.sort();
    Ok(lines)
}

/// The same of a directory of the machine that this runs on.
#[allow(dead_code)]
pub fn listing_of_directory(root: &Path) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut directories = vec![(String::new(), root.to_owned())];
    while let Some((above, directory)) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = fs::symlink_metadata(entry.path())?;
            let path = format!("{above}/{}", entry.file_name().to_str().unwrap());
            let mut file_bytes = 0;
            let mut hash = "-".to_owned();
            let kind = if metadata.is_file() {
                file_bytes = metadata.len();
                let mut file = fs::File::open(entry.path())?;
                hash = hash_from(|buffer| file.read(buffer))?;
                EntryKind::File
            } else if metadata.is_dir() {
                directories.push((path.clone(), entry.path()));
                EntryKind::Directory
            } else {
                EntryKind::Other
            };
            let modified_seconds = metadata.mtime();
            lines.push(line(kind, file_bytes, modified_seconds, &hash, &path));
        }
    }
    lines.sort();
    Ok(lines)
}

/// How many lines there are, and what they hash to.
#[allow(dead_code)]
pub fn digest(lines: &[String]) -> String {
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(line);
        hasher.update("\n");
    }
    let hash: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{} {hash}", lines.len())
}

fn hash_of(files: &dyn Files, file: &Entry) -> Result<String, ReadError> {
    let mut offset = 0;
    hash_from(|buffer| {
        let read = files.read_at(file, offset, buffer)?;
        offset += read as u64;
        Ok(read)
    })
}

/// The hash of all that `read` fills buffers with, until it fills nothing.
fn hash_from<E>(mut read: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<String, E> {
    let mut hash = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let filled = read(&mut buffer)?;
        if filled == 0 {
            return Ok(format!("{hash:08x}"));
        }
        hash = crc32c::crc32c_append(hash, &buffer[..filled]);
    }
}

fn line(kind: EntryKind, file_bytes: u64, modified_seconds: i64, hash: &str, path: &str) -> String {
    format!("{path} {kind:?} {file_bytes} {modified_seconds} {hash}")
}
