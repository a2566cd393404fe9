//! A volume's blocks, out of an image file on this machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use etcd_reader::ReadError;
use etcd_reader::block::{BLOCK_BYTES, BlockSource};

/// An image file. Only what is asked for is read.
pub struct Image {
    file: File,
    size_bytes: u64,
}

impl Image {
    /// Opens an image.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { file, size_bytes })
    }
}

impl BlockSource for Image {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn block(&self, index: u64) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
        let mut block = vec![0; BLOCK_BYTES];
        let (mut filled, from) = (0, index * BLOCK_BYTES as u64);
        while filled < BLOCK_BYTES {
            let read = self
                .file
                .read_at(&mut block[filled..], from + filled as u64);
            match read.map_err(|error| ReadError::Unreadable(error.to_string()))? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(block.iter().any(|&byte| byte != 0).then(|| block.into()))
    }

    fn prefetch(&self, _: &[u64]) {}

    fn forget(&self, _: &[u64]) {}
}
