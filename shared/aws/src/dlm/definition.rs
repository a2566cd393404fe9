//! What a policy does, to and from the SDK's `PolicyDetails`.
//!
//! Invariant: every member of a policy that takes snapshots by schedules of its own is read, and
//! written again as it was read. Members that only event-based policies have are left out: nothing of
//! theirs is ever written. An absent member stays absent, and a 0 beside a count, which DLM shows where
//! something isn't kept by age, is one that is absent.

mod rules;

use std::collections::BTreeSet;

use aws_sdk_dlm::types::{
    CreateRule as SdkCreateRule, CrossRegionCopyTarget, Exclusions as SdkExclusions,
    IntervalUnitValues, Parameters as SdkParameters, PolicyDetails, PolicyTypeValues,
    ResourceLocationValues, ResourceTypeValues, RetainRule, Schedule, Tag as SdkTag,
};
use etcd_backup_core::lifecycle_policy::{
    CLOUD, CreateRule, Exclusions, Extent, Parameters, PolicyDefinition, PolicySchedule,
};
use etcd_backup_core::settings::Tag;

/// What a policy does.
pub(super) fn read(execution_role_arn: &str, details: &PolicyDetails) -> PolicyDefinition {
    let resource_types = details.resource_types().iter();
    // A default policy has `resource_type` in the place of `resource_types`.
    let resource_types = resource_types.chain(details.resource_type());
    let copy_targets = details.cross_region_copy_targets().iter();
    PolicyDefinition {
        execution_role_arn: execution_role_arn.to_owned(),
        resource_types: resource_types.map(ToString::to_string).collect(),
        resource_locations: locations(details.resource_locations()),
        target_tags: core_tags(details.target_tags()),
        schedules: details.schedules().iter().map(core_schedule).collect(),
        parameters: details.parameters().map(|parameters| Parameters {
            exclude_boot_volume: parameters.exclude_boot_volume(),
            no_reboot: parameters.no_reboot(),
            exclude_data_volume_tags: core_tags(parameters.exclude_data_volume_tags()),
        }),
        exclusions: details.exclusions().map(|exclusions| Exclusions {
            boot_volumes: exclusions.exclude_boot_volumes(),
            volume_types: exclusions.exclude_volume_types().to_vec(),
            tags: core_tags(exclusions.exclude_tags()),
        }),
        copy_tags: details.copy_tags(),
        extend_deletion: details.extend_deletion(),
        copy_targets: copy_targets
            .filter_map(|target| target.target_region.clone())
            .collect(),
    }
}

/// The details that make a policy do so.
pub(super) fn written(definition: &PolicyDefinition) -> PolicyDetails {
    let resource_types = definition.resource_types.iter();
    let resource_types = resource_types.map(|kind| ResourceTypeValues::from(kind.as_str()));
    let locations = definition.resource_locations.iter();
    let locations = locations.map(|place| ResourceLocationValues::from(place.as_str()));
    let copy_targets = definition.copy_targets.iter().map(|region| {
        CrossRegionCopyTarget::builder()
            .target_region(region)
            .build()
    });
    PolicyDetails::builder()
        .policy_type(PolicyTypeValues::EbsSnapshotManagement)
        .set_resource_types(Some(resource_types.collect()))
        .set_resource_locations(Some(locations.collect()))
        .set_target_tags(Some(sdk_tags(&definition.target_tags)))
        .set_schedules(Some(
            definition.schedules.iter().map(sdk_schedule).collect(),
        ))
        .set_parameters(definition.parameters.as_ref().map(sdk_parameters))
        .set_exclusions(definition.exclusions.as_ref().map(sdk_exclusions))
        .set_copy_tags(definition.copy_tags)
        .set_extend_deletion(definition.extend_deletion)
        .set_cross_region_copy_targets(unless_empty(copy_targets.collect()))
        .build()
}

/// A policy that the console made or changed wants its parameters named, if only with their defaults.
///
/// Source: DLM API reference, `PolicyDetails`, `Parameters`.
fn sdk_parameters(parameters: &Parameters) -> SdkParameters {
    let is_for_images = parameters.no_reboot.is_some();
    let excludes_boot_volume = parameters.exclude_boot_volume;
    SdkParameters::builder()
        .set_exclude_boot_volume(excludes_boot_volume.or((!is_for_images).then_some(false)))
        .set_no_reboot(parameters.no_reboot)
        .set_exclude_data_volume_tags(Some(sdk_tags(&parameters.exclude_data_volume_tags)))
        .build()
}

fn sdk_exclusions(exclusions: &Exclusions) -> SdkExclusions {
    SdkExclusions::builder()
        .set_exclude_boot_volumes(exclusions.boot_volumes)
        .set_exclude_volume_types(unless_empty(exclusions.volume_types.clone()))
        .set_exclude_tags(unless_empty(sdk_tags(&exclusions.tags)))
        .build()
}

fn core_schedule(schedule: &Schedule) -> PolicySchedule {
    PolicySchedule {
        name: schedule.name().unwrap_or_default().to_owned(),
        copy_tags: schedule.copy_tags() == Some(true),
        tags_to_add: core_tags(schedule.tags_to_add()),
        create: schedule.create_rule().map(core_create).unwrap_or_default(),
        retain: core_retain(schedule),
        rules: rules::read(schedule),
    }
}

/// A schedule that archives may keep nothing before it does: a count, or an age, of 0.
///
/// Source: DLM API reference, `RetainRule`.
fn core_retain(schedule: &Schedule) -> Extent {
    let Some(rule) = schedule.retain_rule() else {
        return Extent::default();
    };
    let some = extent(rule.count(), rule.interval(), rule.interval_unit());
    if schedule.archive_rule().is_none() || some.count.is_some() || some.interval.is_some() {
        return some;
    }
    match rule.interval_unit() {
        Some(unit) => Extent {
            interval: Some(0),
            unit: Some(unit.as_str().to_owned()),
            ..Extent::default()
        },
        None => Extent {
            count: Some(0),
            ..Extent::default()
        },
    }
}

fn sdk_schedule(schedule: &PolicySchedule) -> Schedule {
    let retain = &schedule.retain;
    let retain = RetainRule::builder()
        .set_count(retain.count)
        .set_interval(retain.interval)
        .set_interval_unit(unit(retain));
    let written = Schedule::builder()
        .name(&schedule.name)
        .copy_tags(schedule.copy_tags)
        .set_tags_to_add(Some(sdk_tags(&schedule.tags_to_add)))
        .create_rule(sdk_create(&schedule.create))
        .retain_rule(retain.build());
    rules::write(&schedule.rules, written).build()
}

fn core_create(rule: &SdkCreateRule) -> CreateRule {
    let is_hourly = matches!(rule.interval_unit(), None | Some(IntervalUnitValues::Hours));
    CreateRule {
        interval_hours: rule.interval().filter(|hours| is_hourly && *hours != 0),
        times: rule.times().to_vec(),
        cron_expression: rule
            .cron_expression()
            .filter(|expression| !expression.is_empty())
            .map(str::to_owned),
        location: rule.location().map(|place| place.as_str().to_owned()),
        scripts: rule.scripts().iter().map(rules::core_script).collect(),
    }
}

fn sdk_create(rule: &CreateRule) -> SdkCreateRule {
    SdkCreateRule::builder()
        .set_location(rule.location.as_deref().map(Into::into))
        .set_interval(rule.interval_hours)
        .set_interval_unit(rule.interval_hours.map(|_| IntervalUnitValues::Hours))
        .set_times(unless_empty(rule.times.clone()))
        .set_cron_expression(rule.cron_expression.clone())
        .set_scripts(unless_empty(
            rule.scripts.iter().map(rules::sdk_script).collect(),
        ))
        .build()
}

/// Policies older than the member are in the Region itself.
fn locations(locations: &[ResourceLocationValues]) -> BTreeSet<String> {
    match locations {
        [] => BTreeSet::from([CLOUD.to_owned()]),
        some => some.iter().map(ToString::to_string).collect(),
    }
}

fn extent(count: Option<i32>, interval: Option<i32>, unit: Option<&impl AsRef<str>>) -> Extent {
    let interval = interval.filter(|interval| *interval != 0);
    Extent {
        count: count.filter(|count| *count != 0),
        interval,
        unit: unit
            .filter(|_| interval.is_some())
            .map(|unit| unit.as_ref().to_owned()),
    }
}

/// The unit of an extent's interval, as the SDK has it.
fn unit<U: for<'a> From<&'a str>>(extent: &Extent) -> Option<U> {
    extent.unit.as_deref().map(U::from)
}

fn unless_empty<T>(members: Vec<T>) -> Option<Vec<T>> {
    (!members.is_empty()).then_some(members)
}

fn core_tags(tags: &[SdkTag]) -> BTreeSet<Tag> {
    tags.iter()
        .map(|tag| Tag {
            key: tag.key().unwrap_or_default().to_owned(),
            value: tag.value().unwrap_or_default().to_owned(),
        })
        .collect()
}

fn sdk_tags(tags: &BTreeSet<Tag>) -> Vec<SdkTag> {
    tags.iter()
        .map(|tag| SdkTag::builder().key(&tag.key).value(&tag.value).build())
        .collect()
}

#[cfg(test)]
mod tests;
