//! An account in memory, with as much of IAM and DLM as converge sees of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::Tags;
use etcd_backup_core::aws::{Alert, Alerts, AwsError};
use etcd_backup_core::iam::{
    AttachedPolicy, ManagedPolicy, PolicyVersion, Role, RoleWriter, Roles, VERSIONS_MAX,
};
use etcd_backup_core::ids::PolicyId;
use etcd_backup_core::lifecycle_policy::{
    DesiredPolicy, LifecyclePolicy, Policies, PolicyKind, PolicyState, PolicySummary, PolicyWriter,
    StickyMember,
};
use jiff::Timestamp;

/// How a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With this code, and nothing done.
    Refused(&'static str),
    /// Without an answer, and nothing done.
    Lost,
    /// Without an answer, though it was done.
    AnswerLost,
}

/// An IAM policy's tags, and its versions by number, the last of which counts.
pub type FakeRolePolicy = (Tags, Vec<(u32, String)>);

/// The account.
#[derive(Default)]
pub struct FakeAccount {
    /// The role, if there is one.
    pub role: RefCell<Option<Role>>,
    /// What is attached to it.
    pub attached: RefCell<Vec<AttachedPolicy>>,
    /// IAM policies by ARN.
    pub role_policies: RefCell<BTreeMap<String, FakeRolePolicy>>,
    /// DLM policies.
    pub policies: RefCell<Vec<LifecyclePolicy>>,
    /// What was published.
    pub alerts: RefCell<Vec<Alert>>,
    /// Writes in order, failed ones too.
    pub writes: RefCell<Vec<&'static str>>,
    /// Fails the writes with these numbers, from 0.
    pub failures: RefCell<BTreeMap<usize, Failure>>,
    reads: Cell<usize>,
}

impl FakeAccount {
    /// How many calls read since last asked.
    pub fn reads(&self) -> usize {
        self.reads.take()
    }

    fn read(&self) {
        self.reads.set(self.reads.get() + 1);
    }

    /// Writes, unless this write is to fail.
    fn write<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce() -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let number = self.writes.borrow().len();
        self.writes.borrow_mut().push(operation);
        match self.failures.borrow().get(&number) {
            None => act(),
            Some(Failure::Refused(code)) => Err(refused(operation, code)),
            Some(Failure::Lost) => Err(lost(operation)),
            Some(Failure::AnswerLost) => {
                act()?;
                Err(lost(operation))
            }
        }
    }

    fn with_role(&self, act: impl FnOnce(&mut Role)) -> Result<(), AwsError> {
        let mut role = self.role.borrow_mut();
        role.as_mut()
            .map(act)
            .ok_or_else(|| refused("iam:role", "NoSuchEntity"))
    }

    fn with_policy(
        &self,
        matches: impl Fn(&LifecyclePolicy) -> bool,
        act: impl FnOnce(&mut LifecyclePolicy),
    ) -> Result<(), AwsError> {
        let mut policies = self.policies.borrow_mut();
        let policy = policies.iter_mut().find(|policy| matches(policy));
        policy
            .map(act)
            .ok_or_else(|| refused("dlm:policy", "ResourceNotFoundException"))
    }
}

fn refused(operation: &'static str, code: &str) -> AwsError {
    AwsError {
        operation,
        code: Some(code.to_owned()),
        message: "refused".to_owned(),
        request_id: None,
        certainly_refused: true,
    }
}

fn lost(operation: &'static str) -> AwsError {
    AwsError {
        operation,
        code: None,
        message: "connection closed".to_owned(),
        request_id: None,
        certainly_refused: false,
    }
}

fn policy_arn(id: &PolicyId) -> String {
    format!("arn:aws:dlm:eu-west-2:123456789012:policy/{id}")
}

impl Roles for FakeAccount {
    async fn role(&self, name: &str) -> Result<Option<Role>, AwsError> {
        self.read();
        Ok(self.role.borrow().clone().filter(|role| role.name == name))
    }

    async fn attached_policies(&self, _: &str) -> Result<Vec<AttachedPolicy>, AwsError> {
        self.read();
        Ok(self.attached.borrow().clone())
    }

    async fn managed_policy(&self, arn: &str) -> Result<Option<ManagedPolicy>, AwsError> {
        self.read();
        let policies = self.role_policies.borrow();
        let Some((tags, versions)) = policies.get(arn) else {
            return Ok(None);
        };
        self.read();
        Ok(versions.last().map(|(_, document)| ManagedPolicy {
            arn: arn.to_owned(),
            document: document.clone(),
            tags: tags.clone(),
        }))
    }

    async fn managed_policy_arn(&self, name: &str) -> Result<Option<String>, AwsError> {
        self.read();
        let policies = self.role_policies.borrow();
        Ok(policies
            .keys()
            .find(|arn| arn.rsplit('/').next() == Some(name))
            .cloned())
    }

    async fn policy_versions(&self, arn: &str) -> Result<Vec<PolicyVersion>, AwsError> {
        self.read();
        let policies = self.role_policies.borrow();
        let versions = policies
            .get(arn)
            .map(|(_, versions)| &versions[..])
            .unwrap_or_default();
        let last = versions.last().map(|(number, _)| *number);
        Ok(versions
            .iter()
            .map(|(number, _)| PolicyVersion {
                id: format!("v{number}"),
                is_default: Some(*number) == last,
            })
            .collect())
    }
}

impl RoleWriter for FakeAccount {
    async fn create_role(&self, name: &str, trust: &str, tags: &Tags) -> Result<(), AwsError> {
        self.write("iam:CreateRole", || {
            let mut role = self.role.borrow_mut();
            if role.is_some() {
                return Err(refused("iam:CreateRole", "EntityAlreadyExists"));
            }
            *role = Some(Role {
                name: name.to_owned(),
                arn: format!("arn:aws:iam::123456789012:role/{name}"),
                created: Timestamp::UNIX_EPOCH,
                trust: trust.to_owned(),
                tags: tags.clone(),
            });
            Ok(())
        })
    }

    async fn set_trust(&self, _: &str, trust: &str) -> Result<(), AwsError> {
        self.write("iam:UpdateAssumeRolePolicy", || {
            self.with_role(|role| role.trust = trust.to_owned())
        })
    }

    async fn tag_role(&self, _: &str, tags: &Tags) -> Result<(), AwsError> {
        self.write("iam:TagRole", || {
            self.with_role(|role| role.tags.extend(tags.clone()))
        })
    }

    async fn create_managed_policy(
        &self,
        name: &str,
        document: &str,
        tags: &Tags,
    ) -> Result<(), AwsError> {
        self.write("iam:CreatePolicy", || {
            let arn = format!("arn:aws:iam::123456789012:policy/{name}");
            let policy = (tags.clone(), vec![(1, document.to_owned())]);
            match self.role_policies.borrow_mut().insert(arn, policy) {
                Some(_) => Err(refused("iam:CreatePolicy", "EntityAlreadyExists")),
                None => Ok(()),
            }
        })
    }

    async fn create_policy_version(&self, arn: &str, document: &str) -> Result<(), AwsError> {
        self.write("iam:CreatePolicyVersion", || {
            let mut policies = self.role_policies.borrow_mut();
            let (_, versions) = policies.get_mut(arn).unwrap();
            if versions.len() == VERSIONS_MAX {
                return Err(refused("iam:CreatePolicyVersion", "LimitExceeded"));
            }
            let number = versions.last().map_or(1, |(number, _)| number + 1);
            versions.push((number, document.to_owned()));
            Ok(())
        })
    }

    async fn delete_policy_version(&self, arn: &str, version: &str) -> Result<(), AwsError> {
        self.write("iam:DeletePolicyVersion", || {
            let mut policies = self.role_policies.borrow_mut();
            let (_, versions) = policies.get_mut(arn).unwrap();
            versions.retain(|(number, _)| format!("v{number}") != version);
            Ok(())
        })
    }

    async fn tag_managed_policy(&self, arn: &str, tags: &Tags) -> Result<(), AwsError> {
        self.write("iam:TagPolicy", || {
            self.role_policies
                .borrow_mut()
                .get_mut(arn)
                .unwrap()
                .0
                .extend(tags.clone());
            Ok(())
        })
    }

    async fn attach_policy(&self, _: &str, policy_arn: &str) -> Result<(), AwsError> {
        self.write("iam:AttachRolePolicy", || {
            let name = policy_arn.rsplit('/').next().unwrap_or_default().to_owned();
            let arn = policy_arn.to_owned();
            self.attached
                .borrow_mut()
                .push(AttachedPolicy { name, arn });
            Ok(())
        })
    }
}

impl Policies for FakeAccount {
    async fn policies(&self) -> Result<Vec<PolicySummary>, AwsError> {
        self.read();
        let policies = self.policies.borrow();
        Ok(policies
            .iter()
            .map(|policy| PolicySummary {
                id: policy.id.clone(),
                description: policy.description.clone(),
                state: policy.state,
                kind: PolicyKind::Snapshots,
                tags: policy.tags.clone(),
            })
            .collect())
    }

    async fn policy(&self, id: &PolicyId) -> Result<Option<LifecyclePolicy>, AwsError> {
        self.read();
        Ok(self
            .policies
            .borrow()
            .iter()
            .find(|policy| policy.id == *id)
            .cloned())
    }
}

impl PolicyWriter for FakeAccount {
    async fn create_policy(
        &self,
        policy: &DesiredPolicy,
        tags: &Tags,
    ) -> Result<PolicyId, AwsError> {
        self.write("dlm:CreateLifecyclePolicy", || {
            let mut policies = self.policies.borrow_mut();
            let id = PolicyId::from(format!("policy-{}", policies.len()));
            policies.push(LifecyclePolicy {
                id: id.clone(),
                description: policy.description.clone(),
                state: PolicyState::Enabled,
                status_message: None,
                created: Timestamp::UNIX_EPOCH,
                definition: policy.definition(),
                tags: tags.clone(),
            });
            Ok(id)
        })
    }

    async fn update_policy(
        &self,
        id: &PolicyId,
        policy: &DesiredPolicy,
        _: &BTreeSet<StickyMember>,
    ) -> Result<(), AwsError> {
        self.write("dlm:UpdateLifecyclePolicy", || {
            self.with_policy(
                |known| known.id == *id,
                |known| {
                    known.description = policy.description.clone();
                    known.state = PolicyState::Enabled;
                    known.definition = policy.definition();
                },
            )
        })
    }

    async fn tag_policy(&self, arn: &str, tags: &Tags) -> Result<(), AwsError> {
        self.write("dlm:TagResource", || {
            self.with_policy(
                |policy| policy_arn(&policy.id) == arn,
                |policy| policy.tags.extend(tags.clone()),
            )
        })
    }

    async fn untag_policy(&self, arn: &str, keys: &[&str]) -> Result<(), AwsError> {
        self.write("dlm:UntagResource", || {
            self.with_policy(
                |policy| policy_arn(&policy.id) == arn,
                |policy| policy.tags.retain(|key, _| !keys.contains(&key.as_str())),
            )
        })
    }
}

impl Alerts for FakeAccount {
    async fn publish(&self, _: &str, alert: &Alert) -> Result<String, AwsError> {
        self.alerts.borrow_mut().push(alert.clone());
        Ok("message".to_owned())
    }
}
