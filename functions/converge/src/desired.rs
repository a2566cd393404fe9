//! What there should be.

use std::collections::BTreeSet;

use etcd_backup_core::Tags;
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::lifecycle_policy::{DesiredPolicy, MANAGED_BY, MANAGED_BY_VALUE};
use etcd_backup_core::settings::Settings;
use serde_json::json;

use crate::role_policy;

/// On the role: followed by a Region that has a stack which uses it.
pub const USED_IN_PREFIX: &str = "etcd-backup/used-in/";

/// What there should be, but for what depends on the paths of a role and an IAM policy that exist.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The role's name.
    pub role_name: String,
    /// Who may assume the role.
    pub trust: String,
    /// The IAM policy's name.
    pub role_policy_name: String,
    /// The ARN of the policy that bounds the role, where one is set.
    pub permissions_boundary: Option<String>,
    /// The tags on all that is made.
    pub tags: Tags,
    /// The tags on the role.
    pub role_tags: Tags,
    /// The DLM policy, with the role's ARN as it is when converge makes the role.
    policy: DesiredPolicy,
    deployment: Deployment,
}

impl Desired {
    /// As the settings and the place say.
    pub fn new(settings: &Settings, deployment: &Deployment) -> Self {
        let Deployment {
            partition, account, ..
        } = deployment;
        let tags = Tags::from([(MANAGED_BY.to_owned(), MANAGED_BY_VALUE.to_owned())]);
        Self {
            role_name: settings.role_name.clone(),
            trust: trust(partition, account),
            role_policy_name: settings.role_policy_name.clone(),
            permissions_boundary: settings
                .permissions_boundary
                .as_ref()
                .map(|boundary| boundary.arn(partition, account)),
            tags: tags.clone(),
            role_tags: tags,
            policy: DesiredPolicy {
                description: settings.policy_description.clone(),
                execution_role_arn: format!(
                    "arn:{partition}:iam::{account}:role/{}",
                    settings.role_name
                ),
                target_tags: settings.target_tags.iter().cloned().collect(),
                schedule_name: settings.schedule_name.clone(),
                schedule: settings.schedule,
                retain_count: settings.retain_count,
                tags_to_add: settings.tags_to_add.iter().cloned().collect(),
            },
            deployment: deployment.clone(),
        }
    }

    /// The same, with the role's note that a stack in this Region uses it.
    #[must_use]
    pub fn used_by_stack(mut self) -> Self {
        let key = self.used_in_key();
        self.role_tags.insert(key, "yes".to_owned());
        self
    }

    /// The Region that the DLM policy is for.
    pub fn region(&self) -> &str {
        &self.deployment.region
    }

    /// The key of that note.
    pub fn used_in_key(&self) -> String {
        format!("{USED_IN_PREFIX}{}", self.deployment.region)
    }

    /// The role's ARN when converge makes it.
    pub fn role_arn(&self) -> &str {
        &self.policy.execution_role_arn
    }

    /// The IAM policy's ARN when converge makes it.
    pub fn role_policy_arn(&self) -> String {
        format!("{}policy/{}", self.iam_arns(), self.role_policy_name)
    }

    /// Whether an IAM policy is the account's own: AWS's can't be changed.
    pub fn is_own(&self, role_policy_arn: &str) -> bool {
        role_policy_arn.starts_with(&self.iam_arns())
    }

    /// What the IAM policy allows: what DLM always needs, and some actions more.
    pub fn role_policy(&self, actions: &BTreeSet<&'static str>) -> String {
        role_policy::document(&self.deployment.partition, actions)
    }

    /// The DLM policy under a role.
    pub fn policy(&self, role_arn: &str) -> DesiredPolicy {
        DesiredPolicy {
            execution_role_arn: role_arn.to_owned(),
            ..self.policy.clone()
        }
    }

    /// A DLM policy's ARN.
    pub fn policy_arn(&self, policy_id: &str) -> String {
        let Deployment {
            partition,
            region,
            account,
        } = &self.deployment;
        format!("arn:{partition}:dlm:{region}:{account}:policy/{policy_id}")
    }

    fn iam_arns(&self) -> String {
        let Deployment {
            partition, account, ..
        } = &self.deployment;
        format!("arn:{partition}:iam::{account}:")
    }
}

/// DLM may assume the role, on behalf of this account's policies alone: without the conditions,
/// anybody's policy could have DLM act with it (the confused deputy of the EBS user guide, "IAM
/// service roles for Amazon Data Lifecycle Manager").
fn trust(partition: &str, account: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "dlm.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": account},
                "ArnLike": {"aws:SourceArn": format!("arn:{partition}:dlm:*:{account}:policy/*")},
            },
        }],
    })
    .to_string()
}
