//! What is done: snapshots are tagged. Writes AWS, decides nothing.

use etcd_backup_core::aws::{AwsError, SnapshotTagger};
use futures::{StreamExt, TryStreamExt, stream};

use crate::decide::tags::SnapshotTags;

/// How many snapshots are tagged at the same time.
const TAGGED_AT_ONCE: usize = 8;

/// Writes the tags. What was written before a failure stays; the same event writes all of it again.
///
/// # Errors
///
/// When a call fails.
pub async fn tag(aws: &impl SnapshotTagger, tags: &[SnapshotTags]) -> Result<(), AwsError> {
    // Where there is no room for a single one, there is nothing to be written.
    let with_tags = tags.iter().filter(|of| !of.tags.is_empty());
    stream::iter(with_tags.map(|of| aws.tag_snapshot(&of.snapshot_id, &of.tags)))
        .buffer_unordered(TAGGED_AT_ONCE)
        .try_collect()
        .await
}
