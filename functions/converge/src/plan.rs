//! What has to change, and how.
//!
//! A plan is data, and complete: its steps hold every value that is written, in the order in which
//! they are taken.

mod decide;
mod differences;
mod kept;
mod teardown;
#[cfg(test)]
mod world;

use std::fmt;

use etcd_backup_core::Tags;
use etcd_backup_core::iam::NewRole;
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::PolicyDefinition;
use serde::Serialize;

pub use decide::decide;
pub use differences::Difference;
pub use teardown::teardown;

/// What has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The role's ARN, also where it is still to be made.
    pub role_arn: String,
    /// The DLM policy; `None` where it is still to be made.
    pub policy_id: Option<PolicyId>,
    /// In the order in which they are made.
    pub changes: Vec<Change>,
    /// What people should know, whether or not anything changes.
    pub warnings: Vec<String>,
    /// Whether DLM may not be able to assume the role yet.
    pub role_settling: bool,
}

/// One thing that has to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Change {
    /// How.
    pub operation: Operation,
    /// What sort of thing.
    pub resource: Resource,
    /// What people call it.
    pub name: String,
    /// What of it; empty where it is made from nothing.
    pub differences: Vec<Difference>,
    /// How it is done.
    #[serde(skip)]
    pub steps: Vec<Step>,
}

/// How a thing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It isn't there and will be made.
    Create,
    /// It is there and differs.
    Update,
    /// It is there and will be no more.
    Delete,
}

/// A sort of thing that converge keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// The role that DLM assumes.
    IamRole,
    /// The customer managed policy with the role's permissions.
    IamPolicy,
    /// The attachment of the latter to the former.
    IamAttachment,
    /// The lifecycle policy.
    DlmPolicy,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IamRole => "iam-role",
            Self::IamPolicy => "iam-policy",
            Self::IamAttachment => "iam-attachment",
            Self::DlmPolicy => "dlm-policy",
        })
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the role.
    CreateRole(NewRole),
    /// Set who may assume the role.
    SetTrust { role: String, trust: String },
    /// Set the policy that bounds the role.
    SetBoundary { role: String, policy_arn: String },
    /// Set tags on the role.
    TagRole { role: String, tags: Tags },
    /// Make the IAM policy.
    CreateRolePolicy {
        name: String,
        document: String,
        tags: Tags,
    },
    /// Set what the IAM policy allows.
    SetRolePolicy { arn: String, document: String },
    /// Set tags on the IAM policy.
    TagRolePolicy { arn: String, tags: Tags },
    /// Attach the IAM policy to the role.
    Attach { role: String, policy_arn: String },
    /// Make the DLM policy.
    CreatePolicy {
        description: String,
        definition: PolicyDefinition,
        tags: Tags,
    },
    /// Set tags on the DLM policy.
    TagPolicy { arn: String, tags: Tags },
    /// Put the DLM policy as it should be.
    UpdatePolicy(PolicyUpdate),
    /// Delete the DLM policy; its snapshots stay.
    DeletePolicy { id: PolicyId },
    /// Take tags off the role.
    UntagRole { role: String, keys: Vec<String> },
    /// Detach the IAM policy from the role.
    Detach { role: String, policy_arn: String },
    /// Delete the IAM policy with all its versions.
    DeleteRolePolicy { arn: String },
    /// Delete the role.
    DeleteRole { name: String },
}

/// An update of a DLM policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyUpdate {
    /// The policy.
    pub id: PolicyId,
    /// Its ARN.
    pub arn: String,
    /// What people call it then.
    pub description: String,
    /// What it does then: all of it, as an update replaces all.
    pub definition: PolicyDefinition,
    /// The schedule changes: since when, and what was recorded before.
    pub schedule_since: Option<ScheduleSince>,
    /// Why DLM is going to refuse, where that is known, and what to do about it.
    pub obstacle: Option<String>,
}

/// The record of a schedule's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleSince {
    /// Now, as the tag has it.
    pub now: String,
    /// What the tag held.
    pub before: Option<String>,
}

impl Change {
    fn create(resource: Resource, name: String, step: Step) -> Self {
        Self {
            operation: Operation::Create,
            resource,
            name,
            differences: Vec::new(),
            steps: vec![step],
        }
    }

    fn delete(resource: Resource, name: String, step: Step) -> Self {
        Self {
            operation: Operation::Delete,
            ..Self::create(resource, name, step)
        }
    }

    fn update(resource: Resource, name: String) -> Self {
        Self {
            operation: Operation::Update,
            resource,
            name,
            differences: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Adds differences, if there are any, and the step that ends them.
    fn differ(&mut self, differences: Vec<Difference>, step: impl FnOnce() -> Step) {
        if !differences.is_empty() {
            self.differences.extend(differences);
            self.steps.push(step());
        }
    }

    fn unless_empty(self) -> Option<Self> {
        (!self.steps.is_empty()).then_some(self)
    }
}
