//! Findings: what is wrong, with what proves it.

use etcd_backup_core::ids::{
    ClusterName, EtcdClusterName, MemberKey, MemberName, PolicyId, SnapshotId, VolumeId,
};
use etcd_backup_core::lifecycle_policy::PolicyState;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::Severity;
use jiff::Timestamp;
use serde::Serialize;

/// One thing that is wrong with one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

/// What is wrong, and the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "evidence", rename_all = "snake_case")]
pub enum Kind {
    /// No volume is left of what should have some.
    NoEtcdVolumes {
        /// The newest managed snapshot of what is lost.
        #[serde(skip_serializing_if = "Option::is_none")]
        latest_snapshot: Option<SnapshotId>,
        /// When it was started.
        #[serde(skip_serializing_if = "Option::is_none")]
        latest_snapshot_started: Option<Timestamp>,
    },
    /// The due run left no snapshot of the member.
    SnapshotMissing {
        /// The due run.
        expected_after: Run,
        /// The member's newest managed snapshot.
        latest_snapshot: Option<SnapshotId>,
        /// When it was started.
        latest_snapshot_started: Option<Timestamp>,
    },
    /// The due run's snapshot failed.
    SnapshotFailed {
        /// The due run.
        run: Run,
        /// The failed snapshot.
        snapshot_id: SnapshotId,
        /// Why, where EC2 says so.
        state_message: Option<String>,
    },
    /// DLM doesn't take the volume.
    VolumeNotTargeted {
        /// The target tags, any of which would do.
        target_tags: Vec<String>,
    },
    /// An etcd tag names a member that has no volume.
    MemberMissing {
        /// The volumes whose etcd tags name it.
        named_by: Vec<VolumeId>,
        /// Its newest managed snapshot.
        latest_snapshot: Option<SnapshotId>,
    },
    /// Several volumes claim to be one member's.
    MemberDuplicated {
        /// They.
        volume_ids: Vec<VolumeId>,
    },
    /// There is no DLM policy for the schedule.
    PolicyMissing {
        /// The description that was looked for, beside the project's tag.
        description: String,
    },
    /// The DLM policy does nothing.
    PolicyNotEnabled {
        /// The policy.
        policy_id: PolicyId,
        /// `DISABLED` or `ERROR`.
        state: &'static str,
        /// Why, where DLM says so.
        status_message: Option<String>,
    },
    /// An etcd cluster can't be restored at all.
    NoRestorePoint {
        /// Members without a usable snapshot in the due run.
        missing: Vec<MemberKey>,
    },
    /// A discovery tag is malformed, or wanting.
    VolumeTagWrong {
        /// What is wrong.
        problem: String,
    },
}

impl Kind {
    /// The name used in answers, messages and filter policies.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoEtcdVolumes { .. } => "no_etcd_volumes",
            Self::SnapshotMissing { .. } => "snapshot_missing",
            Self::SnapshotFailed { .. } => "snapshot_failed",
            Self::VolumeNotTargeted { .. } => "volume_not_targeted",
            Self::MemberMissing { .. } => "member_missing",
            Self::MemberDuplicated { .. } => "member_duplicated",
            Self::PolicyMissing { .. } => "policy_missing",
            Self::PolicyNotEnabled { .. } => "policy_not_enabled",
            Self::NoRestorePoint { .. } => "no_restore_point",
            Self::VolumeTagWrong { .. } => "volume_tag_wrong",
        }
    }

    fn severity(&self) -> Severity {
        match self {
            Self::VolumeTagWrong { .. } => Severity::Warning,
            _ => Severity::Critical,
        }
    }
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
            message: message(&subject, &kind),
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

/// `DISABLED` and `ERROR` as DLM writes them; `None` for an enabled policy.
pub fn not_enabled(state: PolicyState) -> Option<&'static str> {
    match state {
        PolicyState::Enabled => None,
        PolicyState::Disabled => Some("DISABLED"),
        PolicyState::Error => Some("ERROR"),
    }
}

fn message(subject: &Subject, kind: &Kind) -> String {
    let who = subject.within_cluster().unwrap_or_default();
    let volume = subject.volume_id.as_ref().map_or("?", VolumeId::as_str);
    match kind {
        Kind::NoEtcdVolumes { .. } => no_etcd_volumes(subject, kind),
        Kind::SnapshotMissing {
            expected_after,
            latest_snapshot,
            latest_snapshot_started,
        } => format!(
            "The run of {expected_after} left no snapshot of {who} ({volume}); {}. \
             Check that the volume carries a target tag and the DLM policy is enabled, or take a \
             snapshot by hand now.",
            match (latest_snapshot, latest_snapshot_started) {
                (Some(id), Some(started)) => format!("its latest is {id} of {started}"),
                _ => "it has none at all".to_owned(),
            }
        ),
        Kind::SnapshotFailed {
            run,
            snapshot_id,
            state_message,
        } => format!(
            "The snapshot {snapshot_id} of {who} ({volume}), made by the run of {run}, failed{}. \
             A restore has to go back to the run before; take a snapshot by hand now.",
            state_message
                .as_ref()
                .map(|text| format!(": {text}"))
                .unwrap_or_default()
        ),
        Kind::VolumeNotTargeted { target_tags } => format!(
            "{volume} of {who} has none of the target tags ({}), so it is never backed up. \
             Put the tag back on the volume.",
            target_tags.join(", ")
        ),
        Kind::MemberMissing {
            named_by,
            latest_snapshot,
        } => format!(
            "{who} has no volume, though {} names it as a member; {}. Find out what deleted the \
             volume before anything makes a blank one in its place.",
            join(named_by),
            latest_snapshot
                .as_ref()
                .map_or("it has no snapshot".to_owned(), |id| format!(
                    "its latest snapshot is {id}"
                )),
        ),
        Kind::MemberDuplicated { volume_ids } => format!(
            "{} all claim to be {who}'s volume: a starting master may mount any of them. Find out \
             which one etcd uses and take the k8s.io/etcd tag off the others.",
            join(volume_ids)
        ),
        Kind::PolicyMissing { description } => format!(
            "There is no DLM policy tagged managed-by=etcd-backup or described as \"{description}\": \
             nothing is backed up. Run converge."
        ),
        Kind::PolicyNotEnabled {
            policy_id,
            state,
            status_message,
        } => format!(
            "The DLM policy {policy_id} is {state}{}: nothing is backed up and nothing is deleted. \
             Run converge.",
            status_message
                .as_ref()
                .map(|text| format!(" ({text})"))
                .unwrap_or_default()
        ),
        Kind::NoRestorePoint { missing } => format!(
            "Not one run left a completed snapshot of every member of {who}: it can't be restored. \
             The latest due run lacks {}.",
            match missing.is_empty() {
                true => "everything".to_owned(),
                false => join(missing),
            }
        ),
        Kind::VolumeTagWrong { problem } => format!(
            "{volume} has a wrong tag ({problem}): masters and kops may not find it, or may take it \
             for another's. Correct the tag."
        ),
    }
}

fn no_etcd_volumes(subject: &Subject, kind: &Kind) -> String {
    let Kind::NoEtcdVolumes {
        latest_snapshot,
        latest_snapshot_started,
    } = kind
    else {
        return String::new();
    };
    match (
        &subject.cluster,
        &subject.etcd_cluster,
        latest_snapshot,
        latest_snapshot_started,
    ) {
        (Some(cluster), Some(etcd_cluster), Some(id), Some(started)) => format!(
            "Every volume of {etcd_cluster} of {cluster} is gone; its latest snapshot is {id} of \
             {started}. Don't run kops update (it would make blank volumes); invoke restore with \
             {{\"action\":\"plan\",\"cluster\":\"{cluster}\"}} and look at the plan. If the cluster \
             was deleted on purpose, this ends two intervals after its last snapshot."
        ),
        (Some(cluster), ..) => format!(
            "{cluster} must have etcd volumes here and has none, nor a recent snapshot. Check the \
             name, the Region and the account."
        ),
        _ => "There is not one etcd volume in this account and Region. If that is on purpose, set \
              EXPECT_CLUSTERS to none."
            .to_owned(),
    }
}

fn join<T: std::fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}
