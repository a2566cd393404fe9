//! What a policy does: every member by which Data Lifecycle Manager acts one way or another.
//!
//! Invariant: what is read of a policy can be written again as it was. An update replaces a policy's
//! details as a whole, so a member that were left out here would be taken away from whoever made it.
//!
//! Source: DLM API reference, `PolicyDetails` and what it is made of.

use std::collections::BTreeSet;
use std::fmt;

use super::cron;
use crate::Tags;
use crate::schedule::Schedule;
use crate::settings::Tag;
use crate::volume::Volume;

/// Where resources and snapshots are that lie in the Region itself, which DLM takes for granted.
pub const CLOUD: &str = "CLOUD";

/// What a policy does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyDefinition {
    /// The role that DLM assumes.
    pub execution_role_arn: String,
    /// `VOLUME` or `INSTANCE`.
    pub resource_types: BTreeSet<String>,
    /// Where the resources are: `CLOUD`, `OUTPOST` or `LOCAL_ZONE`.
    pub resource_locations: BTreeSet<String>,
    /// DLM takes a resource that has any of them; a default policy has none and takes all.
    pub target_tags: BTreeSet<Tag>,
    /// One to four.
    pub schedules: Vec<PolicySchedule>,
    /// What instances' volumes are left out; the console writes it into every policy.
    pub parameters: Option<Parameters>,
    /// What a default policy leaves out.
    pub exclusions: Option<Exclusions>,
    /// Whether a default policy copies tags.
    pub copy_tags: Option<bool>,
    /// Whether a default policy deletes the last snapshot too.
    pub extend_deletion: Option<bool>,
    /// The Regions that a default policy copies to.
    pub copy_targets: Vec<String>,
}

/// What a policy leaves out of the volumes of its instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The volume that an instance starts from.
    pub exclude_boot_volume: Option<bool>,
    /// Whether an instance is not rebooted for an image.
    pub no_reboot: Option<bool>,
    /// Other volumes with any of these tags.
    pub exclude_data_volume_tags: BTreeSet<Tag>,
}

/// What a default policy leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// The volumes that instances start from.
    pub boot_volumes: Option<bool>,
    /// Volumes of these types.
    pub volume_types: Vec<String>,
    /// What has any of these tags.
    pub tags: BTreeSet<Tag>,
}

/// One schedule of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySchedule {
    /// Its name, unique within the policy.
    pub name: String,
    /// Whether snapshots get the volume's tags.
    pub copy_tags: bool,
    /// What snapshots get besides.
    pub tags_to_add: BTreeSet<Tag>,
    /// When snapshots are made, and where.
    pub create: CreateRule,
    /// How many are kept of each volume, or how long.
    pub retain: Extent,
    /// What is done with them besides.
    pub rules: Rules,
}

/// When snapshots are made, and where: by an interval or by a cron expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRule {
    /// Hours between runs.
    pub interval_hours: Option<i32>,
    /// Times of day in UTC.
    pub times: Vec<String>,
    /// `cron(…)`, in UTC.
    pub cron_expression: Option<String>,
    /// Where snapshots lie: `CLOUD`, `OUTPOST_LOCAL` or `LOCAL_ZONE`; `CLOUD` where absent.
    pub location: Option<String>,
    /// What runs on instances before and after.
    pub scripts: Vec<Script>,
}

/// So many snapshots, or for so long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many.
    pub count: Option<i32>,
    /// How long, in units.
    pub interval: Option<i32>,
    /// `DAYS`, `WEEKS`, `MONTHS` or `YEARS`.
    pub unit: Option<String>,
}

/// What a schedule does with its snapshots beside making and deleting them. None of it is a setting of
/// this project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Tags whose values an instance gives.
    pub variable_tags: BTreeSet<Tag>,
    /// Copies to other Regions.
    pub copies: Vec<CopyRule>,
    /// Shares with other accounts.
    pub shares: Vec<ShareRule>,
    /// Fast restore.
    pub fast_restore: Option<FastRestoreRule>,
    /// When images count as outdated.
    pub deprecate: Option<Extent>,
    /// How long snapshots stay in the archive after the schedule keeps them no longer.
    pub archive: Option<Extent>,
}

/// A copy to another Region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyRule {
    /// The Region, or an Outpost's ARN.
    pub target: Option<String>,
    /// The Region, in older policies.
    pub target_region: Option<String>,
    /// Whether copies of what isn't encrypted are.
    pub encrypted: bool,
    /// The ARN of the key in the target Region; the account's default one there where absent.
    pub key_arn: Option<String>,
    /// Whether copies get the snapshot's tags.
    pub copy_tags: Option<bool>,
    /// How long copies are kept.
    pub retain: Option<Extent>,
    /// When copies of images count as outdated.
    pub deprecate: Option<Extent>,
}

/// A share with other accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareRule {
    /// Their ids.
    pub accounts: Vec<String>,
    /// When it ends, where it does.
    pub unshare_after: Option<Extent>,
}

/// Fast restore: volumes made of the snapshots are fast at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FastRestoreRule {
    /// Of how many of the newest, or how long.
    pub extent: Extent,
    /// Availability zones, by name.
    pub zones: Vec<String>,
    /// Availability zones, by id.
    pub zone_ids: Vec<String>,
}

/// What runs on an instance before or after a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// `PRE`, `POST` or both.
    pub stages: Vec<String>,
    /// The service that runs it.
    pub service: Option<String>,
    /// The document that it is in.
    pub handler: String,
    /// Whether the snapshot is made although it failed.
    pub snapshot_on_failure: Option<bool>,
    /// When it is given up.
    pub timeout_seconds: Option<i32>,
    /// How often it is tried again.
    pub retries_max: Option<i32>,
}

impl PolicyDefinition {
    /// Whether it snapshots an etcd volume: by the volume's own tags or, where it is for instances, by those
    /// of the instance that has the volume attached. No instance starts from an etcd volume, so that what is
    /// said of boot volumes plays no part.
    pub fn takes(&self, volume: &Volume, instance: Option<&Tags>) -> bool {
        let is_default = self.target_tags.is_empty() && self.schedules.is_empty();
        let targets = |tags: &Tags| is_default || has_any(tags, &self.target_tags);
        if is_default && self.excludes(volume) {
            return false;
        }
        let parameters = self.parameters.as_ref();
        let is_left_out = parameters
            .is_some_and(|parameters| has_any(&volume.tags, &parameters.exclude_data_volume_tags));
        (self.resource_types.contains("VOLUME") && targets(&volume.tags))
            || (self.is_for_instances() && !is_left_out && instance.is_some_and(targets))
    }

    /// What a default policy leaves out.
    ///
    /// Source: DLM API reference, `Exclusions`.
    fn excludes(&self, volume: &Volume) -> bool {
        self.exclusions.as_ref().is_some_and(|exclusions| {
            let of_type = |excluded: &String| *excluded == volume.performance.volume_type;
            exclusions.volume_types.iter().any(of_type) || has_any(&volume.tags, &exclusions.tags)
        })
    }

    /// Whether it goes by the tags of instances and takes the volumes that they have attached.
    pub fn is_for_instances(&self) -> bool {
        self.resource_types.contains("INSTANCE")
    }
}

fn has_any(tags: &Tags, wanted: &BTreeSet<Tag>) -> bool {
    wanted
        .iter()
        .any(|tag| tags.get(&tag.key) == Some(&tag.value))
}

impl PolicySchedule {
    /// Whether its runs are those of a schedule, also where a cron expression says so.
    pub fn runs_as(&self, schedule: &Schedule) -> bool {
        self.create.runs_as(schedule)
    }
}

impl CreateRule {
    fn runs_as(&self, schedule: &Schedule) -> bool {
        match &self.cron_expression {
            Some(expression) => cron::runs_as(expression, schedule),
            None => {
                self.interval_hours == Some(schedule.interval_hours)
                    && self.times == [schedule.start_time.to_string()]
            }
        }
    }

    /// Where snapshots lie.
    pub fn location(&self) -> &str {
        self.location.as_deref().unwrap_or(CLOUD)
    }
}

impl Extent {
    /// So many.
    pub fn count(count: i32) -> Self {
        Self {
            count: Some(count),
            ..Self::default()
        }
    }
}

impl CopyRule {
    /// Where copies go.
    fn target(&self) -> &str {
        let target = self.target.as_ref().or(self.target_region.as_ref());
        target.map_or("(no target)", String::as_str)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit.as_deref().unwrap_or("units");
        match (self.count, self.interval) {
            (None, None) => f.write_str("(none)"),
            (Some(count), None) => write!(f, "{count}"),
            (None, Some(interval)) => write!(f, "{interval} {unit}"),
            (Some(count), Some(interval)) => write!(f, "{count} or {interval} {unit}"),
        }
    }
}

impl fmt::Display for CreateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cron_expression, self.interval_hours) {
            (Some(expression), _) => f.write_str(expression),
            (None, Some(hours)) => write!(f, "every {hours} h at {}", self.times.join(", ")),
            (None, None) => f.write_str("at no known time"),
        }
    }
}

impl fmt::Display for CopyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}", self.target())?;
        match &self.retain {
            Some(retain) => write!(f, ", kept {retain}"),
            None => Ok(()),
        }
    }
}

/// What there is, in words; nothing where there is nothing.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            variable_tags,
            copies,
            shares,
            fast_restore,
            deprecate,
            archive,
        } = self;
        let mut parts: Vec<String> = Vec::new();
        parts.extend(copies.iter().map(|copy| format!("copies {copy}")));
        parts.extend(
            shares
                .iter()
                .map(|share| format!("shares with {}", share.accounts.join(", "))),
        );
        parts.extend(fast_restore.iter().map(|rule| {
            let zones = [&rule.zones[..], &rule.zone_ids[..]].concat();
            format!("fast restore of {} in {}", rule.extent, zones.join(", "))
        }));
        parts.extend(
            archive
                .iter()
                .map(|extent| format!("archives, kept {extent}")),
        );
        parts.extend(
            deprecate
                .iter()
                .map(|extent| format!("outdated after {extent}")),
        );
        if !variable_tags.is_empty() {
            let keys: Vec<_> = variable_tags.iter().map(|tag| tag.key.as_str()).collect();
            parts.push(format!("variable tags {}", keys.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests;
