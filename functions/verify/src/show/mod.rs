//! How results are shown: answers, text and metrics. Nothing is decided here.

pub mod answer;
pub mod metrics;
pub mod text;
