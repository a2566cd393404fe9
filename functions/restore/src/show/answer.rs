//! The answer to `plan`, `restore`, `undo`, `redo` and `status`.

use etcd_backup_core::ids::{
    ClusterName, EtcdClusterName, GroupName, InstanceId, MemberKey, MemberName, RestoreId,
    SnapshotId, VolumeId, ZoneName,
};
use etcd_backup_core::restore_record::{
    Direction, MastersOption, MemberRecord, RestoreRecord, RestoreStage,
};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::verdict::Verdict;
use jiff::Timestamp;
use serde::Serialize;

use super::{next_steps, text};
use crate::collect::inventory::Inventory;
use crate::collect::records::Records;
use crate::decide::exchange::{Exchange, masters_find};
use crate::decide::follow_up::{self, NextStep, Subject};
use crate::decide::masters_find::MastersFind;
use crate::decide::warnings;
use crate::decide::{Context, masters};
use crate::event::Action;

/// The answer.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct RestoreAnswer {
    /// What was asked for.
    pub action: Action,
    /// The cluster.
    pub cluster: ClusterName,
    /// The restore.
    pub restore_id: RestoreId,
    /// What a plan is known by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// How far it is.
    pub phase: RestoreStage,
    /// Which way the volumes go, or went last.
    pub direction: Direction,
    /// When this restore began; of a plan, when it was made.
    pub started_at: Timestamp,
    /// Since when it is so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Timestamp>,
    /// How far it is, in words.
    pub progress: String,
    /// What is restored.
    pub restore_point: RestorePoint,
    /// Member by member.
    pub members: Vec<MemberAnswer>,
    /// What becomes of the masters.
    pub masters: MastersAnswer,
    /// What masters find at the moment.
    pub masters_find: Vec<FoundAnswer>,
    /// The members that start first.
    pub start_first: Vec<MemberKey>,
    /// What the operator does next, in order.
    pub next_steps: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The same for a terminal.
    pub text: String,
}

/// What is restored.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct RestorePoint {
    /// The run; absent where snapshots were named by hand.
    pub run: Option<Run>,
    /// The start of the earliest snapshot.
    pub earliest: Option<Timestamp>,
    /// The start of the latest snapshot.
    pub latest: Option<Timestamp>,
    /// Seconds between them.
    pub skew_seconds: i64,
    /// What verify found, where it has seen all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verdict>,
}

/// One member.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct MemberAnswer {
    /// The etcd cluster.
    pub etcd_cluster: EtcdClusterName,
    /// The member.
    pub member: MemberName,
    /// Where its volume is.
    pub zone: ZoneName,
    /// What the restored volume is made from.
    pub snapshot_id: SnapshotId,
    /// The volume that masters shall find; absent before it is made, and where an undo leaves none.
    pub volume_id: Option<VolumeId>,
    /// The volumes whose place it takes.
    pub retired: Vec<VolumeId>,
    /// The volume's type.
    pub volume_type: String,
    /// Its size in GiB.
    pub size_gib: i32,
    /// Whether the restored volume is encrypted.
    pub encrypted: bool,
}

/// What becomes of the masters.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct MastersAnswer {
    /// `leave` or `replace`.
    pub option: MastersOption,
    /// The instances that are terminated for it; of a plan, those that are still to be.
    pub terminate: Vec<InstanceId>,
    /// The groups whose launches are suspended before that.
    pub suspend: Vec<GroupName>,
    /// The groups whose launches this tool holds at the moment.
    pub suspended: Vec<GroupName>,
}

/// What masters find for a member.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FoundAnswer {
    /// The etcd cluster.
    pub etcd_cluster: EtcdClusterName,
    /// The member.
    pub member: MemberName,
    /// The volumes; one, if all is well.
    pub volume_ids: Vec<VolumeId>,
}

/// The answer about a record.
pub fn answer(
    action: Action,
    subject: Subject,
    inventory: &Inventory,
    records: &Records,
    context: Context,
) -> RestoreAnswer {
    let record = subject.record;
    let mut steps = follow_up::next_steps(subject, inventory);
    // A later restore's volumes are in service, and its own answer says what to do.
    if !record.is_unfinished() && warnings::superseded(record, records).is_some() {
        steps.retain(|step| matches!(step, NextStep::Delete(_)));
    }
    let mut answer = RestoreAnswer {
        action,
        cluster: record.cluster.clone(),
        restore_id: record.id.clone(),
        plan_id: subject.plan_id.map(str::to_owned),
        phase: subject.phase,
        direction: record.turn().direction,
        started_at: record.started_at,
        phase_since: record.turn().since().filter(|_| subject.plan_id.is_none()),
        progress: text::progress(subject, inventory),
        restore_point: RestorePoint::of(record),
        members: members(record),
        masters: masters_answer(subject, inventory),
        masters_find: match subject.found {
            Some(just_found) => found(just_found),
            None => found(&masters_find(record, &inventory.volumes)),
        },
        start_first: match record.turn().direction {
            Direction::Undo => Vec::new(),
            Direction::Restore | Direction::Redo => record.start_order.first.clone(),
        },
        next_steps: next_steps::texts(&steps, record, context),
        warnings: warnings::warnings(subject, inventory, records, context),
        text: String::new(),
    };
    answer.text = text::render(&answer, subject);
    answer
}

/// What masters find, as answers have it.
pub fn found(found: &MastersFind) -> Vec<FoundAnswer> {
    let members = found.0.iter();
    members
        .map(|(key, volumes)| FoundAnswer {
            etcd_cluster: key.etcd_cluster.clone(),
            member: key.member.clone(),
            volume_ids: volumes.clone(),
        })
        .collect()
}

impl RestorePoint {
    fn of(record: &RestoreRecord) -> Self {
        let members = record.members.values();
        let starts = members.map(|member| member.snapshot.started_at);
        let (earliest, latest) = (starts.clone().min(), starts.max());
        let verdicts = record.members.values();
        let verdicts: Option<Vec<_>> = verdicts.map(|member| member.snapshot.verified).collect();
        Self {
            run: record.run,
            earliest,
            latest,
            skew_seconds: earliest.zip(latest).map_or(0, |(earliest, latest)| {
                latest.duration_since(earliest).as_secs()
            }),
            verified: verdicts.and_then(|verdicts| verdicts.into_iter().max()),
        }
    }
}

fn members(record: &RestoreRecord) -> Vec<MemberAnswer> {
    let is_put_back = record.is_put_back();
    let members = record.members.iter();
    members
        .map(|(key, member)| {
            if is_put_back {
                put_back(key, member)
            } else {
                brought(key, member)
            }
        })
        .collect()
}

fn brought(key: &MemberKey, member: &MemberRecord) -> MemberAnswer {
    let incoming = &member.incoming;
    MemberAnswer {
        etcd_cluster: key.etcd_cluster.clone(),
        member: key.member.clone(),
        zone: incoming.zone.clone(),
        snapshot_id: member.snapshot.id.clone(),
        volume_id: incoming.volume_id.clone(),
        retired: member
            .outgoing
            .iter()
            .map(|volume| volume.id.clone())
            .collect(),
        volume_type: incoming.performance.volume_type.clone(),
        size_gib: incoming.size_gib,
        encrypted: incoming.encrypted,
    }
}

/// A member as an undo leaves it: what was replaced is back in service.
fn put_back(key: &MemberKey, member: &MemberRecord) -> MemberAnswer {
    let mut answer = brought(key, member);
    answer.retired = member.incoming.volume_id.iter().cloned().collect();
    answer.volume_id = None;
    if let Some(outgoing) = member.outgoing.first() {
        answer.volume_id = Some(outgoing.id.clone());
        answer.zone = outgoing.zone.clone();
        answer.volume_type.clone_from(&outgoing.volume_type);
        answer.size_gib = outgoing.size_gib;
    }
    answer
}

fn masters_answer(subject: Subject, inventory: &Inventory) -> MastersAnswer {
    let record = subject.record;
    let option = record.turn().masters;
    let control_plane = &inventory.control_plane;
    let exchange = Exchange::of(record);
    let are_to_go = option == MastersOption::Replace
        && record.is_unfinished()
        && exchange.needs_masters_gone(&inventory.volumes);
    let mut terminate = match subject.plan_id {
        Some(_) => Vec::new(),
        None => record.turn().terminated.clone(),
    };
    let mut suspend = Vec::new();
    if are_to_go {
        let mut left = masters::to_terminate(control_plane);
        left.retain(|instance| !terminate.contains(instance));
        terminate.extend(left);
        suspend = masters::to_suspend(control_plane);
    }
    MastersAnswer {
        option,
        terminate,
        suspend,
        suspended: masters::suspended_by_restore(Some(record), control_plane),
    }
}
