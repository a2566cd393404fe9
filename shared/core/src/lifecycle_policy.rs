//! DLM lifecycle policies: what one says, and which one is ours.

use jiff::Timestamp;

use crate::Tags;
use crate::aws::AwsError;
use crate::ids::PolicyId;
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

/// Reading DLM's policies.
pub trait Policies {
    /// All policies of the Region; DLM doesn't page.
    async fn policies(&self) -> Result<Vec<PolicySummary>, AwsError>;
    /// One policy, whole; `None` when it is gone.
    async fn policy(&self, id: &PolicyId) -> Result<Option<LifecyclePolicy>, AwsError>;
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
    /// Its tags.
    pub tags: Tags,
}

/// The policies that are ours: by the project's tag, else (where none has it) by description.
pub fn ours<'a>(policies: &'a [PolicySummary], settings: &Settings) -> Vec<&'a PolicySummary> {
    let tagged: Vec<_> = policies
        .iter()
        .filter(|policy| policy.tags.get(MANAGED_BY).is_some_and(|by| by == MANAGED_BY_VALUE))
        .collect();
    match tagged.is_empty() {
        false => tagged,
        true => policies
            .iter()
            .filter(|policy| policy.description == settings.policy_description)
            .collect(),
    }
}
