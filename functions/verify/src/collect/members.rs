//! Reads members' volumes, all at the same time.

use std::sync::Arc;

use etcd_backup_core::aws_cli;
use etcd_backup_core::ids::{MemberKey, SnapshotId};
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::snapshot_blocks::SnapshotBlocks;
use etcd_reader::member::{Member, MemberContext, read_volume};
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::snapshot_volume::{GaveUp, Limits, SnapshotVolume, Subject, Traffic};

/// Calls under way at the same time, of all members together, but for those that a reader waits for: as many as
/// keep the core busy that the template gives, at 30 ms a call and some more.
const CALLS_MAX: usize = 48;
/// The same of one member: at 30 ms a call they are the 1,000 a second that AWS gives of a snapshot.
///
/// Source: Amazon EBS endpoints and quotas, "GetSnapshotBlock requests per snapshot".
const CALLS_OF_ONE_MAX: usize = 32;
/// Blocks that all members together hold or have on their way, and the most of one: 72 MiB and 24 MiB. They are
/// more than the calls, as some wait until what comes before them was read.
const HELD_MAX: usize = 144;
const HELD_OF_ONE_MAX: usize = 48;
/// How long an archived snapshot is back where a person does as an answer says.
const BROUGHT_BACK_DAYS: u8 = 7;

/// A snapshot of a member.
#[derive(Clone, Debug)]
pub struct Target {
    /// Whose it is; `None` where nothing tells.
    pub key: Option<MemberKey>,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// What a member's snapshot holds, as far as it could be read.
#[derive(Clone, Debug)]
pub struct ReadMember {
    /// Whose it is.
    pub key: Option<MemberKey>,
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// What was found.
    pub member: Member,
    /// What was read for it.
    pub traffic: Traffic,
    /// Why reading ended early, where it did.
    pub gave_up: Option<GaveUp>,
}

/// How many announced calls are under way at the same time at most, where so many snapshots are read.
pub fn calls_max(snapshots: usize) -> usize {
    CALLS_MAX.min(snapshots * CALLS_OF_ONE_MAX.min(held_max(snapshots)))
}

/// How many blocks of each of so many snapshots are held or on their way.
fn held_max(snapshots: usize) -> usize {
    (HELD_MAX / snapshots.max(1)).clamp(8, HELD_OF_ONE_MAX)
}

/// Reads them; none keeps the others from being read.
pub async fn read<A: SnapshotBlocks + Clone + 'static>(
    aws: &A,
    region: &str,
    targets: &[Target],
    deadline: Instant,
) -> Vec<ReadMember> {
    let limits = Limits {
        calls: Arc::new(Semaphore::new(CALLS_MAX)),
        calls_of_one_max: CALLS_OF_ONE_MAX,
        held_max: held_max(targets.len()),
        deadline,
    };
    let reads = targets.iter().map(|target| {
        let volume = open(aws, region, &target.snapshot, limits.clone());
        let context = context(target);
        let (key, snapshot_id) = (target.key.clone(), target.snapshot.id.clone());
        let read = tokio::task::spawn_blocking(move || {
            let member = read_volume(&volume, &context);
            let (traffic, gave_up) = volume.outcome();
            // What only the reading ahead met counts for nothing.
            let gave_up = gave_up.filter(|_| member.is_cut_short());
            ReadMember {
                key,
                snapshot_id,
                member,
                traffic,
                gave_up,
            }
        });
        async move {
            match read.await {
                Ok(read) => read,
                // The reader never panics; if it does, so does the invocation, which is what Lambda reports.
                Err(failure) => std::panic::resume_unwind(failure.into_panic()),
            }
        }
    });
    join_all(reads).await
}

fn open<A: SnapshotBlocks + Clone + 'static>(
    aws: &A,
    region: &str,
    snapshot: &Snapshot,
    limits: Limits,
) -> SnapshotVolume<A> {
    let subject = Subject {
        id: snapshot.id.clone(),
        size_gib: u64::try_from(snapshot.size_gib).unwrap_or(0),
        kms_key_id: snapshot.kms_key_id.as_deref().map(str::to_owned),
    };
    match unreadable(snapshot, region) {
        Some((gave_up, why)) => SnapshotVolume::unreadable(aws, subject, limits, gave_up, why),
        None => SnapshotVolume::open(aws, subject, limits),
    }
}

/// Why AWS gives no blocks of a snapshot, and whether it may another time.
///
/// Sources: Amazon EBS user guide, "EBS direct APIs", considerations, and "Considerations and limitations for
/// archiving Amazon EBS snapshots".
fn unreadable(snapshot: &Snapshot, region: &str) -> Option<(GaveUp, String)> {
    let id = &snapshot.id;
    if snapshot.archived {
        let back = aws_cli::command(
            region,
            "ec2 restore-snapshot-tier",
            format_args!("--snapshot-id {id} --temporary-restore-days {BROUGHT_BACK_DAYS}"),
        );
        let why = format!(
            "{id} is in the archive tier, where its blocks can't be read; `{back}` brings it back within \
             72 hours, for {BROUGHT_BACK_DAYS} days"
        );
        return Some((GaveUp::ForGood, why));
    }
    match snapshot.state {
        SnapshotState::Completed => None,
        SnapshotState::Pending => Some((
            GaveUp::ThisTime,
            format!("{id} is still pending; blocks can be read when it is completed"),
        )),
        SnapshotState::Error => Some((
            GaveUp::ForGood,
            format!("{id} failed, so there is nothing to read"),
        )),
        SnapshotState::Other => Some((
            GaveUp::ThisTime,
            format!("{id} is being brought back, or in a state that isn't known"),
        )),
    }
}

fn context(target: &Target) -> MemberContext {
    let (etcd_cluster, member) = target.key.as_ref().map_or_else(Default::default, |key| {
        (key.etcd_cluster.to_string(), key.member.to_string())
    });
    let volume_id = &target.snapshot.volume_id;
    MemberContext {
        etcd_cluster,
        member,
        // EC2 names no volume for a copy of a snapshot.
        volume_id: (!volume_id.is_of_a_copy()).then(|| volume_id.to_string()),
        snapshot_started_at: Some(target.snapshot.started),
        count_secrets_encryption: false,
    }
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::Tags;

    use super::*;

    #[test]
    fn only_snapshots_that_stay_unreadable_are_given_up_for_good() {
        for (state, archived, expected) in [
            (SnapshotState::Completed, false, None),
            (SnapshotState::Completed, true, Some(GaveUp::ForGood)),
            (SnapshotState::Error, false, Some(GaveUp::ForGood)),
            (SnapshotState::Pending, false, Some(GaveUp::ThisTime)),
            (SnapshotState::Other, false, Some(GaveUp::ThisTime)),
        ] {
            let snapshot = Snapshot {
                id: "snap-0a".into(),
                volume_id: "vol-0a".into(),
                state,
                state_message: None,
                started: "2026-11-22T06:04:00Z".parse().unwrap(),
                completed_after_seconds: None,
                size_gib: 20,
                encrypted: true,
                kms_key_id: None,
                archived,
                tags: Tags::new(),
            };
            let unreadable = unreadable(&snapshot, "eu-west-2");
            let (gave_up, why) = unreadable.unzip();
            assert_eq!(gave_up, expected, "{state:?} {archived}");
            if archived {
                insta::assert_snapshot!(why.unwrap(), @"snap-0a is in the archive tier, where its blocks can't be read; `aws ec2 restore-snapshot-tier --region eu-west-2 --snapshot-id snap-0a --temporary-restore-days 7` brings it back within 72 hours, for 7 days");
            }
        }
    }
}
