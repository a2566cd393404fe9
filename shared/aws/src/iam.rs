//! IAM: roles and customer managed policies.

use aws_sdk_iam::types::{PolicyScopeType, Tag};
use etcd_backup_core::Tags;
use etcd_backup_core::aws::AwsError;
use etcd_backup_core::iam::{
    AttachedPolicy, ManagedPolicy, NewRole, PolicyVersion, Role, RoleWriter, Roles,
};
use jiff::Timestamp;

use crate::Aws;
use crate::error::{aws_error, incomplete};

/// IAM's answer where a role, a policy or a version of one is not there.
const ABSENT: &str = "NoSuchEntity";

impl Roles for Aws {
    async fn role(&self, name: &str) -> Result<Option<Role>, AwsError> {
        const OPERATION: &str = "iam:GetRole";
        let answer = self.iam().get_role().role_name(name).send().await;
        let Some(found) = unless_absent(answer.map_err(aws_error(OPERATION)))? else {
            return Ok(None);
        };
        let role = found.role.as_ref().and_then(core_role);
        role.map(Some).ok_or_else(|| incomplete(OPERATION))
    }

    async fn attached_policies(&self, role: &str) -> Result<Vec<AttachedPolicy>, AwsError> {
        const OPERATION: &str = "iam:ListAttachedRolePolicies";
        let mut pages = self
            .iam()
            .list_attached_role_policies()
            .role_name(role)
            .into_paginator()
            .items()
            .send();
        let mut policies = Vec::new();
        while let Some(policy) = pages.next().await {
            let policy = unless_absent(policy.map_err(aws_error(OPERATION)))?;
            let Some(policy) = policy else {
                return Ok(Vec::new());
            };
            let named = policy.policy_name.zip(policy.policy_arn);
            let (name, arn) = named.ok_or_else(|| incomplete(OPERATION))?;
            policies.push(AttachedPolicy { name, arn });
        }
        Ok(policies)
    }

    async fn inline_policies(&self, role: &str) -> Result<Vec<String>, AwsError> {
        let listing = self.iam().list_role_policies().role_name(role);
        let mut pages = listing.into_paginator().items().send();
        let mut names = Vec::new();
        while let Some(name) = pages.next().await {
            names.push(name.map_err(aws_error("iam:ListRolePolicies"))?);
        }
        Ok(names)
    }

    async fn instance_profiles(&self, role: &str) -> Result<Vec<String>, AwsError> {
        const OPERATION: &str = "iam:ListInstanceProfilesForRole";
        let listing = self.iam().list_instance_profiles_for_role().role_name(role);
        let mut pages = listing.into_paginator().items().send();
        let mut names = Vec::new();
        while let Some(profile) = pages.next().await {
            let profile = profile.map_err(aws_error(OPERATION))?;
            names.push(profile.instance_profile_name().to_owned());
        }
        Ok(names)
    }

    async fn managed_policy(&self, arn: &str) -> Result<Option<ManagedPolicy>, AwsError> {
        const POLICY: &str = "iam:GetPolicy";
        const VERSION: &str = "iam:GetPolicyVersion";
        let answer = self.iam().get_policy().policy_arn(arn).send().await;
        let Some(found) = unless_absent(answer.map_err(aws_error(POLICY)))? else {
            return Ok(None);
        };
        let policy = found.policy.ok_or_else(|| incomplete(POLICY))?;
        let version = policy
            .default_version_id()
            .ok_or_else(|| incomplete(POLICY))?;
        let version = self
            .iam()
            .get_policy_version()
            .policy_arn(arn)
            .version_id(version)
            .send()
            .await
            .map_err(aws_error(VERSION))?;
        let document = version.policy_version.and_then(|version| version.document);
        Ok(Some(ManagedPolicy {
            arn: arn.to_owned(),
            document: document.ok_or_else(|| incomplete(VERSION))?,
            uses: policy.attachment_count().unwrap_or_default()
                + policy
                    .permissions_boundary_usage_count()
                    .unwrap_or_default(),
            tags: core_tags(policy.tags()),
        }))
    }

    async fn managed_policy_arn(&self, name: &str) -> Result<Option<String>, AwsError> {
        const OPERATION: &str = "iam:ListPolicies";
        let mut pages = self
            .iam()
            .list_policies()
            .scope(PolicyScopeType::Local)
            .into_paginator()
            .items()
            .send();
        while let Some(policy) = pages.next().await {
            let policy = policy.map_err(aws_error(OPERATION))?;
            if policy.policy_name() == Some(name) {
                return policy.arn.map(Some).ok_or_else(|| incomplete(OPERATION));
            }
        }
        Ok(None)
    }

    async fn policy_versions(&self, arn: &str) -> Result<Vec<PolicyVersion>, AwsError> {
        const OPERATION: &str = "iam:ListPolicyVersions";
        let mut pages = self
            .iam()
            .list_policy_versions()
            .policy_arn(arn)
            .into_paginator()
            .items()
            .send();
        let mut versions = Vec::new();
        while let Some(version) = pages.next().await {
            let version = version.map_err(aws_error(OPERATION))?;
            versions.push(PolicyVersion {
                is_default: version.is_default_version,
                id: version.version_id.ok_or_else(|| incomplete(OPERATION))?,
            });
        }
        Ok(versions)
    }
}

impl RoleWriter for Aws {
    async fn create_role(&self, role: &NewRole) -> Result<(), AwsError> {
        self.iam()
            .create_role()
            .role_name(&role.name)
            .assume_role_policy_document(&role.trust)
            .set_permissions_boundary(role.permissions_boundary.clone())
            .set_tags(Some(sdk_tags(&role.tags)))
            .send()
            .await
            .map_err(aws_error("iam:CreateRole"))?;
        Ok(())
    }

    async fn set_boundary(&self, role: &str, policy_arn: &str) -> Result<(), AwsError> {
        self.iam()
            .put_role_permissions_boundary()
            .role_name(role)
            .permissions_boundary(policy_arn)
            .send()
            .await
            .map_err(aws_error("iam:PutRolePermissionsBoundary"))?;
        Ok(())
    }

    async fn set_trust(&self, role: &str, trust: &str) -> Result<(), AwsError> {
        self.iam()
            .update_assume_role_policy()
            .role_name(role)
            .policy_document(trust)
            .send()
            .await
            .map_err(aws_error("iam:UpdateAssumeRolePolicy"))?;
        Ok(())
    }

    async fn tag_role(&self, role: &str, tags: &Tags) -> Result<(), AwsError> {
        self.iam()
            .tag_role()
            .role_name(role)
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map_err(aws_error("iam:TagRole"))?;
        Ok(())
    }

    async fn create_managed_policy(
        &self,
        name: &str,
        document: &str,
        tags: &Tags,
    ) -> Result<(), AwsError> {
        self.iam()
            .create_policy()
            .policy_name(name)
            .policy_document(document)
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map_err(aws_error("iam:CreatePolicy"))?;
        Ok(())
    }

    async fn create_policy_version(&self, arn: &str, document: &str) -> Result<(), AwsError> {
        self.iam()
            .create_policy_version()
            .policy_arn(arn)
            .policy_document(document)
            .set_as_default(true)
            .send()
            .await
            .map_err(aws_error("iam:CreatePolicyVersion"))?;
        Ok(())
    }

    async fn delete_policy_version(&self, arn: &str, version: &str) -> Result<(), AwsError> {
        let answer = self
            .iam()
            .delete_policy_version()
            .policy_arn(arn)
            .version_id(version)
            .send()
            .await;
        unless_absent(answer.map_err(aws_error("iam:DeletePolicyVersion"))).map(drop)
    }

    async fn tag_managed_policy(&self, arn: &str, tags: &Tags) -> Result<(), AwsError> {
        self.iam()
            .tag_policy()
            .policy_arn(arn)
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map_err(aws_error("iam:TagPolicy"))?;
        Ok(())
    }

    async fn attach_policy(&self, role: &str, policy_arn: &str) -> Result<(), AwsError> {
        self.iam()
            .attach_role_policy()
            .role_name(role)
            .policy_arn(policy_arn)
            .send()
            .await
            .map_err(aws_error("iam:AttachRolePolicy"))?;
        Ok(())
    }

    async fn untag_role(&self, role: &str, keys: &[String]) -> Result<(), AwsError> {
        let request = self.iam().untag_role().role_name(role);
        let answer = request.set_tag_keys(Some(keys.to_vec())).send().await;
        unless_absent(answer.map_err(aws_error("iam:UntagRole"))).map(drop)
    }

    async fn detach_policy(&self, role: &str, policy_arn: &str) -> Result<(), AwsError> {
        let request = self.iam().detach_role_policy().role_name(role);
        let answer = request.policy_arn(policy_arn).send().await;
        unless_absent(answer.map_err(aws_error("iam:DetachRolePolicy"))).map(drop)
    }

    async fn delete_role(&self, role: &str) -> Result<(), AwsError> {
        let answer = self.iam().delete_role().role_name(role).send().await;
        unless_absent(answer.map_err(aws_error("iam:DeleteRole"))).map(drop)
    }

    async fn delete_managed_policy(&self, arn: &str) -> Result<(), AwsError> {
        let answer = self.iam().delete_policy().policy_arn(arn).send().await;
        unless_absent(answer.map_err(aws_error("iam:DeletePolicy"))).map(drop)
    }
}

fn unless_absent<T>(answer: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is(ABSENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn core_role(role: &aws_sdk_iam::types::Role) -> Option<Role> {
    Some(Role {
        name: role.role_name().to_owned(),
        arn: role.arn().to_owned(),
        created: Timestamp::from_nanosecond(role.create_date().as_nanos()).ok()?,
        trust: role.assume_role_policy_document()?.to_owned(),
        permissions_boundary: role
            .permissions_boundary()
            .and_then(|boundary| boundary.permissions_boundary_arn())
            .map(str::to_owned),
        tags: core_tags(role.tags()),
    })
}

fn core_tags(tags: &[Tag]) -> Tags {
    tags.iter()
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect()
}

/// A tag always has a key here, which is all that the SDK's builder asks for.
fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter()
        .filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok())
        .collect()
}
