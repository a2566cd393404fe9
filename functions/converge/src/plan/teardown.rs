//! The decision of what goes when a stack is deleted that was told to take everything with it.
//!
//! Only what carries the project's tag goes: whatever was merely found there stays. The role is one for
//! all Regions of an account, so it goes with the last stack that uses it.

use etcd_backup_core::Tags;
use etcd_backup_core::iam::Role;
use etcd_backup_core::lifecycle_policy::{MANAGED_BY, MANAGED_BY_VALUE};

use super::{Change, Plan, Resource, Step};
use crate::collect::Actual;
use crate::desired::{Desired, USED_IN_PREFIX};

/// Decides what goes; snapshots always stay.
pub fn teardown(desired: &Desired, actual: &Actual) -> Plan {
    let policies = actual
        .policies
        .iter()
        .filter(|policy| is_ours(&policy.tags));
    let policies: Vec<Change> = policies
        .map(|policy| {
            let id = policy.id.clone();
            let name = policy.description.clone();
            Change::delete(Resource::DlmPolicy, name, Step::DeletePolicy { id })
        })
        .collect();
    let (mut changes, mut warnings) = (Vec::new(), Vec::new());
    if let Some(role) = actual.role.as_ref().filter(|role| is_ours(&role.tags)) {
        let elsewhere = used_elsewhere(desired, role);
        if elsewhere.is_empty() {
            changes.extend(role_and_policy(desired, actual, role));
        } else {
            warnings.push(format!(
                "the role {} and its policy stay, as stacks in {} use them",
                role.name,
                elsewhere.join(", ")
            ));
            changes.extend(no_longer_used_here(desired, role));
        }
    }
    changes.extend(policies);
    Plan {
        role_arn: actual
            .role
            .as_ref()
            .map_or(desired.role_arn().to_owned(), |role| role.arn.clone()),
        policy_id: actual.policies.first().map(|policy| policy.id.clone()),
        changes,
        warnings,
        role_settling: false,
    }
}

fn is_ours(tags: &Tags) -> bool {
    tags.get(MANAGED_BY)
        .is_some_and(|value| value == MANAGED_BY_VALUE)
}

/// The other Regions that have a stack which uses the role.
fn used_elsewhere<'a>(desired: &Desired, role: &'a Role) -> Vec<&'a str> {
    let used_in = role
        .tags
        .keys()
        .filter(|key| **key != desired.used_in_key());
    used_in
        .filter_map(|key| key.strip_prefix(USED_IN_PREFIX))
        .collect()
}

fn no_longer_used_here(desired: &Desired, role: &Role) -> Option<Change> {
    let key = desired.used_in_key();
    role.tags.contains_key(&key).then(|| {
        let step = Step::UntagRole {
            role: role.name.clone(),
            keys: vec![key],
        };
        let mut change = Change::update(Resource::IamRole, role.name.clone());
        change.steps.push(step);
        change
    })
}

fn role_and_policy(desired: &Desired, actual: &Actual, role: &Role) -> Vec<Change> {
    let detached = actual.attached.iter().map(|attached| {
        let step = Step::Detach {
            role: role.name.clone(),
            policy_arn: attached.arn.clone(),
        };
        let name = format!("{}/{}", role.name, attached.name);
        Change::delete(Resource::IamAttachment, name, step)
    });
    let own_policy = actual
        .role_policy
        .iter()
        .filter(|policy| is_ours(&policy.tags));
    let policy = own_policy.map(|policy| {
        let step = Step::DeleteRolePolicy {
            arn: policy.arn.clone(),
        };
        Change::delete(Resource::IamPolicy, desired.role_policy_name.clone(), step)
    });
    let name = role.name.clone();
    let step = Step::DeleteRole { name: name.clone() };
    let role = Change::delete(Resource::IamRole, name, step);
    [role].into_iter().chain(policy).chain(detached).collect()
}
