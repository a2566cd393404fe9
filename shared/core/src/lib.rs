//! What this project knows, without a word of any SDK: kops etcd volumes and their tags, DLM
//! schedules and runs, snapshots and the restore points they make, settings, and the errors that
//! leave a function.
//!
//! Everything here is synchronous and pure. The clock, the environment and AWS are read elsewhere
//! and handed in; [`aws`] holds the traits behind which AWS stands.

pub mod alert;
pub mod aws;
pub mod aws_cli;
pub mod deployment;
pub mod diagnostic;
pub mod discovery;
pub mod event_time;
pub mod fleet;
pub mod generation;
pub mod iam;
pub mod ids;
pub mod lifecycle_policy;
pub mod listing;
pub mod metrics;
pub mod provenance;
pub mod restore_point;
pub mod restore_record;
pub mod restore_table;
pub mod restore_tags;
pub mod schedule;
pub mod schema;
pub mod settings;
pub mod snapshot;
pub mod snapshot_blocks;
pub mod tags;
pub mod verdict;
pub mod version;
pub mod volume;
pub mod written_event;

pub use tags::Tags;
