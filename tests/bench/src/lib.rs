//! What the benchmarks stand on: an AWS whose answers are made ahead, a Lambda runtime API that tells
//! when a function first asks for an event, and processes whose time, CPU and memory are taken.
//!
//! Invariants: nothing leaves the loopback; whatever goes wrong panics with what was tried, as there is
//! nothing to measure then.

pub mod aws;
mod calls;
pub mod dataset;
pub mod process;
pub mod runtime;
mod server;
pub mod snapshots;

pub use aws::{Behaviour, BenchmarkAws};
pub use dataset::Dataset;
pub use process::{Started, Taken};
pub use runtime::RuntimeApi;
pub use snapshots::SnapshotAws;
