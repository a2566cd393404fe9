//! converge: the role that DLM assumes, its IAM policy, the attachment of the one to the other and
//! the DLM policy are as the settings say, or are made so.
//!
//! An invocation decodes its `event`, `collect`s what there is (six reads where nothing
//! drifted), decides in `plan` what differs from what is `desired`, and `apply`s that unless
//! only the plan was asked for. What it answers is in `answer`, whom it tells in `alert`.
//!
//! Invariants: `plan` alone decides, and `apply` makes no choices but how long to wait. Running
//! again, after a failure at any point, goes on where the account is.

mod alert;
mod answer;
mod apply;
mod collect;
mod desired;
mod event;
mod patience;
mod plan;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::aws::Alerts;
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::iam::{RoleWriter, Roles};
use etcd_backup_core::lifecycle_policy::{Policies, PolicyWriter};
use etcd_backup_core::settings::Settings;
use jiff::Timestamp;

pub use crate::answer::Answer;
use crate::desired::Desired;
use crate::event::{Action, PolicyError, Request};
use crate::patience::Patience;

/// Serves one invocation.
///
/// # Errors
///
/// `InvalidEvent` before anything is read; `AwsError` from the first call that AWS refused. What
/// was applied until then stays.
pub async fn handle<A>(
    aws: &A,
    settings: &Settings,
    invocation: Invocation,
) -> Result<Answer, Diagnostic>
where
    A: Roles + RoleWriter + Policies + PolicyWriter + Alerts,
{
    let Invocation {
        event,
        now,
        deadline,
        deployment,
        ..
    } = invocation;
    let request = Request::decode(&event)?;
    let patience = Patience::until(deadline);
    let converged = converge(aws, settings, &deployment, request.action, now, patience).await;
    match request.policy_error {
        Some(error) => tell(aws, settings, &deployment, &error, converged).await,
        None => converged,
    }
}

/// Collects, decides and, unless only the plan was asked for, acts.
async fn converge<A>(
    aws: &A,
    settings: &Settings,
    deployment: &Deployment,
    action: Action,
    now: Timestamp,
    patience: Patience,
) -> Result<Answer, Diagnostic>
where
    A: Roles + RoleWriter + Policies + PolicyWriter,
{
    let desired = Desired::new(settings, deployment);
    let actual = collect::collect(aws, settings, &desired).await?;
    let mut plan = plan::decide(&desired, &actual, now);
    if action == Action::Apply {
        let made = apply::apply(aws, settings, &plan, patience).await?;
        plan.policy_id = plan.policy_id.or(made);
    }
    Ok(Answer::new(action, plan))
}

/// Tells people that DLM gave up on a policy, and what became of it. That is told too where
/// converging failed.
async fn tell(
    aws: &impl Alerts,
    settings: &Settings,
    deployment: &Deployment,
    error: &PolicyError,
    converged: Result<Answer, Diagnostic>,
) -> Result<Answer, Diagnostic> {
    let Some(topic_arn) = &settings.alert_topic_arn else {
        return converged.map(|answer| answer.warning(alert::nobody_told(error)));
    };
    let published = aws
        .publish(topic_arn, &alert::alert(error, &converged, deployment))
        .await;
    let answer = converged?;
    published?;
    Ok(answer)
}
