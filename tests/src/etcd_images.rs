//! Volumes of real etcd members, as files that the emulated AWS reads blocks from: the fixtures of the
//! crate `etcd-reader`, unpacked once into the target folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

const BLOCK_BYTES: usize = 512 * 1024;

/// The images of a set, by member.
#[derive(Clone, Debug)]
pub struct EtcdImages {
    /// The set's name.
    pub name: String,
    /// By the member's name.
    pub images: BTreeMap<String, PathBuf>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/etcd-reader/tests/fixtures")
}

/// What real restarts of the given sets showed, by set.
pub fn truth() -> BTreeMap<String, Value> {
    truth_of("etcd-sets.json")
}

/// What real restarts of sets showed, by set, as a fixture has it.
///
/// # Panics
///
/// When it can't be read.
pub fn truth_of(fixture: &str) -> BTreeMap<String, Value> {
    let file = File::open(fixtures().join(fixture)).expect("the sets' truth");
    serde_json::from_reader(file).expect("the sets' truth is JSON")
}

/// Unpacks a set; another test that does the same does no harm.
///
/// # Panics
///
/// When there is no such set, or it can't be unpacked.
pub fn etcd_images(name: &str) -> EtcdImages {
    let folder = scratch().join(name);
    if !folder.is_dir() {
        unpack(name, &folder).unwrap_or_else(|error| panic!("unpacking {name}: {error}"));
    }
    let found = fs::read_dir(&folder).expect("an unpacked set");
    let images = found.map(|entry| {
        let path = entry.expect("an image").path();
        let member = path.file_stem().and_then(|stem| stem.to_str());
        (member.expect("a member's name").to_owned(), path.clone())
    });
    EtcdImages {
        name: name.to_owned(),
        images: images.collect(),
    }
}

impl EtcdImages {
    /// A copy in a folder of its own, to be damaged.
    ///
    /// # Panics
    ///
    /// When it can't be copied.
    pub fn copy_to(&self, folder: &Path) -> Self {
        let copies = self.images.iter().map(|(member, image)| {
            let copy = folder.join(format!("{member}.img"));
            let from = File::open(image).expect("an image");
            let size = from.metadata().expect("an image's size").len();
            write_sparse(from, &copy, size).expect("a copy of an image");
            (member.clone(), copy)
        });
        Self {
            name: self.name.clone(),
            images: copies.collect(),
        }
    }

    /// Overwrites every page of a member's database that holds revisions, wherever it lies on the volume:
    /// each page of 4 KiB that says that it is a leaf.
    ///
    /// # Panics
    ///
    /// When the image can't be written, or has no such page.
    pub fn damage_database(&self, member: &str) {
        let path = &self.images[member];
        let file = File::options().read(true).write(true).open(path);
        let file = file.expect("an image");
        let mut block = vec![0; BLOCK_BYTES];
        let (mut at, mut damaged) = (0, 0);
        while let Ok(read @ 1..) = file.read_at(&mut block, at) {
            for (place, page) in block[..read].chunks(4096).enumerate() {
                // bbolt's header: id, flags (2: leaf), count, overflow. Revisions are 17 bytes long.
                let is_leaf = page.len() == 4096
                    && page[8..10] == [2, 0]
                    && page[4..8] == [0; 4]
                    && page[10..12] != [0; 2]
                    && page[16..20] == [0; 4]
                    && page[24..28] == 17_u32.to_le_bytes();
                if is_leaf {
                    let offset = at + (place * 4096) as u64;
                    file.write_all_at(&[0xff; 64], offset + 16).expect("a page");
                    damaged += 1;
                }
            }
            at += read as u64;
        }
        assert!(damaged > 0, "{}: no page was damaged", path.display());
    }
}

/// In the target folder, beside the binaries.
fn scratch() -> PathBuf {
    let binary = std::env::current_exe().expect("the test's own path");
    let target = binary
        .ancestors()
        .find(|path| path.ends_with("debug") || path.ends_with("release"));
    target.expect("a target folder").join("etcd-images")
}

fn unpack(name: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(scratch())?;
    let unfinished = tempfile::tempdir_in(scratch())?;
    let file = File::open(fixtures().join(format!("{name}.tar.zst")))?;
    let unpacked = ruzstd::decoding::StreamingDecoder::new(file).map_err(io::Error::other)?;
    for entry in tar::Archive::new(unpacked).entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        if path.extension().is_some_and(|extension| extension == "img") {
            let into = unfinished.path().join(path.file_name().unwrap_or_default());
            let size = entry.size();
            write_sparse(entry, &into, size)?;
        }
    }
    match fs::rename(unfinished.path(), folder) {
        // Somebody else was faster.
        Err(_) if folder.is_dir() => Ok(()),
        renamed => renamed,
    }
}

fn write_sparse(mut from: impl Read, path: &Path, size: u64) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(size)?;
    let mut block = vec![0; BLOCK_BYTES];
    let zeros = vec![0; BLOCK_BYTES];
    let mut at = 0;
    loop {
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            match from.read(&mut block[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        if block[..filled] != zeros[..filled] {
            file.write_all_at(&block[..filled], at)?;
        }
        at += filled as u64;
    }
}
