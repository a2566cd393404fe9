//! The blocks of a snapshot, as the EBS direct APIs give them.

use std::sync::Arc;

use crate::ReadError;

/// Bytes in a block of the EBS direct APIs.
///
/// Source: EBS direct APIs, `ListSnapshotBlocks`, `BlockSize`.
pub const BLOCK_BYTES: usize = 512 * 1024;

/// Gives a volume's blocks. Reads may come from several threads.
pub trait BlockSource: Send + Sync {
    /// The volume's size in bytes.
    fn size_bytes(&self) -> u64;

    /// A block of [`BLOCK_BYTES`] bytes; `None` where nothing was ever written, which reads as zeros.
    /// Waits until the block is there. The same block may be asked for again.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unreadable`] when the source fails, and for nothing else.
    fn block(&self, index: u64) -> Result<Option<Arc<Vec<u8>>>, ReadError>;

    /// Says which blocks will be asked for soon, in this order. Returns at once, and never fails: what
    /// can't be fetched ahead fails when it is asked for.
    ///
    /// A block may be named more than once, and some are named in vain. So a source that limits what it
    /// holds must let go of what nobody came for.
    fn prefetch(&self, indexes: &[u64]);

    /// Says which blocks that were announced won't be asked for after all.
    fn forget(&self, indexes: &[u64]);
}

impl<S: BlockSource + ?Sized> BlockSource for &S {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn block(&self, index: u64) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
        (**self).block(index)
    }

    fn prefetch(&self, indexes: &[u64]) {
        (**self).prefetch(indexes);
    }

    fn forget(&self, indexes: &[u64]) {
        (**self).forget(indexes);
    }
}
