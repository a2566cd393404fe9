//! Findings in words: what is wrong, what it means for a restore, what to do first.

use etcd_backup_core::ids::VolumeId;

use super::{Kind, Subject};

pub(super) fn message(subject: &Subject, kind: &Kind) -> String {
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
            "{who} has no volume, though the etcd tag of {} names it as a member; {}. Find out what deleted the \
             volume before anything makes a blank one in its place.",
            join(named_by),
            latest_snapshot
                .as_ref()
                .map_or("it has no snapshot".to_owned(), |id| format!(
                    "its latest snapshot is {id}"
                )),
        ),
        Kind::MemberDuplicated { count, volume_ids } => format!(
            "{count} volumes ({}) claim to be {who}'s volume: a starting master may mount any of them. Find out \
             which one etcd uses and take the k8s.io/etcd tag off the others.",
            match volume_ids.len() < *count {
                true => format!("{}, …", join(volume_ids)),
                false => join(volume_ids),
            }
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
        Kind::VolumeTagWrong { problems } => format!(
            "{volume} has wrong tags ({}): masters and kops may not find it, or may take it \
             for another's. Correct them.",
            problems.join("; ")
        ),
        Kind::RestoreUnfinished { .. } => restore_unfinished(kind),
        Kind::PolicyDuplicated {
            policy_id, others, ..
        } => format!(
            "Beside {policy_id}, {} also take snapshots of these volumes: they are paid for twice, \
             and restore points may mix. Disable or delete what nobody needs.",
            join(others)
        ),
        Kind::RestorePointSkewed { run, skew_seconds } => format!(
            "The latest restore point, of the run of {run}, has snapshots started {} minutes apart: \
             etcd may panic or lose entries when restored from it. Choose an older one with \"at\", \
             and find out what held DLM up.",
            skew_seconds / 60
        ),
        Kind::SnapshotsOrphaned { .. } => snapshots_orphaned(kind),
        Kind::SnapshotGap { .. }
        | Kind::SnapshotStuck { .. }
        | Kind::RetentionShort { .. }
        | Kind::RetentionExceeded { .. }
        | Kind::SnapshotTagWrong { .. } => history(&who, kind),
    }
}

fn history(who: &str, kind: &Kind) -> String {
    match kind {
        Kind::SnapshotGap { count, runs } => format!(
            "{who} has no snapshot of {count} of the runs between its oldest and its newest{}: there \
             is no going back to those. Nothing brings them back; find out what kept DLM from it.",
            match runs.is_empty() {
                true => String::new(),
                false => format!(
                    " ({}{})",
                    join(runs),
                    if *count > runs.len() { ", …" } else { "" }
                ),
            }
        ),
        Kind::SnapshotStuck {
            snapshot_id,
            started,
            ..
        } => format!(
            "The snapshot {snapshot_id} of {who}, started {started}, is still pending after a day: it \
             can't be restored from. Take one by hand, and ask AWS about this one."
        ),
        Kind::RetentionShort {
            count,
            oldest_snapshot,
            oldest_snapshot_started,
        } => format!(
            "The history of {who} ends too early: {count} expected runs inside retention are older \
             than its oldest snapshot, {oldest_snapshot} of {oldest_snapshot_started}. Find out what \
             deleted them, or kept DLM from taking them."
        ),
        Kind::RetentionExceeded {
            count,
            retain_count,
        } => format!(
            "DLM keeps {count} snapshots of the volume of {who}, though {retain_count} are asked for. \
             Check that its role may delete snapshots, and that nothing has them locked or in use."
        ),
        Kind::SnapshotTagWrong {
            snapshot_id,
            problems,
        } => format!(
            "The latest snapshot of {who}, {snapshot_id}, has wrong tags ({}): a restore may not find \
             it, or make a volume that masters don't find. Check the policy's copying of tags, and \
             correct the snapshot's.",
            problems.join("; ")
        ),
        _ => String::new(),
    }
}

fn restore_unfinished(kind: &Kind) -> String {
    let Kind::RestoreUnfinished {
        restore_id,
        began,
        volume_ids,
        suspended_groups,
        is_undo,
        ..
    } = kind
    else {
        return String::new();
    };
    let suspended = match suspended_groups.is_empty() {
        true => String::new(),
        false => format!(
            " Launches of {} are suspended meanwhile: no master can come back.",
            join(suspended_groups)
        ),
    };
    let untagged = match &volume_ids[..] {
        [] => String::new(),
        [only] => format!(": {only} is not tagged for masters to find"),
        several => format!(": {} are not tagged for masters to find", join(several)),
    };
    let (what, event) = match is_undo {
        true => (
            "The undo of",
            format!(
                "{{\"action\":\"undo\",\"restore_id\":\"{restore_id}\"}} with the cluster's name"
            ),
        ),
        false => ("Restore", "its event".to_owned()),
    };
    let way_out = match is_undo {
        true => "",
        false => ", or undo it",
    };
    format!(
        "{what} {restore_id}, begun {began}, is unfinished{untagged}.{suspended} Send {event} again to go on \
         with it{way_out}.",
    )
}

fn snapshots_orphaned(kind: &Kind) -> String {
    let Kind::SnapshotsOrphaned {
        count,
        size_gib,
        commands,
    } = kind
    else {
        return String::new();
    };
    format!(
        "{count} snapshots (of volumes of {size_gib} GiB in sum) will be deleted by nobody, as their \
         volume is gone or no longer targeted, or their policy is gone. {}",
        match commands.is_empty() {
            true =>
                "Keep them for now: they are inside retention, or the cluster may have to be restored from \
                 them.",
            false => "The commands in the evidence delete those that are past retention.",
        }
    )
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
