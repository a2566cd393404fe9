//! Why something could not be read.

use thiserror::Error;

/// Why something could not be read. The three kinds lead to different verdicts, so they are never
/// converted into each other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The data is in a form that this reader doesn't know, so that nothing can be said of it.
    #[error("{0}")]
    Unsupported(String),
    /// The data contradicts itself, or the format that it claims to have.
    #[error("{0}")]
    Damaged(String),
    /// The source of the blocks failed: access denied, throttled for too long, out of time.
    #[error("{0}")]
    Unreadable(String),
}
