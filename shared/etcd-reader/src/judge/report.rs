//! What is answered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::ReadError;
use crate::mvcc::SecretsEncryption;

/// What becomes of a member or a set when it is started. Worst last.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It starts and serves.
    #[default]
    Restorable,
    /// It starts without a member, or serves badly, or needs a hand.
    Degraded,
    /// This reader can't tell.
    Unsupported,
    /// It doesn't start, or not with the data that it should hold.
    Damaged,
}

impl Verdict {
    pub(super) fn of(error: &ReadError) -> Self {
        match error {
            ReadError::Damaged(_) => Self::Damaged,
            ReadError::Unsupported(_) | ReadError::Unreadable(_) => Self::Unsupported,
        }
    }
}

/// etcd's revision after the start lies in this range, ends included, before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RevisionRange {
    /// The lowest possible.
    pub at_least: u64,
    /// The highest possible.
    pub at_most: u64,
}

/// What was found of one member. What couldn't be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct MemberReport {
    /// The member's name: `a`.
    pub member: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// etcd's id of the member, in hexadecimal as etcd prints it.
    pub member_id: Option<String>,
    /// The etcd version that etcd-manager would start.
    pub etcd_version: Option<String>,
    /// The version of the database's schema, from etcd 3.6 on.
    pub storage_version: Option<String>,
    /// The database's revision.
    pub revision: Option<u64>,
    /// Entries in the database's bucket of keys.
    pub key_entries: Option<u64>,
    /// The log's index up to which the database holds what the log says.
    pub consistent_index: Option<u64>,
    /// The index of the log's last entry.
    pub wal_last: Option<u64>,
    /// The index that the log says is committed.
    pub commit: Option<u64>,
    /// raft's term.
    pub term: Option<u64>,
    /// The name of the current data directory, new at each restore by etcd-manager.
    pub cluster_token: Option<String>,
    /// Whether etcd-manager kept clients away when the snapshot was taken.
    pub quarantined: bool,
    /// The data directory that was judged.
    pub data_dir: Option<String>,
    /// Data directories beside it.
    pub other_data_dirs: Vec<String>,
    /// `NOSPACE`, `CORRUPT`.
    pub alarms: Vec<String>,
    /// When the database or the log was written last.
    pub written_at: Option<Timestamp>,
    /// Bytes of the database file.
    pub db_size: Option<u64>,
    /// Bytes of it that are in use.
    pub db_in_use: Option<u64>,
    /// Live objects of Kubernetes' core kinds.
    pub objects: Option<BTreeMap<&'static str, u64>>,
    /// By what Secrets are encrypted; absent where it wasn't asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets_encryption: Option<SecretsEncryption>,
    /// What explains the verdict, and what to do.
    pub problems: Vec<String>,
    /// What else a person would want to know.
    pub warnings: Vec<String>,
}

impl MemberReport {
    /// Notes a problem, with the verdict that follows from it.
    pub(super) fn problem(&mut self, verdict: Verdict, problem: impl Into<String>) {
        self.verdict = self.verdict.max(verdict);
        self.problems.push(problem.into());
    }

    pub(super) fn warning(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}

/// What was found of the members of one etcd cluster together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetReport {
    /// `main`, `events`, …
    pub etcd_cluster: String,
    /// What becomes of the set.
    pub verdict: Verdict,
    /// etcd's id of the cluster, in hexadecimal.
    pub cluster_id: Option<String>,
    /// etcd's revision after the start, where it starts.
    pub revision: Option<RevisionRange>,
    /// Members that must start for the cluster to serve.
    pub quorum: Option<usize>,
    /// Members that vote, as the newest member's data names them: those that weren't given among them.
    pub voting_members: Option<usize>,
    /// Members that must start before the others; empty where the order doesn't matter.
    pub start_first: Vec<String>,
    /// Each member, in the order given.
    pub members: Vec<MemberReport>,
    /// What explains the set's verdict, beside what its members say.
    pub problems: Vec<String>,
    /// What else a person would want to know.
    pub warnings: Vec<String>,
}
