//! A converged account, in which tests break one thing at a time.

use std::collections::BTreeSet;

use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::iam::{AttachedPolicy, ManagedPolicy, Role};
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, PolicyState};
use etcd_backup_core::settings::Settings;

use crate::collect::Actual;
use crate::desired::Desired;

pub fn desired() -> Desired {
    let arn = "arn:aws:lambda:eu-west-2:123456789012:function:converge";
    let settings = Settings::from_variables(&|_| None).unwrap();
    Desired::new(&settings, &Deployment::of_function(arn).unwrap())
}

/// As Terraform leaves it: without the tag that records the schedule's age, and with the documents
/// as IAM gives them back.
pub fn converged() -> Actual {
    let desired = desired();
    let (role_arn, role_policy_arn) = (desired.role_arn(), desired.role_policy_arn());
    let encoded = |document: &str| document.replace('{', "%7B").replace('"', "%22");
    Actual {
        role: Some(Role {
            name: desired.role_name.clone(),
            arn: role_arn.to_owned(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            trust: encoded(&desired.trust),
            permissions_boundary: None,
            tags: desired.tags.clone(),
        }),
        attached: vec![AttachedPolicy {
            name: desired.role_policy_name.clone(),
            arn: role_policy_arn.clone(),
        }],
        role_policy: Some(ManagedPolicy {
            arn: role_policy_arn,
            document: encoded(&desired.role_policy(&BTreeSet::new())),
            uses: 1,
            tags: desired.tags.clone(),
        }),
        policies: vec![LifecyclePolicy {
            id: "policy-0a".into(),
            description: "etcd data lifecycle policy".to_owned(),
            state: PolicyState::Enabled,
            status_message: Some("ENABLED".to_owned()),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            modified: None,
            definition: desired.policy(role_arn).definition(),
            tags: desired.tags.clone(),
        }],
        namesakes: Vec::new(),
        lookalikes: Vec::new(),
    }
}
