//! What the end-to-end tests stand on: an emulated AWS for each test, fleets as kops makes them, and
//! the functions' real binaries under the Lambda runtime API.
//!
//! Invariants: nothing is shared between two tests but the process that new emulated AWSs are forked
//! from; nothing outlives the test process; whatever goes wrong in here panics with what was tried,
//! because a test can do nothing else about it.

pub mod backed_up;
pub mod candidates;
pub mod chat;
pub mod emulated_aws;
pub mod etcd_images;
pub mod fleet;
pub mod kops_fleets;
pub mod lambda;
pub mod policies;
pub mod restore_bed;
pub mod restores;
pub mod schemas;
pub mod verify_bed;

pub use backed_up::{BackedUpFleet, backed_up_fleet, backed_up_once};
pub use chat::shown_in_chat;
pub use emulated_aws::{
    Actor, Call, Denied, EmulatedAws, Fault, Found, MasterDid, MasterEvent, Message, MountedBy,
    Outcome, REGION, RESTORES_TABLE, Resumption, Used, Violation,
};
pub use etcd_images::{EtcdImages, etcd_images};
pub use fleet::{Cluster, Kops, Style};
pub use kops_fleets::{KopsFleet, kops_accounts, kops_fleets};
pub use lambda::{CrashPoint, FUNCTIONS, FailedStart, Function, InvocationOptions, LambdaError};
pub use restore_bed::RestoreBed;
pub use verify_bed::VerifyBed;
