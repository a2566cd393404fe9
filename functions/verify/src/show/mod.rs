//! How it is said: decides nothing.

pub mod answer;
pub mod metrics;
pub mod text;
