//! What can be wrong: every kind of finding, its evidence, its name and how grave it is.
//!
//! Invariant: the names, and the fields of the evidence, are a promise to those who read answers or filter
//! alerts; the reference lists all of them.

use etcd_backup_core::ids::{
    EtcdClusterName, GroupName, InstanceId, MemberKey, PolicyId, RestoreId, SnapshotId, VolumeId,
};
use etcd_backup_core::restore_record::Direction;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::Severity;
use jiff::Timestamp;
use serde::Serialize;

/// What is wrong, and the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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
        /// The restore that is bringing it back, and isn't finished.
        #[serde(skip_serializing_if = "Option::is_none")]
        restore_id: Option<RestoreId>,
        /// The etcd clusters that a restore is to name, as the others are whole; empty where it is to bring
        /// all back. No evidence, but of the message.
        #[serde(skip)]
        restored_alone: Vec<EtcdClusterName>,
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
        /// The first volumes whose etcd tags name it.
        named_by: Vec<VolumeId>,
        /// Its newest managed snapshot.
        latest_snapshot: Option<SnapshotId>,
    },
    /// Several volumes claim to be one member's.
    MemberDuplicated {
        /// How many.
        count: usize,
        /// The first of them.
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
        /// Whether the due run's snapshots are some of before and some of after an exchange or a blank
        /// beginning.
        mixed: bool,
    },
    /// A discovery tag is malformed, or wanting.
    VolumeTagWrong {
        /// What is wrong.
        problems: Vec<String>,
    },
    /// A restore began, and neither ended nor was undone.
    RestoreUnfinished {
        /// The restore.
        restore_id: RestoreId,
        /// The run it restores; absent where snapshots were named by hand.
        run: Option<Run>,
        /// Whether it is the restore itself that is unfinished, or its undo or redo.
        direction: Direction,
        /// When that began; absent where no record tells.
        began: Option<Timestamp>,
        /// The volumes that masters are to find in the end, and don't yet.
        volume_ids: Vec<VolumeId>,
        /// The autoscaling groups whose launches it suspended.
        suspended_groups: Vec<GroupName>,
        /// The commands that resume them, where no record tells how a restore would; no evidence, but of
        /// the message.
        #[serde(skip)]
        resume_commands: Vec<String>,
    },
    /// A restore is done, or undone, and masters still write to the volumes that it took out of service.
    MastersOnRetiredVolumes {
        /// The restore.
        restore_id: RestoreId,
        /// Whether it was the restore itself that took them out of service, or its undo or redo.
        direction: Direction,
        /// The masters that have one attached.
        instance_ids: Vec<InstanceId>,
        /// The volumes.
        volume_ids: Vec<VolumeId>,
    },
    /// The due run is excused by a change of the schedule, and the member has had no snapshot for long.
    DueRunNotJudged {
        /// The due run.
        due_run: Run,
        /// Since when the schedule is as it is.
        schedule_since: Timestamp,
        /// The member's newest managed snapshot.
        latest_snapshot: Option<SnapshotId>,
        /// When it was started.
        latest_snapshot_started: Option<Timestamp>,
    },
    /// A member's volume was made blank some days ago, though there are snapshots of what was before.
    VolumeRecreated {
        /// When it was made.
        began: Timestamp,
        /// The newest snapshot of what was before.
        snapshot_before: SnapshotId,
        /// When that was started.
        snapshot_before_started: Timestamp,
    },
    /// Expected runs between a member's oldest and newest snapshot left none.
    SnapshotGap {
        /// How many.
        count: usize,
        /// The runs, newest first, as many as are worth naming.
        runs: Vec<Run>,
    },
    /// A snapshot is still being written a day after it was started.
    SnapshotStuck {
        /// The oldest such snapshot.
        snapshot_id: SnapshotId,
        /// When it was started.
        started: Timestamp,
        /// How many of the member's snapshots are stuck.
        count: usize,
    },
    /// A member's history ends too early.
    RetentionShort {
        /// Expected runs inside retention that are older than the oldest snapshot.
        count: usize,
        /// The oldest snapshot.
        oldest_snapshot: SnapshotId,
        /// When it was started.
        oldest_snapshot_started: Timestamp,
    },
    /// DLM keeps more snapshots of a volume than it should.
    RetentionExceeded {
        /// How many there are.
        count: usize,
        /// How many there should be.
        retain_count: i32,
        /// Why the rest is still there.
        cause: RetentionCause,
    },
    /// The latest snapshot lacks a tag that a restore needs, or that the policy adds.
    SnapshotTagWrong {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// What is wrong.
        problems: Vec<String>,
    },
    /// The latest restore point's members were taken too far apart.
    RestorePointSkewed {
        /// The run.
        run: Run,
        /// Seconds between its earliest and its latest snapshot.
        skew_seconds: i64,
    },
    /// verify found the latest restore point damaged.
    RestorePointDamaged {
        /// The run.
        run: Run,
        /// The etcd clusters that would not start.
        etcd_clusters: Vec<EtcdClusterName>,
        /// The newest run that verify found no damage in.
        #[serde(skip_serializing_if = "Option::is_none")]
        latest_undamaged: Option<Run>,
        /// What restores that one as `at`.
        #[serde(skip_serializing_if = "Option::is_none")]
        latest_undamaged_at: Option<Timestamp>,
    },
    /// verify is on, and has said nothing of the latest restore point.
    RestorePointUnverified {
        /// The run.
        run: Run,
        /// The start of its latest snapshot.
        latest_snapshot_started: Timestamp,
    },
    /// Other enabled policies take snapshots of the same volumes.
    PolicyDuplicated {
        /// The policy that converge keeps.
        policy_id: PolicyId,
        /// The others.
        others: Vec<PolicyId>,
        /// Whether one of the others is ours by tag or description.
        ours: bool,
    },
    /// Managed snapshots that nobody will delete.
    SnapshotsOrphaned {
        /// Those of etcd volumes, and of volumes that may have been one.
        #[serde(flatten)]
        orphans: Orphans,
        /// Those of what is tagged as masters' root volumes are; of those no restore needs any.
        #[serde(skip_serializing_if = "Orphans::is_empty")]
        root_volumes: Orphans,
    },
}

/// Snapshots that nobody will delete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Orphans {
    /// How many.
    pub count: usize,
    /// The sizes of the volumes they were taken of, summed up: more than they cost.
    pub size_gib: i64,
    /// What would delete those of them that no restore may need.
    pub commands: Vec<String>,
}

impl Orphans {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Why DLM keeps more snapshots than it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetentionCause {
    /// DLM deletes nothing for a policy that isn't enabled.
    PolicyNotEnabled,
    /// The policy says another number: converge has not run since the setting changed, or failed.
    PolicyKeepsMore,
    /// DLM tries and fails: its role may not delete, or something holds the snapshots.
    DeletionFails,
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
            Self::RestoreUnfinished { .. } => "restore_unfinished",
            Self::MastersOnRetiredVolumes { .. } => "masters_on_retired_volumes",
            Self::DueRunNotJudged { .. } => "due_run_not_judged",
            Self::VolumeRecreated { .. } => "volume_recreated",
            Self::SnapshotGap { .. } => "snapshot_gap",
            Self::SnapshotStuck { .. } => "snapshot_stuck",
            Self::RetentionShort { .. } => "retention_short",
            Self::RetentionExceeded { .. } => "retention_exceeded",
            Self::SnapshotTagWrong { .. } => "snapshot_tag_wrong",
            Self::RestorePointSkewed { .. } => "restore_point_skewed",
            Self::RestorePointDamaged { .. } => "restore_point_damaged",
            Self::RestorePointUnverified { .. } => "restore_point_unverified",
            Self::PolicyDuplicated { .. } => "policy_duplicated",
            Self::SnapshotsOrphaned { .. } => "snapshots_orphaned",
        }
    }

    /// How grave it is.
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::NoEtcdVolumes { .. }
            | Self::SnapshotMissing { .. }
            | Self::SnapshotFailed { .. }
            | Self::VolumeNotTargeted { .. }
            | Self::MemberMissing { .. }
            | Self::MemberDuplicated { .. }
            | Self::PolicyMissing { .. }
            | Self::PolicyNotEnabled { .. }
            | Self::NoRestorePoint { .. }
            | Self::RestorePointDamaged { .. }
            | Self::MastersOnRetiredVolumes { .. } => Severity::Critical,
            Self::VolumeTagWrong { .. }
            | Self::DueRunNotJudged { .. }
            | Self::VolumeRecreated { .. }
            | Self::SnapshotGap { .. }
            | Self::SnapshotStuck { .. }
            | Self::RetentionShort { .. }
            | Self::RetentionExceeded { .. }
            | Self::SnapshotTagWrong { .. }
            | Self::RestorePointSkewed { .. } => Severity::Warning,
            // No master can come back while launches are suspended.
            Self::RestoreUnfinished {
                suspended_groups, ..
            } => {
                if suspended_groups.is_empty() {
                    Severity::Warning
                } else {
                    Severity::Critical
                }
            }
            Self::PolicyDuplicated { ours: true, .. } => Severity::Warning,
            Self::PolicyDuplicated { ours: false, .. } => Severity::Info,
            Self::RestorePointUnverified { .. } | Self::SnapshotsOrphaned { .. } => Severity::Info,
        }
    }
}
