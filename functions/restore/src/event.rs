//! The events that restore takes, and the options in them.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::event_time;
use etcd_backup_core::ids::{
    ClusterName, EtcdClusterName, MemberKey, MemberName, RestoreId, SnapshotId, ZoneName,
};
use etcd_backup_core::restore_record::{Direction, MastersOption, MountedBy};
use etcd_backup_core::written_event;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// MiB/s that EC2 fills volumes at.
///
/// Source: Amazon EBS user guide, "Initialize Amazon EBS volumes".
const INITIALIZATION_RATES_MIB_S: std::ops::RangeInclusive<i32> = 100..=300;

/// An event. What is serialized of it are its options: what makes two events the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The cluster, by its kops name.
    #[schemars(extend("pattern" = "^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$"))]
    pub cluster: ClusterName,
    /// What to do.
    #[serde(default, skip_serializing)]
    pub action: Action,
    /// What `plan` is about.
    #[serde(default, skip_serializing)]
    pub of: Option<Planned>,
    /// The plan that is to be carried out, and no other.
    #[serde(default, skip_serializing, deserialize_with = "not_null")]
    #[schemars(with = "String")]
    pub plan_id: Option<String>,
    /// Only these etcd clusters; all in use where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub etcd_clusters: Option<BTreeSet<EtcdClusterName>>,
    /// Only these members (`a`, or `main/a`); wants `partial`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub members: Option<BTreeSet<String>>,
    /// Says that one restored member beside newer peers is meant.
    #[serde(default)]
    pub partial: bool,
    /// The newest restore point at or before this time.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "event_time::read"
    )]
    #[schemars(with = "Option<Timestamp>")]
    pub at: Option<Timestamp>,
    /// Snapshots by hand, by member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    pub snapshots: Option<BTreeMap<MemberKey, SnapshotId>>,
    /// How far apart, in minutes, the members' snapshots may have been started.
    #[serde(default = "skew_minutes_max_default")]
    pub skew_minutes_max: u32,
    /// What to do with the masters.
    #[serde(default)]
    pub masters: MastersOption,
    /// In which order masters start.
    #[serde(default)]
    pub start: StartOption,
    /// Restore although this event's restore is finished.
    #[serde(default, skip_serializing)]
    pub again: bool,
    /// Type, performance and encryption of the new volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeOption>,
    /// What mounts etcd volumes on the cluster's masters, where tags don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted_by: Option<MountedBy>,
    /// Restore from a point that verify found damaged.
    #[serde(default)]
    pub allow_damaged: bool,
    /// Zones by member name.
    #[serde(default)]
    pub zones: BTreeMap<MemberName, ZoneName>,
    /// The restore that `status`, `undo` and `redo` are about; the newest where absent.
    #[serde(default, skip_serializing)]
    pub restore_id: Option<RestoreId>,
}

/// What to do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Bring the volumes back.
    #[default]
    Restore,
    /// Say what `restore`, `undo` or `redo` would do; write nothing.
    Plan,
    /// Say which restore points there are.
    List,
    /// Say how far a restore is; write nothing.
    Status,
    /// Put back what a restore replaced.
    Undo,
    /// Take an undo back.
    Redo,
    /// Say which restores there were.
    History,
}

/// What a plan is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Planned {
    /// A restore.
    Restore,
    /// An undo.
    Undo,
    /// A redo.
    Redo,
}

/// In which order masters start.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum StartOption {
    /// A quorum with the newest member first.
    #[default]
    Ordered,
    /// All at once.
    Together,
}

/// What the new volumes are like; what is absent is as the old volume has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeOption {
    /// `gp3`, `io2`, …
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<String>,
    /// I/O operations per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub iops: Option<i32>,
    /// MiB/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub throughput: Option<i32>,
    /// The KMS key to encrypt with: an id, an ARN or an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// How fast the volume is filled from its snapshot, in MiB/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 300))]
    pub initialization_rate: Option<i32>,
}

/// What stands in for the id of a plan that failed must not have the event carried out without any.
fn not_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

fn skew_minutes_max_default() -> u32 {
    60
}

impl Request {
    /// Decodes an event.
    ///
    /// # Errors
    ///
    /// `InvalidEvent`, naming what isn't accepted and what is.
    pub fn decode(event: &Value) -> Result<Self, Diagnostic> {
        if !event.is_object() {
            return Err(Diagnostic::invalid_event(
                "the event is not a JSON object: send {\"cluster\":\"…\"}",
            ));
        }
        let request: Self = written_event::read(event)?;
        match request.contradiction() {
            Some(contradiction) => Err(Diagnostic::invalid_event(contradiction)),
            None => Ok(request),
        }
    }

    /// Which way the volumes go that the event is about, also where it only asks what would be done.
    pub fn direction(&self) -> Direction {
        match (self.action, self.of) {
            (Action::Undo, _) | (Action::Plan, Some(Planned::Undo)) => Direction::Undo,
            (Action::Redo, _) | (Action::Plan, Some(Planned::Redo)) => Direction::Redo,
            _ => Direction::Restore,
        }
    }

    /// Whether masters are, or would be, terminated for it.
    pub fn replaces_masters(&self) -> bool {
        self.masters == MastersOption::Replace
    }

    /// The options, with the defaults that don't depend on what is there filled in: two events are the same if
    /// these are.
    pub fn options(&self) -> Value {
        // This can't fail: it consists of strings, numbers and maps with string keys.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether a member is among those asked for.
    pub fn wants(&self, key: &MemberKey) -> bool {
        self.members.as_ref().is_none_or(|members| {
            members.contains(key.member.as_str()) || members.contains(&key.to_string())
        })
    }

    fn contradiction(&self) -> Option<String> {
        let name = self.cluster.as_str();
        if name.trim().is_empty() {
            return Some(
                "\"cluster\" is empty: name the cluster, like k8s.mycompany.tld".to_owned(),
            );
        }
        if !self.cluster.is_dns_name() {
            return Some(format!(
                "\"cluster\" is {name:?}, which is no DNS name: name one cluster as kops does, like \
                 k8s.mycompany.tld"
            ));
        }
        self.empty_option()
            .or_else(|| self.option_of_another_action())
            .or_else(|| self.options_that_contradict())
            .or_else(|| self.volume.as_ref().and_then(VolumeOption::contradiction))
    }

    fn empty_option(&self) -> Option<String> {
        let lengths = [
            (
                "etcd_clusters",
                self.etcd_clusters.as_ref().map(BTreeSet::len),
            ),
            ("members", self.members.as_ref().map(BTreeSet::len)),
            ("snapshots", self.snapshots.as_ref().map(BTreeMap::len)),
        ];
        let mut empty = lengths.into_iter().filter(|(_, length)| *length == Some(0));
        empty
            .next()
            .map(|(name, _)| format!("\"{name}\" is empty: leave it out for all"))
    }

    fn options_that_contradict(&self) -> Option<String> {
        let contradictions = [
            (
                self.at.is_some() && self.snapshots.is_some(),
                "\"at\" and \"snapshots\" contradict: give one of them",
            ),
            (
                self.members.is_some() && self.snapshots.is_some(),
                "\"members\" and \"snapshots\" contradict: \"snapshots\" names its members",
            ),
            (
                self.members.is_some() && !self.partial,
                "\"members\" without \"partial\": true: one restored member beside newer peers is \
                 dangerous, so say that it is meant",
            ),
            (
                self.start == StartOption::Together && self.masters == MastersOption::Leave,
                "\"start\" goes with \"masters\": \"replace\": masters that are left to you start as you \
                 start them",
            ),
        ];
        let found = contradictions
            .into_iter()
            .find(|(contradicts, _)| *contradicts);
        found.map(|(_, message)| message.to_owned())
    }

    /// Each action has options of its own; one that it wouldn't heed is better refused.
    fn option_of_another_action(&self) -> Option<String> {
        if self.of.is_some() && self.action != Action::Plan {
            return Some("\"of\" goes with \"plan\" alone".to_owned());
        }
        let carries_out = matches!(self.action, Action::Restore | Action::Undo | Action::Redo);
        if self.plan_id.is_some() && !carries_out && self.action != Action::Status {
            return Some("\"plan_id\" goes with \"restore\", \"undo\" and \"redo\"".to_owned());
        }
        let (name, takes, taken) = match (self.action, self.direction()) {
            // Whoever asks how far their event is may send it as it was, with "status" added.
            (Action::Status, _) => return None,
            (Action::List, _) => (
                "list",
                "\"cluster\" and \"etcd_clusters\"",
                Self {
                    etcd_clusters: self.etcd_clusters.clone(),
                    ..self.bare()
                },
            ),
            (Action::History, _) => ("history", "\"cluster\"", self.bare()),
            (_, Direction::Restore) if self.restore_id.is_some() => {
                return Some(
                    "\"restore_id\" goes with \"status\", \"undo\" and \"redo\": a restore is gone on with \
                     by sending its event again"
                        .to_owned(),
                );
            }
            (_, Direction::Restore) => return None,
            (_, direction @ (Direction::Undo | Direction::Redo)) => (
                direction.name(),
                "\"cluster\", \"restore_id\", \"masters\", \"mounted_by\" and \"plan_id\"",
                Self {
                    restore_id: self.restore_id.clone(),
                    masters: self.masters,
                    mounted_by: self.mounted_by,
                    ..self.bare()
                },
            ),
        };
        (*self != taken).then(|| format!("\"{name}\" takes {takes} alone"))
    }

    /// The same action on the same cluster, without any option.
    fn bare(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            action: self.action,
            of: self.of,
            plan_id: self.plan_id.clone(),
            etcd_clusters: None,
            members: None,
            partial: false,
            at: None,
            snapshots: None,
            skew_minutes_max: skew_minutes_max_default(),
            masters: MastersOption::default(),
            start: StartOption::default(),
            again: false,
            volume: None,
            mounted_by: None,
            allow_damaged: false,
            zones: BTreeMap::new(),
            restore_id: None,
        }
    }
}

impl VolumeOption {
    fn contradiction(&self) -> Option<String> {
        let not_positive = |number: Option<i32>| number.is_some_and(|number| number <= 0);
        let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if *self == Self::default() {
            return Some(
                "\"volume\" is empty: give type, iops, throughput, kms_key_id or initialization_rate, or \
                 leave it out"
                    .to_owned(),
            );
        }
        if is_empty(&self.volume_type) || is_empty(&self.kms_key_id) {
            return Some("\"volume\" has an empty \"type\" or \"kms_key_id\"".to_owned());
        }
        let is_of_a_key = |c: char| c.is_ascii_alphanumeric() || ":/_-".contains(c);
        if let Some(key) = &self.kms_key_id
            && !key.chars().all(is_of_a_key)
        {
            return Some(format!(
                "\"volume.kms_key_id\" is {key:?}, and the id or ARN of a key or of an alias is wanted"
            ));
        }
        if not_positive(self.iops) || not_positive(self.throughput) {
            return Some(
                "\"iops\" and \"throughput\" of \"volume\" are whole numbers above zero".to_owned(),
            );
        }
        let rate = self.initialization_rate?;
        (!INITIALIZATION_RATES_MIB_S.contains(&rate)).then(|| {
            format!(
                "\"initialization_rate\" of \"volume\" is in MiB/s, from {} to {}, not {rate}",
                INITIALIZATION_RATES_MIB_S.start(),
                INITIALIZATION_RATES_MIB_S.end()
            )
        })
    }
}

#[cfg(test)]
mod tests;
