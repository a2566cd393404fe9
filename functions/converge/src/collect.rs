//! What there is: everything that the plan looks at, read once.
//!
//! Where nothing drifted, that is six calls, of which no more than two wait for each other: the role, its
//! attachments, the IAM policy and then its default version, the DLM policies and then ours among them.

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::iam::{AttachedPolicy, ManagedPolicy, Role, Roles};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, Policies, PolicySummary, lookalikes, namesakes, ours,
};
use etcd_backup_core::settings::Settings;
use futures::{StreamExt, TryStreamExt, stream};

use crate::desired::Desired;

/// How many DLM policies are read at the same time: an account may have a hundred.
const POLICIES_READ_AT_ONCE: usize = 8;

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
    let usual_arn = desired.role_policy_arn();
    let (role, attached, usual) = tokio::try_join!(
        aws.role(&desired.role_name),
        aws.attached_policies(&desired.role_name),
        aws.managed_policy(&usual_arn),
    )?;
    // IAM's answers lag independently of each other: a role that is gone may still show attachments.
    let attached = role.as_ref().map_or(Vec::new(), |_| attached);
    Ok(Actual {
        role_policy: role_policy(aws, desired, &attached, usual).await?,
        role,
        attached,
        ..Actual::default()
    })
}

/// The IAM policy of our name. An account has at most one. Where it isn't the `usual` one, of the path
/// `/`, its ARN is found in an attachment or, at the cost of a listing, among all policies.
async fn role_policy(
    aws: &impl Roles,
    desired: &Desired,
    attached: &[AttachedPolicy],
    usual: Option<ManagedPolicy>,
) -> Result<Option<ManagedPolicy>, AwsError> {
    if usual.is_some() {
        return Ok(usual);
    }
    let attachment = attached
        .iter()
        .find(|policy| policy.name == desired.role_policy_name && desired.is_own(&policy.arn));
    let arn = match attachment {
        Some(attachment) => Some(attachment.arn.clone()),
        None => aws.managed_policy_arn(&desired.role_policy_name).await?,
    };
    match arn {
        Some(arn) => aws.managed_policy(&arn).await,
        None => Ok(None),
    }
}

/// The part that DLM knows.
async fn dlm(aws: &impl Policies, settings: &Settings) -> Result<Actual, AwsError> {
    let summaries = aws.policies().await?;
    let ours = ours(&summaries, settings);
    let mut policies = whole(aws, ours.into_iter().map(|summary| &summary.id)).await?;
    policies.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
    let ids = |some: Vec<&PolicySummary>| some.iter().map(|policy| policy.id.clone()).collect();
    Ok(Actual {
        policies,
        namesakes: ids(namesakes(&summaries, settings)),
        lookalikes: ids(lookalikes(&summaries, settings)),
        ..Actual::default()
    })
}

/// The policies with these ids, but for those that went away since they were listed.
async fn whole<'a>(
    aws: &impl Policies,
    ids: impl Iterator<Item = &'a PolicyId>,
) -> Result<Vec<LifecyclePolicy>, AwsError> {
    let reads = stream::iter(ids).map(|id| aws.policy(id));
    let policies: Vec<_> = reads.buffered(POLICIES_READ_AT_ONCE).try_collect().await?;
    Ok(policies.into_iter().flatten().collect())
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
    let (inline, instance_profiles, summaries) = tokio::try_join!(
        aws.inline_policies(&role.name),
        aws.instance_profiles(&role.name),
        aws.policies(),
    )?;
    let is_own = |id: &PolicyId| own.iter().any(|policy| policy.id == *id);
    let others = summaries.iter().map(|summary| &summary.id);
    let others = whole(aws, others.filter(|id| !is_own(id))).await?;
    let using = others
        .into_iter()
        .filter(|policy| policy.definition.execution_role_arn == role.arn);
    Ok(RoleUses {
        policies: using.map(|policy| policy.id).collect(),
        inline,
        instance_profiles,
    })
}
