//! The act: a plan's steps, one after the other.
//!
//! Every step may be taken again, and a step that finds its work done by a call whose answer was
//! lost goes on. No step makes a second DLM policy.

use std::time::Duration;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::AwsError;
use etcd_backup_core::iam::{NewRole, RoleWriter, Roles, version_to_delete};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{
    Policies, PolicyDefinition, PolicyWriter, SCHEDULE_SINCE, ours,
};
use etcd_backup_core::settings::Settings;

use crate::plan::{Plan, PolicyUpdate, Step};
use crate::retry_limits::RetryLimits;

/// IAM's answer where something of that name is there already.
const PRESENT: &str = "EntityAlreadyExists";
/// IAM's answer where something isn't there, perhaps not yet.
const ABSENT: &str = "NoSuchEntity";
/// IAM's answer where a policy has as many versions as it may have.
const TOO_MANY_VERSIONS: &str = "LimitExceeded";
/// DLM's answer to a bad request, among them one with a role that it can't assume (yet).
const INVALID_REQUEST: &str = "InvalidRequestException";
/// How AWS says that there were too many calls, and that this one did nothing.
const THROTTLED: [&str; 4] = [
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "RequestLimitExceeded",
];
/// How long after a lost answer the policy it may have made is looked for.
const LOOK_FOR: Duration = Duration::from_secs(8);

/// Takes a plan's steps in order, and gives the DLM policy's id where one was made.
///
/// # Errors
///
/// The first call that AWS refused; the steps after it are not taken.
pub async fn apply<A>(
    aws: &A,
    settings: &Settings,
    plan: &Plan,
    retry_limits: RetryLimits,
) -> Result<Option<PolicyId>, AwsError>
where
    A: Roles + RoleWriter + Policies + PolicyWriter,
{
    let acting = Acting {
        aws,
        settings,
        retry_limits,
        role_settling: plan.role_settling,
    };
    let mut made = None;
    for change in &plan.changes {
        for step in &change.steps {
            made = acting.take(step).await?.or(made);
        }
        tracing::info!(resource = %change.resource, name = change.name, "converged");
    }
    Ok(made)
}

/// What all steps need.
struct Acting<'a, A> {
    aws: &'a A,
    settings: &'a Settings,
    retry_limits: RetryLimits,
    role_settling: bool,
}

impl<A: Roles + RoleWriter + Policies + PolicyWriter> Acting<'_, A> {
    async fn take(&self, step: &Step) -> Result<Option<PolicyId>, AwsError> {
        let aws = self.aws;
        match step {
            Step::CreateRole(role) => self.create_role(role).await?,
            Step::SetTrust { role, trust } => aws.set_trust(role, trust).await?,
            Step::SetBoundary { role, policy_arn } => aws.set_boundary(role, policy_arn).await?,
            Step::TagRole { role, tags } => aws.tag_role(role, tags).await?,
            Step::CreateRolePolicy {
                name,
                document,
                tags,
            } => {
                // The plan saw no such policy, so what is there now was made by this very call, whose answer
                // was lost.
                unless(
                    PRESENT,
                    aws.create_managed_policy(name, document, tags).await,
                )?;
            }
            Step::SetRolePolicy { arn, document } => self.set_role_policy(arn, document).await?,
            Step::TagRolePolicy { arn, tags } => aws.tag_managed_policy(arn, tags).await?,
            Step::Attach { role, policy_arn } => self.attach(role, policy_arn).await?,
            Step::CreatePolicy {
                description,
                definition,
                tags,
            } => {
                let made = self.create_policy(description, definition, tags).await;
                return made.map(Some);
            }
            Step::TagPolicy { arn, tags } => aws.tag_policy(arn, tags).await?,
            Step::UpdatePolicy(update) => self.update_policy(update).await?,
            Step::DeletePolicy { id } => aws.delete_policy(id).await?,
            Step::UntagRole { role, keys } => aws.untag_role(role, keys).await?,
            Step::Detach { role, policy_arn } => aws.detach_policy(role, policy_arn).await?,
            Step::DeleteRolePolicy { arn } => self.delete_role_policy(arn).await?,
            Step::DeleteRole { name } => aws.delete_role(name).await?,
        }
        Ok(None)
    }

    /// IAM deletes only a policy whose other versions are gone.
    async fn delete_role_policy(&self, arn: &str) -> Result<(), AwsError> {
        let versions = match self.aws.policy_versions(arn).await {
            Err(error) if error.is(ABSENT) => return Ok(()),
            versions => versions?,
        };
        for version in versions.iter().filter(|version| !version.is_default) {
            self.aws.delete_policy_version(arn, &version.id).await?;
        }
        self.aws.delete_managed_policy(arn).await
    }

    /// A role that is there though the plan saw none was made by this call, its answer lost, or a
    /// moment ago by another: either way it becomes what it should be.
    async fn create_role(&self, role: &NewRole) -> Result<(), AwsError> {
        match self.aws.create_role(role).await {
            Err(error) if error.is(PRESENT) => {
                self.aws.set_trust(&role.name, &role.trust).await?;
                if let Some(boundary) = &role.permissions_boundary {
                    self.aws.set_boundary(&role.name, boundary).await?;
                }
                self.aws.tag_role(&role.name, &role.tags).await
            }
            result => result,
        }
    }

    /// Makes a version, with room made for it first. A version made by a call whose answer was lost
    /// may have taken that room: it is made once more.
    async fn set_role_policy(&self, arn: &str, document: &str) -> Result<(), AwsError> {
        self.make_room(arn).await?;
        match self.aws.create_policy_version(arn, document).await {
            Err(error) if error.is(TOO_MANY_VERSIONS) => {
                self.make_room(arn).await?;
                self.aws.create_policy_version(arn, document).await
            }
            result => result,
        }
    }

    async fn make_room(&self, arn: &str) -> Result<(), AwsError> {
        let versions = self.aws.policy_versions(arn).await?;
        match version_to_delete(&versions) {
            Some(version) => self.aws.delete_policy_version(arn, &version.id).await,
            None => Ok(()),
        }
    }

    /// IAM may not know yet everywhere what was made a moment ago.
    async fn attach(&self, role: &str, policy_arn: &str) -> Result<(), AwsError> {
        let mut pauses = self.retry_limits.pauses();
        loop {
            match self.aws.attach_policy(role, policy_arn).await {
                Err(error) if error.is(ABSENT) && pauses.again().await => {}
                result => return result,
            }
        }
    }

    /// Makes the DLM policy, unless there is one by now: made by a call whose answer was lost, or
    /// by another run, as a caller that lost patience may have invoked again. It is tried again only
    /// where DLM said that it did nothing.
    async fn create_policy(
        &self,
        description: &str,
        definition: &PolicyDefinition,
        tags: &Tags,
    ) -> Result<PolicyId, AwsError> {
        let mut pauses = self.retry_limits.pauses();
        loop {
            if let Some(made) = self.made_meanwhile().await? {
                return Ok(made);
            }
            match self.aws.create_policy(description, definition, tags).await {
                Err(error) if !error.certainly_refused => return self.look_for_policy(error).await,
                Err(error) if self.passes(&error) && pauses.again().await => {}
                result => return result,
            }
        }
    }

    /// The policy that the failed call has made all the same, if it has.
    async fn look_for_policy(&self, failure: AwsError) -> Result<PolicyId, AwsError> {
        let mut pauses = self.retry_limits.pauses_within(LOOK_FOR);
        loop {
            if let Ok(Some(made)) = self.made_meanwhile().await {
                tracing::warn!(policy_id = %made, "{failure}; the policy was made all the same");
                return Ok(made);
            }
            if !pauses.again().await {
                return Err(AwsError {
                    message: format!(
                        "{}; whether the policy was made is unknown, and the next run looks before \
                         it makes one",
                        failure.message
                    ),
                    ..failure
                });
            }
        }
    }

    /// The policy that is there now though the plan saw none.
    async fn made_meanwhile(&self) -> Result<Option<PolicyId>, AwsError> {
        let policies = self.aws.policies().await?;
        let made = ours(&policies, self.settings)
            .first()
            .map(|policy| policy.id.clone());
        Ok(made)
    }

    async fn update_policy(&self, update: &PolicyUpdate) -> Result<(), AwsError> {
        // The change is recorded before it is made: without its record, the older history would be judged by
        // the new schedule for ever. The record is taken back where DLM did nothing.
        if let Some(since) = &update.schedule_since {
            let tags = Tags::from([(SCHEDULE_SINCE.to_owned(), since.now.clone())]);
            self.aws.tag_policy(&update.arn, &tags).await?;
        }
        let Err(error) = self.update(update).await else {
            return Ok(());
        };
        if error.certainly_refused {
            self.take_back_record(update).await;
        }
        Err(match &update.obstacle {
            Some(obstacle) if error.is(INVALID_REQUEST) => AwsError {
                message: format!("{} {obstacle}", error.message),
                ..error
            },
            _ => error,
        })
    }

    async fn update(&self, update: &PolicyUpdate) -> Result<(), AwsError> {
        let mut pauses = self.retry_limits.pauses();
        loop {
            match self
                .aws
                .update_policy(&update.id, &update.description, &update.definition)
                .await
            {
                Err(error) if update.obstacle.is_none() && self.passes(&error) => {
                    if !pauses.again().await {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// Best effort: the update's failure is what the caller must hear of.
    async fn take_back_record(&self, update: &PolicyUpdate) {
        let taken_back = match &update.schedule_since {
            None => Ok(()),
            Some(since) => match &since.before {
                None => self.aws.untag_policy(&update.arn, &[SCHEDULE_SINCE]).await,
                Some(before) => {
                    let tags = Tags::from([(SCHEDULE_SINCE.to_owned(), before.clone())]);
                    self.aws.tag_policy(&update.arn, &tags).await
                }
            },
        };
        if let Err(error) = taken_back {
            tracing::warn!(policy_id = %update.id, "the tag {SCHEDULE_SINCE} stays too young: {error}");
        }
    }

    /// Whether a refusal may pass by itself.
    fn passes(&self, error: &AwsError) -> bool {
        THROTTLED.iter().any(|code| error.is(code))
            || (self.role_settling && error.is(INVALID_REQUEST))
    }
}

fn unless(code: &str, result: Result<(), AwsError>) -> Result<(), AwsError> {
    match result {
        Err(error) if error.is(code) => Ok(()),
        result => result,
    }
}
