//! The blocks of a snapshot, read without making a volume of it: the EBS direct APIs as verify needs them.
//!
//! Unlike the other traits of [`crate::aws`], these name their futures' bounds: many blocks are fetched at
//! the same time, by tasks of their own.

use std::future::Future;
use std::sync::Arc;

use thiserror::Error;

use crate::aws::AwsError;
use crate::ids::SnapshotId;

/// Bytes in a block.
///
/// Source: EBS direct APIs, `ListSnapshotBlocks`, `BlockSize`.
pub const BLOCK_BYTES: usize = 512 * 1024;

/// A block that was written, as a listing names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBlock {
    /// Its place in the volume, counted in blocks.
    pub index: u64,
    /// What its content is asked for with; valid for 7 days.
    pub token: Box<str>,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockPage {
    /// Blocks by ascending index; what isn't listed was never written. May be empty though more pages follow.
    pub blocks: Vec<ListedBlock>,
    /// The volume's size in GiB.
    pub volume_size_gib: u64,
    /// What the next page is asked for with; `None` for the last page.
    pub next: Option<String>,
}

/// Why blocks can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The KMS key that the snapshot is encrypted with can't be used.
    #[error("its KMS key can't be used: {0}")]
    Key(AwsError),
    /// Anything else.
    #[error("{0}")]
    Aws(#[from] AwsError),
}

/// Reading the blocks of snapshots.
pub trait SnapshotBlocks: Send + Sync {
    /// A page of the blocks that were written; the first one for no token.
    fn block_page(
        &self,
        snapshot: &SnapshotId,
        page: Option<&str>,
    ) -> impl Future<Output = Result<BlockPage, BlockError>> + Send;

    /// A block's content, [`BLOCK_BYTES`] long, whose checksum was compared.
    fn block(
        &self,
        snapshot: &SnapshotId,
        block: &ListedBlock,
    ) -> impl Future<Output = Result<Arc<Vec<u8>>, BlockError>> + Send;
}
