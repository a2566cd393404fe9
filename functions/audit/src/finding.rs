//! Findings: what is wrong, with what proves it.

mod kind;
mod message;

use etcd_backup_core::ids::{ClusterName, EtcdClusterName, MemberKey, MemberName, VolumeId};
use etcd_backup_core::settings::Severity;
use serde::Serialize;

pub use self::kind::{Kind, Orphans, RetentionCause};

/// One thing that is wrong with one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What is wrong, and the evidence.
    #[serde(flatten)]
    pub kind: Kind,
    /// The same for a person, with what to do.
    pub message: String,
}

/// What a finding is about; all empty for the policy or the whole account.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema,
)]
pub struct Subject {
    /// The kops cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
    /// The etcd cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_cluster: Option<EtcdClusterName>,
    /// The member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberName>,
    /// The volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<VolumeId>,
}

impl Subject {
    /// A member of a cluster.
    pub fn member(cluster: &ClusterName, key: &MemberKey) -> Self {
        Self {
            member: Some(key.member.clone()),
            ..Self::etcd_cluster(cluster, &key.etcd_cluster)
        }
    }

    /// An etcd cluster of a cluster.
    pub fn etcd_cluster(cluster: &ClusterName, etcd_cluster: &EtcdClusterName) -> Self {
        Self {
            cluster: Some(cluster.clone()),
            etcd_cluster: Some(etcd_cluster.clone()),
            ..Self::default()
        }
    }

    /// A volume of the subject.
    pub fn volume(self, volume_id: &VolumeId) -> Self {
        Self {
            volume_id: Some(volume_id.clone()),
            ..self
        }
    }

    /// `main/a`, `main`, or the volume where no member is known.
    pub fn within_cluster(&self) -> Option<String> {
        match (&self.etcd_cluster, &self.member, &self.volume_id) {
            (Some(etcd_cluster), Some(member), _) => Some(format!("{etcd_cluster}/{member}")),
            (Some(etcd_cluster), None, _) => Some(etcd_cluster.to_string()),
            (None, _, Some(volume_id)) => Some(volume_id.to_string()),
            (None, _, None) => None,
        }
    }
}

impl Finding {
    /// A finding of the kind's own severity.
    pub fn new(subject: Subject, kind: Kind) -> Self {
        Self {
            severity: kind.severity(),
            message: message::message(&subject, &kind),
            subject,
            kind,
        }
    }

    /// Findings are sorted by severity, cluster, etcd cluster, member and kind.
    pub fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        let rest = |finding: &Self| {
            let Subject {
                cluster,
                etcd_cluster,
                member,
                volume_id,
            } = finding.subject.clone();
            (
                cluster,
                etcd_cluster,
                member,
                finding.kind.name(),
                volume_id,
            )
        };
        b.severity
            .cmp(&a.severity)
            .then_with(|| rest(a).cmp(&rest(b)))
    }
}
