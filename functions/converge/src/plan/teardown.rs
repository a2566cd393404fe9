//! What is deleted together with a stack whose resource has `OnDelete` set to `delete`.
//!
//! Only what carries the project's tag goes: whatever was merely found there stays. The role is one for
//! all Regions of an account, so it goes with the last stack that uses it, and stays where anybody else
//! uses it: another lifecycle policy, or whoever gave it further policies.

use etcd_backup_core::Tags;
use etcd_backup_core::iam::{AttachedPolicy, ManagedPolicy, Role};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{MANAGED_BY, MANAGED_BY_VALUE};

use super::{Change, Plan, Resource, Step};
use crate::collect::{Actual, RoleUses};
use crate::desired::{Desired, USED_IN_PREFIX};

/// Decides what goes; snapshots always stay. All of it is decided before anything is deleted, so that
/// nothing is left half gone by what IAM would refuse.
pub fn teardown(desired: &Desired, actual: &Actual, uses: &RoleUses) -> Plan {
    let (going, staying): (Vec<_>, Vec<_>) = actual
        .policies
        .iter()
        .partition(|policy| is_ours(&policy.tags));
    let policies = going.iter().map(|policy| {
        let id = policy.id.clone();
        let name = policy.description.clone();
        Change::delete(Resource::DlmPolicy, name, Step::DeletePolicy { id })
    });
    let (mut changes, mut warnings) = (Vec::new(), Vec::new());
    if let Some(role) = actual.role.as_ref().filter(|role| is_ours(&role.tags)) {
        let users = staying
            .iter()
            .filter(|policy| policy.definition.execution_role_arn == role.arn)
            .map(|policy| &policy.id)
            .chain(&uses.policies);
        let reasons = why_kept(desired, actual, role, uses, users);
        if reasons.is_empty() {
            changes.extend(role_and_policy(desired, actual, role, &mut warnings));
        } else {
            warnings.push(format!(
                "the role {} and its policy stay: {}",
                role.name,
                reasons.join("; ")
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

/// Why the role can't go: somebody else uses it, or IAM would not delete it.
fn why_kept<'a>(
    desired: &Desired,
    actual: &Actual,
    role: &Role,
    uses: &RoleUses,
    users: impl Iterator<Item = &'a PolicyId>,
) -> Vec<String> {
    let foreign = actual.attached.iter();
    let foreign = foreign.filter(|attached| !is_attachment_of_ours(actual, attached));
    [
        (
            "stacks use it in",
            used_elsewhere(desired, role)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        ),
        (
            "other lifecycle policies use it:",
            users.map(PolicyId::to_string).collect::<Vec<_>>(),
        ),
        (
            "other policies are attached to it:",
            foreign.map(|attached| attached.name.clone()).collect(),
        ),
        ("it has inline policies:", uses.inline.clone()),
        (
            "it is in the instance profiles",
            uses.instance_profiles.clone(),
        ),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(why, names)| format!("{why} {}", names.join(", ")))
    .collect()
}

fn is_attachment_of_ours(actual: &Actual, attached: &AttachedPolicy) -> bool {
    let policy = actual.role_policy.as_ref();
    policy.is_some_and(|policy| policy.arn == attached.arn)
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

fn role_and_policy(
    desired: &Desired,
    actual: &Actual,
    role: &Role,
    warnings: &mut Vec<String>,
) -> Vec<Change> {
    let detached: Vec<_> = actual
        .attached
        .iter()
        .map(|attached| {
            let step = Step::Detach {
                role: role.name.clone(),
                policy_arn: attached.arn.clone(),
            };
            let name = format!("{}/{}", role.name, attached.name);
            Change::delete(Resource::IamAttachment, name, step)
        })
        .collect();
    let own_policy = actual
        .role_policy
        .as_ref()
        .filter(|policy| is_ours(&policy.tags));
    let is_used_elsewhere = |policy: &&ManagedPolicy| policy.uses > detached.len() as i32;
    if let Some(policy) = own_policy.filter(is_used_elsewhere) {
        warnings.push(format!(
            "the IAM policy {} stays, as more than the role {} has it",
            policy.arn, role.name
        ));
    }
    let policy = own_policy
        .filter(|policy| !is_used_elsewhere(policy))
        .map(|policy| {
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

#[cfg(test)]
mod tests;
