//! How it is said: answers for programs, and the same as text for people. It decides nothing.

pub mod answer;
pub mod history;
pub mod list;
pub mod next_steps;
pub mod text;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

/// A time for people, in whole seconds. Rounded up, as `at` takes what is at or before it.
fn seconds(at: Timestamp) -> String {
    let round = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Ceil);
    at.round(round).unwrap_or(at).to_string()
}
