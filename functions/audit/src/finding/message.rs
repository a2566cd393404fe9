//! Findings in words: what is wrong, what it means for a restore, what to do first.
//!
//! Times are whole seconds: `{:.0}`.

mod history;
mod orphans;
mod restores;

use std::fmt::Display;

use etcd_backup_core::ids::{
    EtcdClusterName, MemberKey, PolicyId, RestoreId, SnapshotId, VolumeId,
};
use etcd_backup_core::schedule::Run;
use jiff::Timestamp;
use serde_json::json;

use super::{Kind, Subject};

pub(super) fn message(subject: &Subject, kind: &Kind) -> String {
    let who = &subject.within_cluster().unwrap_or_default();
    let volume = subject.volume_id.as_ref().map_or("?", VolumeId::as_str);
    match kind {
        Kind::NoEtcdVolumes {
            latest_snapshot,
            latest_snapshot_started,
            restore_id,
            restored_alone,
        } => {
            let latest = latest_snapshot.as_ref().zip(*latest_snapshot_started);
            no_etcd_volumes(subject, latest, restore_id.as_ref(), restored_alone)
        }
        Kind::SnapshotMissing {
            expected_after,
            latest_snapshot,
            latest_snapshot_started,
        } => {
            let latest = latest_snapshot.as_ref().zip(*latest_snapshot_started);
            history::missing(who, volume, *expected_after, latest)
        }
        Kind::SnapshotFailed {
            run,
            snapshot_id,
            state_message,
        } => history::failed(who, volume, *run, snapshot_id, state_message.as_deref()),
        Kind::DueRunNotJudged {
            due_run,
            schedule_since,
            latest_snapshot,
            latest_snapshot_started,
        } => {
            let latest = latest_snapshot.as_ref().zip(*latest_snapshot_started);
            history::not_judged(who, volume, *due_run, *schedule_since, latest)
        }
        Kind::VolumeRecreated {
            began,
            snapshot_before,
            snapshot_before_started,
        } => volume_recreated(
            subject,
            volume,
            *began,
            snapshot_before,
            *snapshot_before_started,
        ),
        Kind::SnapshotGap { count, runs } => history::gap(who, *count, runs),
        Kind::SnapshotStuck {
            snapshot_id,
            started,
            ..
        } => history::stuck(who, snapshot_id, *started),
        Kind::RetentionShort {
            count,
            oldest_snapshot,
            oldest_snapshot_started,
        } => history::short(who, *count, oldest_snapshot, *oldest_snapshot_started),
        Kind::RetentionExceeded {
            count,
            retain_count,
            cause,
        } => history::exceeded(who, *count, *retain_count, *cause),
        Kind::SnapshotTagWrong {
            snapshot_id,
            problems,
        } => history::tag_wrong(who, snapshot_id, problems),
        Kind::VolumeNotTargeted { target_tags } => format!(
            "{volume} of {who} has none of the target tags ({}), so it is never backed up. \
             Put the tag back on the volume.",
            target_tags.join(", ")
        ),
        Kind::MemberMissing {
            named_by,
            latest_snapshot,
        } => member_missing(who, named_by, latest_snapshot.as_ref()),
        Kind::MemberDuplicated { count, volume_ids } => format!(
            "{count} volumes ({}) claim to be {who}'s volume: a starting master may mount any of them. Find out \
             which one etcd uses and take the k8s.io/etcd tag off the others.",
            first_of(*count, volume_ids)
        ),
        Kind::PolicyMissing { description } => format!(
            "There is no DLM policy tagged managed-by=etcd-backup or described as \"{description}\": \
             nothing is backed up. Run converge."
        ),
        Kind::PolicyNotEnabled {
            policy_id,
            state,
            status_message,
        } => policy_not_enabled(policy_id, state, status_message.as_deref()),
        Kind::NoRestorePoint { missing, mixed } => no_restore_point(who, missing, *mixed),
        Kind::VolumeTagWrong { problems } => format!(
            "{volume} has wrong tags, or too many ({}): masters and kops may not find it, may take it for \
             another's, or it can't be backed up or restored. Correct them.",
            problems.join("; ")
        ),
        Kind::RestoreUnfinished {
            restore_id,
            began,
            volume_ids,
            suspended_groups,
            resume_commands,
            direction,
            ..
        } => match began {
            Some(began) => {
                restores::unfinished(restore_id, *direction, *began, volume_ids, suspended_groups)
            }
            None => restores::suspended(restore_id, suspended_groups, resume_commands),
        },
        Kind::MastersOnRetiredVolumes {
            restore_id,
            direction,
            instance_ids,
            volume_ids,
        } => restores::masters_on_retired(restore_id, *direction, instance_ids, volume_ids),
        Kind::PolicyDuplicated {
            policy_id, others, ..
        } => format!(
            "More than one enabled DLM policy takes snapshots of the same volumes, {} among them (converge \
             keeps {policy_id}): they are paid for twice. Disable or delete what nobody needs.",
            join(others)
        ),
        Kind::RestorePointSkewed { run, skew_seconds } => restore_point_skewed(*run, *skew_seconds),
        Kind::RestorePointDamaged {
            run,
            etcd_clusters,
            latest_undamaged_at,
            ..
        } => restore_point_damaged(subject, *run, etcd_clusters, *latest_undamaged_at),
        Kind::RestorePointUnverified {
            run,
            latest_snapshot_started,
        } => restore_point_unverified(subject, *run, *latest_snapshot_started),
        Kind::SnapshotsOrphaned {
            orphans,
            root_volumes,
        } => orphans::message(orphans, root_volumes),
    }
}

fn no_etcd_volumes(
    subject: &Subject,
    latest: Option<(&SnapshotId, Timestamp)>,
    restore_id: Option<&RestoreId>,
    restored_alone: &[EtcdClusterName],
) -> String {
    let alone = if restored_alone.is_empty() {
        String::new()
    } else {
        format!("\"etcd_clusters\":{},", json!(restored_alone))
    };
    match (&subject.cluster, &subject.etcd_cluster, latest) {
        (Some(cluster), Some(etcd_cluster), Some((id, started))) => format!(
            "Every volume of {etcd_cluster} of {cluster} is gone; its latest snapshot is {id} of \
             {started:.0}. Don't run kops update (it would make blank volumes); {}",
            match restore_id {
                Some(restore_id) => format!(
                    "restore {restore_id} is bringing them back and isn't finished: send its event again."
                ),
                None => format!(
                    "invoke restore with {{\"action\":\"plan\",\"cluster\":\"{cluster}\",{alone}\"masters\":\"replace\"}} and look at the \
                     plan. If the cluster was deleted on purpose, this ends two intervals, or 48 hours if \
                     that is longer, after its last snapshot."
                ),
            }
        ),
        (Some(cluster), ..) => format!(
            "{cluster} must have etcd volumes here and has none, nor a recent snapshot. Check the \
             name, the Region and the account."
        ),
        _ => "There is not one etcd volume in this account and Region. If that is on purpose, set \
              the parameter ExpectClusters (EXPECT_CLUSTERS) to none."
            .to_owned(),
    }
}

fn member_missing(
    who: &str,
    named_by: &[VolumeId],
    latest_snapshot: Option<&SnapshotId>,
) -> String {
    let latest = match latest_snapshot {
        Some(id) => format!("its latest snapshot is {id}"),
        None => "it has no snapshot".to_owned(),
    };
    format!(
        "{who} has no volume, though the etcd tag of {} names it as a member; {latest}. Find out what deleted the \
         volume before anything makes a blank one in its place.",
        join(named_by),
    )
}

fn volume_recreated(
    subject: &Subject,
    volume: &str,
    began: Timestamp,
    before: &SnapshotId,
    started: Timestamp,
) -> String {
    let who = subject.within_cluster().unwrap_or_default();
    let cluster = subject.cluster.as_ref().map_or("", |name| name.as_str());
    // The time is rounded up to a whole second: cut off, it would be before the snapshot.
    let at = Timestamp::from_second(started.as_second() + 1).unwrap_or(started);
    format!(
        "{volume} of {who} was made blank at {began:.0}, though there are snapshots of what was there before, \
         the latest {before} of {started:.0}. If the cluster was made anew on purpose, this ends 7 days later. \
         If it was a loss, what is backed up since then began empty, and a restore goes back only when it is \
         told to: look at the plan of \
         {{\"action\":\"plan\",\"cluster\":\"{cluster}\",\"masters\":\"replace\",\"at\":\"{at}\"}}."
    )
}

fn policy_not_enabled(policy_id: &PolicyId, state: &str, status_message: Option<&str>) -> String {
    format!(
        "The DLM policy {policy_id} is {state}{}: nothing is backed up and nothing is deleted. Run converge.",
        status_message
            .map(|text| format!(" ({text})"))
            .unwrap_or_default()
    )
}

fn no_restore_point(who: &str, missing: &[MemberKey], mixed: bool) -> String {
    let of_due_run = if !missing.is_empty() {
        format!("lacks {}", join(missing))
    } else if mixed {
        "is mixed: some of its snapshots are of before a restore's exchange of volumes, or of before volumes \
         were made blank, and some of after"
            .to_owned()
    } else {
        "left nothing of it".to_owned()
    };
    format!(
        "Not one run left a completed snapshot of every member of {who}: it can't be restored. \
         The latest due run {of_due_run}."
    )
}

fn restore_point_skewed(run: Run, skew_seconds: i64) -> String {
    format!(
        "The latest restore point, of the run of {run}, has snapshots started {} minutes apart: \
         etcd may panic or lose entries when restored from it. Choose an older one with \"at\", \
         and find out what held DLM up.",
        skew_seconds / 60
    )
}

fn restore_point_damaged(
    subject: &Subject,
    run: Run,
    etcd_clusters: &[EtcdClusterName],
    undamaged_at: Option<Timestamp>,
) -> String {
    let cluster = subject.cluster.as_ref().map_or("", |name| name.as_str());
    let otherwise = match undamaged_at {
        Some(at) => format!("A restore would have to go back to \"at\": \"{at}\""),
        None => {
            "No other restore point is known to be good: verify an older one with \"at\"".to_owned()
        }
    };
    format!(
        "etcd would not start from the latest restore point that verify has read, of the run of {run}: it found {} damaged. \
         verify's {{\"cluster\":\"{cluster}\"}} says what is wrong. {otherwise}. Find out what damaged it, as the \
         live volumes may be so too: look at `etcdctl endpoint status` and the masters' logs, and take \
         snapshots by hand.",
        join(etcd_clusters)
    )
}

fn restore_point_unverified(subject: &Subject, run: Run, started: Timestamp) -> String {
    let cluster = subject.cluster.as_ref().map_or("", |name| name.as_str());
    format!(
        "The latest restore point, of the run of {run} (its last snapshot started {started:.0}), has no \
         verdict: nobody knows whether etcd would start from it. Look at verify's log, or invoke verify with \
         {{\"cluster\":\"{cluster}\"}}."
    )
}

fn join<T: Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}

/// Items, and a sign that there are more than are named.
fn first_of<T: Display>(count: usize, named: &[T]) -> String {
    if named.len() < count {
        format!("{}, …", join(named))
    } else {
        join(named)
    }
}
