//! How results are shown: answers for programs, and the same as text for people. Nothing is decided here.

pub mod answer;
pub mod history;
pub mod list;
pub mod next_steps;
pub mod text;
