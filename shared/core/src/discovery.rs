//! The tags by which masters find their etcd volumes, and by which this project knows them.
//!
//! Sources: kops `upup/pkg/fi/cloudup/awsup` and `protokube/pkg/protokube/aws_volume.go`;
//! etcd-manager `pkg/volumes/aws/volumes.go`. Whatever follows `k8s.io/etcd/` is data: `main` and
//! `events` always, `cilium` sometimes, others some day.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::Tags;
use crate::ids::{ClusterName, EtcdClusterName, MemberKey, MemberName};

/// The cluster's name. protokube filters on it, and so does the masters' IAM policy.
pub const CLUSTER: &str = "KubernetesCluster";
/// Followed by the cluster's name, with the value `owned`: etcd-manager's filter (kops >= 1.12).
pub const CLUSTER_OWNED_PREFIX: &str = "kubernetes.io/cluster/";
/// The value of the `kubernetes.io/cluster/<name>` tag that etcd-manager filters on.
pub const CLUSTER_OWNED: &str = "owned";
/// Followed by the etcd cluster's name; the value is `<member>/<all members>`.
pub const ETCD_PREFIX: &str = "k8s.io/etcd/";
/// protokube's filter, etcd-manager's up to kops 1.25, and DLM's usual target tag.
pub const ROLE_MASTER: &str = "k8s.io/role/master";
/// etcd-manager's filter from kops 1.26.
pub const ROLE_CONTROL_PLANE: &str = "k8s.io/role/control-plane";
/// `<member>.etcd-<etcd cluster>.<cluster>`: what `kops update cluster` finds a volume by.
pub const NAME: &str = "Name";

/// The parsed `k8s.io/etcd/<etcd cluster>` = `<member>/<members>` tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTag {
    /// From the tag's key.
    pub etcd_cluster: EtcdClusterName,
    /// The member that the volume belongs to.
    pub member: MemberName,
    /// All members of the etcd cluster, in the tag's order.
    pub members: Vec<MemberName>,
}

/// Why tags don't tell which member a volume or snapshot belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TagProblem {
    /// The value isn't `<member>/<members>` as kops and etcd-manager parse it.
    #[error("{key}={value}: {reason}; expected <member>/<all members>, like a/a,b,c")]
    Malformed {
        /// The tag's key.
        key: String,
        /// The tag's value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// One volume, two etcd tags: two etcd clusters would mount it.
    #[error("more than one etcd tag: {}", keys.join(", "))]
    Ambiguous {
        /// The etcd tags' keys.
        keys: Vec<String>,
    },
    /// An etcd tag, but nothing says of which kops cluster.
    #[error(
        "neither {CLUSTER} nor one single {CLUSTER_OWNED_PREFIX}<name>={CLUSTER_OWNED} says which cluster it belongs to"
    )]
    NoCluster,
}

impl EtcdTag {
    /// Parses one tag. `None` when the key is no etcd tag at all.
    ///
    /// etcd-manager wants exactly one `/`, and the left side among those on the right.
    pub fn parse(key: &str, value: &str) -> Option<Result<Self, TagProblem>> {
        let etcd_cluster = key.strip_prefix(ETCD_PREFIX)?;
        let malformed = |reason| {
            Err(TagProblem::Malformed {
                key: key.to_owned(),
                value: value.to_owned(),
                reason,
            })
        };
        Some(match value.split('/').collect::<Vec<_>>()[..] {
            _ if etcd_cluster.is_empty() => malformed("the key names no etcd cluster"),
            [member, list] => {
                let mut members: Vec<MemberName> = list.split(',').map(MemberName::from).collect();
                // An account has one for each volume.
                members.shrink_to_fit();
                if member.is_empty() || members.iter().any(|name| name.as_str().is_empty()) {
                    malformed("a member's name is empty")
                } else if members.iter().collect::<BTreeSet<_>>().len() != members.len() {
                    malformed("a member is named twice")
                } else if !members.iter().any(|name| name.as_str() == member) {
                    malformed("the member is not in its own list")
                } else {
                    Ok(Self {
                        etcd_cluster: etcd_cluster.into(),
                        member: member.into(),
                        members,
                    })
                }
            }
            _ => malformed("not exactly one \"/\""),
        })
    }

    /// The tag's key.
    pub fn key(&self) -> String {
        format!("{ETCD_PREFIX}{}", self.etcd_cluster)
    }

    /// The tag's value.
    pub fn value(&self) -> String {
        let members: Vec<&str> = self.members.iter().map(MemberName::as_str).collect();
        format!("{}/{}", self.member, members.join(","))
    }
}

/// Which member of which cluster a volume or snapshot belongs to, by its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kops cluster.
    pub cluster: ClusterName,
    /// The etcd cluster, the member, and the list of members.
    pub etcd: EtcdTag,
}

impl Identity {
    /// Reads the identity off a resource's tags. `None`: no etcd tag, so none of etcd's business.
    pub fn of(tags: &Tags) -> Option<Result<Self, TagProblem>> {
        let etcd_tags: Vec<_> = tags
            .iter()
            .filter_map(|(key, value)| EtcdTag::parse(key, value))
            .collect();
        match &etcd_tags[..] {
            [] => None,
            [etcd] => Some(etcd.clone().and_then(|etcd| {
                let cluster = cluster_of(tags).ok_or(TagProblem::NoCluster)?;
                Ok(Self { cluster, etcd })
            })),
            _ => Some(Err(TagProblem::Ambiguous {
                keys: etcd_keys(tags),
            })),
        }
    }

    /// Etcd cluster and member.
    pub fn member_key(&self) -> MemberKey {
        MemberKey::new(&self.etcd.etcd_cluster, &self.etcd.member)
    }

    /// The `Name` that kops gives the member's volume.
    pub fn volume_name(&self) -> String {
        format!(
            "{}.etcd-{}.{}",
            self.etcd.member, self.etcd.etcd_cluster, self.cluster
        )
    }
}

/// The cluster a resource says it belongs to: `KubernetesCluster`, else the only one that owns it by
/// `kubernetes.io/cluster/<name>`. That a cluster shares it says nothing.
pub fn cluster_of(tags: &Tags) -> Option<ClusterName> {
    if let Some(name) = tags.get(CLUSTER).filter(|name| !name.is_empty()) {
        return Some(name.as_str().into());
    }
    let mut owners = tags
        .iter()
        .filter(|(_, value)| *value == CLUSTER_OWNED)
        .filter_map(|(key, _)| key.strip_prefix(CLUSTER_OWNED_PREFIX))
        .filter(|name| !name.is_empty());
    match (owners.next(), owners.next()) {
        (Some(name), None) => Some(name.into()),
        _ => None,
    }
}

/// The keys of a resource's etcd tags, well-formed or not.
pub fn etcd_keys(tags: &Tags) -> Vec<String> {
    tags.keys()
        .filter(|key| key.starts_with(ETCD_PREFIX))
        .cloned()
        .collect()
}

/// The key of the tag by which etcd-manager finds a cluster's volumes.
pub fn owner_key(cluster: &ClusterName) -> String {
    format!("{CLUSTER_OWNED_PREFIX}{cluster}")
}

/// Whether masters or `kops update cluster` find a volume by this tag. A cluster that merely shares a
/// resource (`kubernetes.io/cluster/<name>` = `shared`) looks for none by that.
pub fn is_discovery_tag(key: &str, value: &str) -> bool {
    let is_shared = key.starts_with(CLUSTER_OWNED_PREFIX) && value != CLUSTER_OWNED;
    is_discovery_key(key) && !is_shared
}

/// Whether masters or `kops update cluster` find a volume by a tag with this key, given its right value.
pub fn is_discovery_key(key: &str) -> bool {
    [CLUSTER, NAME, ROLE_MASTER, ROLE_CONTROL_PLANE].contains(&key)
        || key.starts_with(CLUSTER_OWNED_PREFIX)
        || key.starts_with(ETCD_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn well_formed_etcd_tags_survive_the_round_trip() {
        for (key, value) in [
            ("k8s.io/etcd/main", "a/a,b,c"),
            ("k8s.io/etcd/events", "eu-central-1a/eu-central-1a"),
            ("k8s.io/etcd/cilium", "b/a,b"),
        ] {
            let tag = EtcdTag::parse(key, value).unwrap().unwrap();
            assert_eq!((tag.key().as_str(), tag.value().as_str()), (key, value));
        }
    }

    #[test]
    fn malformed_etcd_tags_say_what_is_wrong() {
        let problem = |value: &str| {
            EtcdTag::parse("k8s.io/etcd/main", value)
                .unwrap()
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(problem("a"), @r#"k8s.io/etcd/main=a: not exactly one "/"; expected <member>/<all members>, like a/a,b,c"#);
        insta::assert_snapshot!(problem("a/b,c"), @"k8s.io/etcd/main=a/b,c: the member is not in its own list; expected <member>/<all members>, like a/a,b,c");
        insta::assert_snapshot!(problem("/a,b"), @"k8s.io/etcd/main=/a,b: a member's name is empty; expected <member>/<all members>, like a/a,b,c");
        insta::assert_snapshot!(problem("a/a,,b"), @"k8s.io/etcd/main=a/a,,b: a member's name is empty; expected <member>/<all members>, like a/a,b,c");
        insta::assert_snapshot!(problem("a/a,a"), @"k8s.io/etcd/main=a/a,a: a member is named twice; expected <member>/<all members>, like a/a,b,c");
        insta::assert_snapshot!(problem("a/a/b"), @r#"k8s.io/etcd/main=a/a/b: not exactly one "/"; expected <member>/<all members>, like a/a,b,c"#);
    }

    #[test]
    fn a_cluster_finds_what_it_owns_and_not_what_it_shares() {
        let owner = owner_key(&"k8s.mycompany.tld".into());
        for (key, value, is_one) in [
            (owner.as_str(), "owned", true),
            ("kubernetes.io/cluster/other.tld", "owned", true),
            ("kubernetes.io/cluster/other.tld", "shared", false),
            (CLUSTER, "k8s.mycompany.tld", true),
            ("k8s.io/etcd/main", "a/a", true),
            (ROLE_MASTER, "0", true),
            (NAME, "restored-by-hand", true),
            ("owner", "owned", false),
        ] {
            assert_eq!(is_discovery_tag(key, value), is_one, "{key}={value}");
        }
    }

    #[test]
    fn a_cluster_that_shares_a_resource_is_not_the_one_that_it_belongs_to() {
        let (own, other) = (
            "kubernetes.io/cluster/own.tld",
            "kubernetes.io/cluster/other.tld",
        );
        for (of_tags, expected) in [
            (&[(own, "owned")][..], Some("own.tld")),
            (&[(own, "owned"), (other, "shared")][..], Some("own.tld")),
            (&[(own, "owned"), (other, "owned")][..], None),
            (&[(other, "shared")][..], None),
            (
                &[(CLUSTER, "own.tld"), (other, "owned")][..],
                Some("own.tld"),
            ),
        ] {
            let expected = expected.map(ClusterName::from);
            assert_eq!(cluster_of(&tags(of_tags)), expected, "{of_tags:?}");
        }
    }

    #[test]
    fn an_identity_needs_one_etcd_tag_and_a_cluster() {
        let root_volume = tags(&[(ROLE_MASTER, "1"), (CLUSTER, "k8s.mycompany.tld")]);
        assert_eq!(Identity::of(&root_volume), None);

        let stray = tags(&[("k8s.io/etcd/main", "a/a")]);
        assert_eq!(Identity::of(&stray), Some(Err(TagProblem::NoCluster)));

        let new_style = tags(&[
            ("k8s.io/etcd/main", "a/a"),
            ("kubernetes.io/cluster/k8s.mycompany.tld", "owned"),
        ]);
        let identity = Identity::of(&new_style).unwrap().unwrap();
        assert_eq!(identity.volume_name(), "a.etcd-main.k8s.mycompany.tld");

        let both = tags(&[
            ("k8s.io/etcd/main", "a/a"),
            ("k8s.io/etcd/events", "a/a"),
            (CLUSTER, "k8s.mycompany.tld"),
        ]);
        insta::assert_snapshot!(Identity::of(&both).unwrap().unwrap_err(), @"more than one etcd tag: k8s.io/etcd/events, k8s.io/etcd/main");
    }
}
