//! Our policy as the settings say it should be, alone or within a policy that says more.

use std::collections::BTreeSet;

use super::definition::{CLOUD, CreateRule, Extent, PolicyDefinition, PolicySchedule};
use super::our_schedule;
use crate::schedule::Schedule;
use crate::settings::Tag;

/// What the settings say of the policy. Always enabled, always for volumes of the Region, always with
/// all their tags. Whatever else an adopted policy says is its maker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPolicy {
    /// What people call it.
    pub description: String,
    /// The role that DLM assumes.
    pub execution_role_arn: String,
    /// DLM takes a volume that has any of them.
    pub target_tags: BTreeSet<Tag>,
    /// Our schedule's name.
    pub schedule_name: String,
    /// When it runs.
    pub schedule: Schedule,
    /// Snapshots kept of each volume.
    pub retain_count: i32,
    /// What snapshots get besides the volume's tags.
    pub tags_to_add: BTreeSet<Tag>,
}

impl DesiredPolicy {
    /// A policy that is so and says no more.
    pub fn definition(&self) -> PolicyDefinition {
        self.within(&PolicyDefinition::default())
    }

    /// A policy as it was, but for what the settings say.
    pub fn within(&self, actual: &PolicyDefinition) -> PolicyDefinition {
        let mut schedules = actual.schedules.clone();
        match self.own_schedule(&schedules) {
            Some(own) => schedules[own] = self.schedule_within(&schedules[own]),
            None => schedules.push(self.schedule_within(&PolicySchedule::default())),
        }
        PolicyDefinition {
            execution_role_arn: self.execution_role_arn.clone(),
            resource_types: BTreeSet::from(["VOLUME".to_owned()]),
            resource_locations: BTreeSet::from([CLOUD.to_owned()]),
            target_tags: self.target_tags.clone(),
            schedules,
            ..actual.clone()
        }
    }

    /// [`our_schedule`]'s place.
    pub fn own_schedule(&self, schedules: &[PolicySchedule]) -> Option<usize> {
        our_schedule(schedules, &self.schedule_name, &self.schedule)
    }

    fn schedule_within(&self, actual: &PolicySchedule) -> PolicySchedule {
        let create = if actual.runs_as(&self.schedule) {
            actual.create.clone()
        } else {
            CreateRule {
                interval_hours: Some(self.schedule.interval_hours),
                times: vec![self.start_time()],
                cron_expression: None,
                ..actual.create.clone()
            }
        };
        PolicySchedule {
            name: self.schedule_name.clone(),
            copy_tags: true,
            tags_to_add: self.tags_to_add.clone(),
            create: CreateRule {
                location: Some(CLOUD.to_owned()),
                ..create
            },
            retain: Extent::count(self.retain_count),
            rules: actual.rules.clone(),
        }
    }

    fn start_time(&self) -> String {
        self.schedule.start_time.to_string()
    }
}

#[cfg(test)]
mod tests;
