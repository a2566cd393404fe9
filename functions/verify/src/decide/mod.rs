//! What is to be read, and what it means: pure functions of what was collected.
//!
//! - [`choice`]: which snapshots an event is about, and whether there is anything to do;
//! - [`assessment`]: the verdicts, with what the tags of older snapshots say ([`earlier`]);
//! - [`tags`]: what is written down of it, and what became of that;
//! - [`sweep`]: which cluster comes when, and how long it may take.

pub mod assessment;
pub mod choice;
pub mod earlier;
pub mod sweep;
pub mod tags;
