//! The answer to `list`: a cluster's restore points, for programs and for people.

use std::fmt::Write;

use etcd_backup_core::event_time::in_seconds;
use etcd_backup_core::ids::{ClusterName, EtcdClusterName, MemberKey, MemberName, SnapshotId};
use etcd_backup_core::restore_point::RunSnapshots;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::verdict::Verdict;
use jiff::Timestamp;
use serde::Serialize;

use super::answer::{FoundAnswer, found};
use crate::decide::choice;
use crate::decide::masters_find::MastersFind;

/// The answer to `list`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ListAnswer {
    /// `list`
    pub action: &'static str,
    /// The cluster.
    pub cluster: ClusterName,
    /// Runs that left anything, newest first.
    pub restore_points: Vec<ListedRun>,
    /// What masters find at the moment.
    pub masters_find: Vec<FoundAnswer>,
    /// The same for a terminal.
    pub text: String,
}

/// One run of a listing.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ListedRun {
    /// The scheduled time.
    pub run: Run,
    /// The start of the earliest snapshot.
    pub earliest: Option<Timestamp>,
    /// The start of the latest snapshot.
    pub latest: Option<Timestamp>,
    /// Seconds between them.
    pub skew_seconds: i64,
    /// Whether every member can be restored from it, to one state.
    pub complete: bool,
    /// Whether it may hold an empty etcd that was made after a loss.
    pub doubtful: bool,
    /// Whether an etcd cluster was exchanged, or made anew, between its snapshots.
    pub mixed: bool,
    /// What verify found, where it has seen all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verdict>,
    /// What it left.
    pub members: Vec<ListedSnapshot>,
    /// Members that it left nothing usable of.
    pub missing: Vec<MemberKey>,
    /// The same for the text, with what is wrong with each.
    #[serde(skip)]
    lacks: String,
}

/// One snapshot of a listing.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ListedSnapshot {
    /// The etcd cluster.
    pub etcd_cluster: EtcdClusterName,
    /// The member.
    pub member: MemberName,
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Its state.
    pub state: SnapshotState,
    /// The volume's size in GiB.
    pub size_gib: i32,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether it is in the archive tier.
    pub archived: bool,
}

impl ListAnswer {
    /// The answer for a cluster's runs, newest first.
    pub fn new(cluster: &ClusterName, runs: &[RunSnapshots], find: &MastersFind) -> Self {
        let mut answer = Self {
            action: "list",
            cluster: cluster.clone(),
            restore_points: runs.iter().map(ListedRun::new).collect(),
            masters_find: found(find),
            text: String::new(),
        };
        answer.text = answer.render();
        answer
    }

    fn render(&self) -> String {
        let complete = self
            .restore_points
            .iter()
            .filter(|point| point.complete)
            .count();
        let points = if complete == 1 { "point" } else { "points" };
        let mut text = format!(
            "{}: {complete} complete restore {points}, newest first.\n\n  {:<22} {:<22} {:<22} {:>8}  {:<14} {}\n",
            self.cluster, "RUN", "EARLIEST SNAPSHOT", "LATEST SNAPSHOT", "SKEW", "SIZE", "MEMBERS"
        );
        for point in &self.restore_points {
            let time = |at: Option<Timestamp>| at.map_or("-".to_owned(), in_seconds);
            let _ = writeln!(
                text,
                "  {:<22} {:<22} {:<22} {:>6} s  {:<14} {}",
                point.run.to_string(),
                time(point.earliest),
                time(point.latest),
                point.skew_seconds,
                point.size(),
                point.verdict()
            );
        }
        text += "\nTo restore one of them, say \"at\": its LATEST SNAPSHOT. Without \"at\" it is the newest complete one.\n";
        text
    }
}

impl ListedRun {
    /// What the restored volumes would have in sum.
    fn size(&self) -> String {
        let size_gib: i32 = self.members.iter().map(|snapshot| snapshot.size_gib).sum();
        let encrypted = self.members.iter().filter(|snapshot| snapshot.encrypted);
        let encrypted = match encrypted.count() {
            0 => "",
            count if count == self.members.len() => ", enc.",
            _ => ", part enc.",
        };
        format!("{size_gib} GiB{encrypted}")
    }

    fn verdict(&self) -> String {
        let count = self.members.len();
        let verified = self.verified.map_or(String::new(), |verdict| {
            format!(", verified: {}", verdict.name())
        });
        match (self.complete, self.doubtful) {
            (true, false) => format!("all {count}{verified}"),
            (true, true) => {
                format!("all {count}, doubtful: of volumes made blank not long before{verified}")
            }
            (false, _) => format!("INCOMPLETE, lacks {}", self.lacks),
        }
    }

    fn new(run: &RunSnapshots) -> Self {
        let listed = |(key, snapshot): (&&MemberKey, &&Snapshot)| ListedSnapshot {
            etcd_cluster: key.etcd_cluster.clone(),
            member: key.member.clone(),
            snapshot_id: snapshot.id.clone(),
            state: snapshot.state,
            size_gib: snapshot.size_gib,
            encrypted: snapshot.encrypted,
            archived: snapshot.archived,
        };
        Self {
            run: run.run,
            earliest: run.earliest(),
            latest: run.latest(),
            skew_seconds: run.skew_seconds(),
            complete: run.is_complete(),
            doubtful: !run.doubtful.is_empty(),
            mixed: !run.mixed.is_empty(),
            verified: Verdict::worst(run.snapshots.values().copied()),
            members: run.snapshots.iter().map(listed).collect(),
            missing: run.missing.iter().cloned().collect(),
            lacks: choice::lacks(run),
        }
    }
}
