//! What a policy does, to and from the SDK's `PolicyDetails`.
//!
//! Every member that makes DLM act otherwise is read: those that the project sets into fields of
//! their own, all others as text under their path, so that none can drift unseen. Members that only
//! event-based and default policies have are left out, but for those that could act here too.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dlm::types::{
    CreateRule, CrossRegionCopyRule, CrossRegionCopyTarget, Exclusions, FastRestoreRule,
    IntervalUnitValues, LocationValues, Parameters, PolicyDetails, PolicyTypeValues,
    ResourceLocationValues, ResourceTypeValues, RetainRule, RetentionArchiveTier, Schedule, Script,
    ShareRule, Tag as SdkTag,
};
use etcd_backup_core::lifecycle_policy::{
    DesiredPolicy, PolicyDefinition, PolicySchedule, StickyMember,
};
use etcd_backup_core::settings::Tag;

/// Settings by path; what is empty doesn't act and isn't put down.
#[derive(Default)]
struct Other(BTreeMap<String, String>);

impl Other {
    fn put(&mut self, path: &str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.insert(path.to_owned(), text);
        }
    }
}

/// What a policy does.
pub(super) fn read(execution_role_arn: &str, details: &PolicyDetails) -> PolicyDefinition {
    let mut other = Other::default();
    let mut sticky = BTreeSet::new();
    if let Some(parameters) = details.parameters() {
        sticky.insert(StickyMember::Parameters);
        let excluded = tags_text(parameters.exclude_data_volume_tags());
        other.put(
            "parameters.exclude_boot_volume",
            when(parameters.exclude_boot_volume()),
        );
        other.put("parameters.exclude_data_volume_tags", excluded);
    }
    if let Some(exclusions) = details.exclusions() {
        let types = exclusions.exclude_volume_types().join(", ");
        other.put(
            "exclusions.exclude_boot_volumes",
            when(exclusions.exclude_boot_volumes()),
        );
        other.put("exclusions.exclude_volume_types", types);
        other.put(
            "exclusions.exclude_tags",
            tags_text(exclusions.exclude_tags()),
        );
    }
    let targets = details
        .cross_region_copy_targets()
        .iter()
        .map(|target| target.target_region());
    other.put("copy_tags", when(details.copy_tags()));
    other.put("extend_deletion", when(details.extend_deletion()));
    other.put("cross_region_copy_targets", words(targets));
    // Unlike the parameters, these are named in an update only where they must be reset: DLM takes
    // them for default policies alone.
    for (path, member) in [
        ("exclusions", StickyMember::Exclusions),
        ("copy_tags", StickyMember::CopyTags),
        ("extend_deletion", StickyMember::ExtendDeletion),
        (
            "cross_region_copy_targets",
            StickyMember::CrossRegionCopyTargets,
        ),
    ] {
        if other.0.keys().any(|key| key.starts_with(path)) {
            sticky.insert(member);
        }
    }
    PolicyDefinition {
        execution_role_arn: execution_role_arn.to_owned(),
        resource_types: details
            .resource_types()
            .iter()
            .map(ToString::to_string)
            .collect(),
        resource_locations: locations(details.resource_locations()),
        target_tags: core_tags(details.target_tags()),
        schedules: details.schedules().iter().map(schedule).collect(),
        other: other.0,
        sticky,
    }
}

/// The details that make a policy act as it should.
pub(super) fn written(policy: &DesiredPolicy, reset: &BTreeSet<StickyMember>) -> PolicyDetails {
    let create_rule = CreateRule::builder()
        .location(LocationValues::Cloud)
        .interval(policy.schedule.interval_hours)
        .interval_unit(IntervalUnitValues::Hours)
        .times(policy.schedule.start_time.to_string());
    let schedule = Schedule::builder()
        .name(&policy.schedule_name)
        .copy_tags(true)
        .set_tags_to_add(Some(sdk_tags(&policy.tags_to_add)))
        .create_rule(create_rule.build())
        .retain_rule(RetainRule::builder().count(policy.retain_count).build());
    let details = PolicyDetails::builder()
        .policy_type(PolicyTypeValues::EbsSnapshotManagement)
        .resource_types(ResourceTypeValues::Volume)
        .resource_locations(ResourceLocationValues::Cloud)
        .set_target_tags(Some(sdk_tags(&policy.target_tags)))
        .schedules(schedule.build());
    let details = reset.iter().fold(details, |details, member| match member {
        StickyMember::Parameters => details.parameters(
            Parameters::builder()
                .exclude_boot_volume(false)
                .set_exclude_data_volume_tags(Some(Vec::new()))
                .build(),
        ),
        StickyMember::Exclusions => details.exclusions(
            Exclusions::builder()
                .exclude_boot_volumes(false)
                .set_exclude_volume_types(Some(Vec::new()))
                .set_exclude_tags(Some(Vec::new()))
                .build(),
        ),
        StickyMember::CopyTags => details.copy_tags(false),
        StickyMember::ExtendDeletion => details.extend_deletion(false),
        StickyMember::CrossRegionCopyTargets => {
            details.set_cross_region_copy_targets(Some(Vec::<CrossRegionCopyTarget>::new()))
        }
    });
    details.build()
}

fn schedule(schedule: &Schedule) -> PolicySchedule {
    let mut other = Other::default();
    other.put("variable_tags", tags_text(schedule.variable_tags()));
    other.put(
        "cross_region_copy_rules",
        each(schedule.cross_region_copy_rules(), copy_text),
    );
    other.put("share_rules", each(schedule.share_rules(), share_text));
    if let Some(rule) = schedule.fast_restore_rule() {
        other.put("fast_restore_rule", fast_restore_text(rule));
    }
    if let Some(rule) = schedule.deprecate_rule() {
        other.put(
            "deprecate_rule",
            amount(rule.count(), rule.interval(), rule.interval_unit()),
        );
    }
    if let Some(rule) = schedule.archive_rule() {
        let tier = rule
            .retain_rule()
            .and_then(|rule| rule.retention_archive_tier());
        other.put(
            "archive_rule",
            format!(
                "archive, keep {}",
                tier.map(archive_text).unwrap_or_default()
            ),
        );
    }
    let (mut interval_hours, mut times) = (None, Vec::new());
    if let Some(rule) = schedule.create_rule() {
        interval_hours = rule.interval();
        times = rule.times().to_vec();
        other.put(
            "create_rule.cron_expression",
            rule.cron_expression().unwrap_or_default(),
        );
        other.put("create_rule.scripts", each(rule.scripts(), script_text));
        if let Some(unit) = rule
            .interval_unit()
            .filter(|unit| **unit != IntervalUnitValues::Hours)
        {
            other.put("create_rule.interval_unit", unit.as_str());
        }
        if let Some(place) = rule
            .location()
            .filter(|place| **place != LocationValues::Cloud)
        {
            other.put("create_rule.location", place.as_str());
        }
    }
    let retain = schedule.retain_rule();
    if let Some(rule) = retain {
        other.put(
            "retain_rule.interval",
            amount(None, rule.interval(), rule.interval_unit()),
        );
    }
    PolicySchedule {
        name: schedule.name().unwrap_or_default().to_owned(),
        copy_tags: schedule.copy_tags() == Some(true),
        tags_to_add: core_tags(schedule.tags_to_add()),
        interval_hours,
        times,
        // DLM's documents know 0 only as "not by count".
        retain_count: retain
            .and_then(RetainRule::count)
            .filter(|count| *count != 0),
        other: other.0,
    }
}

/// Policies older than the member are in the Region itself.
fn locations(locations: &[ResourceLocationValues]) -> BTreeSet<String> {
    match locations {
        [] => BTreeSet::from([ResourceLocationValues::Cloud.to_string()]),
        some => some.iter().map(ToString::to_string).collect(),
    }
}

fn fast_restore_text(rule: &FastRestoreRule) -> String {
    let zones = [rule.availability_zones(), rule.availability_zone_ids()]
        .concat()
        .join(", ");
    format!(
        "{} in {zones}",
        amount(rule.count(), rule.interval(), rule.interval_unit())
    )
}

fn copy_text(rule: &CrossRegionCopyRule) -> String {
    let keep = rule
        .retain_rule()
        .map(|rule| amount(None, rule.interval(), rule.interval_unit()));
    let to = rule.target().or(rule.target_region()).unwrap_or_default();
    format!("to {to}, keep {}", keep.unwrap_or_default())
}

fn share_text(rule: &ShareRule) -> String {
    format!("with {}", rule.target_accounts().join(", "))
}

fn script_text(script: &Script) -> String {
    let stages: Vec<_> = script.stages().iter().map(|stage| stage.as_str()).collect();
    format!(
        "{} {}",
        stages.join("+"),
        script.execution_handler().unwrap_or_default()
    )
    .trim()
    .to_owned()
}

fn archive_text(tier: &RetentionArchiveTier) -> String {
    amount(tier.count(), tier.interval(), tier.interval_unit())
}

/// A count, or an interval with its unit; nothing where both are absent or 0.
fn amount(count: Option<i32>, interval: Option<i32>, unit: Option<&impl AsRef<str>>) -> String {
    let unit = unit.map(AsRef::as_ref).unwrap_or("intervals");
    let count = count
        .filter(|count| *count != 0)
        .map(|count| count.to_string());
    let interval = interval
        .filter(|interval| *interval != 0)
        .map(|interval| format!("{interval} {unit}"));
    words([count.as_deref(), interval.as_deref()].into_iter())
}

fn each<T>(rules: &[T], text: impl Fn(&T) -> String) -> String {
    rules.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn words<'a>(words: impl Iterator<Item = Option<&'a str>>) -> String {
    words.flatten().collect::<Vec<_>>().join(", ")
}

fn when(switch: Option<bool>) -> &'static str {
    if switch == Some(true) { "true" } else { "" }
}

fn tags_text(tags: &[SdkTag]) -> String {
    let tags: Vec<_> = core_tags(tags)
        .iter()
        .map(|tag| format!("{}={}", tag.key, tag.value))
        .collect();
    tags.join(", ")
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
