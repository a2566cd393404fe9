//! Writing volumes: making them, taking them out of service, putting them into it.

use std::collections::BTreeSet;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::{AwsError, NewVolume, VolumeWriter};
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::ids::{MemberKey, VolumeId};
use etcd_backup_core::restore_record::RestoreRecord;
use futures::future::{join_all, try_join_all};

use super::lease::{Lease, LeaseLost};
use super::{Stop, by_fresh_tag};
use crate::decide::exchange::Removal;
use crate::decide::restore::tags_at_creation;

/// EC2's answer to a client token whose volume was deleted.
const TOKEN_USED_UP: [&str; 2] = ["InvalidVolume.NotFound", "IdempotentParameterMismatch"];
/// Refusals that have nothing to do with how a volume is to be filled.
const NOT_FOR_THE_RATE: [&str; 3] = [
    "RequestLimitExceeded",
    "InvalidSnapshot.NotFound",
    "UnauthorizedOperation",
];

/// What to do where EC2 won't make a volume, by its code.
///
/// Source: EC2 API reference, "Error codes".
const WAYS_OUT: [(&str, &str); 7] = [
    (
        "InvalidSnapshot.NotFound",
        "the snapshot was deleted meanwhile: undo this restore, then choose another point with \"at\"",
    ),
    (
        "IncorrectState",
        "the snapshot isn't usable now, as when it is being archived: undo this restore, then choose \
         another point with \"at\", or bring the snapshot back from the archive (EC2's RestoreSnapshotTier)",
    ),
    (
        "InsufficientVolumeCapacity",
        "the zone has no room for this type of volume now: try again in some minutes, or undo this \
         restore and choose another type with \"volume\"",
    ),
    ("VolumeLimitExceeded", LIMIT),
    ("MaxIOPSLimitExceeded", LIMIT),
    ("MaxStorageLimitExceeded", LIMIT),
    (
        "InvalidZone.NotFound",
        "the zone isn't there, or not yours: undo this restore, then choose others with \"zones\"",
    ),
];
const LIMIT: &str = "the account's limit is reached: delete volumes that nobody needs, or have the limit \
                     raised in Service Quotas, then send the same event again";

/// What became of a call that makes a member's volume.
#[derive(Debug)]
pub enum CreateOutcome {
    /// It is being made, or was already.
    Volume(VolumeId),
    /// What an earlier call of the same token made is gone.
    Gone,
    /// EC2 won't fill it at the rate asked for: without that it may make it.
    RateRefused(AwsError),
    /// It wasn't made.
    Failed(AwsError),
}

/// Makes volumes, all at the same time, so that one that is refused doesn't hold the others up.
pub async fn create(
    aws: &impl VolumeWriter,
    lease: &Lease,
    record: &RestoreRecord,
    keys: &[MemberKey],
) -> Result<Vec<(MemberKey, CreateOutcome)>, LeaseLost> {
    let calls = keys.iter().filter_map(|key| {
        let volume = new_volume(record, key)?;
        Some(async move {
            let made = lease.during(aws.create_volume(&volume)).await?;
            Ok((key.clone(), create_outcome(made, &volume)))
        })
    });
    try_join_all(calls).await
}

fn new_volume(record: &RestoreRecord, key: &MemberKey) -> Option<NewVolume> {
    let member = record.members.get(key)?;
    let incoming = &member.incoming;
    Some(NewVolume {
        snapshot_id: member.snapshot.id.clone(),
        zone: incoming.zone.clone(),
        size_gib: incoming.size_gib,
        performance: incoming.performance.clone(),
        kms_key_id: incoming.kms_key_id.clone(),
        initialization_rate_mib_s: incoming.initialization_rate_mib_s,
        tags: tags_at_creation(record, key),
        client_token: format!("{}-{}", incoming.client_token_base, incoming.attempt),
    })
}

fn create_outcome(made: Result<VolumeId, AwsError>, volume: &NewVolume) -> CreateOutcome {
    match made {
        Ok(id) => CreateOutcome::Volume(id),
        Err(error) if TOKEN_USED_UP.iter().any(|code| error.is(code)) => CreateOutcome::Gone,
        Err(error)
            if volume.initialization_rate_mib_s.is_some()
                && error.certainly_refused
                && !NOT_FOR_THE_RATE.iter().any(|code| error.is(code)) =>
        {
            CreateOutcome::RateRefused(error)
        }
        Err(error) => CreateOutcome::Failed(error),
    }
}

/// A volume that EC2 refused to make, and the way out.
pub fn not_made(record: &RestoreRecord, key: &MemberKey, error: AwsError) -> Diagnostic {
    let way_out = WAYS_OUT.iter().find(|(code, _)| error.is(code));
    let way_out = way_out.map_or(String::new(), |(_, way_out)| format!("; {way_out}"));
    let from = record.members.get(key).map_or(String::new(), |member| {
        format!(" from {} in {}", member.snapshot.id, member.incoming.zone)
    });
    let message = format!(
        "{}; this was the volume for {key}{from}; the old volumes are as they were{way_out}",
        error.message
    );
    AwsError { message, ..error }.into()
}

/// Takes volumes out of service: what they are to remember is written first, as far as there is room.
pub async fn retire(
    aws: &impl VolumeWriter,
    lease: &Lease,
    removals: &[Removal],
) -> Result<(), Stop> {
    let before = removals
        .iter()
        .map(|removal| (&removal.volume, &removal.journal_before));
    write_tags(aws, lease, before).await?;
    // A volume that was never tagged has no tags to lose.
    let tagged: Vec<&Removal> = removals
        .iter()
        .filter(|removal| !removal.keys.is_empty())
        .collect();
    let volumes: Vec<VolumeId> = tagged
        .iter()
        .map(|removal| removal.volume.clone())
        .collect();
    let keys: BTreeSet<String> = tagged
        .iter()
        .flat_map(|removal| removal.keys.clone())
        .collect();
    untag(aws, lease, &volumes, &Vec::from_iter(keys)).await?;
    let after = removals
        .iter()
        .map(|removal| (&removal.volume, &removal.journal_after));
    write_tags(aws, lease, after).await
}

/// Makes volumes the masters' own.
pub async fn tag(
    aws: &impl VolumeWriter,
    lease: &Lease,
    tags: &[(VolumeId, Tags)],
) -> Result<(), Stop> {
    write_tags(aws, lease, tags.iter().map(|(volume, tags)| (volume, tags))).await
}

/// Takes each volume's journal off.
pub async fn clear(
    aws: &impl VolumeWriter,
    lease: &Lease,
    journals: &[(VolumeId, Vec<String>)],
) -> Result<(), Stop> {
    let volumes: Vec<_> = journals.iter().map(|(volume, _)| volume.clone()).collect();
    let keys: BTreeSet<_> = journals.iter().flat_map(|(_, keys)| keys.clone()).collect();
    untag(aws, lease, &volumes, &Vec::from_iter(keys)).await
}

async fn write_tags<'a>(
    aws: &impl VolumeWriter,
    lease: &Lease,
    tags: impl Iterator<Item = (&'a VolumeId, &'a Tags)>,
) -> Result<(), Stop> {
    let writes = tags
        .filter(|(_, tags)| !tags.is_empty())
        .map(async |(volume, tags)| {
            let write = by_fresh_tag(async || aws.tag_volume(volume, tags).await);
            lease.during(write).await
        });
    for written in join_all(writes).await {
        written?.map_err(go_on)?;
    }
    Ok(())
}

async fn untag(
    aws: &impl VolumeWriter,
    lease: &Lease,
    volumes: &[VolumeId],
    keys: &[String],
) -> Result<(), Stop> {
    if volumes.is_empty() || keys.is_empty() {
        return Ok(());
    }
    let write = by_fresh_tag(async || aws.untag_volumes(volumes, keys).await);
    lease.during(write).await?.map_err(go_on)?;
    Ok(())
}

/// In the middle of an exchange the operator must know how to get out of it.
fn go_on(error: AwsError) -> AwsError {
    AwsError {
        message: format!(
            "{}; the exchange is under way, so send the same event again until it is done",
            error.message
        ),
        ..error
    }
}
