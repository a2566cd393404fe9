//! Times in events that people write, and times that they may write there.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
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

/// A time for people, in whole seconds. Rounded up, as restore's `at` takes what is at or before it.
pub fn in_seconds(at: Timestamp) -> String {
    let round = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Ceil);
    at.round(round).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_shown_is_not_before_what_it_is_of() {
        for (at, shown) in [
            ("2026-11-22T06:03:10Z", "2026-11-22T06:03:10Z"),
            ("2026-11-22T06:03:10.000000001Z", "2026-11-22T06:03:11Z"),
            ("2026-11-22T06:03:59.42Z", "2026-11-22T06:04:00Z"),
        ] {
            assert_eq!(in_seconds(at.parse().unwrap()), shown);
        }
    }
}
