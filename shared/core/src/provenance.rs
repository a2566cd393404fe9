//! Who made a snapshot, and so whether it is one of the backups that this project answers for.
//!
//! It is decided by the DLM policies that exist, ours and others', before any tag that a person may
//! write: `SnapshotCreator=DLM` is the example of Terraform's own documentation, so that other teams'
//! policies add it too, and AWS Backup copies it from a volume that was restored by hand.
//!
//! Invariant: a snapshot of a policy that exists and isn't ours is not managed, whatever tags it has.

use std::collections::{BTreeMap, BTreeSet};

use crate::Tags;
use crate::ids::PolicyId;
use crate::lifecycle_policy::{LifecyclePolicy, our_schedule};
use crate::schedule::{DUE_AFTER, Schedule};
use crate::settings::{Settings, Tag};
use crate::snapshot::{DLM_POLICY_ID, DLM_SCHEDULE_NAME, Snapshot};

/// What the tags begin with that AWS Backup writes on its recovery points.
const AWS_BACKUP_PREFIX: &str = "aws:backup:";

/// Who made a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Maker {
    /// Our schedule of one of our policies. DLM deletes it when it is beyond the count.
    OurSchedule,
    /// Another schedule of one of our policies, so close to a run of ours that DLM may have made one
    /// snapshot for both. DLM deletes it when it is beyond the longest count of the two.
    ScheduleBesideOurs,
    /// A schedule that our policy no longer has, as after it was renamed. Nobody deletes it.
    FormerSchedule,
    /// A policy that no longer exists and was, by name or tags, as ours is. Nobody deletes it.
    FormerPolicy,
    /// It carries no policy's id, but all of the tags that ours adds. Nobody deletes it.
    Unnamed,
    /// Somebody else: another policy, AWS Backup, or a person.
    Stranger,
}

impl Maker {
    /// Whether the snapshot is one of the backups that this project answers for.
    pub fn is_managed(self) -> bool {
        self != Self::Stranger
    }

    /// Whether DLM still deletes the snapshot when there are newer ones enough, given that its volume
    /// exists and is targeted.
    pub fn is_rotated(self) -> bool {
        matches!(self, Self::OurSchedule | Self::ScheduleBesideOurs)
    }
}

/// All that can have made a snapshot: the DLM policies that exist, and what ours writes on its own.
#[derive(Clone, Debug)]
pub struct Makers {
    /// Every policy of the Region, by id; of ours, what its schedules are called.
    policies: BTreeMap<PolicyId, Option<OurPolicy>>,
    schedule_name: String,
    schedule: Schedule,
    tags_to_add: Vec<Tag>,
}

#[derive(Clone, Debug)]
struct OurPolicy {
    /// The name of the schedule that the settings describe.
    our_schedule: Option<String>,
    other_schedules: BTreeSet<String>,
}

impl Makers {
    /// `existing` are the ids of all policies of the Region, whatever they make and whatever their
    /// state; `ours` are those of them that are ours, whole.
    pub fn new<'a>(
        existing: impl IntoIterator<Item = &'a PolicyId>,
        ours: &[LifecyclePolicy],
        settings: &Settings,
    ) -> Self {
        let strangers = existing.into_iter().map(|id| (id.clone(), None));
        let ours = ours
            .iter()
            .map(|policy| (policy.id.clone(), Some(OurPolicy::of(policy, settings))));
        Self {
            policies: strangers.chain(ours).collect(),
            schedule_name: settings.schedule_name.clone(),
            schedule: settings.schedule,
            tags_to_add: settings.tags_to_add.clone(),
        }
    }

    /// Whether a snapshot is a backup that this project answers for: made by us, and no copy, as a
    /// copy's start isn't its data's.
    pub fn manage(&self, snapshot: &Snapshot) -> bool {
        !snapshot.volume_id.is_of_a_copy() && self.maker(snapshot).is_managed()
    }

    /// Who made a snapshot.
    pub fn maker(&self, snapshot: &Snapshot) -> Maker {
        let tags = &snapshot.tags;
        let Some(policy_id) = tags.get(DLM_POLICY_ID) else {
            return self.maker_without_policy(tags);
        };
        match self.policies.get(&PolicyId::from(policy_id.as_str())) {
            Some(Some(policy)) => self.schedule_of_ours(policy, snapshot),
            Some(None) => Maker::Stranger,
            None if tags.get(DLM_SCHEDULE_NAME) == Some(&self.schedule_name) => Maker::FormerPolicy,
            None if self.has_all_added(tags) => Maker::FormerPolicy,
            None => Maker::Stranger,
        }
    }

    fn schedule_of_ours(&self, policy: &OurPolicy, snapshot: &Snapshot) -> Maker {
        match snapshot.tags.get(DLM_SCHEDULE_NAME) {
            name if name.is_some() && name == policy.our_schedule.as_ref() => Maker::OurSchedule,
            Some(name) if policy.other_schedules.contains(name) => {
                if self.is_in_time(snapshot) {
                    Maker::ScheduleBesideOurs
                } else {
                    Maker::Stranger
                }
            }
            _ => Maker::FormerSchedule,
        }
    }

    /// Whether a snapshot was started while DLM may still be making those of a run of ours.
    fn is_in_time(&self, snapshot: &Snapshot) -> bool {
        let run = self.schedule.run_of(snapshot.started);
        snapshot.started.duration_since(run.at()) <= DUE_AFTER
    }

    fn maker_without_policy(&self, tags: &Tags) -> Maker {
        let by_aws_backup = tags.keys().any(|key| key.starts_with(AWS_BACKUP_PREFIX));
        if !by_aws_backup && self.has_all_added(tags) {
            Maker::Unnamed
        } else {
            Maker::Stranger
        }
    }

    fn has_all_added(&self, tags: &Tags) -> bool {
        let mut added = self.tags_to_add.iter();
        !self.tags_to_add.is_empty() && added.all(|tag| tags.get(&tag.key) == Some(&tag.value))
    }
}

impl OurPolicy {
    fn of(policy: &LifecyclePolicy, settings: &Settings) -> Self {
        let schedules = &policy.definition.schedules;
        let ours = our_schedule(schedules, &settings.schedule_name, &settings.schedule);
        let our_schedule = ours.map(|place| schedules[place].name.clone());
        let names = schedules.iter().map(|schedule| schedule.name.clone());
        Self {
            other_schedules: names
                .filter(|name| Some(name) != our_schedule.as_ref())
                .collect(),
            our_schedule,
        }
    }
}
