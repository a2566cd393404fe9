//! The answers, for programs and for people.

use std::fmt::Write;

use etcd_backup_core::ids::{
    ClusterName, EtcdClusterName, MemberKey, MemberName, RestoreId, SnapshotId, VolumeId, ZoneName,
};
use etcd_backup_core::restore_point::RunSnapshots;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::snapshot::SnapshotState;
use jiff::Timestamp;
use serde::Serialize;

use crate::plan::{MemberPlan, Plan};
use crate::step::Phase;

/// The answer to `plan` and `restore`.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreAnswer {
    /// `plan` or `restore`.
    pub action: &'static str,
    /// The cluster.
    pub cluster: ClusterName,
    /// The restore.
    pub restore_id: RestoreId,
    /// How far it is.
    pub phase: Phase,
    /// What is restored.
    pub restore_point: RestorePoint,
    /// Member by member.
    pub members: Vec<MemberAnswer>,
    /// What the operator does next, in order.
    pub next_steps: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The same for a terminal.
    pub text: String,
}

/// What is restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestorePoint {
    /// The run; absent where snapshots were named by hand.
    pub run: Option<Run>,
    /// The start of the earliest snapshot.
    pub earliest: Option<Timestamp>,
    /// The start of the latest snapshot.
    pub latest: Option<Timestamp>,
    /// Seconds between them.
    pub skew_seconds: i64,
}

/// One member of a restore.
#[derive(Clone, Debug, Serialize)]
pub struct MemberAnswer {
    /// The etcd cluster.
    pub etcd_cluster: EtcdClusterName,
    /// The member.
    pub member: MemberName,
    /// Where its volume is.
    pub zone: ZoneName,
    /// What it is made from.
    pub snapshot_id: SnapshotId,
    /// The new volume; absent before it is made.
    pub volume_id: Option<VolumeId>,
    /// The volumes whose place it takes.
    pub retired: Vec<VolumeId>,
    /// The new volume's type and performance.
    pub volume_type: String,
    /// Its size in GiB.
    pub size_gib: i32,
}

impl RestoreAnswer {
    /// The answer for a plan as it stands.
    pub fn new(plan: &Plan, phase: Phase, next_steps: Vec<String>) -> Self {
        let starts = || {
            plan.choice
                .snapshots
                .values()
                .map(|snapshot| snapshot.started)
        };
        let mut answer = Self {
            action: if phase == Phase::Planned {
                "plan"
            } else {
                "restore"
            },
            cluster: plan.cluster.clone(),
            restore_id: plan.restore_id.clone(),
            phase,
            restore_point: RestorePoint {
                run: plan.choice.run,
                earliest: starts().min(),
                latest: starts().max(),
                skew_seconds: plan.choice.skew_seconds(),
            },
            members: plan.members.iter().map(MemberAnswer::new).collect(),
            next_steps,
            warnings: warnings(plan),
            text: String::new(),
        };
        answer.text = answer.render(plan.is_finished);
        answer
    }

    fn render(&self, is_finished: bool) -> String {
        let Self {
            cluster,
            restore_id,
            restore_point,
            ..
        } = self;
        let mut text = match self.phase {
            Phase::Planned | Phase::Done if is_finished => format!(
                "Restore {restore_id} of {cluster} is done already; \"again\": true would restore anew. \
                 Nothing was changed.\n"
            ),
            Phase::Planned => {
                format!("Plan of restore {restore_id} of {cluster}. Nothing was changed.\n")
            }
            Phase::Creating => format!(
                "Restore {restore_id} of {cluster}: the new volumes are not all available yet; the old \
                 ones are untouched.\n"
            ),
            Phase::Exchanging => {
                format!("Restore {restore_id} of {cluster}: the exchange is under way.\n")
            }
            Phase::Done => format!("Restore {restore_id} of {cluster}: done.\n"),
        };
        let run = restore_point
            .run
            .map_or("snapshots named by hand".to_owned(), |run| {
                format!("run of {run}")
            });
        let earliest = restore_point
            .earliest
            .map(|at| format!(", taken {at}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "Restore point: {run}{earliest} (skew {} s).\n",
            restore_point.skew_seconds
        );
        for member in &self.members {
            let name = format!("{}/{}", member.etcd_cluster, member.member);
            let new = member
                .volume_id
                .as_ref()
                .map_or("a new volume", VolumeId::as_str);
            let _ = write!(
                text,
                "  + {name:<12} {new} from {} in {} ({}, {} GiB)",
                member.snapshot_id, member.zone, member.volume_type, member.size_gib
            );
            let retired: Vec<&str> = member.retired.iter().map(VolumeId::as_str).collect();
            match retired.is_empty() {
                true => text += "; the old one is gone\n",
                false => {
                    let _ = writeln!(text, "; retires {}", retired.join(", "));
                }
            }
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "\nWarning: {warning}.");
        }
        text += "\nNext:\n";
        for (index, step) in self.next_steps.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", index + 1, step.replace('\n', "\n       "));
        }
        text
    }
}

impl MemberAnswer {
    fn new(member: &MemberPlan) -> Self {
        Self {
            etcd_cluster: member.key.etcd_cluster.clone(),
            member: member.key.member.clone(),
            zone: member.new.zone.clone(),
            snapshot_id: member.snapshot.id.clone(),
            volume_id: member.made.as_ref().map(|volume| volume.id.clone()),
            retired: member.old.iter().map(|volume| volume.id.clone()).collect(),
            volume_type: member.new.performance.volume_type.clone(),
            size_gib: member.new.size_gib,
        }
    }
}

fn warnings(plan: &Plan) -> Vec<String> {
    let several = plan.members.iter().filter(|member| member.old.len() > 1);
    let all_retired = several.map(|member| {
        format!(
            "{} has {} volumes that claim it; all of them are retired",
            member.key,
            member.old.len()
        )
    });
    plan.choice
        .warnings
        .iter()
        .cloned()
        .chain(all_retired)
        .collect()
}

/// The answer to `list`.
#[derive(Clone, Debug, Serialize)]
pub struct ListAnswer {
    /// `list`
    pub action: &'static str,
    /// The cluster.
    pub cluster: ClusterName,
    /// Runs that left anything, newest first.
    pub restore_points: Vec<ListedRun>,
    /// The same for a terminal.
    pub text: String,
}

/// One run of a listing.
#[derive(Clone, Debug, Serialize)]
pub struct ListedRun {
    /// The scheduled time.
    pub run: Run,
    /// The start of the earliest snapshot.
    pub earliest: Option<Timestamp>,
    /// The start of the latest snapshot.
    pub latest: Option<Timestamp>,
    /// Seconds between them.
    pub skew_seconds: i64,
    /// Whether every member can be restored from it.
    pub complete: bool,
    /// Whether it may hold an empty etcd that was made after a loss.
    pub doubtful: bool,
    /// What it left.
    pub members: Vec<ListedSnapshot>,
    /// Members that it left nothing usable of.
    pub missing: Vec<MemberKey>,
}

/// One snapshot of a listing.
#[derive(Clone, Debug, Serialize)]
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
}

impl ListAnswer {
    /// The answer for a cluster's runs, newest first.
    pub fn new(cluster: &ClusterName, runs: &[RunSnapshots]) -> Self {
        let mut answer = Self {
            action: "list",
            cluster: cluster.clone(),
            restore_points: runs.iter().map(ListedRun::new).collect(),
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
        let mut text = format!(
            "{}: {complete} complete restore points, newest first.\n\n  {:<22} {:<22} {:>8}  {}\n",
            self.cluster, "RUN", "EARLIEST SNAPSHOT", "SKEW", "MEMBERS"
        );
        for point in &self.restore_points {
            let earliest = point.earliest.map_or("-".to_owned(), |at| at.to_string());
            let missing: Vec<String> = point.missing.iter().map(MemberKey::to_string).collect();
            let members = match (point.complete, point.doubtful) {
                (true, false) => format!("all {}", point.members.len()),
                (true, true) => format!(
                    "all {}, doubtful: from volumes made blank",
                    point.members.len()
                ),
                (false, _) => format!("INCOMPLETE, lacks {}", missing.join(", ")),
            };
            let _ = writeln!(
                text,
                "  {:<22} {earliest:<22} {:>6} s  {members}",
                point.run.to_string(),
                point.skew_seconds
            );
        }
        text
    }
}

impl ListedRun {
    fn new(run: &RunSnapshots) -> Self {
        let listed =
            |(key, snapshot): (&MemberKey, &etcd_backup_core::snapshot::Snapshot)| ListedSnapshot {
                etcd_cluster: key.etcd_cluster.clone(),
                member: key.member.clone(),
                snapshot_id: snapshot.id.clone(),
                state: snapshot.state,
                size_gib: snapshot.size_gib,
                encrypted: snapshot.encrypted,
            };
        Self {
            run: run.run,
            earliest: run.earliest(),
            latest: run.latest(),
            skew_seconds: run.skew_seconds(),
            complete: run.is_complete(),
            doubtful: !run.doubtful.is_empty(),
            members: run.snapshots.iter().map(listed).collect(),
            missing: run.missing.iter().cloned().collect(),
        }
    }
}
