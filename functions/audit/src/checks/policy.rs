//! Whether DLM has a policy for the schedule, and acts on it.

use super::Scope;
use crate::finding::{Finding, Kind, Subject, not_enabled};

/// `policy_missing`, `policy_not_enabled`.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let kind = match scope.policy {
        None => Some(Kind::PolicyMissing {
            description: scope.settings.policy_description.clone(),
        }),
        Some(policy) => not_enabled(policy.state).map(|state| Kind::PolicyNotEnabled {
            policy_id: policy.id.clone(),
            state,
            status_message: policy.status_message.clone(),
        }),
    };
    kind.map(|kind| Finding::new(Subject::default(), kind))
        .into_iter()
        .collect()
}
