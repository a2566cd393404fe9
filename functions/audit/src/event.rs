//! The events that the audit takes.

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::ids::ClusterName;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// What an event asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The moment to judge as; the clock where absent.
    #[serde(default)]
    pub now: Option<Timestamp>,
    /// The clusters to judge; all where absent.
    #[serde(default)]
    pub clusters: Option<Vec<ClusterName>>,
}

impl Request {
    /// Decodes an event: a schedule's (it may carry anything, its `time` is now), or a person's.
    ///
    /// # Errors
    ///
    /// `InvalidEvent`, naming what isn't accepted.
    pub fn decode(event: &Value) -> Result<Self, Diagnostic> {
        if !event.is_object() {
            return Err(Diagnostic::invalid_event(
                "the event is not a JSON object: send {} or {\"now\":\"…\",\"clusters\":[\"…\"]}",
            ));
        }
        if is_schedule(event) {
            let time = event["time"].as_str();
            return Ok(Self {
                now: time.and_then(|time| time.parse().ok()),
                clusters: None,
            });
        }
        let request = Self::deserialize(event).map_err(|error| {
            Diagnostic::invalid_event(format!("the event is not accepted: {error}"))
        })?;
        match &request.clusters {
            Some(clusters) if clusters.is_empty() => Err(Diagnostic::invalid_event(
                "\"clusters\" is empty: name clusters, or leave the field out for all",
            )),
            Some(clusters) if clusters.iter().any(|name| name.as_str().is_empty()) => Err(
                Diagnostic::invalid_event("\"clusters\" holds an empty name"),
            ),
            _ => Ok(request),
        }
    }
}

fn is_schedule(event: &Value) -> bool {
    matches!(
        event["source"].as_str(),
        Some("aws.events" | "aws.scheduler")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<Request, Diagnostic> {
        Request::decode(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_sample_event_is_decoded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/audit");
        let mut decoded = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let request = decode(&std::fs::read_to_string(&path).unwrap());
            assert!(request.is_ok(), "{}: {request:?}", path.display());
            decoded += 1;
        }
        assert_eq!(decoded, 4);
    }

    #[test]
    fn a_schedules_time_is_now_and_the_rest_of_it_is_ignored() {
        let event =
            r#"{"source":"aws.scheduler","time":"2026-11-22T07:30:00Z","detail":"{}","x":1}"#;
        let request = decode(event).unwrap();
        assert_eq!(request.now.unwrap().to_string(), "2026-11-22T07:30:00Z");
        assert_eq!(
            decode(r#"{"source":"aws.events"}"#).unwrap(),
            Request::default()
        );
    }

    #[test]
    fn what_is_not_accepted_is_named() {
        let message = |json: &str| decode(json).unwrap_err().to_string();
        insta::assert_snapshot!(message(r#"{"cluster":"k8s"}"#), @"InvalidEvent: the event is not accepted: unknown field `cluster`, expected `now` or `clusters`");
        insta::assert_snapshot!(message(r#"{"clusters":[]}"#), @r#"InvalidEvent: "clusters" is empty: name clusters, or leave the field out for all"#);
        assert!(message(r#"{"now":"yesterday"}"#).starts_with("InvalidEvent: "));
        assert!(message("[]").contains("not a JSON object"));
        assert!(message("null").contains("not a JSON object"));
    }
}
