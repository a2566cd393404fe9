//! Times in events that people write.

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};

/// Reads a time, or null for none: for serde's `deserialize_with`.
///
/// # Errors
///
/// Where it is no time: how one is written.
pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let written = Option::<String>::deserialize(deserializer)?;
    let read = written.map(|written| {
        written.parse().map_err(|_| {
            D::Error::custom(format!(
                "{written:?} is no time: write it in UTC like 2026-11-22T07:30:00Z"
            ))
        })
    });
    read.transpose()
}
