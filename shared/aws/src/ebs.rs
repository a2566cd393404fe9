//! The EBS direct APIs: the blocks of a snapshot.
//!
//! A block counts as fetched when its whole body is here and its checksum is right, so it is all of this
//! that is tried again and that has a time limit. The SDK's own retries end when the headers have come,
//! and share one budget among all calls, which hundreds of parallel reads use up at once: they are off.
//!
//! Throttling is HTTP 400 here, with a code of its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_sdk_ebs::error::SdkError;
use aws_sdk_ebs::types::ChecksumAlgorithm;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::base64;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use etcd_backup_core::aws::AwsError;
use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::snapshot_blocks::{
    BLOCK_BYTES, BlockError, BlockPage, ListedBlock, SnapshotBlocks,
};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

use crate::Aws;
use crate::error::{aws_error, incomplete};

const LIST: &str = "ebs:ListSnapshotBlocks";
const GET: &str = "ebs:GetSnapshotBlock";
/// The largest page.
const PAGE_SIZE: i32 = 10_000;
/// With the waits between them some 30 seconds. Whoever has less time gives up earlier.
const ATTEMPTS_MAX: u32 = 10;
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(6);
/// The time of one attempt, its body included: half a MiB, beside hundreds of others.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

const THROTTLED: [&str; 3] = [
    "ThrottlingException",
    "RequestThrottledException",
    "TooManyRequestsException",
];
/// Reasons that AWS gives where it is the snapshot's key that can't be used.
const KEY_REASONS: [&str; 2] = ["DEPENDENCY_ACCESS_DENIED", "INVALID_CUSTOMER_KEY"];

pub(crate) fn config(config: &SdkConfig) -> aws_sdk_ebs::Config {
    aws_sdk_ebs::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        // Each attempt has a time limit that covers its body.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

/// How an attempt failed, and whether another one may succeed.
struct Failure {
    error: BlockError,
    is_passing: bool,
}

impl SnapshotBlocks for Aws {
    async fn block_page(
        &self,
        snapshot: &SnapshotId,
        page: Option<&str>,
    ) -> Result<BlockPage, BlockError> {
        persist(LIST, || self.page_once(snapshot, page)).await
    }

    async fn block(
        &self,
        snapshot: &SnapshotId,
        block: &ListedBlock,
    ) -> Result<Arc<Vec<u8>>, BlockError> {
        persist(GET, || self.block_once(snapshot, block)).await
    }
}

impl Aws {
    async fn page_once(
        &self,
        snapshot: &SnapshotId,
        page: Option<&str>,
    ) -> Result<BlockPage, Failure> {
        let request = self.ebs().list_snapshot_blocks();
        let request = request.snapshot_id(snapshot.as_str());
        let request = request
            .max_results(PAGE_SIZE)
            .set_next_token(page.map(str::to_owned));
        let answer = request.send().await.map_err(failure(LIST, |error| {
            use aws_sdk_ebs::operation::list_snapshot_blocks::ListSnapshotBlocksError as Error;
            match error {
                Error::AccessDeniedException(denied) => Some(denied.reason().as_str().to_owned()),
                Error::ValidationException(refused) => Some(refused.reason()?.as_str().to_owned()),
                _ => None,
            }
        }))?;
        let blocks = answer.blocks().iter().map(|block| {
            Some(ListedBlock {
                index: block.block_index()?.try_into().ok()?,
                token: block.block_token()?.into(),
            })
        });
        let lacking = || lasting(incomplete(LIST));
        Ok(BlockPage {
            blocks: blocks.collect::<Option<_>>().ok_or_else(lacking)?,
            volume_size_gib: answer
                .volume_size()
                .and_then(|size| size.try_into().ok())
                .ok_or_else(lacking)?,
            next: answer.next_token.filter(|token| !token.is_empty()),
        })
    }

    async fn block_once(
        &self,
        snapshot: &SnapshotId,
        block: &ListedBlock,
    ) -> Result<Arc<Vec<u8>>, Failure> {
        let index = i32::try_from(block.index).map_err(|_| {
            lasting(refused_here(
                "the block's index is larger than any volume's",
            ))
        })?;
        let request = self
            .ebs()
            .get_snapshot_block()
            .snapshot_id(snapshot.as_str())
            .block_index(index)
            .block_token(&*block.token);
        let mut answer = request.send().await.map_err(failure(GET, |error| {
            use aws_sdk_ebs::operation::get_snapshot_block::GetSnapshotBlockError as Error;
            match error {
                Error::AccessDeniedException(denied) => Some(denied.reason().as_str().to_owned()),
                Error::ValidationException(refused) => Some(refused.reason()?.as_str().to_owned()),
                _ => None,
            }
        }))?;
        if answer.checksum_algorithm() != Some(&ChecksumAlgorithm::ChecksumAlgorithmSha256) {
            return Err(lasting(refused_here(
                "the block comes without a checksum by SHA-256",
            )));
        }
        let expected = answer
            .checksum()
            .and_then(|checksum| base64::decode(checksum).ok());
        let mut content = Vec::with_capacity(BLOCK_BYTES);
        let mut hash = Sha256::new();
        while let Some(chunk) = answer.block_data.next().await {
            let chunk = chunk.map_err(|error| passing(lost(error.to_string())))?;
            if content.len() + chunk.len() > BLOCK_BYTES {
                return Err(passing(lost("the block is longer than 512 KiB".to_owned())));
            }
            content.extend_from_slice(&chunk);
            hash.update(&chunk);
        }
        if content.len() != BLOCK_BYTES {
            let message = format!("the block ended after {} bytes", content.len());
            return Err(passing(lost(message)));
        }
        if expected.as_deref() != Some(&hash.finalize()[..]) {
            let message = format!("the checksum of block {} is wrong", block.index);
            return Err(passing(lost(message)));
        }
        Ok(Arc::new(content))
    }
}

/// Tries until it succeeds, or fails for good.
async fn persist<T, Attempt>(
    operation: &'static str,
    attempt: impl Fn() -> Attempt,
) -> Result<T, BlockError>
where
    Attempt: Future<Output = Result<T, Failure>>,
{
    let mut tried = 0;
    loop {
        let outcome = timeout(ATTEMPT_TIMEOUT, attempt()).await;
        let failure = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(failure)) => failure,
            Err(_) => passing(AwsError {
                operation,
                ..lost(format!("no answer within {} s", ATTEMPT_TIMEOUT.as_secs()))
            }),
        };
        tried += 1;
        if !failure.is_passing || tried == ATTEMPTS_MAX {
            return Err(failure.error);
        }
        sleep(wait(tried)).await;
    }
}

/// Twice as long each time, and from half of that to all of it at random, so that calls that were throttled
/// together don't come back together.
fn wait(tried: u32) -> Duration {
    let most = WAIT_FIRST.saturating_mul(1 << (tried - 1).min(16));
    let random = RandomState::new().hash_one(tried) % 1000;
    most.min(WAIT_MAX)
        .mul_f64(0.5 + f64::from(u16::try_from(random).unwrap_or(0)) / 2000.0)
}

fn failure<E>(
    operation: &'static str,
    reason: impl Fn(&E) -> Option<String>,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| {
        let reason = error.as_service_error().and_then(&reason);
        let is_server_fault = error
            .raw_response()
            .is_none_or(|response| response.status().is_server_error());
        let mut error = aws_error(operation)(error);
        let is_throttled = THROTTLED.iter().any(|code| error.is(code));
        let is_key = reason
            .as_deref()
            .is_some_and(|reason| KEY_REASONS.contains(&reason));
        if let Some(reason) = reason {
            error.message = format!("{} ({reason})", error.message);
        }
        Failure {
            is_passing: is_throttled || is_server_fault,
            error: if is_key {
                BlockError::Key(error)
            } else {
                BlockError::Aws(error)
            },
        }
    }
}

fn passing(error: AwsError) -> Failure {
    Failure {
        error: error.into(),
        is_passing: true,
    }
}

fn lasting(error: AwsError) -> Failure {
    Failure {
        error: error.into(),
        is_passing: false,
    }
}

/// A block that came incomplete, or otherwise than it was sent.
fn lost(message: String) -> AwsError {
    AwsError {
        operation: GET,
        code: None,
        message,
        request_id: None,
        certainly_refused: false,
    }
}

fn refused_here(message: &str) -> AwsError {
    lost(message.to_owned())
}
