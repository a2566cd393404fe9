//! What the end-to-end tests stand on: an emulated AWS for each test, fleets as kops makes them, and
//! the functions' real binaries under the Lambda runtime API.
//!
//! Invariants: nothing is shared between two tests but the process that new emulated AWSs are forked
//! from; nothing outlives the test process; whatever goes wrong in here panics with what was tried,
//! because a test can do nothing else about it.

pub mod candidates;
pub mod emulated_aws;
pub mod fleet;
pub mod lambda;
pub mod story;

pub use emulated_aws::{
    Call, Denied, EmulatedAws, Fault, Message, Outcome, REGION, Used, Violation,
};
pub use fleet::{Cluster, Kops, Style};
pub use lambda::{CrashPoint, FailedStart, Function, InvocationOptions, LambdaError};
pub use story::{BackedUpFleet, backed_up_fleet, backed_up_once};
