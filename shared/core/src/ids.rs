//! Names and ids as types, so that a volume id can't be passed where a snapshot id is wanted.
//!
//! Ids of AWS's are short enough to be held without an allocation: an account has a hundred thousand.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// The id as AWS or kops writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

string_id!(
    /// A kops cluster's name, a DNS name: `k8s.mycompany.tld`.
    ClusterName
);
string_id!(
    /// What follows `k8s.io/etcd/` in a tag key: `main`, `events`, `cilium` or any other.
    EtcdClusterName
);
string_id!(
    /// An etcd member's name in kops: a letter (`a`), in old clusters a zone (`eu-central-1a`).
    MemberName
);
string_id!(
    /// An EBS volume's id, `vol-…`.
    VolumeId
);
string_id!(
    /// An EBS snapshot's id, `snap-…`.
    SnapshotId
);
string_id!(
    /// An EC2 instance's id, `i-…`.
    InstanceId
);
string_id!(
    /// An autoscaling group's name; kops writes `master-eu-west-2a.masters.k8s.mycompany.tld`.
    GroupName
);
string_id!(
    /// An availability zone's name, `eu-west-2a`.
    ZoneName
);
string_id!(
    /// A DLM lifecycle policy's id, `policy-…`.
    PolicyId
);
string_id!(
    /// One restore's id, `r-` and twelve hexadecimal digits; its undo's is `u-` and the same digits.
    RestoreId
);

/// A DNS name's length, RFC 1035.
const CLUSTER_NAME_LENGTH_MAX: usize = 253;

impl ClusterName {
    /// Whether it is a name as kops takes one: letters, digits, dots, hyphens and underscores, none of
    /// which means anything to a filter of EC2's, or to a shell.
    pub fn is_dns_name(&self) -> bool {
        let name = self.as_str();
        let is_inner = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let is_outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        name.len() <= CLUSTER_NAME_LENGTH_MAX
            && name.chars().all(is_inner)
            && is_outer(name.chars().next())
            && is_outer(name.chars().next_back())
            && !name.contains("..")
    }
}

const RESTORE_PREFIX: &str = "r-";
const UNDO_PREFIX: &str = "u-";

impl RestoreId {
    /// The id of a restore with these digits.
    pub fn of_digits(digits: &str) -> Self {
        Self(format_smolstr!("{RESTORE_PREFIX}{digits}"))
    }

    /// Whether it is an undo's.
    pub fn is_undo(&self) -> bool {
        self.0.starts_with(UNDO_PREFIX)
    }

    /// The id of this restore's undo.
    #[must_use]
    pub fn undo(&self) -> Self {
        self.with_prefix(UNDO_PREFIX)
    }

    /// The id of the restore that this undo undoes; a restore's own.
    #[must_use]
    pub fn restore(&self) -> Self {
        self.with_prefix(RESTORE_PREFIX)
    }

    fn with_prefix(&self, prefix: &str) -> Self {
        let digits = self.0.strip_prefix(UNDO_PREFIX);
        let digits = digits.or_else(|| self.0.strip_prefix(RESTORE_PREFIX));
        Self(format_smolstr!("{prefix}{}", digits.unwrap_or(&self.0)))
    }
}

impl VolumeId {
    /// The volume id that EC2 gives for snapshots made by copying another snapshot.
    ///
    /// Source: EC2 API reference, `CopySnapshot`: "arbitrary volume ID that should not be used".
    pub fn is_of_a_copy(&self) -> bool {
        self.as_str() == "vol-ffffffff"
    }
}

/// A member within a kops cluster: which etcd cluster, which member. Written `main/a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    /// The etcd cluster that the member belongs to.
    pub etcd_cluster: EtcdClusterName,
    /// The member's name in it.
    pub member: MemberName,
}

impl MemberKey {
    /// A key from its two parts.
    pub fn new(etcd_cluster: &EtcdClusterName, member: &MemberName) -> Self {
        Self {
            etcd_cluster: etcd_cluster.clone(),
            member: member.clone(),
        }
    }
}

impl fmt::Display for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.etcd_cluster, self.member))
    }
}

impl FromStr for MemberKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((etcd_cluster, member))
                if !etcd_cluster.is_empty() && !member.is_empty() && !member.contains('/') =>
            {
                Ok(Self {
                    etcd_cluster: etcd_cluster.into(),
                    member: member.into(),
                })
            }
            _ => Err(format!(
                "\"{text}\" names no member: write <etcd cluster>/<member>, like main/a"
            )),
        }
    }
}

impl Serialize for MemberKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for MemberKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MemberKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An etcd cluster and a member of it: `main/a`.",
            "type": "string",
            "pattern": "^[^/]+/[^/]+$",
        })
    }
}

impl<'de> Deserialize<'de> for MemberKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
