//! The functions' settings: environment variables, parsed and checked once at start.

mod values;

use jiff::Timestamp;
use thiserror::Error;

use crate::Tags;
use crate::ids::ClusterName;
use crate::schedule::{INTERVALS_HOURS, Schedule, StartTime};

pub use values::INITIALIZATION_RATES_MIBPS;

/// How grave a finding is. Ordered: the gravest is the greatest.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
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

/// How alerts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertFormat {
    /// The same text for every subscriber.
    Text,
    /// Subscribers by https get what AWS's chat applications read, all others the text.
    Chat,
}

/// Which restore points verify reads by itself. By hand, any can be read in any mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Of each cluster at most one a day.
    Daily,
    /// Each one.
    All,
    /// None.
    Off,
}

/// The IAM policy that bounds what the role may do, whatever its own policies allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionsBoundary {
    /// A customer managed policy of whichever account this runs in: its name with its path, but
    /// without the leading `/`, like `team/boundary`.
    Name(String),
    /// A policy of the account, or of AWS.
    Arn(String),
}

impl PermissionsBoundary {
    /// The policy's ARN in an account.
    pub fn arn(&self, partition: &str, account: &str) -> String {
        match self {
            Self::Name(name) => format!("arn:{partition}:iam::{account}:policy/{name}"),
            Self::Arn(arn) => arn.clone(),
        }
    }
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
    /// `ALERT_FORMAT`: how alerts are written.
    pub alert_format: AlertFormat,
    /// `DASHBOARD_NAME`: the CloudWatch dashboard that alerts link to.
    pub dashboard_name: Option<String>,
    /// `RESTORE_FUNCTION`: the name of the restore function, for the commands in alerts.
    pub restore_function: Option<String>,
    /// `DOCUMENTATION_URL`: where the pages of the folder `docs` can be read, without a `/` at its end.
    pub documentation_url: Option<String>,
    /// `RESTORES_TABLE`: the name of the DynamoDB table that holds the records of restores.
    pub restores_table: Option<String>,
    /// `PERMISSIONS_BOUNDARY`: what bounds the role that converge makes.
    pub permissions_boundary: Option<PermissionsBoundary>,
    /// `VOLUME_INITIALIZATION_RATE`: how fast a restored volume is filled from its snapshot, in MiB/s,
    /// where an event doesn't say; one of [`INITIALIZATION_RATES_MIBPS`].
    pub volume_initialization_rate_mibps: Option<i32>,
    /// `EXPECT_CLUSTERS`: which clusters must have etcd volumes.
    pub expect_clusters: ExpectClusters,
    /// `VERIFY`: which restore points are verified; `None` where nobody says, as without the template: then
    /// verify reads each one it is invoked for, and the audit misses no verdict.
    pub verify: Option<VerifyMode>,
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
        let target_tags = variables.parsed(
            "TARGET_TAGS",
            "k8s.io/role/master=1",
            "1 to 50 different key=value, comma separated (keys up to 128 characters and not \
             beginning with aws:, values up to 256)",
            |text| values::tag_list(text).filter(|tags| (1..=50).contains(&tags.len())),
        )?;
        Ok(Self {
            role_name: variables.text(
                "ROLE_NAME",
                "dlm-lifecycle-role",
                "1 to 64 letters, digits or any of +=,.@_- (an IAM role name)",
                |text| values::is_iam_name(text, 64),
            )?,
            role_policy_name: variables.text(
                "ROLE_POLICY_NAME",
                "dlm-policy",
                "1 to 128 letters, digits or any of +=,.@_- (an IAM policy name)",
                |text| values::is_iam_name(text, 128),
            )?,
            policy_description: variables.text(
                "POLICY_DESCRIPTION",
                "etcd data lifecycle policy",
                "1 to 500 letters, digits, spaces, _ or -",
                |text| values::is_dlm_text(text, 500),
            )?,
            schedule_name: variables.text(
                "SCHEDULE_NAME",
                "Daily 2 week etcd snapshots",
                "1 to 120 letters, digits, spaces, _ or -",
                |text| values::is_dlm_text(text, 120),
            )?,
            schedule: Schedule {
                interval_hours: variables.parsed(
                    "INTERVAL_HOURS",
                    "24",
                    "1, 2, 3, 4, 6, 8, 12 or 24",
                    |text| values::whole_number(text).filter(|hours| INTERVALS_HOURS.contains(hours)),
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
                |text| values::whole_number(text).filter(|count| (1..=1000).contains(count)),
            )?,
            tags_to_add: variables.parsed(
                "TAGS_TO_ADD",
                "SnapshotCreator=DLM",
                "up to 45 key=value with different keys, comma separated (keys up to 128 characters, \
                 none of them Name, KubernetesCluster or one of TARGET_TAGS, none beginning with k8s.io/, \
                 kubernetes.io/, etcd-backup/, aws: or dlm:, as masters, kops, DLM or this project read \
                 those; values up to 256), or nothing",
                |text| values::tags_to_add(text, &target_tags),
            )?,
            alert_topic_arn: variables.parsed(
                "ALERT_TOPIC_ARN",
                "",
                "the ARN of an SNS topic, or nothing",
                values::alert_topic,
            )?,
            alert_min_severity: variables.parsed(
                "ALERT_MIN_SEVERITY",
                "warning",
                "critical, warning or info",
                values::severity,
            )?,
            alert_format: variables.parsed(
                "ALERT_FORMAT",
                "text",
                "text or chat",
                values::alert_format,
            )?,
            dashboard_name: variables.parsed(
                "DASHBOARD_NAME",
                "",
                "the name of a CloudWatch dashboard (1 to 255 letters, digits, - or _), or nothing",
                |text| values::resource_name(text, 255),
            )?,
            restore_function: variables.parsed(
                "RESTORE_FUNCTION",
                "",
                "the name of a Lambda function (1 to 64 letters, digits, - or _), or nothing",
                |text| values::resource_name(text, 64),
            )?,
            documentation_url: variables.parsed(
                "DOCUMENTATION_URL",
                "",
                "an address that begins with https:// (up to 200 letters, digits or any of ._~:/?&=%@+-), or \
                 nothing",
                values::documentation_url,
            )?,
            restores_table: variables.parsed(
                "RESTORES_TABLE",
                "",
                "the name of a DynamoDB table (3 to 255 letters, digits or any of _.-), or nothing",
                values::table_name,
            )?,
            permissions_boundary: variables.parsed(
                "PERMISSIONS_BOUNDARY",
                "",
                "the name of an IAM policy of this account, with its path (like team/boundary), or the \
                 ARN of one, or nothing",
                values::permissions_boundary,
            )?,
            volume_initialization_rate_mibps: variables.parsed(
                "VOLUME_INITIALIZATION_RATE",
                "",
                "a whole number from 100 to 300 (MiB/s), or nothing",
                values::initialization_rate_mibps,
            )?,
            expect_clusters: variables.parsed(
                "EXPECT_CLUSTERS",
                "",
                "cluster names, comma separated, or none, or nothing",
                values::expect_clusters,
            )?,
            verify: variables.parsed(
                "VERIFY",
                "",
                "daily, all or off, or nothing",
                values::verify_mode,
            )?,
            target_tags,
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
        // No setting has a use for control characters: a line break at the end comes from copying the value,
        // and AWS would refuse it only when it is used.
        let has_control = value.chars().any(char::is_control);
        let accepted = if has_control { None } else { parse(&value) };
        accepted.ok_or_else(|| SettingError {
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

#[cfg(test)]
mod tests;
