//! What is to be done next: the one place where the phases of a restore, and of an undo, follow each
//! other.
//!
//! ```text
//!   planned ─▶ creating ───────────▶ waiting_for_masters ─▶ exchanging ─────────────────▶ done
//!              Create: volumes        only to replace them:  Retire: journal, then untag    restore
//!                      missing        Suspend: launches      Tag:    old ones seen gone
//!              Wait:   not available  Terminate: masters             twice, then tag      undone
//!              (an undo makes none)   WaitForMasters:        Resume: launches               undo
//!                                     old volumes in use     Clean:  journals of what
//!                                                                    is back
//! ```
//!
//! Nothing of the old volumes is touched before every new volume is available, no master dies before
//! that either, and no new volume is tagged for discovery before the masters' own filters no longer
//! find an old one. Each step may be repeated: it is decided by what is there, not by what was done. A
//! failure between `Suspend` and `Resume` resumes launches on its way out; the next invocation then
//! begins anew with `Suspend`, as it sees masters.

use etcd_backup_core::Tags;
use etcd_backup_core::aws::NewVolume;
use etcd_backup_core::ids::{GroupName, InstanceId, MemberKey, VolumeId};
use etcd_backup_core::restore_tags::Retirement;
use etcd_backup_core::settings::Settings;
use etcd_backup_core::standing::Turn;
use etcd_backup_core::volume::VolumeState;
use jiff::Timestamp;

use crate::collect::FleetOfMasters;
use crate::event::MastersOption;
use crate::exchange::Exchange;
use crate::masters::{self, MastersStep};
use crate::plan::Plan;
use crate::undo::Undo;

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was written.
    Planned,
    /// New volumes are being made; the old ones are untouched.
    Creating,
    /// Masters are being terminated; the old volumes are untouched.
    WaitingForMasters,
    /// Old volumes are being retired, new ones tagged; or the other way round.
    Exchanging,
    /// Masters find the new volumes, and them alone.
    Done,
    /// Masters find the old volumes again, and them alone.
    Undone,
}

impl Phase {
    /// Whether the same event must be sent again.
    pub fn is_unfinished(self) -> bool {
        matches!(
            self,
            Self::Creating | Self::WaitingForMasters | Self::Exchanging
        )
    }
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make these volumes, all at the same time.
    Create(Vec<(MemberKey, NewVolume)>),
    /// Not every new volume is available yet.
    Wait,
    /// Tag the groups, then suspend their launches.
    Suspend(Vec<GroupName>),
    /// Terminate the masters.
    Terminate(Vec<InstanceId>),
    /// Masters are on their way out, or old volumes still attached.
    WaitForMasters,
    /// Write the journals, then take the tags.
    Retire(Vec<(VolumeId, Retirement)>),
    /// See what was retired gone, then tag these.
    Tag(Vec<(VolumeId, Tags)>),
    /// Take these tags, journals of earlier times, off volumes that are back in service.
    Clean(Vec<(VolumeId, Vec<String>)>),
    /// Resume the groups' launches, then take their tags off.
    Resume(Vec<GroupName>),
    /// Nothing is left to do.
    Finish,
}

/// What is being done.
#[derive(Clone, Debug)]
pub enum Work {
    /// A restore.
    Restore(Box<Plan>),
    /// An undo.
    Undo(Box<Undo>),
}

impl Work {
    /// Its exchange. A restore's is whole once all its volumes are made.
    pub fn exchange(&self) -> Exchange {
        match self {
            Self::Restore(plan) => plan.exchange(),
            Self::Undo(undo) => undo.exchange.clone(),
        }
    }

    /// Decides what is next.
    pub fn next(
        &self,
        masters: MastersOption,
        fleet: &FleetOfMasters,
        settings: &Settings,
        now: Timestamp,
    ) -> Step {
        let before = match self {
            Self::Restore(plan) => making(plan),
            Self::Undo(_) => None,
        };
        before.unwrap_or_else(|| exchanging(&self.exchange(), masters, fleet, settings, now))
    }

    /// The phase in which it is while this is its next step.
    pub fn phase(&self, next: &Step) -> Phase {
        match (next, self) {
            (Step::Create(_) | Step::Wait, _) => Phase::Creating,
            (Step::Suspend(_) | Step::Terminate(_) | Step::WaitForMasters, _) => {
                Phase::WaitingForMasters
            }
            (Step::Retire(_) | Step::Tag(_) | Step::Clean(_) | Step::Resume(_), _) => {
                Phase::Exchanging
            }
            (Step::Finish, Self::Restore(_)) => Phase::Done,
            (Step::Finish, Self::Undo(undo)) => match undo.turn {
                Turn::Undo => Phase::Undone,
                Turn::Redo => Phase::Done,
            },
        }
    }
}

fn making(plan: &Plan) -> Option<Step> {
    let missing = plan.members.iter().filter(|member| member.made.is_none());
    let missing: Vec<_> = missing
        .map(|member| (member.key.clone(), member.new.clone()))
        .collect();
    if !missing.is_empty() {
        return Some(Step::Create(missing));
    }
    let mut made = plan
        .members
        .iter()
        .filter_map(|member| member.made.as_ref());
    let is_usable = |state| matches!(state, VolumeState::Available | VolumeState::InUse);
    (!made.all(|volume| is_usable(volume.state))).then_some(Step::Wait)
}

fn exchanging(
    exchange: &Exchange,
    masters: MastersOption,
    fleet: &FleetOfMasters,
    settings: &Settings,
    now: Timestamp,
) -> Step {
    let masters = match masters {
        MastersOption::Leave => None,
        MastersOption::Replace => masters::next(exchange, fleet),
    };
    match masters {
        Some(MastersStep::Suspend(groups)) => return Step::Suspend(groups),
        Some(MastersStep::Terminate(instances)) => return Step::Terminate(instances),
        Some(MastersStep::Wait) => return Step::WaitForMasters,
        None => {}
    }
    let retirements = exchange.retirements(settings, now);
    if !retirements.is_empty() {
        return Step::Retire(retirements);
    }
    let tags = exchange.tags();
    if !tags.is_empty() {
        return Step::Tag(tags);
    }
    let suspended = masters::to_resume(fleet);
    if !suspended.is_empty() {
        return Step::Resume(suspended);
    }
    // Last, as a journal may be all that still tells of an undo.
    let leftovers = exchange.leftovers();
    match leftovers.is_empty() {
        false => Step::Clean(leftovers),
        true => Step::Finish,
    }
}
