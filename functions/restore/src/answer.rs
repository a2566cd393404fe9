//! The answer to `plan`, `restore`, `undo` and `status`, for programs and for people.

use std::fmt::Write;

use etcd_backup_core::ids::{
    ClusterName, EtcdClusterName, GroupName, InstanceId, MemberKey, MemberName, RestoreId,
    SnapshotId, VolumeId, ZoneName,
};
use etcd_backup_core::restore_point::skew_seconds;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::standing::{Sides, Standing, is_live};
use etcd_backup_core::volume::{Volume, VolumeState};
use jiff::Timestamp;
use serde::Serialize;

use crate::choice::list;
use crate::event::{Action, MastersOption};
use crate::plan::MemberPlan;
use crate::step::Phase;

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreAnswer {
    /// What was asked for.
    pub action: Action,
    /// The cluster.
    pub cluster: ClusterName,
    /// The restore; of `undo` and `status` the one that they are about.
    pub restore_id: RestoreId,
    /// The undo's own id, by which it can be undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_id: Option<RestoreId>,
    /// How far it is.
    pub phase: Phase,
    /// What is restored.
    pub restore_point: RestorePoint,
    /// Member by member.
    pub members: Vec<MemberAnswer>,
    /// What becomes of the masters.
    pub masters: MastersAnswer,
    /// What the operator does next, in order.
    pub next_steps: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The same for a terminal.
    pub text: String,
}

/// What is restored.
#[derive(Clone, Debug, Default, Serialize)]
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

/// One member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberAnswer {
    /// The etcd cluster.
    pub etcd_cluster: EtcdClusterName,
    /// The member.
    pub member: MemberName,
    /// Where its volume is.
    pub zone: ZoneName,
    /// What the restored volume is made from.
    pub snapshot_id: Option<SnapshotId>,
    /// The volume that masters shall find; absent before it is made, and where an undo leaves none.
    pub volume_id: Option<VolumeId>,
    /// The volumes whose place it takes.
    pub retired: Vec<VolumeId>,
    /// The volume's type.
    pub volume_type: String,
    /// Its size in GiB.
    pub size_gib: i32,
}

/// What becomes of the masters.
#[derive(Clone, Debug, Serialize)]
pub struct MastersAnswer {
    /// `leave` or `replace`.
    pub option: MastersOption,
    /// The instances that are still to be terminated.
    pub terminate: Vec<InstanceId>,
    /// The groups whose launches are suspended before that.
    pub suspend: Vec<GroupName>,
    /// The groups whose launches a restore has suspended and not resumed.
    pub suspended: Vec<GroupName>,
}

impl RestorePoint {
    /// Of the snapshots of a run, or of some named by hand.
    pub fn new<'a>(
        run: Option<Run>,
        snapshots: impl Iterator<Item = &'a Snapshot> + Clone,
    ) -> Self {
        let starts = || snapshots.clone().map(|snapshot| snapshot.started);
        Self {
            run,
            earliest: starts().min(),
            latest: starts().max(),
            skew_seconds: skew_seconds(snapshots),
        }
    }
}

impl MemberAnswer {
    /// A member as a plan has it.
    pub fn planned(member: &MemberPlan) -> Self {
        Self {
            etcd_cluster: member.key.etcd_cluster.clone(),
            member: member.key.member.clone(),
            zone: member.new.zone.clone(),
            snapshot_id: Some(member.snapshot.id.clone()),
            volume_id: member.made.as_ref().map(|volume| volume.id.clone()),
            retired: ids(&member.old),
            volume_type: member.new.performance.volume_type.clone(),
            size_gib: member.new.size_gib,
        }
    }

    /// A member as a restore left it: what it brought is in service.
    pub fn brought(key: &MemberKey, sides: &Sides) -> Option<Self> {
        let Some(brought) = usable(&sides.brought) else {
            let old = sides.replaced.first()?;
            return Some(Self::of_volume(key, old, None, &sides.replaced, old));
        };
        Some(Self::of_volume(
            key,
            brought,
            Some(brought),
            &sides.replaced,
            brought,
        ))
    }

    /// A member as an undo leaves it: what was replaced is back in service, unless another restore has
    /// retired it since.
    pub fn put_back(standing: &Standing, key: &MemberKey, sides: &Sides) -> Option<Self> {
        let brought = usable(&sides.brought);
        let mut replaced = sides.replaced.iter();
        let back = replaced.find(|volume| is_live(volume) || standing.has_retired(volume));
        let shown = back.or(brought)?;
        Some(Self::of_volume(
            key,
            shown,
            back,
            &sides.brought,
            brought.unwrap_or(shown),
        ))
    }

    fn of_volume(
        key: &MemberKey,
        shown: &Volume,
        in_service: Option<&Volume>,
        retired: &[Volume],
        restored: &Volume,
    ) -> Self {
        Self {
            etcd_cluster: key.etcd_cluster.clone(),
            member: key.member.clone(),
            zone: shown.zone.clone(),
            snapshot_id: restored.made_from.clone(),
            volume_id: in_service.map(|volume| volume.id.clone()),
            retired: ids(retired),
            volume_type: shown.performance.volume_type.clone(),
            size_gib: shown.size_gib,
        }
    }
}

/// The one of a restore's volumes for a member that counts, beside any that failed.
pub fn usable(brought: &[Volume]) -> Option<&Volume> {
    let live = brought.iter().find(|volume| is_live(volume));
    let made = || {
        brought
            .iter()
            .rfind(|volume| volume.state != VolumeState::Error)
    };
    live.or_else(made)
}

fn ids(volumes: &[Volume]) -> Vec<VolumeId> {
    volumes.iter().map(|volume| volume.id.clone()).collect()
}

impl RestoreAnswer {
    /// Writes the text for a terminal, under a headline.
    #[must_use]
    pub fn with_text(mut self, headline: &str) -> Self {
        self.text = self.render(headline);
        self
    }

    fn render(&self, headline: &str) -> String {
        let mut text = format!("{headline}\n");
        let point = &self.restore_point;
        let run = point
            .run
            .map_or("snapshots named by hand".to_owned(), |run| {
                format!("run of {run}")
            });
        if let Some(earliest) = point.earliest {
            let skew = point.skew_seconds;
            let undone = if self.is_put_back() {
                "Undone restore"
            } else {
                "Restore"
            };
            let _ = writeln!(
                text,
                "{undone} point: {run}, taken {earliest} (skew {skew} s)."
            );
        }
        text += "\n";
        for member in &self.members {
            text += &self.render_member(member);
        }
        if !self.masters.terminate.is_empty() {
            text += "\n";
        }
        for group in &self.masters.suspend {
            let _ = writeln!(text, "  ~ launches of {group} are suspended meanwhile");
        }
        for instance in &self.masters.terminate {
            let _ = writeln!(text, "  - {instance} is terminated");
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

    /// Whether what was replaced comes back, rather than what was restored.
    fn is_put_back(&self) -> bool {
        self.undo_id.is_some() && self.phase != Phase::Done
    }

    fn render_member(&self, member: &MemberAnswer) -> String {
        let name = format!("{}/{}", member.etcd_cluster, member.member);
        let kind = format!("{}, {} GiB", member.volume_type, member.size_gib);
        let zone = &member.zone;
        let retired = list(member.retired.iter());
        if self.is_put_back() {
            return match &member.volume_id {
                Some(volume) => format!(
                    "  ~ {name:<12} back to {volume} in {zone} ({kind}); gives up {retired}\n"
                ),
                None => format!("  - {name:<12} gives up {retired}, which took nobody's place\n"),
            };
        }
        let new = member
            .volume_id
            .as_ref()
            .map_or("a new volume", VolumeId::as_str);
        let from = member
            .snapshot_id
            .as_ref()
            .map_or(String::new(), |snapshot| format!(" from {snapshot}"));
        let retires = match member.retired.is_empty() {
            true => "the old one is gone".to_owned(),
            false if self.phase == Phase::Done => format!("retired {retired}"),
            false => format!("retires {retired}"),
        };
        format!("  + {name:<12} {new}{from} in {zone} ({kind}); {retires}\n")
    }
}
