//! Decides what was read means: would each member start, and would they make a cluster.
//!
//! Pure: it sees what [`crate::member`] collected, and answers data that can be shown.
//!
//! Invariants: a verdict worse than [`Verdict::Restorable`] comes with a problem that explains it, and says
//! what to do; a warning never changes a verdict.

mod exclusion;
mod member;
mod participant;
mod report;
mod set;
mod start;
mod warnings;

pub use member::judge_member;
pub use report::{MemberReport, RevisionRange, SetReport, Verdict};
pub use set::judge_set;
