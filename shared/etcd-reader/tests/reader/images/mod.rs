//! Volumes for tests: held in memory block by block, and unpacked from `tests/fixtures`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use etcd_reader::ReadError;
use etcd_reader::block::{BLOCK_BYTES, BlockSource};

/// The sets of volumes in `tests/fixtures` that `etcd-sets.json` is about.
#[allow(dead_code)]
pub const ETCD_SETS: [&str; 6] = [
    "etcd-3.5.30-b",
    "etcd-3.6.14-b",
    "etcd-3.7.1-a",
    "etcd-3.7.1-b",
    "quiet-single",
    "two-data-directories",
];

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// A volume in memory. Blocks of zeros are absent, as they are from a snapshot.
#[derive(Default)]
pub struct MemoryVolume {
    size_bytes: u64,
    blocks: HashMap<u64, Arc<Vec<u8>>>,
    /// Each block that was read or hinted, in order.
    calls: Mutex<Vec<Call>>,
}

/// What a reader asked of a [`MemoryVolume`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The block was read.
    Block(u64),
    /// The block was named as one that will be read soon.
    Prefetch(u64),
    /// The block was named as one that won't be read after all.
    Forget(u64),
}

#[allow(dead_code)]
impl MemoryVolume {
    /// A volume of zeros.
    pub fn blank(size_bytes: u64) -> Self {
        Self {
            size_bytes,
            ..Self::default()
        }
    }

    /// The same volume with another size.
    pub fn resized(mut self, size_bytes: u64) -> Self {
        self.size_bytes = size_bytes;
        self.blocks
            .retain(|index, _| index * (BLOCK_BYTES as u64) < size_bytes);
        self
    }

    /// Takes an image in, whose length is rounded up to whole blocks with zeros.
    pub fn read_from(mut image: impl Read) -> Self {
        let mut volume = Self::default();
        for index in 0.. {
            let mut block = vec![0; BLOCK_BYTES];
            let read = read_full(&mut image, &mut block);
            volume.size_bytes += read as u64;
            if block[..] != ZEROS[..] {
                volume.blocks.insert(index, block.into());
            }
            if read < BLOCK_BYTES {
                break;
            }
        }
        volume
    }

    /// The volume's bytes from an offset on.
    pub fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let at = offset + filled as u64;
            let within = (at % BLOCK_BYTES as u64) as usize;
            let part = (BLOCK_BYTES - within).min(length - filled);
            if let Some(block) = self.blocks.get(&(at / BLOCK_BYTES as u64)) {
                bytes[filled..filled + part].copy_from_slice(&block[within..within + part]);
            }
            filled += part;
        }
        bytes
    }

    /// Overwrites bytes of the volume.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let block = self
                .blocks
                .entry(at / BLOCK_BYTES as u64)
                .or_insert_with(|| ZEROS.to_vec().into());
            Arc::make_mut(block)[(at % BLOCK_BYTES as u64) as usize] = *byte;
        }
    }

    /// The indexes of the blocks that hold anything, ascending.
    pub fn written(&self) -> Vec<u64> {
        let mut indexes: Vec<u64> = self.blocks.keys().copied().collect();
        indexes.sort_unstable();
        indexes
    }

    /// What was asked since the last time, in order.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// The whole image, for readers that want a file.
    pub fn write_to(&self, path: &Path) {
        use std::os::unix::fs::FileExt;
        let file = File::create(path).unwrap();
        file.set_len(self.size_bytes).unwrap();
        for (index, block) in &self.blocks {
            let offset = index * BLOCK_BYTES as u64;
            let length = (self.size_bytes - offset).min(BLOCK_BYTES as u64) as usize;
            file.write_all_at(&block[..length], offset).unwrap();
        }
    }
}

impl Clone for MemoryVolume {
    /// Shares the blocks, so that a changed copy costs only what was changed.
    fn clone(&self) -> Self {
        Self {
            size_bytes: self.size_bytes,
            blocks: self.blocks.clone(),
            calls: Mutex::default(),
        }
    }
}

impl BlockSource for MemoryVolume {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn block(&self, index: u64) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
        assert!(
            index * (BLOCK_BYTES as u64) < self.size_bytes,
            "block {index} is beyond the end"
        );
        self.calls.lock().unwrap().push(Call::Block(index));
        Ok(self.blocks.get(&index).cloned())
    }

    fn prefetch(&self, indexes: &[u64]) {
        assert!(
            indexes
                .iter()
                .all(|index| index * (BLOCK_BYTES as u64) < self.size_bytes)
        );
        let mut calls = self.calls.lock().unwrap();
        calls.extend(indexes.iter().copied().map(Call::Prefetch));
    }

    fn forget(&self, indexes: &[u64]) {
        let mut calls = self.calls.lock().unwrap();
        calls.extend(indexes.iter().copied().map(Call::Forget));
    }
}

/// Where the fixtures are.
#[allow(dead_code)]
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The volumes in `tests/fixtures/NAME.tar.zst`, by the images' names without `.img`.
pub fn volumes(name: &str) -> BTreeMap<String, MemoryVolume> {
    let path = fixtures().join(format!("{name}.tar.zst"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let unpacked = ruzstd::decoding::StreamingDecoder::new(file).unwrap();
    let mut archive = tar::Archive::new(unpacked);
    let mut volumes = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.extension().is_some_and(|extension| extension == "img") {
            let member = path.file_stem().unwrap().to_str().unwrap().to_owned();
            volumes.insert(member, MemoryVolume::read_from(entry));
        }
    }
    assert!(!volumes.is_empty(), "{} holds no image", path.display());
    volumes
}

/// One of the small filesystems in `ext4-images`.
#[allow(dead_code)]
pub fn ext4_image(name: &str) -> MemoryVolume {
    static IMAGES: LazyLock<BTreeMap<String, MemoryVolume>> =
        LazyLock::new(|| volumes("ext4-images"));
    IMAGES
        .get(name)
        .unwrap_or_else(|| panic!("there is no {name}"))
        .clone()
}

/// Fills the buffer as far as there is something to read.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]).unwrap() {
            0 => break,
            read => filled += read,
        }
    }
    filled
}

/// A filesystem's superblock, to be changed and written back with its checksum made right.
#[allow(dead_code)]
pub struct Superblock(Vec<u8>);

#[allow(dead_code)]
impl Superblock {
    pub fn of(volume: &MemoryVolume) -> Self {
        Self(volume.bytes(1024, 1024))
    }

    pub fn get32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    pub fn set32(&mut self, at: usize, number: u32) {
        self.0[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }

    pub fn write_to(mut self, volume: &mut MemoryVolume) {
        let checksum = !crc32c::crc32c(&self.0[..0x3fc]);
        self.set32(0x3fc, checksum);
        volume.write(1024, &self.0);
    }
}
