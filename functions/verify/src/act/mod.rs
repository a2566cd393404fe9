//! What is done: snapshots are tagged. Writes AWS, decides nothing.

use etcd_backup_core::aws::{AwsError, SnapshotTagger};
use futures::{StreamExt, stream};

use crate::decide::tags::SnapshotTags;

/// How many snapshots are tagged at the same time.
const TAGGED_AT_ONCE: usize = 8;

/// Writes the tags, and goes on past failures: gives what became of each. The same event writes all of it
/// again.
pub async fn tag(
    aws: &impl SnapshotTagger,
    tags: Vec<SnapshotTags>,
) -> Vec<(SnapshotTags, Result<(), AwsError>)> {
    let write = |of: SnapshotTags| async move {
        // Where a snapshot has no room for a single tag, there is nothing to write.
        let result = if of.tags.is_empty() {
            Ok(())
        } else {
            aws.tag_snapshot(&of.snapshot_id, &of.tags).await
        };
        (of, result)
    };
    stream::iter(tags.into_iter().map(write))
        .buffer_unordered(TAGGED_AT_ONCE)
        .collect()
        .await
}
