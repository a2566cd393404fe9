//! How it is said: answers for programs, and the same as text for people. It decides nothing.

pub mod answer;
pub mod history;
pub mod list;
pub mod next_steps;
pub mod text;
