//! What is to be done next: the one place where the stages of a restore, an undo and a redo follow each
//! other.
//!
//! ```text
//!   planned ─▶ creating ──────▶ waiting_for_masters ─▶ exchanging ───────▶ starting ────────▶ done
//!              Create: volumes   only to replace them:  Retire: untag       Resume: the first   restore, redo
//!                      missing   Suspend: launches      Clear:  journals    WaitForFirst:       undone
//!              WaitForVolumes:   Terminate: masters             on what       their volumes     undo
//!                not available   WaitForMasters:                comes back    attached a while
//!              (only a restore     outgoing volumes     Tag:    old ones    Resume: the rest
//!               makes any)         in use                 seen gone twice
//! ```
//!
//! Nothing of the outgoing volumes is touched before every incoming one is available, no master dies before
//! that either, no volume is tagged for discovery before the masters' own filters have twice in a row not
//! shown one that leaves, and no launch is resumed before they show what the turn is to leave, and that
//! alone. Each step may be repeated: which volumes and groups it is about says the record, and whether it
//! is done say those themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_backup_core::Tags;
use etcd_backup_core::ids::{GroupName, InstanceId, MemberKey, VolumeId};
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord, RestoreStage};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::{Volume, VolumeState};
use jiff::Timestamp;

use super::exchange::{Exchange, Removal, Volumes};
use super::masters::{self, MastersStep};
use crate::collect::control_plane::ControlPlane;

/// How long the restored volumes of the first masters are attached before the others start.
pub const FIRST_ATTACHED_FOR: Duration = Duration::from_secs(180);

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make these members' volumes, all at the same time.
    Create(Vec<MemberKey>),
    /// Not every incoming volume is available yet.
    WaitForVolumes,
    /// Note the groups in the record, tag them, then suspend their launches.
    Suspend(Vec<GroupName>),
    /// Terminate the masters.
    Terminate(Vec<InstanceId>),
    /// Masters are on their way out, or outgoing volumes still attached.
    WaitForMasters,
    /// Take these out of service.
    Retire(Vec<Removal>),
    /// Take these tags, journals of earlier times, off volumes that come back.
    Clear(Vec<(VolumeId, Vec<String>)>),
    /// See what was retired gone, then tag these.
    Tag(Vec<(VolumeId, Tags)>),
    /// See that masters find the right volumes, then resume the groups' launches.
    Resume(Vec<GroupName>),
    /// The first masters haven't had their volumes for long enough.
    WaitForFirst(Vec<MemberKey>),
    /// See that masters find the right volumes; then nothing is left to do.
    Finish,
}

impl Step {
    /// The stage in which a turn is while this is its next step.
    pub fn stage(&self, direction: Direction) -> RestoreStage {
        match self {
            Self::Create(_) | Self::WaitForVolumes => RestoreStage::Creating,
            Self::Suspend(_) | Self::Terminate(_) | Self::WaitForMasters => {
                RestoreStage::WaitingForMasters
            }
            Self::Retire(_) | Self::Clear(_) | Self::Tag(_) => RestoreStage::Exchanging,
            Self::Resume(_) | Self::WaitForFirst(_) => RestoreStage::Starting,
            Self::Finish if direction == Direction::Undo => RestoreStage::Undone,
            Self::Finish => RestoreStage::Done,
        }
    }
}

/// What is there, as far as the next step depends on it.
#[derive(Clone, Copy, Debug)]
pub struct StageInput<'a> {
    /// The record's volumes, as far as they exist.
    pub volumes: &'a Volumes,
    /// The masters and their groups.
    pub control_plane: &'a ControlPlane,
    /// How long this invocation has seen volumes attached, by its own clock: EC2's may be another.
    pub seen_attached: &'a BTreeMap<VolumeId, Duration>,
    /// The settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
}

/// Decides what is next for a record's last turn.
pub fn next(record: &RestoreRecord, input: StageInput) -> Step {
    let turn = record.turn();
    if turn.direction == Direction::Restore
        && let Some(step) = making(record, input)
    {
        return step;
    }
    let exchange = Exchange::of(record);
    if turn.masters == MastersOption::Replace
        && let Some(step) = masters_gone(&exchange, input)
    {
        return step;
    }
    exchanging(&exchange, input)
        .or_else(|| starting(record, input))
        .unwrap_or(Step::Finish)
}

fn making(record: &RestoreRecord, input: StageInput) -> Option<Step> {
    let members = || record.members.iter();
    let missing = members().filter(|(_, member)| member.incoming.volume_id.is_none());
    let missing: Vec<MemberKey> = missing.map(|(key, _)| key.clone()).collect();
    if !missing.is_empty() {
        return Some(Step::Create(missing));
    }
    let mut made = members().filter_map(|(_, member)| member.incoming.volume_id.as_ref());
    let is_usable = |id: &VolumeId| input.volumes.get(id).is_some_and(is_usable);
    (!made.all(is_usable)).then_some(Step::WaitForVolumes)
}

/// Whether masters could attach it.
pub fn is_usable(volume: &Volume) -> bool {
    matches!(volume.state, VolumeState::Available | VolumeState::InUse)
}

fn masters_gone(exchange: &Exchange, input: StageInput) -> Option<Step> {
    let StageInput {
        volumes,
        control_plane,
        ..
    } = input;
    let step = masters::next(exchange, volumes, control_plane)?;
    Some(match step {
        MastersStep::Suspend(groups) => Step::Suspend(groups),
        MastersStep::Terminate(instances) => Step::Terminate(instances),
        MastersStep::Wait => Step::WaitForMasters,
    })
}

fn exchanging(exchange: &Exchange, input: StageInput) -> Option<Step> {
    let StageInput {
        volumes,
        settings,
        now,
        ..
    } = input;
    let removals = exchange.removals(volumes, settings, now);
    if !removals.is_empty() {
        return Some(Step::Retire(removals));
    }
    // Old journals are cleared before tags are written, which may need their room.
    let journals = exchange.journals_to_clear(volumes);
    if !journals.is_empty() {
        return Some(Step::Clear(journals));
    }
    let tags = exchange.tags_to_write(volumes);
    (!tags.is_empty()).then_some(Step::Tag(tags))
}

/// Volumes that an undo brings back stopped together, so that they need no order.
fn starting(record: &RestoreRecord, input: StageInput) -> Option<Step> {
    let left = masters::to_resume(record, input.control_plane);
    if left.is_empty() {
        return None;
    }
    let order = &record.start_order;
    let is_ordered = record.turn().direction != Direction::Undo && !order.second_groups.is_empty();
    if !is_ordered {
        return Some(Step::Resume(left));
    }
    let is_second = |group: &GroupName| order.second_groups.contains(group);
    let (second, first): (Vec<_>, Vec<_>) = left.into_iter().partition(is_second);
    if !first.is_empty() {
        return Some(Step::Resume(first));
    }
    let waiting: Vec<MemberKey> = order
        .first
        .iter()
        .filter(|key| !has_been_attached(record, key, input))
        .cloned()
        .collect();
    Some(if waiting.is_empty() {
        Step::Resume(second)
    } else {
        Step::WaitForFirst(waiting)
    })
}

fn has_been_attached(record: &RestoreRecord, key: &MemberKey, input: StageInput) -> bool {
    let incoming = record.members.get(key).map(|member| &member.incoming);
    let id = incoming.and_then(|incoming| incoming.volume_id.as_ref());
    let Some(volume) = id.and_then(|id| input.volumes.get(id)) else {
        return false;
    };
    let seen_for = input.seen_attached.get(&volume.id);
    let mut attachments = volume.attachments.iter();
    attachments.any(|attachment| {
        let by_ec2 = attachment.attached_at.is_some_and(|at| {
            let since = input.now.duration_since(at);
            Duration::try_from(since).is_ok_and(|since| since >= FIRST_ATTACHED_FOR)
        });
        by_ec2 || seen_for.is_some_and(|seen_for| *seen_for >= FIRST_ATTACHED_FOR)
    })
}
