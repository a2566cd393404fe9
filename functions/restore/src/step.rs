//! What is to be done next: the one place where a restore's phases follow each other.
//!
//! ```text
//!   planned ──▶ creating ──────────────▶ exchanging ──────────────────────▶ done
//!               Create: volumes missing  Retire: journal, then untag         every new volume
//!               Wait:   not available    Tag:    old ones seen gone twice,   tagged, no old one
//!                                                then tag the new ones
//! ```
//!
//! Nothing of the old volumes is touched before every new volume is available, and no new volume is
//! tagged for discovery before the masters' own filters no longer find an old one. Each step may be
//! repeated: it is decided by what is there, not by what was done.

use etcd_backup_core::Tags;
use etcd_backup_core::aws::NewVolume;
use etcd_backup_core::ids::{MemberKey, VolumeId};
use etcd_backup_core::restore_tags::{Retirement, tags_to_retire};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::{Volume, VolumeState};
use jiff::Timestamp;

use crate::plan::{MemberPlan, Plan};

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was written.
    Planned,
    /// New volumes are being made; the old ones are untouched.
    Creating,
    /// Old volumes are being retired, new ones tagged.
    Exchanging,
    /// Masters find the new volumes, and them alone.
    Done,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make these volumes, all at the same time.
    Create(Vec<(MemberKey, NewVolume)>),
    /// Not every new volume is available yet.
    Wait,
    /// Write the old volumes' journals, then take their tags.
    Retire(Vec<(VolumeId, Retirement)>),
    /// See the old volumes gone, then tag the new ones.
    Tag(Vec<(VolumeId, Tags)>),
    /// Nothing is left to do.
    Finish,
}

impl Step {
    /// Decides.
    pub fn next(plan: &Plan, settings: &Settings, now: Timestamp) -> Self {
        let members = &plan.members;
        let missing = members.iter().filter(|member| member.made.is_none());
        let missing: Vec<_> = missing
            .map(|member| (member.key.clone(), member.new.clone()))
            .collect();
        if !missing.is_empty() {
            return Self::Create(missing);
        }
        let mut made = members.iter().filter_map(|member| member.made.as_ref());
        if !made.all(|volume| matches!(volume.state, VolumeState::Available | VolumeState::InUse)) {
            return Self::Wait;
        }
        let retirements: Vec<_> = members
            .iter()
            .flat_map(|member| retirements(plan, member, settings, now))
            .collect();
        if !retirements.is_empty() {
            return Self::Retire(retirements);
        }
        let untagged = members.iter().filter(|member| !member.is_tagged());
        let tags: Vec<_> = untagged
            .filter_map(|member| {
                Some((member.made.as_ref()?.id.clone(), member.final_tags.clone()))
            })
            .collect();
        match tags.is_empty() {
            false => Self::Tag(tags),
            true => Self::Finish,
        }
    }

    /// The phase in which a restore is while this is its next step.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Create(_) | Self::Wait => Phase::Creating,
            Self::Retire(_) | Self::Tag(_) => Phase::Exchanging,
            Self::Finish => Phase::Done,
        }
    }
}

fn retirements(
    plan: &Plan,
    member: &MemberPlan,
    settings: &Settings,
    now: Timestamp,
) -> Vec<(VolumeId, Retirement)> {
    let Some(made) = &member.made else {
        return Vec::new();
    };
    let retirement = |volume: &Volume| {
        // A journal begun by an earlier invocation is gone on with: what it remembers is no longer
        // on the volume.
        let begun =
            Retirement::of(&volume.tags).filter(|begun| begun.restore_id == plan.restore_id);
        let (at, mut was) = begun.map_or((now, Tags::new()), |begun| (begun.at, begun.was));
        was.extend(tags_to_retire(&volume.tags, settings));
        Retirement {
            restore_id: plan.restore_id.clone(),
            at,
            replaced_by: made.id.clone(),
            was,
        }
    };
    member
        .to_retire()
        .map(|volume| (volume.id.clone(), retirement(volume)))
        .collect()
}
