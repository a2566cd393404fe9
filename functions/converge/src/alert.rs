//! What people are told when DLM gives up on a policy.

use etcd_backup_core::aws::{Alert, AlertAttribute};
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::diagnostic::Diagnostic;

use crate::answer::{Answer, Outcome};
use crate::event::PolicyError;

/// The finding by which subscribers know it.
const KIND: &str = "policy_not_enabled";
/// SNS refuses longer subjects.
const SUBJECT_MAX: usize = 100;

/// The alert: which policy, why, what converge did about it, and what to do.
pub fn alert(
    error: &PolicyError,
    converged: &Result<Answer, Diagnostic>,
    deployment: &Deployment,
) -> Alert {
    let Deployment {
        region, account, ..
    } = deployment;
    let policy = name(error);
    let subject = format!("CRITICAL: DLM stopped making etcd snapshots: {policy} in {region}");
    let since = error
        .time
        .as_deref()
        .map(|time| format!(" at {time}"))
        .unwrap_or_default();
    let cause = error.cause.as_deref().unwrap_or("(the event names none)");
    let body = format!(
        "DLM put {policy} into the state ERROR{since}. While it is in it, the policy neither makes \
         nor deletes snapshots.\n\n\
         Account: {account}\nRegion:  {region}\nCause:   {cause}\n\n\
         {}\n\n\
         What to do:\n\
         1. Remove the cause above if it is not among what converge changed: a service control \
         policy or a permissions boundary that keeps the role from EC2, a KMS key that the role may \
         not use, the Region's limit of snapshots.\n\
         2. See what DLM says now: aws dlm get-lifecycle-policy --region {region} --policy-id {}\n\
         3. After the next run, see in the audit's answer whether it left snapshots.\n",
        outcome(error, converged),
        error.policy_id.as_deref().unwrap_or("<policy id>"),
    );
    Alert {
        subject: subject
            .chars()
            .map(|character| {
                if character.is_ascii_graphic() {
                    character
                } else {
                    ' '
                }
            })
            .take(SUBJECT_MAX)
            .collect(),
        body,
        attributes: vec![
            ("severity", AlertAttribute::Text("critical".to_owned())),
            ("kinds", AlertAttribute::List(vec![KIND.to_owned()])),
        ],
    }
}

/// The warning where there is no topic to publish to.
pub fn nobody_told(error: &PolicyError) -> String {
    format!(
        "DLM put {} into the state ERROR ({}) and nobody was told, as ALERT_TOPIC_ARN is not set",
        name(error),
        error.cause.as_deref().unwrap_or("no cause given"),
    )
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
