//! What is there. It reads AWS and the table of restores, and decides nothing.

pub mod candidates;
pub mod control_plane;
pub mod inventory;
pub mod records;
