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
mod concern;
mod custom_resource;
mod desired;
mod event;
mod plan;
mod retry_limits;
mod role_policy;
pub mod schema;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::aws::{Alerts, AllMasters, Responder, Storage};
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::iam::{RoleWriter, Roles};
use etcd_backup_core::lifecycle_policy::{Policies, PolicyWriter};
use etcd_backup_core::settings::Settings;
use jiff::Timestamp;
use serde::Serialize;

pub use crate::answer::Answer;
use crate::collect::RoleUses;
use crate::custom_resource::{Response, Task};
use crate::desired::Desired;
use crate::event::{Action, PolicyError, Request};
use crate::retry_limits::RetryLimits;

/// What an invocation is answered.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Answered {
    /// To a person, a schedule or DLM.
    Converge(Answer),
    /// The same that CloudFormation was told.
    CloudFormation(Response),
}

/// Serves one invocation.
///
/// # Errors
///
/// `InvalidEvent` before anything is read; `AwsError` from the first call that AWS refused. What
/// was applied until then stays. A custom resource's failure goes to CloudFormation, and is none of the
/// invocation's, as Lambda would try again; `ResponseUndelivered` is.
pub async fn handle<A>(
    aws: &A,
    settings: &Settings,
    invocation: Invocation,
) -> Result<Answered, Diagnostic>
where
    A: Roles + RoleWriter + Policies + PolicyWriter + Storage + AllMasters + Alerts + Responder,
{
    if let Some(request) = custom_resource::Request::of(&invocation.event) {
        let response = for_stack(aws, settings, &invocation, &request).await;
        let body = serde_json::to_string(&response)
            .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))?;
        let put = aws.respond(&request.response_url, &body).await;
        put.map_err(|error| Diagnostic::new(ErrorType::ResponseUndelivered, error.to_string()))?;
        return Ok(Answered::CloudFormation(response));
    }
    let Invocation {
        event,
        now,
        deadline,
        deployment,
        ..
    } = invocation;
    let request = Request::decode(&event)?;
    let retry_limits = RetryLimits::until(deadline);
    let desired = Desired::new(settings, &deployment);
    let converged = converge(aws, settings, &desired, request.action, now, retry_limits).await;
    let answer = match request.policy_error {
        Some(error) if concern::is_concern(aws, settings, &error).await => {
            tell(aws, settings, &deployment, &error, converged).await
        }
        Some(error) => {
            tracing::info!(
                policy_id = error.policy_id,
                "in state ERROR, but is gone or takes no etcd volume"
            );
            converged
        }
        None => converged,
    };
    answer.map(Answered::Converge)
}

/// Converges for a stack, and answers CloudFormation. The answer must come in time, also where AWS is slow.
async fn for_stack<A>(
    aws: &A,
    settings: &Settings,
    invocation: &Invocation,
    request: &custom_resource::Request,
) -> Response
where
    A: Roles + RoleWriter + Policies + PolicyWriter,
{
    let until = custom_resource::Request::work_until(invocation.deadline);
    let work = do_for_stack(aws, settings, invocation, request);
    match tokio::time::timeout_at(until, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => request.failure(&error),
        Err(_) => request.failure(&Diagnostic::new(
            ErrorType::AwsError,
            "AWS was too slow for this invocation; what was made until then stays, and deploying again \
             goes on from there",
        )),
    }
}

async fn do_for_stack<A>(
    aws: &A,
    settings: &Settings,
    invocation: &Invocation,
    request: &custom_resource::Request,
) -> Result<Response, Diagnostic>
where
    A: Roles + RoleWriter + Policies + PolicyWriter,
{
    let desired = Desired::new(settings, &invocation.deployment).used_by_stack();
    let retry_limits =
        RetryLimits::until(custom_resource::Request::work_until(invocation.deadline));
    match request.task.clone().map_err(Diagnostic::invalid_event)? {
        Task::Converge => {
            let now = invocation.now;
            let answer =
                converge(aws, settings, &desired, Action::Apply, now, retry_limits).await?;
            Ok(request.converged(&answer, &settings.schedule))
        }
        Task::Delete if request.was_made() => {
            let actual = collect::collect(aws, settings, &desired).await?;
            let uses = match &actual.role {
                Some(role) => collect::role_uses(aws, role, &actual.policies).await?,
                None => RoleUses::default(),
            };
            let mut plan = plan::teardown(&desired, &actual, &uses);
            let answer = Answer::new(Action::Apply, plan.clone());
            // The answer lists the changes in their usual order, but they are made in reverse: nothing is
            // deleted before what needs it.
            plan.changes.reverse();
            apply::apply(aws, settings, &plan, retry_limits).await?;
            Ok(request.done(&answer.text))
        }
        Task::Delete | Task::Keep => {
            Ok(request.done("The lifecycle policy, its role and all snapshots are kept."))
        }
    }
}

/// Collects, decides and, unless only the plan was asked for, acts.
async fn converge<A>(
    aws: &A,
    settings: &Settings,
    desired: &Desired,
    action: Action,
    now: Timestamp,
    retry_limits: RetryLimits,
) -> Result<Answer, Diagnostic>
where
    A: Roles + RoleWriter + Policies + PolicyWriter,
{
    let actual = collect::collect(aws, settings, desired).await?;
    let mut plan = plan::decide(desired, &actual, now);
    if action == Action::Apply {
        let made = apply::apply(aws, settings, &plan, retry_limits).await?;
        plan.policy_id = plan.policy_id.or(made);
    }
    Ok(Answer::new(action, plan))
}

/// Alerts people that DLM gave up on a policy, and says what became of it, also where converging failed.
async fn tell(
    aws: &impl Alerts,
    settings: &Settings,
    deployment: &Deployment,
    error: &PolicyError,
    converged: Result<Answer, Diagnostic>,
) -> Result<Answer, Diagnostic> {
    let Some(topic_arn) = &settings.alert_topic_arn else {
        return converged.map(|answer| answer.warning(alert::no_topic_warning(error)));
    };
    let published = aws
        .publish(
            topic_arn,
            &alert::alert(error, &converged, settings, deployment),
        )
        .await;
    let answer = converged?;
    published?;
    Ok(answer)
}
