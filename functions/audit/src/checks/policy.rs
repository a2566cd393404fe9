//! Whether DLM has a policy for the schedule, and acts on it.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::Tags;
use etcd_backup_core::ids::{InstanceId, PolicyId};
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, MANAGED_BY, MANAGED_BY_VALUE, PolicyState,
};

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// `policy_missing`, `policy_not_enabled`, `policy_duplicated`.
pub fn check(scope: &Scope) -> Vec<Finding> {
    [check_ours(scope), check_others(scope)].concat()
}

fn check_ours(scope: &Scope) -> Vec<Finding> {
    let kind = match scope.policy {
        None => Some(Kind::PolicyMissing {
            description: scope.settings.policy_description.clone(),
        }),
        Some(policy) if policy.state == PolicyState::Enabled => None,
        Some(policy) => Some(Kind::PolicyNotEnabled {
            policy_id: policy.id.clone(),
            state: policy.state.name(),
            status_message: policy.status_message.clone(),
        }),
    };
    kind.map(|kind| Finding::new(Subject::default(), kind))
        .into_iter()
        .collect()
}

/// Enabled policies that take an etcd volume which another enabled one takes as well, ours among them or
/// not: what converge keeps may be switched off, or target other volumes.
fn check_others(scope: &Scope) -> Vec<Finding> {
    let Some(kept) = scope.policy else {
        return Vec::new();
    };
    let is_ours = |policy: &LifecyclePolicy| {
        policy
            .tags
            .get(MANAGED_BY)
            .is_some_and(|by| by == MANAGED_BY_VALUE)
            || policy.description == scope.settings.policy_description
    };
    let doubling = doubling(scope);
    let others: Vec<&LifecyclePolicy> = enabled(scope)
        .filter(|policy| policy.id != kept.id && doubling.contains(&policy.id))
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    let kind = Kind::PolicyDuplicated {
        policy_id: kept.id.clone(),
        ours: others.iter().any(|policy| is_ours(policy)),
        others: others.iter().map(|policy| policy.id.clone()).collect(),
    };
    vec![Finding::new(Subject::default(), kind)]
}

fn enabled<'a>(scope: &Scope<'a>) -> impl Iterator<Item = &'a LifecyclePolicy> {
    let inventory = scope.inventory;
    let all = inventory.policies.iter().chain(&inventory.other_policies);
    all.filter(|policy| policy.state == PolicyState::Enabled)
}

/// The enabled policies that don't take a volume alone. One for volumes goes by the volume's tags, one for
/// instances by those of the instance that has it attached.
fn doubling<'a>(scope: &Scope<'a>) -> BTreeSet<&'a PolicyId> {
    let enabled: Vec<&LifecyclePolicy> = enabled(scope).collect();
    if enabled.len() < 2 {
        return BTreeSet::new();
    }
    let masters = scope.inventory.masters.iter();
    let masters: BTreeMap<&InstanceId, &Tags> =
        masters.map(|master| (&master.id, &master.tags)).collect();
    let clusters = scope.fleet.clusters.values();
    let volumes = clusters
        .flat_map(|cluster| cluster.members.values())
        .flat_map(|member| &member.volumes);
    let mut doubling = BTreeSet::new();
    for volume in volumes {
        let mut attachments = volume.attachments.iter();
        let instance = attachments.find_map(|of| masters.get(&of.instance).copied());
        let takers = enabled
            .iter()
            .filter(|policy| policy.definition.takes(volume, instance));
        let takers: Vec<&PolicyId> = takers.map(|policy| &policy.id).collect();
        if takers.len() > 1 {
            doubling.extend(takers);
        }
    }
    doubling
}
