//! What differs between what there is and what there should be, field by field, for people to read.

use std::collections::BTreeSet;
use std::fmt::Display;

use etcd_backup_core::Tags;
use etcd_backup_core::iam::PolicyDocument;
use etcd_backup_core::lifecycle_policy::{
    DesiredPolicy, Extent, LifecyclePolicy, PolicySchedule, PolicyState,
};
use etcd_backup_core::settings::Tag;
use serde::Serialize;

/// Stands for a value that isn't there.
const NONE: &str = "(none)";
/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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

/// How a permissions boundary differs from the one that should be set.
pub(super) fn boundaries(actual: Option<&str>, desired: &str) -> Vec<Difference> {
    let mut differences = Differences::default();
    differences.compare("permissions_boundary", actual.unwrap_or_default(), desired);
    differences.0
}

/// How a DLM policy differs from what the settings say of it, but for its tags. What they don't say is
/// no difference.
pub(super) fn policies(policy: &LifecyclePolicy, desired: &DesiredPolicy) -> Vec<Difference> {
    let mut differences = Differences::default();
    let (actual, wanted) = (&policy.definition, desired.within(&policy.definition));
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
    let none = PolicySchedule::default();
    let own = desired.own_schedule(&actual.schedules);
    let before = own.map_or(&none, |own| &actual.schedules[own]);
    // A schedule that is added comes last.
    let after = &wanted.schedules[own.unwrap_or(actual.schedules.len())];
    schedules(&mut differences, before, after);
    differences.0
}

/// Whether runs before now were made, or kept, otherwise than runs from now on.
pub(super) fn schedule_changes(policy: &LifecyclePolicy, desired: &DesiredPolicy) -> bool {
    let schedules = &policy.definition.schedules;
    let Some(own) = desired.own_schedule(schedules) else {
        return true;
    };
    let own = &schedules[own];
    own.name != desired.schedule_name
        || !own.runs_as(&desired.schedule)
        || own.retain != Extent::count(desired.retain_count)
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
    let numbers = |one: &Option<i32>| number(*one);
    let (create, create_desired) = (&actual.create, &desired.create);
    differences.compare_as(
        "schedule.create_rule.interval",
        &create.interval_hours,
        &create_desired.interval_hours,
        numbers,
    );
    differences.compare_as(
        "schedule.create_rule.times",
        &create.times,
        &create_desired.times,
        |times| list(times),
    );
    differences.compare(
        "schedule.create_rule.cron_expression",
        create.cron_expression.as_deref().unwrap_or_default(),
        create_desired
            .cron_expression
            .as_deref()
            .unwrap_or_default(),
    );
    differences.compare(
        "schedule.create_rule.location",
        create.location(),
        create_desired.location(),
    );
    let count = "schedule.retain_rule.count";
    differences.compare_as(count, &actual.retain.count, &desired.retain.count, numbers);
    let age = |extent: &Extent| match extent.interval {
        Some(_) => Extent {
            count: None,
            ..extent.clone()
        }
        .to_string(),
        None => String::new(),
    };
    differences.compare(
        "schedule.retain_rule.interval",
        age(&actual.retain).as_str(),
        age(&desired.retain).as_str(),
    );
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        NONE.to_owned()
    } else {
        text
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
