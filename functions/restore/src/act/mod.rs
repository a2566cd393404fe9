//! What is done: it writes AWS and the table of restores, and decides nothing.
//!
//! Invariant: every write runs under the cluster's lease, and ends with it.

pub mod execution;
pub mod lease;
pub mod masters;
pub mod volumes;

use std::time::Duration;

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::restore_record::RestoreRecord;
use tokio::time::{Instant, sleep};

use lease::{LeaseLost, RecordError};

/// EC2's authorization may lag the tags that it goes by, by seconds.
const AUTHORIZATION_LAG_MAX: Duration = Duration::from_secs(15);
/// Between two attempts meanwhile.
const AUTHORIZATION_RETRIED_AFTER: Duration = Duration::from_secs(2);
/// What EC2 and Auto Scaling say where a policy doesn't allow a call.
const UNAUTHORIZED: [&str; 3] = [
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
];

/// What ended the work before its end.
#[derive(Debug)]
pub enum Stop {
    /// Another invocation may be at work: nothing more is written, not even to clean up.
    LeaseLost(LeaseLost),
    /// Anything else.
    Failed(Diagnostic),
}

impl From<LeaseLost> for Stop {
    fn from(lost: LeaseLost) -> Self {
        Self::LeaseLost(lost)
    }
}

impl From<AwsError> for Stop {
    fn from(error: AwsError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Diagnostic> for Stop {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Failed(diagnostic)
    }
}

impl From<RecordError> for Stop {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Aws(error) => error.into(),
            RecordError::LeaseLost(lost) => lost.into(),
        }
    }
}

/// A record as the table is given it.
///
/// # Errors
///
/// None in practice.
pub fn body(record: &RestoreRecord) -> Result<String, Diagnostic> {
    record
        .body()
        .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))
}

/// A write that is allowed by a tag written a moment ago: a refusal is asked about again for a while.
async fn by_fresh_tag<T>(write: impl AsyncFn() -> Result<T, AwsError>) -> Result<T, AwsError> {
    let began = Instant::now();
    loop {
        match write().await {
            Err(error)
                if UNAUTHORIZED.iter().any(|code| error.is(code))
                    && began.elapsed() < AUTHORIZATION_LAG_MAX =>
            {
                sleep(AUTHORIZATION_RETRIED_AFTER).await;
            }
            result => return result,
        }
    }
}
