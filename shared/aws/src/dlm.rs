//! DLM: lifecycle policies.

mod definition;

use aws_config::retry::RetryConfig;
use aws_sdk_dlm::types::{
    GettablePolicyStateValues, LifecyclePolicySummary, PolicyTypeValues, SettablePolicyStateValues,
};
use etcd_backup_core::Tags;
use etcd_backup_core::aws::AwsError;
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{
    LifecyclePolicy, Policies, PolicyDefinition, PolicyKind, PolicyState, PolicySummary,
    PolicyWriter,
};
use jiff::Timestamp;

use crate::Aws;
use crate::error::{aws_error, incomplete};

impl Policies for Aws {
    async fn policies(&self) -> Result<Vec<PolicySummary>, AwsError> {
        const OPERATION: &str = "dlm:GetLifecyclePolicies";
        let listed = self
            .dlm()
            .get_lifecycle_policies()
            .send()
            .await
            .map_err(aws_error(OPERATION))?;
        let policies = listed
            .policies()
            .iter()
            .map(core_summary)
            .collect::<Option<_>>();
        policies.ok_or_else(|| incomplete(OPERATION))
    }

    async fn policy(&self, id: &PolicyId) -> Result<Option<LifecyclePolicy>, AwsError> {
        const OPERATION: &str = "dlm:GetLifecyclePolicy";
        let answer = self
            .dlm()
            .get_lifecycle_policy()
            .policy_id(id.as_str())
            .send()
            .await;
        let policy = match answer.map_err(aws_error(OPERATION)) {
            Ok(found) => found.policy,
            Err(error) if error.is("ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(error),
        };
        let policy = policy.as_ref().and_then(core_policy);
        policy.map(Some).ok_or_else(|| incomplete(OPERATION))
    }
}

impl PolicyWriter for Aws {
    async fn create_policy(
        &self,
        description: &str,
        definition: &PolicyDefinition,
        tags: &Tags,
    ) -> Result<PolicyId, AwsError> {
        const OPERATION: &str = "dlm:CreateLifecyclePolicy";
        let once = aws_sdk_dlm::config::Config::builder().retry_config(RetryConfig::disabled());
        let created = self
            .dlm()
            .create_lifecycle_policy()
            .description(description)
            .execution_role_arn(&definition.execution_role_arn)
            .state(SettablePolicyStateValues::Enabled)
            .policy_details(definition::written(definition))
            .set_tags(Some(tags.clone().into_iter().collect()))
            .customize()
            .config_override(once)
            .send()
            .await
            .map_err(aws_error(OPERATION))?;
        Ok(created
            .policy_id()
            .ok_or_else(|| incomplete(OPERATION))?
            .into())
    }

    async fn update_policy(
        &self,
        id: &PolicyId,
        description: &str,
        definition: &PolicyDefinition,
    ) -> Result<(), AwsError> {
        self.dlm()
            .update_lifecycle_policy()
            .policy_id(id.as_str())
            .description(description)
            .execution_role_arn(&definition.execution_role_arn)
            .state(SettablePolicyStateValues::Enabled)
            .policy_details(definition::written(definition))
            .send()
            .await
            .map_err(aws_error("dlm:UpdateLifecyclePolicy"))?;
        Ok(())
    }

    async fn tag_policy(&self, arn: &str, tags: &Tags) -> Result<(), AwsError> {
        self.dlm()
            .tag_resource()
            .resource_arn(arn)
            .set_tags(Some(tags.clone().into_iter().collect()))
            .send()
            .await
            .map_err(aws_error("dlm:TagResource"))?;
        Ok(())
    }

    async fn delete_policy(&self, id: &PolicyId) -> Result<(), AwsError> {
        let request = self.dlm().delete_lifecycle_policy().policy_id(id.as_str());
        match request
            .send()
            .await
            .map_err(aws_error("dlm:DeleteLifecyclePolicy"))
        {
            Err(error) if !error.is("ResourceNotFoundException") => Err(error),
            _ => Ok(()),
        }
    }

    async fn untag_policy(&self, arn: &str, keys: &[&str]) -> Result<(), AwsError> {
        self.dlm()
            .untag_resource()
            .resource_arn(arn)
            .set_tag_keys(Some(keys.iter().map(|key| (*key).to_owned()).collect()))
            .send()
            .await
            .map_err(aws_error("dlm:UntagResource"))?;
        Ok(())
    }
}

fn core_summary(summary: &LifecyclePolicySummary) -> Option<PolicySummary> {
    Some(PolicySummary {
        id: summary.policy_id()?.into(),
        description: summary.description().unwrap_or_default().to_owned(),
        state: core_state(summary.state()?),
        kind: core_kind(summary.policy_type(), summary.default_policy()),
        tags: summary
            .tags()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
    })
}

/// Policies older than the types are of the first type, and none of them is a default policy.
fn core_kind(policy_type: Option<&PolicyTypeValues>, is_default: Option<bool>) -> PolicyKind {
    match policy_type {
        None | Some(PolicyTypeValues::EbsSnapshotManagement) => {
            if is_default == Some(true) {
                PolicyKind::SnapshotsByDefault
            } else {
                PolicyKind::Snapshots
            }
        }
        Some(_) => PolicyKind::Other,
    }
}

fn core_policy(policy: &aws_sdk_dlm::types::LifecyclePolicy) -> Option<LifecyclePolicy> {
    let created = policy.date_created()?;
    Some(LifecyclePolicy {
        id: policy.policy_id()?.into(),
        description: policy.description().unwrap_or_default().to_owned(),
        state: core_state(policy.state()?),
        status_message: policy.status_message().map(str::to_owned),
        created: Timestamp::from_nanosecond(created.as_nanos()).ok()?,
        modified: policy
            .date_modified()
            .and_then(|modified| Timestamp::from_nanosecond(modified.as_nanos()).ok()),
        definition: definition::read(policy.execution_role_arn()?, policy.policy_details()?),
        tags: policy
            .tags()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
    })
}

fn core_state(state: &GettablePolicyStateValues) -> PolicyState {
    match state {
        GettablePolicyStateValues::Enabled => PolicyState::Enabled,
        GettablePolicyStateValues::Disabled => PolicyState::Disabled,
        // A state that this program does not know is not one in which DLM is known to work.
        _ => PolicyState::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_makes_says_its_type_and_whether_it_is_a_default_one() {
        let snapshots = PolicyTypeValues::EbsSnapshotManagement;
        for (policy_type, is_default, kind) in [
            (None, None, PolicyKind::Snapshots),
            (Some(&snapshots), Some(false), PolicyKind::Snapshots),
            (Some(&snapshots), Some(true), PolicyKind::SnapshotsByDefault),
            (
                Some(&PolicyTypeValues::ImageManagement),
                None,
                PolicyKind::Other,
            ),
            (
                Some(&PolicyTypeValues::ImageManagement),
                Some(true),
                PolicyKind::Other,
            ),
            (
                Some(&PolicyTypeValues::EventBasedPolicy),
                None,
                PolicyKind::Other,
            ),
        ] {
            let found = core_kind(policy_type, is_default);
            assert_eq!(found, kind, "{policy_type:?} {is_default:?}");
        }
    }
}
