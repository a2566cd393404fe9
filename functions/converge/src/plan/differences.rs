//! What differs between what there is and what there should be, field by field, for people to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use etcd_backup_core::Tags;
use etcd_backup_core::iam::PolicyDocument;
use etcd_backup_core::lifecycle_policy::{
    DesiredPolicy, LifecyclePolicy, PolicySchedule, PolicyState,
};
use etcd_backup_core::settings::Tag;
use serde::Serialize;

/// Stands for a value that isn't there.
const NONE: &str = "(none)";
/// What of another schedule means that the history has another shape.
const RUNS: [&str; 3] = [
    "create_rule.cron_expression",
    "create_rule.interval_unit",
    "retain_rule.interval",
];

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field, by its path.
    pub field: String,
    /// What it is; `(none)` where it is absent.
    pub actual: String,
    /// What it should be; `(none)` where it should be absent.
    pub desired: String,
}

/// Collects differences.
#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn compare<T: PartialEq + Display + ?Sized>(
        &mut self,
        field: impl Into<String>,
        actual: &T,
        desired: &T,
    ) {
        self.compare_as(field, actual, desired, T::to_string);
    }

    /// Compares the values, not what they look like: two tags can read like one with a comma.
    fn compare_as<T: PartialEq + ?Sized>(
        &mut self,
        field: impl Into<String>,
        actual: &T,
        desired: &T,
        text: impl Fn(&T) -> String,
    ) {
        if actual != desired {
            self.0.push(Difference {
                field: field.into(),
                actual: or_none(text(actual)),
                desired: or_none(text(desired)),
            });
        }
    }
}

/// How two policy documents differ in meaning.
pub(super) fn documents(field: &str, actual: &str, desired: &str) -> Vec<Difference> {
    let mut differences = Differences::default();
    match (
        PolicyDocument::parse(actual),
        PolicyDocument::parse(desired),
    ) {
        (Ok(actual), Ok(desired)) => {
            let version = format!("{field}.version");
            differences.compare(version, actual.version(), desired.version());
            let beyond = |one: &PolicyDocument, other| one.beyond(other).unwrap_or_default();
            differences.compare(
                field,
                &beyond(&actual, &desired),
                &beyond(&desired, &actual),
            );
        }
        // What can't be read certainly isn't what is desired.
        (actual, desired) => {
            let words = |document: Result<PolicyDocument, _>| match document {
                Ok(document) => document.in_words(),
                Err(error) => format!("(unreadable: {error})"),
            };
            differences.compare(field, &words(actual), &words(desired));
        }
    }
    differences.0
}

/// Which of the desired tags differ. Other tags are other people's.
pub(super) fn tags(actual: &Tags, desired: &Tags) -> Vec<Difference> {
    let mut differences = Differences::default();
    for (key, value) in desired {
        let actual = actual.get(key).map_or(NONE, String::as_str);
        differences.compare(format!("tags.{key}"), actual, value);
    }
    differences.0
}

/// How a DLM policy differs from what it should be, but for its tags.
pub(super) fn policies(policy: &LifecyclePolicy, desired: &DesiredPolicy) -> Vec<Difference> {
    let mut differences = Differences::default();
    let (actual, wanted) = (&policy.definition, desired.definition());
    differences.compare("description", &policy.description, &desired.description);
    differences.compare("state", policy.state.name(), PolicyState::Enabled.name());
    differences.compare(
        "execution_role_arn",
        &actual.execution_role_arn,
        &wanted.execution_role_arn,
    );
    for (field, actual, desired) in [
        (
            "resource_types",
            &actual.resource_types,
            &wanted.resource_types,
        ),
        (
            "resource_locations",
            &actual.resource_locations,
            &wanted.resource_locations,
        ),
    ] {
        differences.compare_as(field, actual, desired, |texts| list(texts));
    }
    differences.compare_as(
        "target_tags",
        &actual.target_tags,
        &wanted.target_tags,
        tag_list,
    );
    others(&mut differences, "", &actual.other);
    let none = PolicySchedule::default();
    let kept = kept_schedule(policy, desired).unwrap_or(&none);
    for wanted in &wanted.schedules {
        schedules(&mut differences, kept, wanted);
    }
    if actual.schedules.len() > wanted.schedules.len() {
        let names = |all: &Vec<PolicySchedule>| list(all.iter().map(|schedule| &schedule.name));
        differences.compare_as("schedules", &actual.schedules, &wanted.schedules, names);
    }
    differences.0
}

/// Whether runs before now were made, or kept, otherwise than runs from now on.
pub(super) fn schedule_changes(policy: &LifecyclePolicy, desired: &DesiredPolicy) -> bool {
    let shape = |schedule: &PolicySchedule| {
        let others = RUNS.map(|path| schedule.other.get(path).cloned());
        let PolicySchedule {
            name,
            interval_hours,
            times,
            retain_count,
            ..
        } = schedule.clone();
        (name, interval_hours, times, retain_count, others)
    };
    let wanted = desired.definition();
    kept_schedule(policy, desired).map(shape) != wanted.schedules.first().map(shape)
}

/// The schedule to compare with: of the desired name, else the first.
pub(super) fn kept_schedule<'a>(
    policy: &'a LifecyclePolicy,
    desired: &DesiredPolicy,
) -> Option<&'a PolicySchedule> {
    let schedules = &policy.definition.schedules;
    schedules
        .iter()
        .find(|schedule| schedule.name == desired.schedule_name)
        .or(schedules.first())
}

fn schedules(differences: &mut Differences, actual: &PolicySchedule, desired: &PolicySchedule) {
    differences.compare("schedule.name", &actual.name, &desired.name);
    differences.compare("schedule.copy_tags", &actual.copy_tags, &desired.copy_tags);
    differences.compare_as(
        "schedule.tags_to_add",
        &actual.tags_to_add,
        &desired.tags_to_add,
        tag_list,
    );
    let (times, numbers) = (
        |texts: &Vec<String>| list(texts),
        |one: &Option<i32>| number(*one),
    );
    let interval = "schedule.create_rule.interval";
    differences.compare_as(
        interval,
        &actual.interval_hours,
        &desired.interval_hours,
        numbers,
    );
    differences.compare_as(
        "schedule.create_rule.times",
        &actual.times,
        &desired.times,
        times,
    );
    let count = "schedule.retain_rule.count";
    differences.compare_as(count, &actual.retain_count, &desired.retain_count, numbers);
    others(differences, "schedule.", &actual.other);
}

/// Settings that should be absent, or have the value that DLM takes for an absent one.
fn others(differences: &mut Differences, prefix: &str, actual: &BTreeMap<String, String>) {
    for (path, value) in actual {
        let desired = match path.as_str() {
            "create_rule.interval_unit" => "HOURS",
            "create_rule.location" => "CLOUD",
            _ => NONE,
        };
        differences.compare(format!("{prefix}{path}"), value.as_str(), desired);
    }
}

fn or_none(text: String) -> String {
    match text.is_empty() {
        true => NONE.to_owned(),
        false => text,
    }
}

fn number(number: Option<i32>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    texts
        .into_iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn tag_list(tags: &BTreeSet<Tag>) -> String {
    let tags: Vec<_> = tags
        .iter()
        .map(|tag| format!("{}={}", tag.key, tag.value))
        .collect();
    tags.join(", ")
}
