//! Reads the etcd database inside a snapshot of an etcd volume, and says whether etcd would start.
//!
//! The layers, each of which knows only the one below: [`block`] gives the volume's blocks,
//! [`ext4`] makes [`files`] of them, and what reads etcd-manager's layout, the database
//! and the write-ahead log sees files alone. [`member::read`] collects what is there, and [`judge`]
//! decides what it means.
//!
//! Invariants: nothing is ever written; no input makes it panic, overflow or use memory without a
//! bound; what this reader can't tell is [`ReadError::Unsupported`], never [`ReadError::Damaged`];
//! no key's name and no value of a database leaves it.

pub mod block;
mod both;
pub mod ext4;
pub mod files;
pub mod judge;
pub mod member;

mod bbolt;
mod error;
mod layout;
mod mvcc;
mod protobuf;
mod snap;
mod state;
mod version;
mod wal;

pub use error::ReadError;
pub use mvcc::{SecretsEncryption, SecretsProvider};
