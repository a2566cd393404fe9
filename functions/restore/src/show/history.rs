//! The answer to `history`: a cluster's restores, newest first.

use std::fmt::Write;

use etcd_backup_core::event_time::in_seconds;
use etcd_backup_core::ids::{ClusterName, RestoreId};
use etcd_backup_core::restore_record::{Direction, RestoreRecord, RestoreStage};
use etcd_backup_core::schedule::Run;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::collect::records::Records;

/// The answer.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct HistoryAnswer {
    /// `history`
    pub action: &'static str,
    /// The cluster.
    pub cluster: ClusterName,
    /// Its restores, newest first.
    pub restores: Vec<PastRestore>,
    /// The same for a terminal.
    pub text: String,
}

/// One restore.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct PastRestore {
    /// Its id.
    pub restore_id: RestoreId,
    /// How far it is.
    pub phase: RestoreStage,
    /// The options that it was asked for with, defaults filled in.
    pub event: Value,
    /// The run; absent where snapshots were named by hand.
    pub run: Option<Run>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was done.
    pub ended_at: Option<Timestamp>,
    /// When it was undone last.
    pub undone_at: Option<Timestamp>,
    /// When it was redone last.
    pub redone_at: Option<Timestamp>,
    /// When it was given up for another one, as it could go neither on nor back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandoned_at: Option<Timestamp>,
}

impl HistoryAnswer {
    /// Of a cluster's records.
    pub fn new(cluster: &ClusterName, records: &Records) -> Self {
        let restores: Vec<PastRestore> = records.all().map(PastRestore::of).collect();
        let mut text = match restores.len() {
            1 => format!("{cluster}: 1 restore.\n"),
            count => format!("{cluster}: {count} restores, newest first.\n"),
        };
        if !restores.is_empty() {
            let _ = writeln!(
                text,
                "\n  {:<16} {:<20} {:<22} {:<22} {:<22} REDONE",
                "RESTORE", "PHASE", "BEGUN", "ENDED", "UNDONE"
            );
        }
        for restore in &restores {
            let time = |at: Option<Timestamp>| at.map_or("-".to_owned(), in_seconds);
            let _ = writeln!(
                text,
                "  {:<16} {:<20} {:<22} {:<22} {:<22} {}",
                restore.restore_id.as_str(),
                if restore.abandoned_at.is_some() {
                    "given up"
                } else {
                    restore.phase.name()
                },
                in_seconds(restore.started_at),
                time(restore.ended_at),
                time(restore.undone_at),
                time(restore.redone_at)
            );
        }
        Self {
            action: "history",
            cluster: cluster.clone(),
            restores,
            text,
        }
    }
}

impl PastRestore {
    fn of(record: &RestoreRecord) -> Self {
        Self {
            restore_id: record.id.clone(),
            phase: record.stage(),
            event: record.event.clone(),
            run: record.run,
            started_at: record.started_at,
            ended_at: record.ended_at(),
            undone_at: record.turned_at(Direction::Undo),
            redone_at: record.turned_at(Direction::Redo),
            abandoned_at: record.abandoned_at,
        }
    }
}
