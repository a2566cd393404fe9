//! The events that verify takes.

use std::collections::BTreeMap;

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::event_time;
use etcd_backup_core::ids::{ClusterName, MemberKey, SnapshotId};
use etcd_backup_core::written_event;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// What verify is invoked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A person's wish: a restore point of a cluster.
    Cluster(ClusterName, Which),
    /// A person's wish: one member alone.
    Snapshot(SnapshotId),
    /// EC2 says that a snapshot was completed; `None` where it says something else.
    Completed(Option<SnapshotId>),
    /// The latest restore point of every cluster that has no verdict yet.
    Sweep,
}

/// Which snapshots of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The latest restore point.
    Latest,
    /// The latest one at or before this moment.
    At(Timestamp),
    /// These.
    Named(BTreeMap<MemberKey, SnapshotId>),
}

/// The sources of schedules' events.
pub const SCHEDULES: [&str; 2] = ["aws.events", "aws.scheduler"];
/// The source of EC2's events.
pub const EC2: &str = "aws.ec2";

/// What a person writes; without a cluster or a snapshot, it is the sweep.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The cluster, by its kops name.
    #[serde(default)]
    cluster: Option<ClusterName>,
    /// The newest restore point at or before this time.
    #[serde(default, deserialize_with = "event_time::read")]
    #[schemars(with = "Option<Timestamp>")]
    at: Option<Timestamp>,
    /// Snapshots by member, instead of a restore point's.
    #[serde(default)]
    #[schemars(extend("minProperties" = 1))]
    snapshots: Option<BTreeMap<MemberKey, SnapshotId>>,
    /// One member's snapshot, alone.
    #[serde(default)]
    snapshot_id: Option<SnapshotId>,
}

const EXAMPLES: &str =
    "send {\"cluster\":\"…\"}, {\"snapshot_id\":\"snap-…\"}, or {} for all that have no verdict";

impl Event {
    /// Decodes an event: EC2's or a schedule's, which may carry anything, or a person's.
    ///
    /// # Errors
    ///
    /// `InvalidEvent`, naming what isn't accepted.
    pub fn decode(event: &Value) -> Result<Self, Diagnostic> {
        if !event.is_object() {
            return Err(invalid(format!(
                "the event is not a JSON object: {EXAMPLES}"
            )));
        }
        match (event["source"].as_str(), event["detail-type"].as_str()) {
            (Some(source), _) if SCHEDULES.contains(&source) => Ok(Self::Sweep),
            (Some(EC2), Some("EBS Snapshot Notification")) => {
                Ok(Self::Completed(completed(&event["detail"])))
            }
            (Some(EC2), _) => Ok(Self::Completed(None)),
            _ => Self::written(event),
        }
    }

    fn written(event: &Value) -> Result<Self, Diagnostic> {
        let written: Written = written_event::read(event)?;
        match written {
            Written {
                cluster: None,
                at: None,
                snapshots: None,
                snapshot_id: None,
            } => Ok(Self::Sweep),
            Written {
                cluster: None,
                at: None,
                snapshots: None,
                snapshot_id: Some(id),
            } => {
                refuse_no_snapshot("snapshot_id", &id)?;
                Ok(Self::Snapshot(id))
            }
            Written {
                cluster: Some(cluster),
                at,
                snapshots,
                snapshot_id: None,
            } => {
                refuse_no_cluster(&cluster)?;
                Ok(Self::Cluster(cluster, which(at, snapshots)?))
            }
            Written {
                snapshot_id: Some(_),
                ..
            } => Err(invalid(
                "\"snapshot_id\" stands alone: to verify a cluster's, name them in \"snapshots\"",
            )),
            _ => Err(invalid("\"at\" and \"snapshots\" go with \"cluster\"")),
        }
    }
}

fn which(
    at: Option<Timestamp>,
    snapshots: Option<BTreeMap<MemberKey, SnapshotId>>,
) -> Result<Which, Diagnostic> {
    match (at, snapshots) {
        (None, None) => Ok(Which::Latest),
        (Some(at), None) => Ok(Which::At(at)),
        (None, Some(named)) if named.is_empty() => Err(invalid(
            "\"snapshots\" is empty: name some, like {\"main/a\":\"snap-…\"}, or leave it out",
        )),
        (None, Some(named)) => {
            for (key, id) in &named {
                refuse_no_snapshot(&format!("snapshots.{key}"), id)?;
            }
            Ok(Which::Named(named))
        }
        (Some(_), Some(_)) => Err(invalid(
            "\"at\" and \"snapshots\" contradict: give one of them",
        )),
    }
}

/// The snapshot that was completed. Its ARN is documented in two shapes, which end alike, with the id; the
/// id by itself names it as well.
///
/// Source: Amazon EBS user guide, "EventBridge events for Amazon EBS", snapshot events.
fn completed(detail: &Value) -> Option<SnapshotId> {
    let is_completed = detail["event"] == "createSnapshot" && detail["result"] == "succeeded";
    let named = detail["snapshot_id"].as_str()?;
    let id = named.rsplit_once('/').map_or(named, |(_, id)| id);
    (is_completed && id.starts_with("snap-")).then(|| id.into())
}

fn refuse_no_cluster(cluster: &ClusterName) -> Result<(), Diagnostic> {
    if cluster.is_dns_name() {
        return Ok(());
    }
    Err(invalid(format!(
        "\"cluster\" is {:?}, which is no DNS name: name one cluster as kops does, like k8s.mycompany.tld",
        cluster.as_str()
    )))
}

fn refuse_no_snapshot(field: &str, id: &SnapshotId) -> Result<(), Diagnostic> {
    let digits = id.as_str().strip_prefix("snap-");
    let is_id = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if digits.is_some_and(is_id) {
        return Ok(());
    }
    Err(invalid(format!(
        "\"{field}\" is {:?}, which is no snapshot's id: write it as EC2 does, like snap-0123456789abcdef0",
        id.as_str()
    )))
}

fn invalid(message: impl Into<String>) -> Diagnostic {
    Diagnostic::invalid_event(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decode(json: &str) -> Result<Event, Diagnostic> {
        Event::decode(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_sample_event_is_decoded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/verify");
        let mut decoded = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let event = decode(&std::fs::read_to_string(&path).unwrap());
            assert!(event.is_ok(), "{}: {event:?}", path.display());
            decoded += 1;
        }
        assert_eq!(decoded, 8);
    }

    #[test]
    fn a_snapshot_is_named_by_either_shape_of_its_arn_or_its_id() {
        for named in [
            "arn:aws:ec2::eu-west-2:snapshot/snap-0a",
            "arn:aws:ec2:eu-west-2::snapshot/snap-0a",
            "snap-0a",
        ] {
            let event = json!({"source": "aws.ec2", "detail-type": "EBS Snapshot Notification", "x": 1,
                               "detail": {"event": "createSnapshot", "result": "succeeded", "snapshot_id": named}});
            assert_eq!(
                Event::decode(&event).unwrap(),
                Event::Completed(Some("snap-0a".into()))
            );
            for (field, value) in [("event", "copySnapshot"), ("result", "failed")] {
                let mut other = event.clone();
                other["detail"][field] = value.into();
                assert_eq!(Event::decode(&other).unwrap(), Event::Completed(None));
            }
            for strange in [json!("vol-0a"), json!(7), json!("")] {
                let mut other = event.clone();
                other["detail"]["snapshot_id"] = strange;
                assert_eq!(Event::decode(&other).unwrap(), Event::Completed(None));
            }
        }
    }

    #[test]
    fn a_schedule_and_nothing_at_all_ask_for_the_sweep() {
        for json in [
            r#"{"source":"aws.scheduler","x":1}"#,
            r#"{"source":"aws.events"}"#,
            "{}",
        ] {
            assert_eq!(decode(json).unwrap(), Event::Sweep);
        }
    }

    #[test]
    fn what_is_not_accepted_is_named() {
        let message = |json: &str| decode(json).unwrap_err().message;
        insta::assert_snapshot!(message("[]"), @r#"the event is not a JSON object: send {"cluster":"…"}, {"snapshot_id":"snap-…"}, or {} for all that have no verdict"#);
        insta::assert_snapshot!(message(r#"{"cluser":"k8s"}"#), @"the event is not accepted: unknown field `cluser`, expected one of `cluster`, `at`, `snapshots`, `snapshot_id`");
        insta::assert_snapshot!(message(r#"{"cluster":"k8s.*"}"#), @r#""cluster" is "k8s.*", which is no DNS name: name one cluster as kops does, like k8s.mycompany.tld"#);
        insta::assert_snapshot!(message(r#"{"cluster":""}"#), @r#""cluster" is "", which is no DNS name: name one cluster as kops does, like k8s.mycompany.tld"#);
        insta::assert_snapshot!(message(r#"{"at":"2026-11-22T07:30:00Z"}"#), @r#""at" and "snapshots" go with "cluster""#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","at":"2026-11-22T07:30:00Z","snapshots":{"main/a":"snap-0a"}}"#), @r#""at" and "snapshots" contradict: give one of them"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","snapshots":{}}"#), @r#""snapshots" is empty: name some, like {"main/a":"snap-…"}, or leave it out"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","snapshots":{"a":"snap-0a"}}"#), @r#"the event is not accepted: "snapshots": "a" names no member: write <etcd cluster>/<member>, like main/a"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","snapshot_id":"snap-0a"}"#), @r#""snapshot_id" stands alone: to verify a cluster's, name them in "snapshots""#);
        insta::assert_snapshot!(message(r#"{"snapshot_id":"snap-*"}"#), @r#""snapshot_id" is "snap-*", which is no snapshot's id: write it as EC2 does, like snap-0123456789abcdef0"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","snapshots":{"main/a":"vol-0a"}}"#), @r#""snapshots.main/a" is "vol-0a", which is no snapshot's id: write it as EC2 does, like snap-0123456789abcdef0"#);
        insta::assert_snapshot!(message(r#"{"cluster":5}"#), @r#"the event is not accepted: "cluster" is 5, and a string is wanted"#);
        insta::assert_snapshot!(message(r#"{"snapshot_id":["snap-0a"]}"#), @r#"the event is not accepted: "snapshot_id" is a list, and a string is wanted"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","at":5}"#), @r#"the event is not accepted: "at" is 5, and a string is wanted"#);
        insta::assert_snapshot!(message(r#"{"cluster":"k8s","snapshots":["snap-0a"]}"#), @r#"the event is not accepted: "snapshots" is a list, and an object is wanted"#);
    }
}
