//! The alert when DLM gives up on a policy.

use std::collections::BTreeMap;

use etcd_backup_core::alert::{self, Alert, AlertAttribute, BODY_BYTES_MAX, Links, Notification};
use etcd_backup_core::aws_cli;
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::settings::Settings;

use crate::answer::{Answer, Outcome};
use crate::event::PolicyError;

/// The finding by which subscribers know it.
const KIND: &str = "policy_not_enabled";
const SEVERITY: &str = "critical";
/// The event's type, which custom actions of a channel may ask for.
const EVENT_TYPE: &str = "etcd-backup-policy-error";

/// The alert: which policy, why, what converge did about it, and what to do.
pub fn alert(
    error: &PolicyError,
    converged: &Result<Answer, Diagnostic>,
    settings: &Settings,
    deployment: &Deployment,
) -> Alert {
    let links = Links {
        settings,
        deployment,
    };
    let alert = Alert {
        subject: subject(error, deployment),
        body: body(error, converged, &links),
        chat: Some(notification(error, converged, &links)),
        attributes: vec![
            ("severity", AlertAttribute::Text(SEVERITY.to_owned())),
            ("kinds", AlertAttribute::List(vec![KIND.to_owned()])),
        ],
    };
    alert.in_format(settings.alert_format)
}

/// The warning where there is no topic to publish to.
pub fn no_topic_warning(error: &PolicyError) -> String {
    format!(
        "DLM put {} into the state ERROR ({}) and nobody was told, as ALERT_TOPIC_ARN is not set",
        name(error),
        error.cause.as_deref().unwrap_or("no cause given"),
    )
}

fn subject(error: &PolicyError, deployment: &Deployment) -> String {
    alert::subject(&format!(
        "CRITICAL: DLM stopped making etcd snapshots: {} in {}",
        name(error),
        deployment.region
    ))
}

fn body(error: &PolicyError, converged: &Result<Answer, Diagnostic>, links: &Links) -> String {
    let Deployment {
        region, account, ..
    } = links.deployment;
    let steps = next_steps(error, links);
    let numbered: Vec<String> = (1..)
        .zip(steps)
        .map(|(number, step)| format!("{number}. {step}\n"))
        .collect();
    let body = format!(
        "{}\n\n\
         Account: {account}\nRegion:  {region}\nCause:   {}\n\n\
         {}\n\n\
         What to do:\n{}\nMore: {}\n",
        happened(error),
        cause(error),
        outcome(error, converged),
        numbered.concat(),
        links.finding(KIND),
    );
    // Each character takes 6 bytes at most.
    alert::chat::cut(&body, BODY_BYTES_MAX / 6)
}

fn notification(
    error: &PolicyError,
    converged: &Result<Answer, Diagnostic>,
    links: &Links,
) -> Notification {
    let deployment = links.deployment;
    let policies = error.policy_id.iter().cloned();
    let context = [
        ("account", deployment.account.clone()),
        ("region", deployment.region.clone()),
        ("severity", SEVERITY.to_owned()),
    ];
    Notification {
        title: subject(error, deployment),
        description: format!(
            "{}\nCause: {}\n\n{}\n\n{}",
            happened(error),
            alert::chat::cut(&cause(error), 1_000),
            alert::chat::cut(&outcome(error, converged), 3_000),
            links.finding(KIND),
        ),
        next_steps: next_steps(error, links),
        keywords: vec![SEVERITY.to_owned(), KIND.to_owned()],
        thread_id: None,
        event_type: EVENT_TYPE,
        related_resources: policies.collect(),
        additional_context: BTreeMap::from(context),
    }
}

fn happened(error: &PolicyError) -> String {
    let since = error.time.as_deref();
    let since = since.map(|time| format!(" at {time}")).unwrap_or_default();
    format!(
        "DLM put {} into the state ERROR{since}. While it is in it, the policy neither makes nor deletes \
         snapshots.",
        name(error)
    )
}

fn cause(error: &PolicyError) -> String {
    let cause = error.cause.as_deref();
    cause.unwrap_or("(the event names none)").to_owned()
}

/// Each is short enough for a chat channel.
fn next_steps(error: &PolicyError, links: &Links) -> Vec<String> {
    let dashboard = links.dashboard();
    let steps = [
        "Remove the cause if it is not among what converge changed: a service control policy or a \
         permissions boundary that keeps the role from EC2, a KMS key that the role may not use, the \
         Region's limit of snapshots."
            .to_owned(),
        format!(
            "See what DLM says now: {}",
            aws_cli::command(
                &links.deployment.region,
                "dlm get-lifecycle-policy",
                format_args!(
                    "--policy-id {}",
                    error.policy_id.as_deref().unwrap_or("POLICY_ID")
                )
            )
        ),
        "After the next run, see in the audit's answer whether it left snapshots.".to_owned(),
    ];
    let dashboard = dashboard.map(|address| format!("Look at the dashboard: {address}"));
    steps.into_iter().chain(dashboard).collect()
}

fn outcome(error: &PolicyError, converged: &Result<Answer, Diagnostic>) -> String {
    let answer = match converged {
        Ok(answer) => answer,
        Err(diagnostic) => return format!("converge could not put it right: {diagnostic}"),
    };
    let kept = answer.policy_id.as_ref();
    if let (Some(failed), Some(kept)) = (&error.policy_id, kept)
        && failed != kept.as_str()
    {
        return format!(
            "It is not the policy that converge keeps, which is {kept}: it was left as it is.\n\n{}",
            answer.text
        );
    }
    match answer.outcome {
        Outcome::Unchanged => {
            "converge found everything as it should be, the policy enabled: it was enabled again \
             already, or DLM was late to tell."
                .to_owned()
        }
        _ => format!(
            "converge put right what it found different; if the cause lies elsewhere, DLM will give \
             up again:\n\n{}",
            answer.text
        ),
    }
}

fn name(error: &PolicyError) -> &str {
    error.policy_id.as_deref().unwrap_or("a policy")
}
