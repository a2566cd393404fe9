//! The decision: what has to change so that there is what there should be. Pure and synchronous.

use std::collections::BTreeSet;

use etcd_backup_core::aws_cli;
use etcd_backup_core::iam::{NewRole, Role};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{
    DesiredPolicy, LifecyclePolicy, PolicyState, SCHEDULE_SINCE,
};
use jiff::{SignedDuration, Timestamp};

use super::{Change, Plan, PolicyUpdate, Resource, ScheduleSince, Step, differences, kept};
use crate::collect::Actual;
use crate::desired::Desired;
use crate::role_policy;

/// How old a role must be for DLM's refusal to assume it to mean something else than its youth.
const ROLE_SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How many schedules DLM lets one policy have.
///
/// Source: DLM API reference, `PolicyDetails`.
const SCHEDULES_MAX: usize = 4;

/// Decides what has to change.
pub fn decide(desired: &Desired, actual: &Actual, now: Timestamp) -> Plan {
    let role_arn = match &actual.role {
        Some(role) => role.arn.clone(),
        None => desired.role_arn().to_owned(),
    };
    let mut changes = Vec::new();
    changes.extend(role_change(desired, actual.role.as_ref()));
    changes.extend(role_policy_change(desired, actual));
    changes.extend(attachment_change(desired, actual));
    let is_young = actual
        .role
        .as_ref()
        .is_some_and(|role| now.duration_since(role.created).abs() < ROLE_SETTLED_AFTER);
    let role_settling = is_young || !changes.is_empty();
    changes.extend(policy_change(
        desired,
        &role_arn,
        actual.policies.first(),
        now,
    ));
    let steps = changes.iter().flat_map(|change| &change.steps);
    let obstacles = steps.filter_map(|step| match step {
        Step::UpdatePolicy(update) => update.obstacle.clone(),
        _ => None,
    });
    let mut warnings = warnings(desired, actual);
    if let Some(policy) = actual.policies.first() {
        warnings.extend(kept::warnings(
            policy,
            &desired.policy(&role_arn),
            &desired.role_name,
        ));
    }
    warnings.extend(obstacles);
    Plan {
        policy_id: actual.policies.first().map(|policy| policy.id.clone()),
        role_arn,
        changes,
        warnings,
        role_settling,
    }
}

fn role_change(desired: &Desired, role: Option<&Role>) -> Option<Change> {
    let name = desired.role_name.clone();
    let Some(role) = role else {
        let step = Step::CreateRole(NewRole {
            name: name.clone(),
            trust: desired.trust.clone(),
            permissions_boundary: desired.permissions_boundary.clone(),
            tags: desired.role_tags.clone(),
        });
        return Some(Change::create(Resource::IamRole, name, step));
    };
    let mut change = Change::update(Resource::IamRole, name);
    let trust = differences::documents("trust_policy", &role.trust, &desired.trust);
    change.differ(trust, || Step::SetTrust {
        role: role.name.clone(),
        trust: desired.trust.clone(),
    });
    if let Some(boundary) = &desired.permissions_boundary {
        let actual = role.permissions_boundary.as_deref();
        change.differ(differences::boundaries(actual, boundary), || {
            Step::SetBoundary {
                role: role.name.clone(),
                policy_arn: boundary.clone(),
            }
        });
    }
    change.differ(differences::tags(&role.tags, &desired.role_tags), || {
        Step::TagRole {
            role: role.name.clone(),
            tags: desired.role_tags.clone(),
        }
    });
    change.unless_empty()
}

fn role_policy_change(desired: &Desired, actual: &Actual) -> Option<Change> {
    let name = desired.role_policy_name.clone();
    let definitions = actual.policies.iter().map(|policy| &policy.definition);
    let needed: BTreeSet<_> = definitions.flat_map(role_policy::needed_by).collect();
    let Some(policy) = &actual.role_policy else {
        let step = Step::CreateRolePolicy {
            name: name.clone(),
            document: desired.role_policy(&needed),
            tags: desired.tags.clone(),
        };
        return Some(Change::create(Resource::IamPolicy, name, step));
    };
    let allowed = role_policy::allowed_by(&policy.document);
    let wanted = desired.role_policy(&(&needed | &allowed));
    let mut change = Change::update(Resource::IamPolicy, name);
    let document = differences::documents("document", &policy.document, &wanted);
    change.differ(document, || Step::SetRolePolicy {
        arn: policy.arn.clone(),
        document: wanted.clone(),
    });
    change.differ(differences::tags(&policy.tags, &desired.tags), || {
        Step::TagRolePolicy {
            arn: policy.arn.clone(),
            tags: desired.tags.clone(),
        }
    });
    change.unless_empty()
}

fn attachment_change(desired: &Desired, actual: &Actual) -> Option<Change> {
    let policy_arn = match &actual.role_policy {
        Some(policy) => policy.arn.clone(),
        None => desired.role_policy_arn(),
    };
    if actual
        .attached
        .iter()
        .any(|attached| attached.arn == policy_arn)
    {
        return None;
    }
    let name = format!("{}/{}", desired.role_name, desired.role_policy_name);
    let role = desired.role_name.clone();
    Some(Change::create(
        Resource::IamAttachment,
        name,
        Step::Attach { role, policy_arn },
    ))
}

fn policy_change(
    desired: &Desired,
    role_arn: &str,
    policy: Option<&LifecyclePolicy>,
    now: Timestamp,
) -> Option<Change> {
    let wanted = desired.policy(role_arn);
    let name = wanted.description.clone();
    let Some(policy) = policy else {
        let mut tags = desired.tags.clone();
        tags.insert(SCHEDULE_SINCE.to_owned(), to_the_second(now));
        let step = Step::CreatePolicy {
            definition: wanted.definition(),
            description: wanted.description,
            tags,
        };
        return Some(Change::create(Resource::DlmPolicy, name, step));
    };
    let mut change = Change::update(Resource::DlmPolicy, name);
    // The tag comes first: once it is there, the policy is known as ours, whatever fails later.
    change.differ(differences::tags(&policy.tags, &desired.tags), || {
        Step::TagPolicy {
            arn: desired.policy_arn(policy.id.as_str()),
            tags: desired.tags.clone(),
        }
    });
    change.differ(differences::policies(policy, &wanted), || {
        Step::UpdatePolicy(policy_update(desired, policy, &wanted, now))
    });
    change.unless_empty()
}

fn policy_update(
    desired: &Desired,
    policy: &LifecyclePolicy,
    wanted: &DesiredPolicy,
    now: Timestamp,
) -> PolicyUpdate {
    let schedule_changes = differences::schedule_changes(policy, wanted);
    PolicyUpdate {
        id: policy.id.clone(),
        arn: desired.policy_arn(policy.id.as_str()),
        obstacle: obstacle(policy, wanted),
        description: wanted.description.clone(),
        definition: wanted.within(&policy.definition),
        schedule_since: schedule_changes.then(|| ScheduleSince {
            now: to_the_second(now),
            before: policy.tags.get(SCHEDULE_SINCE).cloned(),
        }),
    }
}

/// People read the tag; fractions of a second only get in their way. The second is the next, as with the
/// one before, a run that was at its beginning would be judged by a schedule that came after it.
fn to_the_second(moment: Timestamp) -> String {
    let is_whole = moment.subsec_nanosecond() == 0;
    let second = moment.as_second() + i64::from(!is_whole);
    Timestamp::from_second(second).unwrap_or(moment).to_string()
}

/// What DLM never lets an update change. Making another policy beside this one would double every
/// snapshot, and deleting it would have its snapshots kept for ever: that is for people to choose.
///
/// Source: EBS user guide, "Modify Amazon Data Lifecycle Manager policies"; DLM API reference,
/// `UpdateLifecyclePolicy`.
fn obstacle(policy: &LifecyclePolicy, wanted: &DesiredPolicy) -> Option<String> {
    let (actual, wanted_definition) = (&policy.definition, wanted.within(&policy.definition));
    let own = wanted.own_schedule(&actual.schedules);
    let what = if actual.resource_types != wanted_definition.resource_types {
        "be for another type of resource"
    } else if own.is_some_and(|own| actual.schedules[own].retain.count.is_none()) {
        "keep by count what it kept by age"
    } else if wanted_definition.schedules.len() > SCHEDULES_MAX {
        "have a fifth schedule, and none of its four is this project's by name or time"
    } else {
        return None;
    };
    Some(format!(
        "DLM doesn't let {} {what}: delete it, or take the tag and the description off it, and \
         converge makes another (the snapshots that it made stay, and nothing deletes them)",
        policy.id
    ))
}

fn warnings(desired: &Desired, actual: &Actual) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut ids = actual
        .policies
        .iter()
        .map(|policy| &policy.id)
        .chain(&actual.namesakes);
    let kept = ids.next();
    let others: Vec<_> = ids.map(PolicyId::as_str).collect();
    if let (Some(kept), false) = (kept, others.is_empty()) {
        warnings.push(format!(
            "{} DLM policies are tagged or described like ours, and each of them may snapshot the \
             volumes: {kept} is kept converged, {} left alone; delete what is not wanted with `{}`",
            others.len() + 1,
            match others[..] {
                [other] => format!("{other} is"),
                _ => format!("{} are", others.join(", ")),
            },
            aws_cli::command(
                desired.region(),
                "dlm delete-lifecycle-policy",
                format_args!("--policy-id …")
            )
        ));
    }
    for policy in actual
        .policies
        .iter()
        .take(1)
        .filter(|policy| policy.state == PolicyState::Error)
    {
        warnings.push(format!(
            "DLM had given up on {}: {}; if it does so again, the cause is still there",
            policy.id,
            policy
                .status_message
                .as_deref()
                .unwrap_or("it doesn't say why"),
        ));
    }
    for id in &actual.lookalikes {
        warnings.push(format!(
            "{id} is tagged or described like ours but doesn't take snapshots by a schedule of its \
             own, which DLM doesn't let change: it is left alone"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
