//! Whether DLM has a policy for the schedule, and acts on it.

use etcd_backup_core::aws::TaggedMaster;
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, MANAGED_BY, MANAGED_BY_VALUE, PolicyState,
};
use etcd_backup_core::volume::Volume;

use super::Scope;
use crate::finding::{Finding, Kind, Subject, not_enabled};

/// `policy_missing`, `policy_not_enabled`, `policy_duplicated`.
pub fn check(scope: &Scope) -> Vec<Finding> {
    [check_ours(scope), check_others(scope)].concat()
}

fn check_ours(scope: &Scope) -> Vec<Finding> {
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

/// Enabled policies that target an etcd volume, beside the one that converge keeps.
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
    let inventory = scope.inventory;
    let others: Vec<&LifecyclePolicy> = inventory
        .policies
        .iter()
        .chain(&inventory.other_policies)
        .filter(|policy| policy.id != kept.id && policy.state == PolicyState::Enabled)
        .filter(|policy| targets_etcd(scope, policy))
        .collect();
    let enabled = others.len() + usize::from(kept.state == PolicyState::Enabled);
    if enabled < 2 {
        return Vec::new();
    }
    let kind = Kind::PolicyDuplicated {
        policy_id: kept.id.clone(),
        ours: others.iter().any(|policy| is_ours(policy)),
        others: others.iter().map(|policy| policy.id.clone()).collect(),
    };
    vec![Finding::new(Subject::default(), kind)]
}

fn targets_etcd(scope: &Scope, policy: &LifecyclePolicy) -> bool {
    let clusters = scope.fleet.clusters.values();
    let mut volumes = clusters
        .flat_map(|cluster| cluster.members.values())
        .flat_map(|member| &member.volumes);
    volumes.any(|volume| takes(scope, policy, volume))
}

/// A policy for volumes goes by the volume's tags, one for instances by those of the instance that has
/// it attached.
fn takes(scope: &Scope, policy: &LifecyclePolicy, volume: &Volume) -> bool {
    let is_attached_to = |master: &&TaggedMaster| {
        let mut attachments = volume.attachments.iter();
        attachments.any(|of| of.instance == master.id)
    };
    let master = scope.inventory.masters.iter().find(is_attached_to);
    let instance = master.map(|master| &master.tags);
    policy.definition.takes(volume, instance)
}
