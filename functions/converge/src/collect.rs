//! What there is: everything that the plan looks at, read once.
//!
//! Where nothing drifted, that is six calls: the role, its attachments, the IAM policy, its default
//! version, the DLM policies, and ours among them.

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::iam::{AttachedPolicy, ManagedPolicy, Role, Roles};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, Policies, PolicySummary, lookalikes, namesakes, ours,
};
use etcd_backup_core::settings::Settings;

use crate::desired::Desired;

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Actual {
    /// The role.
    pub role: Option<Role>,
    /// What is attached to the role.
    pub attached: Vec<AttachedPolicy>,
    /// The IAM policy, under whatever path.
    pub role_policy: Option<ManagedPolicy>,
    /// The DLM policies that are ours, the oldest first; more than one is one too many.
    pub policies: Vec<LifecyclePolicy>,
    /// DLM policies that have our description but not our tag, where another has it.
    pub namesakes: Vec<PolicyId>,
    /// DLM policies that are called like ours and make something else.
    pub lookalikes: Vec<PolicyId>,
}

/// What else the role is used for, which decides whether it may go.
#[derive(Clone, Debug, Default)]
pub struct RoleUses {
    /// Other people's DLM policies of this Region that act with it.
    pub policies: Vec<PolicyId>,
    /// The policies that it has of its own, by name.
    pub inline: Vec<String>,
    /// The instance profiles that it is in, by name.
    pub instance_profiles: Vec<String>,
}

/// Reads what there is.
///
/// # Errors
///
/// The first call that AWS refused.
pub async fn collect<A: Roles + Policies>(
    aws: &A,
    settings: &Settings,
    desired: &Desired,
) -> Result<Actual, AwsError> {
    let (iam, dlm) = tokio::try_join!(iam(aws, desired), dlm(aws, settings))?;
    Ok(Actual {
        policies: dlm.policies,
        namesakes: dlm.namesakes,
        lookalikes: dlm.lookalikes,
        ..iam
    })
}

/// The part that IAM knows.
async fn iam(aws: &impl Roles, desired: &Desired) -> Result<Actual, AwsError> {
    let role = aws.role(&desired.role_name).await?;
    let attached = match &role {
        Some(role) => aws.attached_policies(&role.name).await?,
        None => Vec::new(),
    };
    Ok(Actual {
        role_policy: role_policy(aws, desired, &attached).await?,
        role,
        attached,
        ..Actual::default()
    })
}

/// The IAM policy of our name. An account has at most one, and its path, which its ARN needs, is
/// told by an attachment or, at the cost of a listing, by all policies.
async fn role_policy(
    aws: &impl Roles,
    desired: &Desired,
    attached: &[AttachedPolicy],
) -> Result<Option<ManagedPolicy>, AwsError> {
    let attachment = attached
        .iter()
        .find(|policy| policy.name == desired.role_policy_name && desired.is_own(&policy.arn));
    if let Some(attachment) = attachment {
        return aws.managed_policy(&attachment.arn).await;
    }
    if let Some(policy) = aws.managed_policy(&desired.role_policy_arn()).await? {
        return Ok(Some(policy));
    }
    match aws.managed_policy_arn(&desired.role_policy_name).await? {
        Some(arn) => aws.managed_policy(&arn).await,
        None => Ok(None),
    }
}

/// The part that DLM knows.
async fn dlm(aws: &impl Policies, settings: &Settings) -> Result<Actual, AwsError> {
    let summaries = aws.policies().await?;
    let mut policies = Vec::new();
    for summary in ours(&summaries, settings) {
        // One that went away since the listing is none of ours any more.
        policies.extend(aws.policy(&summary.id).await?);
    }
    policies.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
    let ids = |some: Vec<&PolicySummary>| some.iter().map(|policy| policy.id.clone()).collect();
    Ok(Actual {
        policies,
        namesakes: ids(namesakes(&summaries, settings)),
        lookalikes: ids(lookalikes(&summaries, settings)),
        ..Actual::default()
    })
}

/// Reads what else the role is used for, beside our own policies.
///
/// # Errors
///
/// The first call that AWS refused.
pub async fn role_uses<A: Roles + Policies>(
    aws: &A,
    role: &Role,
    own: &[LifecyclePolicy],
) -> Result<RoleUses, AwsError> {
    let mut uses = RoleUses {
        inline: aws.inline_policies(&role.name).await?,
        instance_profiles: aws.instance_profiles(&role.name).await?,
        ..RoleUses::default()
    };
    for summary in aws.policies().await? {
        if own.iter().any(|policy| policy.id == summary.id) {
            continue;
        }
        let policy = aws.policy(&summary.id).await?;
        let uses_role = |policy: &LifecyclePolicy| policy.definition.execution_role_arn == role.arn;
        if policy.as_ref().is_some_and(uses_role) {
            uses.policies.push(summary.id);
        }
    }
    Ok(uses)
}
