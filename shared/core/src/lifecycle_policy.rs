//! DLM lifecycle policies: what one says, which one is ours, and what ours should say.

#![allow(async_fn_in_trait)] // Called through generics alone; nothing needs the futures' bounds named.

mod cron;
mod definition;
mod desired;

pub use definition::{
    CLOUD, CopyRule, CreateRule, Exclusions, Extent, FastRestoreRule, Parameters, PolicyDefinition,
    PolicySchedule, Rules, Script, ShareRule,
};
pub use desired::DesiredPolicy;

use jiff::Timestamp;

use crate::Tags;
use crate::aws::AwsError;
use crate::ids::PolicyId;
use crate::schedule::Schedule;
use crate::settings::Settings;

/// The tag key that marks what this project made or adopted.
pub const MANAGED_BY: &str = "managed-by";
/// The value of [`MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "etcd-backup";
/// The tag that records since when the schedule is as it is; older history is judged by nobody.
pub const SCHEDULE_SINCE: &str = "etcd-backup/schedule-since";

/// A policy as the listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySummary {
    /// `policy-…`
    pub id: PolicyId,
    /// What people call it.
    pub description: String,
    /// Whether DLM acts on it.
    pub state: PolicyState,
    /// What it makes; DLM never lets this change.
    pub kind: PolicyKind,
    /// Its tags.
    pub tags: Tags,
}

/// Whether DLM acts on a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyState {
    /// It does.
    Enabled,
    /// Somebody switched it off: nothing is created or deleted.
    Disabled,
    /// DLM gave up on it: nothing is created or deleted.
    Error,
}

impl PolicyState {
    /// DLM's name of the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
        }
    }
}

/// What a policy makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// Snapshots, by schedules of its own.
    #[default]
    Snapshots,
    /// Snapshots, by a default policy: of what no other has backed up lately.
    SnapshotsByDefault,
    /// Anything else: images, whose snapshots are the images' and no restore's, or copies of shared
    /// snapshots.
    Other,
}

impl PolicyKind {
    /// Whether policies of this kind make snapshots of volumes; which volumes, says
    /// [`PolicyDefinition::takes`].
    pub fn snapshots_volumes(self) -> bool {
        match self {
            Self::Snapshots | Self::SnapshotsByDefault => true,
            Self::Other => false,
        }
    }
}

/// A policy, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecyclePolicy {
    /// `policy-…`
    pub id: PolicyId,
    /// What people call it.
    pub description: String,
    /// Whether DLM acts on it.
    pub state: PolicyState,
    /// Why it is in its state, where DLM says so.
    pub status_message: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed, where DLM says so.
    pub modified: Option<Timestamp>,
    /// What it does.
    pub definition: PolicyDefinition,
    /// Its tags.
    pub tags: Tags,
}

/// Reading DLM's policies.
pub trait Policies {
    /// All policies of the Region; DLM doesn't page.
    async fn policies(&self) -> Result<Vec<PolicySummary>, AwsError>;
    /// One policy, whole; `None` when it is gone.
    async fn policy(&self, id: &PolicyId) -> Result<Option<LifecyclePolicy>, AwsError>;
}

/// Writing DLM's policies.
pub trait PolicyWriter {
    /// Makes an enabled policy. Tried once alone: DLM takes no client token, so that a repetition
    /// after a lost answer would make a second policy, and every volume would be snapshotted twice.
    async fn create_policy(
        &self,
        description: &str,
        definition: &PolicyDefinition,
        tags: &Tags,
    ) -> Result<PolicyId, AwsError>;
    /// Puts an enabled policy in the place of what was there, but for its tags.
    async fn update_policy(
        &self,
        id: &PolicyId,
        description: &str,
        definition: &PolicyDefinition,
    ) -> Result<(), AwsError>;
    /// Sets tags on a policy.
    async fn tag_policy(&self, arn: &str, tags: &Tags) -> Result<(), AwsError>;
    /// Deletes a policy, which leaves its snapshots; one that is gone is no error.
    async fn delete_policy(&self, id: &PolicyId) -> Result<(), AwsError>;
    /// Removes tags from a policy.
    async fn untag_policy(&self, arn: &str, keys: &[&str]) -> Result<(), AwsError>;
}

/// The policies that are ours: by the project's tag, else (where none has it) by description.
///
/// A policy that makes something else than snapshots by schedules is never ours, whatever it is called:
/// DLM doesn't let it become one that does.
pub fn ours<'a>(policies: &'a [PolicySummary], settings: &Settings) -> Vec<&'a PolicySummary> {
    let candidates = || {
        policies
            .iter()
            .filter(|policy| policy.kind == PolicyKind::Snapshots)
    };
    let tagged: Vec<_> = candidates().filter(|policy| is_tagged(policy)).collect();
    if !tagged.is_empty() {
        return tagged;
    }
    candidates()
        .filter(|policy| policy.description == settings.policy_description)
        .collect()
}

/// The policies that have our description but, beside one with our tag, aren't taken for ours: they
/// snapshot the same volumes, more likely than not.
pub fn namesakes<'a>(policies: &'a [PolicySummary], settings: &Settings) -> Vec<&'a PolicySummary> {
    let ours = ours(policies, settings);
    policies
        .iter()
        .filter(|policy| policy.kind == PolicyKind::Snapshots)
        .filter(|policy| policy.description == settings.policy_description)
        .filter(|policy| ours.iter().all(|ours| ours.id != policy.id))
        .collect()
}

/// The policies that look like ours but are of another kind: people should know why they are not
/// taken.
pub fn lookalikes<'a>(
    policies: &'a [PolicySummary],
    settings: &Settings,
) -> Vec<&'a PolicySummary> {
    policies
        .iter()
        .filter(|policy| policy.kind != PolicyKind::Snapshots)
        .filter(|policy| is_tagged(policy) || policy.description == settings.policy_description)
        .collect()
}

/// The place of our schedule among those of a policy of ours: the one of our name, else the only one,
/// else one that runs when ours should, else the only one that begins when ours should. `None` where none
/// of several is ours.
pub fn our_schedule(
    schedules: &[PolicySchedule],
    name: &str,
    schedule: &Schedule,
) -> Option<usize> {
    let position = |is_ours: &dyn Fn(&PolicySchedule) -> bool| schedules.iter().position(is_ours);
    let only = |is_ours: &dyn Fn(&PolicySchedule) -> bool| {
        let is_only = schedules.iter().filter(|of| is_ours(of)).count() == 1;
        position(is_ours).filter(|_| is_only)
    };
    position(&|of| of.name == name)
        .or_else(|| only(&|_| true))
        .or_else(|| position(&|of| of.runs_as(schedule)))
        .or_else(|| only(&|of| of.create.times == [schedule.start_time.to_string()]))
}

fn is_tagged(policy: &PolicySummary) -> bool {
    policy
        .tags
        .get(MANAGED_BY)
        .is_some_and(|by| by == MANAGED_BY_VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: &str, description: &str, tagged: bool, kind: PolicyKind) -> PolicySummary {
        let tag = (MANAGED_BY.to_owned(), MANAGED_BY_VALUE.to_owned());
        PolicySummary {
            id: id.into(),
            description: description.to_owned(),
            state: PolicyState::Enabled,
            kind,
            tags: tagged.then_some(tag).into_iter().collect(),
        }
    }

    fn ids(policies: Vec<&PolicySummary>) -> Vec<&str> {
        policies.iter().map(|policy| policy.id.as_str()).collect()
    }

    #[test]
    fn the_tag_decides_and_the_description_only_where_none_is_tagged() {
        let settings = Settings::from_variables(&|_| None).unwrap();
        let same = settings.policy_description.as_str();
        let mut policies = vec![
            summary("policy-stranger", "another", false, PolicyKind::Snapshots),
            summary("policy-described", same, false, PolicyKind::Snapshots),
            summary("policy-images", same, true, PolicyKind::Other),
            summary("policy-default", same, true, PolicyKind::SnapshotsByDefault),
        ];
        assert_eq!(ids(ours(&policies, &settings)), ["policy-described"]);
        assert!(namesakes(&policies, &settings).is_empty());
        assert_eq!(
            ids(lookalikes(&policies, &settings)),
            ["policy-images", "policy-default"]
        );
        policies.push(summary(
            "policy-renamed",
            "another",
            true,
            PolicyKind::Snapshots,
        ));
        assert_eq!(ids(ours(&policies, &settings)), ["policy-renamed"]);
        assert_eq!(ids(namesakes(&policies, &settings)), ["policy-described"]);
    }
}
