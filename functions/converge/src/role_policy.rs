//! What the role's policy allows Lifecycle Manager: what each policy of this project needs, and what
//! the rules of an adopted one need besides.
//!
//! The role is one for all Regions, and each Region's converge sees its own policy alone. So what the
//! role's policy allows already of the actions that only some rules need is left to it: another
//! Region's policy may have such rules.
//!
//! Source: AWS managed policy `AWSDataLifecycleManagerServiceRole`, version 10.

use std::collections::BTreeSet;

use etcd_backup_core::iam::PolicyDocument;
use etcd_backup_core::lifecycle_policy::{PolicyDefinition, Rules};
use serde_json::json;

/// What taking and deleting snapshots needs.
const ALWAYS: [&str; 6] = [
    "ec2:CreateSnapshot",
    "ec2:CreateSnapshots",
    "ec2:DeleteSnapshot",
    "ec2:DescribeInstances",
    "ec2:DescribeVolumes",
    "ec2:DescribeSnapshots",
];
const COPY: &[&str] = &["ec2:CopySnapshot"];
const SHARE: &[&str] = &[
    "ec2:ModifySnapshotAttribute",
    "ec2:DescribeSnapshotAttribute",
];
const FAST_RESTORE: &[&str] = &[
    "ec2:EnableFastSnapshotRestores",
    "ec2:DisableFastSnapshotRestores",
    "ec2:DescribeFastSnapshotRestores",
    "ec2:DescribeAvailabilityZones",
];
const ARCHIVE: &[&str] = &["ec2:ModifySnapshotTier", "ec2:DescribeSnapshotTierStatus"];

/// What copying what a customer's key encrypts needs of that key and of the copy's.
///
/// Source: Amazon EBS user guide, "IAM service roles for Amazon Data Lifecycle Manager".
pub const OF_KEYS: &str = "kms:CreateGrant, kms:ListGrants, kms:RevokeGrant, kms:Encrypt, \
                           kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey* and kms:DescribeKey";

/// The actions beyond those always needed that the rules of a policy need.
pub fn needed_by(definition: &PolicyDefinition) -> BTreeSet<&'static str> {
    let schedules = definition.schedules.iter();
    schedules
        .flat_map(|schedule| needed_by_rules(&schedule.rules))
        .copied()
        .collect()
}

fn needed_by_rules(rules: &Rules) -> impl Iterator<Item = &'static &'static str> {
    [
        (!rules.copies.is_empty(), COPY),
        (!rules.shares.is_empty(), SHARE),
        (rules.fast_restore.is_some(), FAST_RESTORE),
        (rules.archive.is_some(), ARCHIVE),
    ]
    .into_iter()
    .filter(|(is_there, _)| *is_there)
    .flat_map(|(_, actions)| actions)
}

/// Those of the actions that only some rules need which a document allows already.
pub fn allowed_by(document: &str) -> BTreeSet<&'static str> {
    let Ok(document) = PolicyDocument::parse(document) else {
        return BTreeSet::new();
    };
    let all = [COPY, SHARE, FAST_RESTORE, ARCHIVE].into_iter().flatten();
    all.copied()
        .filter(|action| document.allows_everywhere(action))
        .collect()
}

/// The document that allows what is always needed and some actions more.
pub fn document(partition: &str, more: &BTreeSet<&'static str>) -> String {
    let actions: Vec<_> = ALWAYS.iter().chain(more).collect();
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": actions,
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": "ec2:CreateTags",
                "Resource": format!("arn:{partition}:ec2:*::snapshot/*"),
            },
        ],
    })
    .to_string()
}
