//! What an adopted policy says that no setting does: it stays, and the plan lists it.

use std::collections::BTreeSet;

use etcd_backup_core::lifecycle_policy::{
    DesiredPolicy, LifecyclePolicy, PolicyDefinition, PolicySchedule,
};

use crate::role_policy::OF_KEYS;

/// What is kept, and which keys the role would need for it that its policy doesn't give.
pub(super) fn warnings(
    policy: &LifecyclePolicy,
    wanted: &DesiredPolicy,
    role_name: &str,
) -> Vec<String> {
    let mut kept = schedules(&policy.definition, wanted);
    kept.extend(left_out(&policy.definition));
    let mut warnings = Vec::new();
    if !kept.is_empty() {
        warnings.push(format!(
            "kept as it is in {}, as no setting names it: {}",
            policy.id,
            kept.join("; ")
        ));
    }
    warnings.extend(keys(&policy.definition, role_name));
    warnings
}

fn schedules(definition: &PolicyDefinition, wanted: &DesiredPolicy) -> Vec<String> {
    let own = wanted.own_schedule(&definition.schedules);
    let schedules = definition.schedules.iter().enumerate();
    schedules
        .filter_map(|(place, schedule)| {
            if own == Some(place) {
                of_own(schedule)
            } else {
                Some(another(schedule))
            }
        })
        .collect()
}

/// What our schedule says besides.
fn of_own(schedule: &PolicySchedule) -> Option<String> {
    let parts = besides(schedule);
    (!parts.is_empty()).then(|| format!("schedule \"{}\" {parts}", schedule.name))
}

fn another(schedule: &PolicySchedule) -> String {
    let parts = besides(schedule);
    let rules = if parts.is_empty() {
        String::new()
    } else {
        format!(", {parts}")
    };
    format!(
        "another schedule \"{}\" ({}, keeps {}{rules})",
        schedule.name, schedule.create, schedule.retain
    )
}

fn besides(schedule: &PolicySchedule) -> String {
    let scripts = schedule.create.scripts.iter();
    let scripts = scripts.map(|script| format!("runs the script {}", script.handler));
    let rules = Some(schedule.rules.to_string()).filter(|rules| !rules.is_empty());
    let parts: Vec<_> = rules.into_iter().chain(scripts).collect();
    parts.join(", ")
}

/// What the policy leaves out or does as a whole.
fn left_out(definition: &PolicyDefinition) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(parameters) = &definition.parameters {
        if parameters.exclude_boot_volume == Some(true) {
            parts.push("leaves instances' boot volumes out".to_owned());
        }
        if !parameters.exclude_data_volume_tags.is_empty() {
            parts.push("leaves instances' volumes out by tags".to_owned());
        }
    }
    if definition.exclusions.is_some() {
        parts.push("leaves volumes out".to_owned());
    }
    if !definition.copy_targets.is_empty() {
        parts.push(format!("copies to {}", definition.copy_targets.join(", ")));
    }
    if definition.extend_deletion == Some(true) {
        parts.push("deletes a volume's last snapshot too".to_owned());
    }
    parts
}

/// The role's policy names no key: which are used, only who encrypted knows.
fn keys(definition: &PolicyDefinition, role_name: &str) -> Option<String> {
    let schedules = definition.schedules.iter();
    let copies: Vec<_> = schedules
        .flat_map(|schedule| &schedule.rules.copies)
        .collect();
    let keys: BTreeSet<_> = copies
        .iter()
        .filter_map(|copy| copy.key_arn.as_deref())
        .collect();
    let named = if keys.is_empty() {
        String::new()
    } else {
        format!("{} and ", Vec::from_iter(keys).join(", "))
    };
    (!copies.is_empty()).then(|| {
        format!(
            "to copy what is encrypted, the role {role_name} needs {OF_KEYS} on {named}the customer \
             managed keys of the volumes, if there are any: give them by another policy attached to \
             the role, which stays attached"
        )
    })
}
