//! What is there: reads AWS, decides nothing.

pub mod inventory;
pub mod members;
pub mod snapshot_volume;
