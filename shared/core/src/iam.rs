//! IAM roles and customer managed policies: what they say, and how they are written.

#![allow(async_fn_in_trait)] // Called through generics alone; nothing needs the futures' bounds named.

mod document;

pub use document::{DocumentError, PolicyDocument};

use jiff::Timestamp;

use crate::Tags;
use crate::aws::AwsError;

/// How many versions of a managed policy IAM keeps; one more is refused until one is deleted.
///
/// Source: IAM user guide, "IAM and AWS STS quotas".
pub const VERSIONS_MAX: usize = 5;

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name, unique in the account whatever its path.
    pub name: String,
    /// `arn:<partition>:iam::<account>:role<path><name>`
    pub arn: String,
    /// When it was made.
    pub created: Timestamp,
    /// Who may assume it: a policy document as IAM gave it, perhaps URL-encoded.
    pub trust: String,
    /// The ARN of the policy that bounds what it may do, where one does.
    pub permissions_boundary: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A role to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// Who may assume it: a policy document.
    pub trust: String,
    /// The ARN of the policy that bounds what it may do.
    pub permissions_boundary: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A customer managed policy with its default version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// `arn:<partition>:iam::<account>:policy<path><name>`
    pub arn: String,
    /// What its default version allows: a policy document as IAM gave it, perhaps URL-encoded.
    pub document: String,
    /// How many users, groups and roles it is attached to, or bounds; IAM deletes none that has any.
    pub uses: i32,
    /// Its tags.
    pub tags: Tags,
}

/// A managed policy that is attached to a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedPolicy {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// One version of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// `v1`, `v2`, …
    pub id: String,
    /// Whether it is the one that counts.
    pub is_default: bool,
}

/// The version to delete so that there is room for another: the oldest that doesn't count, where
/// there are as many as IAM keeps.
pub fn version_to_delete(versions: &[PolicyVersion]) -> Option<&PolicyVersion> {
    let number = |version: &&PolicyVersion| {
        version
            .id
            .trim_start_matches('v')
            .parse::<u64>()
            .unwrap_or(u64::MAX)
    };
    (versions.len() >= VERSIONS_MAX).then(|| {
        versions
            .iter()
            .filter(|version| !version.is_default)
            .min_by_key(number)
    })?
}

/// Reading a role and a managed policy.
pub trait Roles {
    /// A role; `None` when there is none of that name.
    async fn role(&self, name: &str) -> Result<Option<Role>, AwsError>;
    /// The managed policies attached to a role; none where there is no such role.
    async fn attached_policies(&self, role: &str) -> Result<Vec<AttachedPolicy>, AwsError>;
    /// The names of the policies that a role has of its own, beside managed ones.
    async fn inline_policies(&self, role: &str) -> Result<Vec<String>, AwsError>;
    /// The names of the instance profiles that hand a role to instances.
    async fn instance_profiles(&self, role: &str) -> Result<Vec<String>, AwsError>;
    /// A managed policy; `None` when there is none at that ARN.
    async fn managed_policy(&self, arn: &str) -> Result<Option<ManagedPolicy>, AwsError>;
    /// The ARN of the customer managed policy of a name, under whatever path.
    async fn managed_policy_arn(&self, name: &str) -> Result<Option<String>, AwsError>;
    /// The versions of a managed policy.
    async fn policy_versions(&self, arn: &str) -> Result<Vec<PolicyVersion>, AwsError>;
}

/// Writing a role and a managed policy.
pub trait RoleWriter {
    /// Makes a role with the path `/`.
    async fn create_role(&self, role: &NewRole) -> Result<(), AwsError>;
    /// Sets the policy that bounds what a role may do, by its ARN.
    async fn set_boundary(&self, role: &str, policy_arn: &str) -> Result<(), AwsError>;
    /// Sets who may assume a role.
    async fn set_trust(&self, role: &str, trust: &str) -> Result<(), AwsError>;
    /// Sets tags on a role.
    async fn tag_role(&self, role: &str, tags: &Tags) -> Result<(), AwsError>;
    /// Makes a customer managed policy with the path `/`.
    async fn create_managed_policy(
        &self,
        name: &str,
        document: &str,
        tags: &Tags,
    ) -> Result<(), AwsError>;
    /// Makes a version of a managed policy and lets it count.
    async fn create_policy_version(&self, arn: &str, document: &str) -> Result<(), AwsError>;
    /// Deletes a version of a managed policy; one that is gone is no error.
    async fn delete_policy_version(&self, arn: &str, version: &str) -> Result<(), AwsError>;
    /// Sets tags on a managed policy.
    async fn tag_managed_policy(&self, arn: &str, tags: &Tags) -> Result<(), AwsError>;
    /// Attaches a managed policy to a role; one that is attached already is no error.
    async fn attach_policy(&self, role: &str, policy_arn: &str) -> Result<(), AwsError>;
    /// Takes tags off a role; one that is gone is no error.
    async fn untag_role(&self, role: &str, keys: &[String]) -> Result<(), AwsError>;
    /// Detaches a managed policy from a role; one that isn't attached is no error.
    async fn detach_policy(&self, role: &str, policy_arn: &str) -> Result<(), AwsError>;
    /// Deletes a role that nothing is attached to; one that is gone is no error.
    async fn delete_role(&self, role: &str) -> Result<(), AwsError>;
    /// Deletes a managed policy that has but one version; one that is gone is no error.
    async fn delete_managed_policy(&self, arn: &str) -> Result<(), AwsError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_version_that_does_not_count_makes_room() {
        let versions = |ids: &[&str], default: &str| -> Vec<_> {
            ids.iter()
                .map(|id| PolicyVersion {
                    id: (*id).to_owned(),
                    is_default: *id == default,
                })
                .collect()
        };
        let oldest = |ids: &[&str], default: &str| {
            version_to_delete(&versions(ids, default)).map(|version| version.id.clone())
        };
        assert_eq!(
            oldest(&["v12", "v11", "v10", "v9", "v8"], "v12").as_deref(),
            Some("v8")
        );
        assert_eq!(
            oldest(&["v12", "v11", "v10", "v9", "v8"], "v8").as_deref(),
            Some("v9")
        );
        assert_eq!(oldest(&["v4", "v3", "v2", "v1"], "v4"), None);
    }
}
