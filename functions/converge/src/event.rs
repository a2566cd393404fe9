//! What an invocation asks for.
//!
//! Events that people write are read strictly, as a mistyped field must not turn a plan into an
//! apply. Events that AWS writes are known by their `source` and may carry anything.

use etcd_backup_core::diagnostic::Diagnostic;
use serde::Serialize;
use serde_json::{Map, Value};

/// The fields of an event that a person writes.
const FIELDS: &str = "action";
const ACCEPTED: &str = r#"{} or {"action":"apply"}, {"action":"plan"}, {"action":"version"}, or an event from EventBridge"#;
/// Schedules and, of DLM, changes of a policy's state.
pub const SOURCES: [&str; 3] = ["aws.events", "aws.scheduler", "aws.dlm"];
const POLICY_STATE_CHANGE: &str = "DLM Policy State Change";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Make everything as it should be.
    Apply,
    /// Only say what that would change.
    Plan,
}

/// What an invocation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// The policy that DLM gave up on, where that is why.
    pub policy_error: Option<PolicyError>,
}

/// DLM's word that a policy is in state `ERROR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// `policy-…`; `None` where the event doesn't name it.
    pub policy_id: Option<String>,
    /// Why, in DLM's words.
    pub cause: Option<String>,
    /// When, as the event has it.
    pub time: Option<String>,
}

impl Request {
    /// Reads an event.
    ///
    /// # Errors
    ///
    /// `InvalidEvent`, for anything but what this function knows.
    pub fn decode(event: &Value) -> Result<Self, Diagnostic> {
        let Value::Object(event) = event else {
            return Err(Diagnostic::invalid_event(format!(
                "the event must be a JSON object: {ACCEPTED}"
            )));
        };
        let source = text(event, "source");
        if source.is_some_and(|source| SOURCES.contains(&source)) {
            return Ok(Self {
                action: Action::Apply,
                policy_error: policy_error(event),
            });
        }
        Ok(Self {
            action: asked(event)?,
            policy_error: None,
        })
    }
}

fn asked(event: &Map<String, Value>) -> Result<Action, Diagnostic> {
    if let Some(unknown) = event.keys().find(|field| *field != FIELDS) {
        return Err(Diagnostic::invalid_event(format!(
            "unknown field {unknown:?}; known: {FIELDS}"
        )));
    }
    match event.get("action") {
        None => Ok(Action::Apply),
        Some(Value::String(action)) if action == "apply" => Ok(Action::Apply),
        Some(Value::String(action)) if action == "plan" => Ok(Action::Plan),
        Some(other) => Err(Diagnostic::invalid_event(format!(
            "unknown action {other}; known: apply, plan, version"
        ))),
    }
}

fn policy_error(event: &Map<String, Value>) -> Option<PolicyError> {
    let detail = event.get("detail")?.as_object()?;
    let is_error = text(event, "detail-type") == Some(POLICY_STATE_CHANGE)
        && text(detail, "state") == Some("ERROR");
    is_error.then(|| PolicyError {
        // DLM writes the policy's ARN there; its documentation also speaks of the id.
        policy_id: text(detail, "policy_id")
            .and_then(|policy| policy.rsplit('/').next())
            .map(str::to_owned),
        cause: text(detail, "cause").map(str::to_owned),
        time: text(event, "time").map(str::to_owned),
    })
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(name: &str) -> Value {
        let path = format!(
            "{}/../../events/converge/{name}",
            env!("CARGO_MANIFEST_DIR")
        );
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn request(action: Action) -> Request {
        Request {
            action,
            policy_error: None,
        }
    }

    #[test]
    fn every_sample_event_is_decoded() {
        let error = PolicyError {
            policy_id: Some("policy-0123456789abcdef0".to_owned()),
            cause: Some("Role provided does not have sufficient permissions".to_owned()),
            time: Some("2026-11-22T06:31:04Z".to_owned()),
        };
        let error = Request {
            action: Action::Apply,
            policy_error: Some(error),
        };
        let expected = [
            ("apply.json", request(Action::Apply)),
            ("empty.json", request(Action::Apply)),
            ("plan.json", request(Action::Plan)),
            ("policy-enabled.json", request(Action::Apply)),
            ("policy-error.json", error),
            ("rule.json", request(Action::Apply)),
            ("scheduler.json", request(Action::Apply)),
        ];
        let directory = format!("{}/../../events/converge", env!("CARGO_MANIFEST_DIR"));
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            // CloudFormation's are another module's.
            .filter(|name| !name.starts_with("stack-"))
            .collect();
        names.sort();
        assert_eq!(names, expected.each_ref().map(|(name, _)| *name));
        for (name, request) in expected {
            assert_eq!(Request::decode(&sample(name)).unwrap(), request, "{name}");
        }
    }

    #[test]
    fn everything_else_is_refused_and_says_what_is_known() {
        for (event, message) in [
            (
                json!({"dry_run": true}),
                r#"unknown field "dry_run"; known: action"#,
            ),
            (
                json!({"action": "plan", "Action": "plan"}),
                r#"unknown field "Action"; known: action"#,
            ),
            (
                json!({"source": "me"}),
                r#"unknown field "source"; known: action"#,
            ),
            (
                json!({"action": "delete"}),
                r#"unknown action "delete"; known: apply, plan, version"#,
            ),
            (
                json!({"action": null}),
                "unknown action null; known: apply, plan, version",
            ),
        ] {
            let error = Request::decode(&event).unwrap_err();
            assert_eq!(error.to_string(), format!("InvalidEvent: {message}"));
        }
        for event in [json!(null), json!([]), json!("plan"), json!(1)] {
            let error = Request::decode(&event).unwrap_err();
            assert!(
                error
                    .message
                    .starts_with("the event must be a JSON object: {} or"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_strange_detail_is_no_reason_to_refuse() {
        for detail in [json!(null), json!("x"), json!({}), json!({"state": 1})] {
            let event =
                json!({"source": "aws.dlm", "detail-type": POLICY_STATE_CHANGE, "detail": detail});
            assert_eq!(Request::decode(&event).unwrap(), request(Action::Apply));
        }
    }
}
