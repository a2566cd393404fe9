//! CloudFormation's custom resource: a stack's deployment converges, and fails with converge's own
//! message where it can't; its deletion keeps everything unless the resource's `OnDelete` is `delete`.
//!
//! CloudFormation waits, for an hour by default, for a body put to the request's ResponseURL. So one is
//! put on every path, also for a request that makes no sense, and before the invocation's time is up.
//!
//! Source: CloudFormation user guide, "Custom resource request and response reference".

use std::time::Duration;

use etcd_backup_core::alert::within_json_bytes;
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::schedule::{DUE_AFTER, Schedule};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::answer::Answer;

/// The resource's id while it exists. It never changes: another id would have CloudFormation delete the
/// resource under the old one.
const PHYSICAL_ID: &str = "etcd-backup";
/// The id of a resource that couldn't be made: deleting it, as a rollback does, deletes nothing.
const NEVER_MADE: &str = "etcd-backup-never-made";
/// CloudFormation refuses a body of more than 4,096 bytes, and this is counted as it stands in it; the other
/// fields need no more than the rest.
const REASON_BYTES_MAX: usize = 1_024;
/// What is left of the invocation for the answer.
const MARGIN: Duration = Duration::from_secs(15);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where the answer is put.
    pub response_url: String,
    /// What CloudFormation asks for; `Err` says what is wrong with the request.
    pub task: Result<Task, String>,
    /// The resource's id so far.
    physical_id: Option<String>,
    /// What the answer repeats.
    echo: Map<String, Value>,
}

/// What CloudFormation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The resource is created or updated.
    Converge,
    /// The resource is deleted, and what it made stays.
    Keep,
    /// The resource is deleted, and what it made with it.
    Delete,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    /// `SUCCESS` or `FAILED`.
    pub status: &'static str,
    /// Why, for a person.
    pub reason: String,
    /// The resource's id.
    pub physical_resource_id: String,
    /// What templates can get of the resource.
    pub data: Value,
    #[serde(flatten)]
    echo: Map<String, Value>,
}

impl Request {
    /// Reads a request; `None` where the event is none.
    pub fn of(event: &Value) -> Option<Self> {
        let text = |field: &str| event.get(field).and_then(Value::as_str);
        let response_url = text("ResponseURL").filter(|url| url.starts_with("http"))?;
        let echo = ["StackId", "RequestId", "LogicalResourceId"].map(|field| {
            let value = text(field).unwrap_or_default();
            (field.to_owned(), Value::from(value))
        });
        Some(Self {
            response_url: response_url.to_owned(),
            task: task(event),
            physical_id: text("PhysicalResourceId").map(str::to_owned),
            echo: echo.into_iter().collect(),
        })
    }

    /// When work must end for the answer to be in time.
    pub fn work_until(deadline: Instant) -> Instant {
        deadline.checked_sub(MARGIN).unwrap_or(deadline)
    }

    /// Whether there is anything to delete.
    pub fn was_made(&self) -> bool {
        self.physical_id.as_deref() != Some(NEVER_MADE)
    }

    /// The answer when backups are as they should be, with what else of the stack follows from when
    /// they are made.
    pub fn converged(&self, answer: &Answer, schedule: &Schedule) -> Response {
        let data = json!({
            "PolicyId": answer.policy_id,
            "RoleArn": answer.role_arn,
            "Outcome": answer.outcome,
            "AuditSchedule": audit_schedule(schedule),
            "RestorePointAgeHoursMax": restore_point_age_hours_max(schedule).to_string(),
        });
        Response {
            data,
            ..self.done(&answer.text)
        }
    }

    /// The answer when all went well.
    pub fn done(&self, reason: &str) -> Response {
        let id = self.physical_id.clone();
        let id = id.unwrap_or_else(|| PHYSICAL_ID.to_owned());
        self.response("SUCCESS", reason, id)
    }

    /// The answer when it didn't.
    pub fn failure(&self, error: &Diagnostic) -> Response {
        let id = self.physical_id.clone();
        self.response(
            "FAILED",
            &error.to_string(),
            id.unwrap_or_else(|| NEVER_MADE.to_owned()),
        )
    }

    fn response(&self, status: &'static str, reason: &str, physical_id: String) -> Response {
        Response {
            status,
            reason: shortened(reason),
            physical_resource_id: physical_id,
            data: json!({}),
            echo: self.echo.clone(),
        }
    }
}

/// When the audit runs: daily, as soon as the day's first run is due.
fn audit_schedule(schedule: &Schedule) -> String {
    const MINUTES_A_DAY: i64 = 24 * 60;
    let start = i64::from(schedule.start_time.minute_of_day());
    let due = (start + DUE_AFTER.as_mins()) % MINUTES_A_DAY;
    format!("cron({} {} * * ? *)", due % 60, due / 60)
}

/// When a latest restore point is too old: one run may be missed, and each takes its time.
fn restore_point_age_hours_max(schedule: &Schedule) -> i32 {
    const A_RUN_TAKES_HOURS: i32 = 2;
    2 * schedule.interval_hours + A_RUN_TAKES_HOURS
}

fn task(event: &Value) -> Result<Task, String> {
    let on_delete = event.pointer("/ResourceProperties/OnDelete");
    match event.get("RequestType").and_then(Value::as_str) {
        Some("Create" | "Update") => match on_delete.map(Value::as_str) {
            None | Some(Some("keep" | "delete")) => Ok(Task::Converge),
            Some(_) => Err(format!(
                "the property OnDelete is {}; accepted are keep and delete",
                on_delete.unwrap_or(&Value::Null)
            )),
        },
        // Any other value keeps everything: a deletion of the stack must neither hang nor delete too much.
        Some("Delete") => match on_delete.and_then(Value::as_str) {
            Some("delete") => Ok(Task::Delete),
            _ => Ok(Task::Keep),
        },
        other => Err(format!(
            "the RequestType is {}; known are Create, Update and Delete",
            other.unwrap_or("missing")
        )),
    }
}

/// Cut at a character, so that the whole body stays within CloudFormation's bound.
fn shortened(reason: &str) -> String {
    let kept = within_json_bytes(reason, REASON_BYTES_MAX);
    if kept.len() == reason.len() {
        return reason.to_owned();
    }
    format!("{kept}… (the function's log has the rest)")
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::diagnostic::ErrorType;

    use super::*;

    fn request(more: &Value) -> Request {
        let mut event = json!({
            "RequestType": "Create",
            "ResponseURL": "https://example.com/put",
            "StackId": "arn:aws:cloudformation:eu-west-2:123456789012:stack/etcd-backup/0a",
            "RequestId": "0b",
            "LogicalResourceId": "Converged",
        });
        let fields = event.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        Request::of(&event).unwrap()
    }

    #[test]
    fn the_sample_events_are_requests() {
        for (name, task) in [
            ("stack-create", Task::Converge),
            ("stack-delete", Task::Delete),
        ] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/converge");
            let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
            let request = Request::of(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(request.task, Ok(task), "{name}");
        }
    }

    #[test]
    fn a_request_is_a_task_or_an_error_that_says_what_is_wrong() {
        let on_delete = |kind: &str, value: &str| {
            request(&json!({"RequestType": kind, "ResourceProperties": {"OnDelete": value}})).task
        };
        assert_eq!(request(&json!({})).task, Ok(Task::Converge));
        assert_eq!(on_delete("Update", "delete"), Ok(Task::Converge));
        assert_eq!(on_delete("Delete", "delete"), Ok(Task::Delete));
        assert_eq!(on_delete("Delete", "Delete"), Ok(Task::Keep));
        assert_eq!(
            request(&json!({"RequestType": "Delete"})).task,
            Ok(Task::Keep)
        );
        assert!(on_delete("Create", "destroy").is_err());
        assert!(request(&json!({"RequestType": "Explode"})).task.is_err());
        assert!(request(&json!({"RequestType": null})).task.is_err());
        assert_eq!(Request::of(&json!({"RequestType": "Create"})), None);
        assert_eq!(Request::of(&json!({"ResponseURL": 7})), None);
    }

    #[test]
    fn the_id_stays_and_one_that_was_never_made_is_told_apart() {
        let error = Diagnostic::new(ErrorType::AwsError, "no");
        let id = |response: Response| response.physical_resource_id;
        let first = request(&json!({}));
        assert_eq!(id(first.done("")), PHYSICAL_ID);
        assert_eq!(id(first.failure(&error)), NEVER_MADE);
        let later = request(&json!({"PhysicalResourceId": PHYSICAL_ID}));
        assert_eq!(id(later.failure(&error)), PHYSICAL_ID);
        assert!(later.was_made());
        assert!(!request(&json!({"PhysicalResourceId": NEVER_MADE})).was_made());
    }

    #[test]
    fn the_audit_and_the_oldest_age_follow_from_when_runs_are() {
        let of = |interval_hours: i32, start_time: &str| {
            let schedule = Schedule {
                interval_hours,
                start_time: start_time.parse().unwrap(),
            };
            let hours = restore_point_age_hours_max(&schedule);
            format!("{} {hours}", audit_schedule(&schedule))
        };
        assert_eq!(of(24, "06:00"), "cron(30 7 * * ? *) 50");
        assert_eq!(of(12, "22:45"), "cron(15 0 * * ? *) 26");
        assert_eq!(of(1, "00:00"), "cron(30 1 * * ? *) 4");
    }

    #[test]
    fn a_body_stays_within_the_bound() {
        // The last takes six bytes for each of its own.
        for text in ["\"ü\\", "x", "\n", "\u{1}"] {
            let long = Diagnostic::new(ErrorType::AwsError, text.repeat(4_000));
            let body = serde_json::to_string(&request(&json!({})).failure(&long)).unwrap();
            assert!(body.len() <= 4_096, "{} bytes of {text:?}", body.len());
            assert!(
                body.contains(r#""LogicalResourceId":"Converged""#),
                "{body}"
            );
        }
    }
}
