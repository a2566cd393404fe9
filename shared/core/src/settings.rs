//! The functions' settings: environment variables, parsed and checked once at start.

use jiff::Timestamp;
use thiserror::Error;

use crate::Tags;
use crate::ids::ClusterName;
use crate::schedule::{INTERVALS_HOURS, Schedule, StartTime};

/// How grave a finding is. Ordered: the gravest is the greatest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is at risk.
    Info,
    /// Wrong, but a restore is still possible.
    Warning,
    /// Data is, or soon will be, without a usable backup.
    Critical,
}

impl Severity {
    /// The name used in events, answers and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One tag, as a setting names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// 1 to 128 characters.
    pub key: String,
    /// Up to 256 characters.
    pub value: String,
}

/// Which clusters must have etcd volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectClusters {
    /// Some cluster or other: an account and Region without one is a finding.
    Any,
    /// None, on purpose.
    None,
    /// At least these.
    Named(Vec<ClusterName>),
}

/// The functions' settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ROLE_NAME`: the IAM role that DLM assumes.
    pub role_name: String,
    /// `ROLE_POLICY_NAME`: the customer managed IAM policy attached to it.
    pub role_policy_name: String,
    /// `POLICY_DESCRIPTION`: the DLM policy's description.
    pub policy_description: String,
    /// `SCHEDULE_NAME`: the DLM schedule's name.
    pub schedule_name: String,
    /// `INTERVAL_HOURS` and `START_TIME`.
    pub schedule: Schedule,
    /// `RETAIN_COUNT`: snapshots kept of each volume.
    pub retain_count: i32,
    /// `TARGET_TAGS`: DLM takes a volume that has any of them.
    pub target_tags: Vec<Tag>,
    /// `TAGS_TO_ADD`: what DLM adds to each snapshot.
    pub tags_to_add: Vec<Tag>,
    /// `ALERT_TOPIC_ARN`: the SNS topic that alerts go to.
    pub alert_topic_arn: Option<String>,
    /// `ALERT_MIN_SEVERITY`: the mildest finding that is worth an alert.
    pub alert_min_severity: Severity,
    /// `EXPECT_CLUSTERS`: which clusters must have etcd volumes.
    pub expect_clusters: ExpectClusters,
}

/// A setting whose value isn't accepted. One line: variable, value, what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{variable}=\"{}\": expected {expected}", value.escape_debug())]
pub struct SettingError {
    /// The environment variable.
    pub variable: &'static str,
    /// The value it has.
    pub value: String,
    /// What would be accepted.
    pub expected: String,
}

/// Looks variables up and remembers nothing.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Settings {
    /// Reads the settings through `variable`, which gives an environment variable's value.
    ///
    /// # Errors
    ///
    /// The first setting whose value isn't accepted.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let variables = Variables(variable);
        Ok(Self {
            role_name: variables.text(
                "ROLE_NAME",
                "dlm-lifecycle-role",
                "1 to 64 letters, digits or any of +=,.@_- (an IAM role name)",
                |text| is_iam_name(text, 64),
            )?,
            role_policy_name: variables.text(
                "ROLE_POLICY_NAME",
                "dlm-policy",
                "1 to 128 letters, digits or any of +=,.@_- (an IAM policy name)",
                |text| is_iam_name(text, 128),
            )?,
            policy_description: variables.text(
                "POLICY_DESCRIPTION",
                "etcd data lifecycle policy",
                "1 to 500 letters, digits, spaces, _ or -",
                |text| is_dlm_text(text, 500),
            )?,
            schedule_name: variables.text(
                "SCHEDULE_NAME",
                "Daily 2 week etcd snapshots",
                "1 to 120 letters, digits, spaces, _ or -",
                |text| is_dlm_text(text, 120),
            )?,
            schedule: Schedule {
                interval_hours: variables.parsed(
                    "INTERVAL_HOURS",
                    "24",
                    "1, 2, 3, 4, 6, 8, 12 or 24",
                    |text| whole_number(text).filter(|hours| INTERVALS_HOURS.contains(hours)),
                )?,
                start_time: variables.parsed(
                    "START_TIME",
                    "06:00",
                    "a time of day in UTC, like 06:00",
                    |text| text.parse::<StartTime>().ok(),
                )?,
            },
            retain_count: variables.parsed(
                "RETAIN_COUNT",
                "14",
                "a whole number from 1 to 1000",
                |text| whole_number(text).filter(|count| (1..=1000).contains(count)),
            )?,
            target_tags: variables.parsed(
                "TARGET_TAGS",
                "k8s.io/role/master=1",
                "1 to 50 different key=value, comma separated (keys up to 128 characters and not \
                 beginning with aws:, values up to 256)",
                |text| tag_list(text).filter(|tags| (1..=50).contains(&tags.len())),
            )?,
            tags_to_add: variables.parsed(
                "TAGS_TO_ADD",
                "SnapshotCreator=DLM",
                "up to 45 key=value with different keys, comma separated (keys up to 128 characters \
                 and not beginning with aws:, values up to 256), or nothing",
                |text| tag_list(text).filter(|tags| tags.len() <= 45 && keys_differ(tags)),
            )?,
            alert_topic_arn: variables.parsed(
                "ALERT_TOPIC_ARN",
                "",
                "the ARN of an SNS topic, or nothing",
                alert_topic,
            )?,
            alert_min_severity: variables.parsed(
                "ALERT_MIN_SEVERITY",
                "warning",
                "critical, warning or info",
                severity,
            )?,
            expect_clusters: variables.parsed(
                "EXPECT_CLUSTERS",
                "",
                "cluster names, comma separated, or none, or nothing",
                expect_clusters,
            )?,
        })
    }

    /// Whether DLM takes a volume with these tags.
    pub fn targets(&self, tags: &Tags) -> bool {
        self.target_tags
            .iter()
            .any(|tag| tags.get(&tag.key) == Some(&tag.value))
    }

    /// Whether a snapshot's tag with this key was put there by the policy.
    pub fn adds_tag(&self, key: &str) -> bool {
        self.tags_to_add.iter().any(|tag| tag.key == key)
    }

    /// The latest run that is due.
    pub fn due_run(&self, now: Timestamp) -> crate::schedule::Run {
        self.schedule.due_run(now)
    }
}

impl Variables<'_> {
    fn parsed<T>(
        &self,
        variable: &'static str,
        default: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingError> {
        let value = (self.0)(variable).unwrap_or_else(|| default.to_owned());
        parse(&value).ok_or_else(|| SettingError {
            variable,
            value: value.clone(),
            expected: expected.to_owned(),
        })
    }

    fn text(
        &self,
        variable: &'static str,
        default: &str,
        expected: &str,
        accepts: impl Fn(&str) -> bool,
    ) -> Result<String, SettingError> {
        self.parsed(variable, default, expected, |text| {
            accepts(text).then(|| text.to_owned())
        })
    }
}

fn is_iam_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
}

/// DLM's pattern for descriptions and schedule names.
fn is_dlm_text(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b" _-".contains(&b))
}

/// Digits alone: `+7`, ` 7` and `7.0` are typing errors more likely than numbers.
fn whole_number(text: &str) -> Option<i32> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn tag_list(text: &str) -> Option<Vec<Tag>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let tags = text
        .split(',')
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let (key, value) = (key.trim(), value.trim());
            let fits = (1..=128).contains(&key.chars().count())
                && value.chars().count() <= 256
                && !key.to_ascii_lowercase().starts_with("aws:");
            fits.then(|| Tag {
                key: key.to_owned(),
                value: value.to_owned(),
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let different: std::collections::BTreeSet<_> = tags.iter().collect();
    (different.len() == tags.len()).then_some(tags)
}

fn keys_differ(tags: &[Tag]) -> bool {
    let keys: std::collections::BTreeSet<_> = tags.iter().map(|tag| &tag.key).collect();
    keys.len() == tags.len()
}

fn alert_topic(text: &str) -> Option<Option<String>> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [""] => Some(None),
        ["arn", partition, "sns", region, account, topic]
            if [partition, region, account, topic]
                .iter()
                .all(|part| !part.is_empty()) =>
        {
            Some(Some(text.to_owned()))
        }
        _ => None,
    }
}

fn severity(text: &str) -> Option<Severity> {
    [Severity::Critical, Severity::Warning, Severity::Info]
        .into_iter()
        .find(|severity| severity.name() == text)
}

fn expect_clusters(text: &str) -> Option<ExpectClusters> {
    match text.trim() {
        "" => Some(ExpectClusters::Any),
        "none" => Some(ExpectClusters::None),
        names => names
            .split(',')
            .map(|name| {
                let name = name.trim();
                let fits = !name.is_empty()
                    && name != "none"
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
                fits.then(|| ClusterName::from(name))
            })
            .collect::<Option<_>>()
            .map(ExpectClusters::Named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variable: &str, value: &str) -> Result<Settings, SettingError> {
        Settings::from_variables(&|name| (name == variable).then(|| value.to_owned()))
    }

    #[test]
    fn without_variables_the_defaults_hold() {
        insta::assert_debug_snapshot!(Settings::from_variables(&|_| None).unwrap(), @r#"
        Settings {
            role_name: "dlm-lifecycle-role",
            role_policy_name: "dlm-policy",
            policy_description: "etcd data lifecycle policy",
            schedule_name: "Daily 2 week etcd snapshots",
            schedule: Schedule {
                interval_hours: 24,
                start_time: StartTime {
                    hour: 6,
                    minute: 0,
                },
            },
            retain_count: 14,
            target_tags: [
                Tag {
                    key: "k8s.io/role/master",
                    value: "1",
                },
            ],
            tags_to_add: [
                Tag {
                    key: "SnapshotCreator",
                    value: "DLM",
                },
            ],
            alert_topic_arn: None,
            alert_min_severity: Warning,
            expect_clusters: Any,
        }
        "#);
    }

    #[test]
    fn bad_values_name_variable_value_and_what_is_accepted() {
        for (variable, value) in [
            ("ROLE_NAME", ""),
            ("ROLE_NAME", "a role"),
            ("ROLE_POLICY_NAME", "a/b"),
            ("POLICY_DESCRIPTION", "etcd: daily"),
            ("SCHEDULE_NAME", "Täglich"),
            ("INTERVAL_HOURS", "5"),
            ("INTERVAL_HOURS", "+6"),
            ("START_TIME", "6:00"),
            ("RETAIN_COUNT", "0"),
            ("RETAIN_COUNT", "1001"),
            ("RETAIN_COUNT", "99999999999999999999"),
            ("TARGET_TAGS", ""),
            ("TARGET_TAGS", "k8s.io/role/master"),
            ("TARGET_TAGS", "aws:x=1"),
            ("TARGET_TAGS", "a=1,a=1"),
            ("TAGS_TO_ADD", "a=1,a=2"),
            ("ALERT_TOPIC_ARN", "my-topic"),
            ("ALERT_MIN_SEVERITY", "Critical"),
            ("EXPECT_CLUSTERS", "a,,b"),
            ("EXPECT_CLUSTERS", "a,none"),
        ] {
            let error = with(variable, value).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{variable}=\"{value}\": expected ")),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
        insta::assert_snapshot!(
            with("RETAIN_COUNT", "a\nb").unwrap_err(),
            @r#"RETAIN_COUNT="a\nb": expected a whole number from 1 to 1000"#
        );
    }

    #[test]
    fn lists_are_split_at_commas_and_values_keep_their_equals_signs() {
        let settings = with(
            "TARGET_TAGS",
            "k8s.io/role/master=1, k8s.io/role/control-plane=a=b",
        )
        .unwrap();
        assert_eq!(settings.target_tags[1].key, "k8s.io/role/control-plane");
        assert_eq!(settings.target_tags[1].value, "a=b");
        assert!(with("TAGS_TO_ADD", "").unwrap().tags_to_add.is_empty());
        assert_eq!(
            with("EXPECT_CLUSTERS", "a.tld, b.tld")
                .unwrap()
                .expect_clusters,
            ExpectClusters::Named(vec!["a.tld".into(), "b.tld".into()])
        );
    }
}
