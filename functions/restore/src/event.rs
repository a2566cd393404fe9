//! The events that restore takes, and the options in them.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::ids::{
    ClusterName, EtcdClusterName, MemberKey, MemberName, RestoreId, SnapshotId, ZoneName,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// EC2's limit of a tag value's length in characters.
const TAG_VALUE_LENGTH_MAX: usize = 256;
/// What the options' text begins with where the event said `again`.
const AGAIN_MARK: &str = "again ";
/// What it goes on with.
const MASTERS: &str = "masters=";

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The cluster, by its kops name.
    pub cluster: ClusterName,
    /// What to do.
    #[serde(default)]
    pub action: Action,
    /// Only these etcd clusters; all in use where absent.
    #[serde(default)]
    pub etcd_clusters: Option<BTreeSet<EtcdClusterName>>,
    /// Only these members (`a`, or `main/a`); wants `partial`.
    #[serde(default)]
    pub members: Option<BTreeSet<String>>,
    /// Says that one restored member beside newer peers is meant.
    #[serde(default)]
    pub partial: bool,
    /// The newest restore point at or before this time.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Snapshots by hand, by member.
    #[serde(default)]
    pub snapshots: Option<BTreeMap<MemberKey, SnapshotId>>,
    /// How far apart, in minutes, the members' snapshots may have been started.
    #[serde(default = "skew_minutes_max_default")]
    pub skew_minutes_max: u32,
    /// What to do with the masters.
    #[serde(default)]
    pub masters: MastersOption,
    /// Restore although the live volumes were already made from the chosen snapshots.
    #[serde(default)]
    pub again: bool,
    /// Type and performance of the new volumes.
    #[serde(default)]
    pub volume: Option<VolumeOption>,
    /// Zones by member name.
    #[serde(default)]
    pub zones: BTreeMap<MemberName, ZoneName>,
    /// The restore that `status` and `undo` are about; the newest where absent.
    #[serde(default)]
    pub restore_id: Option<RestoreId>,
}

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Bring the volumes back.
    #[default]
    Restore,
    /// Say what `restore` would do; write nothing.
    Plan,
    /// Say which restore points there are.
    List,
    /// Say how a restore stands; write nothing.
    Status,
    /// Put back what a restore replaced.
    Undo,
}

/// What to do with the masters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MastersOption {
    /// Leave them to the operator.
    #[default]
    Leave,
    /// Terminate them all before the exchange; their autoscaling groups bring new ones after it.
    Replace,
}

/// Type and performance of the new volumes; what is absent is as the old volume has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeOption {
    /// `gp3`, `io2`, …
    #[serde(default, rename = "type")]
    pub volume_type: Option<String>,
    /// I/O operations per second.
    #[serde(default)]
    pub iops: Option<i32>,
    /// MiB/s.
    #[serde(default)]
    pub throughput: Option<i32>,
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
        let request = Self::deserialize(event).map_err(|error| {
            Diagnostic::invalid_event(format!("the event is not accepted: {error}"))
        })?;
        match request.contradiction() {
            Some(contradiction) => Err(Diagnostic::invalid_event(contradiction)),
            None => Ok(request),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let is_empty = |option: Option<usize>| option == Some(0);
        if self.cluster.as_str().trim().is_empty() {
            return Some(
                "\"cluster\" is empty: name the cluster, like k8s.mycompany.tld".to_owned(),
            );
        }
        for (name, length) in [
            (
                "etcd_clusters",
                self.etcd_clusters.as_ref().map(BTreeSet::len),
            ),
            ("members", self.members.as_ref().map(BTreeSet::len)),
            ("snapshots", self.snapshots.as_ref().map(BTreeMap::len)),
        ] {
            if is_empty(length) {
                return Some(format!("\"{name}\" is empty: leave it out for all"));
            }
        }
        if let Some(contradiction) = self.option_of_another_action() {
            return Some(contradiction);
        }
        if self.at.is_some() && self.snapshots.is_some() {
            return Some("\"at\" and \"snapshots\" contradict: give one of them".to_owned());
        }
        if self.members.is_some() && self.snapshots.is_some() {
            return Some(
                "\"members\" and \"snapshots\" contradict: \"snapshots\" names its members"
                    .to_owned(),
            );
        }
        if self.members.is_some() && !self.partial {
            return Some(
                "\"members\" without \"partial\": true: one restored member beside newer peers is \
                 dangerous, so say that it is meant"
                    .to_owned(),
            );
        }
        self.volume.as_ref().and_then(VolumeOption::contradiction)
    }

    /// Each action has options of its own; one that it wouldn't heed is better refused.
    fn option_of_another_action(&self) -> Option<String> {
        let (name, takes, taken) = match self.action {
            Action::Restore | Action::Plan if self.restore_id.is_some() => {
                return Some(
                    "\"restore_id\" goes with \"status\" and \"undo\": a restore is gone on with by \
                     sending its event again"
                        .to_owned(),
                );
            }
            // Whoever asks how their event stands may send it as it was, with "status" added.
            Action::Restore | Action::Plan | Action::Status => return None,
            Action::List => (
                "list",
                "\"cluster\" and \"etcd_clusters\"",
                Self {
                    etcd_clusters: self.etcd_clusters.clone(),
                    ..Self::bare(self)
                },
            ),
            Action::Undo => (
                "undo",
                "\"cluster\", \"restore_id\" and \"masters\"",
                Self {
                    restore_id: self.restore_id.clone(),
                    masters: self.masters,
                    ..Self::bare(self)
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
            etcd_clusters: None,
            members: None,
            partial: false,
            at: None,
            snapshots: None,
            skew_minutes_max: skew_minutes_max_default(),
            masters: MastersOption::Leave,
            again: false,
            volume: None,
            zones: BTreeMap::new(),
            restore_id: None,
        }
    }

    /// Whether a member is among those asked for.
    pub fn wants(&self, key: &MemberKey) -> bool {
        self.members.as_ref().is_none_or(|members| {
            members.contains(key.member.as_str()) || members.contains(&key.to_string())
        })
    }

    /// The options as a tag's value: equal options have equal texts.
    pub fn options_text(&self) -> String {
        let mark = if self.again { AGAIN_MARK } else { "" };
        format!("{mark}{}", self.options_without_again())
    }

    /// Whether a restore that wrote this text was asked for with the same options. `again` plays no
    /// part: it decides whether a restore begins, not how one goes on.
    pub fn has_options(&self, text: &str) -> bool {
        text.strip_prefix(AGAIN_MARK).unwrap_or(text) == self.options_without_again()
    }

    /// Whether a restore that wrote this text was asked for with these options and `again`.
    pub fn was_again(&self, text: &str) -> bool {
        text.starts_with(AGAIN_MARK) && self.has_options(text)
    }

    fn options_without_again(&self) -> String {
        // First and never shortened: how a restore stands is told from it too.
        let masters = format!("{MASTERS}{}", self.masters.name());
        let mut parts = vec![masters.clone()];
        if let Some(names) = &self.etcd_clusters {
            parts.push(format!("etcd_clusters={}", join(names)));
        }
        if let Some(members) = &self.members {
            parts.push(format!("members={}", join(members)));
        }
        if self.partial {
            parts.push("partial".to_owned());
        }
        if let Some(at) = self.at {
            parts.push(format!("at={at}"));
        }
        if let Some(snapshots) = &self.snapshots {
            parts.push(format!("snapshots={}", join_pairs(snapshots)));
        }
        if self.skew_minutes_max != skew_minutes_max_default() {
            parts.push(format!("skew_minutes_max={}", self.skew_minutes_max));
        }
        if let Some(volume) = &self.volume {
            let VolumeOption {
                volume_type,
                iops,
                throughput,
            } = volume;
            let volume_type = volume_type.as_deref().unwrap_or("-");
            let number = |number: &Option<i32>| number.map_or("-".to_owned(), |n| n.to_string());
            parts.push(format!(
                "volume={volume_type}/{}/{}",
                number(iops),
                number(throughput)
            ));
        }
        if !self.zones.is_empty() {
            parts.push(format!("zones={}", join_pairs(&self.zones)));
        }
        let text = parts.join(" ");
        match AGAIN_MARK.len() + text.chars().count() <= TAG_VALUE_LENGTH_MAX {
            true => text,
            false => format!("{masters} sha256:{}", hex::encode(Sha256::digest(&text))),
        }
    }
}

impl MastersOption {
    /// As an event has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Replace => "replace",
        }
    }

    /// What a restore that wrote this text as its options does with the masters.
    pub fn of_options(text: &str) -> Self {
        let text = text.strip_prefix(AGAIN_MARK).unwrap_or(text);
        let masters = text.strip_prefix(MASTERS).unwrap_or_default();
        match masters.split(' ').next() == Some(Self::Replace.name()) {
            true => Self::Replace,
            false => Self::Leave,
        }
    }
}

impl VolumeOption {
    fn contradiction(&self) -> Option<String> {
        let not_positive = |number: Option<i32>| number.is_some_and(|number| number <= 0);
        if *self
            == (Self {
                volume_type: None,
                iops: None,
                throughput: None,
            })
        {
            return Some(
                "\"volume\" is empty: give type, iops or throughput, or leave it out".to_owned(),
            );
        }
        if self.volume_type.as_ref().is_some_and(String::is_empty) {
            return Some("\"volume\" has an empty \"type\"".to_owned());
        }
        (not_positive(self.iops) || not_positive(self.throughput)).then(|| {
            "\"iops\" and \"throughput\" of \"volume\" are whole numbers above zero".to_owned()
        })
    }
}

fn join<T: std::fmt::Display>(items: &BTreeSet<T>) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(",")
}

fn join_pairs<K: std::fmt::Display, V: std::fmt::Display>(pairs: &BTreeMap<K, V>) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<Request, Diagnostic> {
        Request::decode(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_sample_event_is_decoded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/restore");
        let mut decoded = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let request = decode(&std::fs::read_to_string(&path).unwrap());
            assert!(request.is_ok(), "{}: {request:?}", path.display());
            decoded += 1;
        }
        assert_eq!(decoded, 9);
    }

    #[test]
    fn what_is_not_accepted_is_named() {
        let message = |json: &str| decode(json).unwrap_err().to_string();
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","time":"x"}"#), @"InvalidEvent: the event is not accepted: unknown field `time`, expected one of `cluster`, `action`, `etcd_clusters`, `members`, `partial`, `at`, `snapshots`, `skew_minutes_max`, `masters`, `again`, `volume`, `zones`, `restore_id`");
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"destroy"}"#), @"InvalidEvent: the event is not accepted: unknown variant `destroy`, expected one of `restore`, `plan`, `list`, `status`, `undo`");
        insta::assert_snapshot!(message("{}"), @"InvalidEvent: the event is not accepted: missing field `cluster`");
        insta::assert_snapshot!(message(r#"{"cluster":" "}"#), @r#"InvalidEvent: "cluster" is empty: name the cluster, like k8s.mycompany.tld"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","members":["a"]}"#), @r#"InvalidEvent: "members" without "partial": true: one restored member beside newer peers is dangerous, so say that it is meant"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","at":"2026-11-22T07:30:00Z","snapshots":{"main/a":"snap-0a"}}"#), @r#"InvalidEvent: "at" and "snapshots" contradict: give one of them"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","snapshots":{"a":"snap-0a"}}"#), @r#"InvalidEvent: the event is not accepted: "a" names no member: write <etcd cluster>/<member>, like main/a"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"list","again":true}"#), @r#"InvalidEvent: "list" takes "cluster" and "etcd_clusters" alone"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","volume":{"iops":0}}"#), @r#"InvalidEvent: "iops" and "throughput" of "volume" are whole numbers above zero"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","action":"undo","at":"2026-11-22T07:30:00Z"}"#), @r#"InvalidEvent: "undo" takes "cluster", "restore_id" and "masters" alone"#);
        assert!(
            decode(r#"{"cluster":"k8s","action":"status","at":"2026-11-22T07:30:00Z"}"#).is_ok()
        );
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","restore_id":"r-0a"}"#), @r#"InvalidEvent: "restore_id" goes with "status" and "undo": a restore is gone on with by sending its event again"#);
        assert!(message("[]").starts_with("InvalidEvent: "));
    }

    #[test]
    fn options_are_told_apart_and_fit_a_tag() {
        let plain = decode(r#"{"cluster":"k8s"}"#).unwrap();
        let again = decode(r#"{"cluster":"k8s","again":true}"#).unwrap();
        let main = decode(r#"{"cluster":"k8s","etcd_clusters":["main"]}"#).unwrap();
        assert_eq!(plain.options_text(), "masters=leave");
        assert!(
            plain.has_options(&again.options_text()) && again.has_options(&plain.options_text())
        );
        assert!(again.was_again(&again.options_text()) && !again.was_again(&plain.options_text()));
        assert!(!main.has_options(&plain.options_text()));

        let snapshots: Vec<String> = (0..20)
            .map(|i| format!(r#""main/m{i}":"snap-0123456789abcdef{i}""#))
            .collect();
        let long = format!(
            r#"{{"cluster":"k8s","masters":"replace","snapshots":{{{}}}}}"#,
            snapshots.join(",")
        );
        let long = decode(&long).unwrap();
        assert!(long.options_text().len() <= TAG_VALUE_LENGTH_MAX);
        assert!(long.has_options(&long.options_text()));
        for (request, masters) in [
            (&plain, MastersOption::Leave),
            (&again, MastersOption::Leave),
            (&long, MastersOption::Replace),
        ] {
            assert_eq!(MastersOption::of_options(&request.options_text()), masters);
        }
    }
}
