//! What each step does to AWS. No choice is made here; the order of the calls within a step is what
//! makes it safe to be cut off between any two of them.

use std::collections::BTreeSet;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::{AwsError, MasterWriter, Masters, NewVolume, VolumeWriter};
use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::ids::{ClusterName, GroupName, MemberKey, RestoreId, VolumeId};
use etcd_backup_core::restore_tags::{Retirement, SUSPENDED_BY};
use futures::future::{join_all, try_join_all};

use crate::choice::list;
use crate::step::Step;

/// EC2's answers to a client token whose volume was deleted, or was made otherwise.
const TOKEN_USED_UP: [&str; 2] = ["InvalidVolume.NotFound", "IdempotentParameterMismatch"];

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
         another point with \"at\", or bring the snapshot back (aws ec2 restore-snapshot-tier)",
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

/// A step as a log line has it.
pub fn describe(step: &Step) -> String {
    match step {
        Step::Create(volumes) => format!("creating {} volumes", volumes.len()),
        Step::Wait => "waiting for the new volumes".to_owned(),
        Step::Suspend(groups) => format!("suspending launches of {}", list(groups.iter())),
        Step::Terminate(instances) => format!("terminating {}", list(instances.iter())),
        Step::WaitForMasters => "waiting until the old volumes are free".to_owned(),
        Step::Retire(retirements) => format!("retiring {} volumes", retirements.len()),
        Step::Tag(tags) => format!("tagging {} volumes", tags.len()),
        Step::Clean(leftovers) => format!("cleaning up {} journals", leftovers.len()),
        Step::Resume(groups) => format!("resuming launches of {}", list(groups.iter())),
        Step::Finish => "finishing".to_owned(),
    }
}

/// All at the same time, so that one that is refused doesn't hold the others up; the first refusal is
/// told. What was made stays, untagged, and is gone on with. Gives the members whose client token was
/// used up by a volume that is gone.
pub async fn create(
    aws: &impl VolumeWriter,
    volumes: &[(MemberKey, NewVolume)],
) -> Result<Vec<MemberKey>, AwsError> {
    let calls = volumes.iter().map(
        async |(key, volume)| match aws.create_volume(volume).await {
            Err(error) if TOKEN_USED_UP.iter().any(|code| error.is(code)) => Ok(Some(key.clone())),
            Err(error) => Err(not_made(key, volume, error)),
            Ok(_) => Ok(None),
        },
    );
    let made = join_all(calls).await;
    let gone = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(gone.into_iter().flatten().collect())
}

fn not_made(key: &MemberKey, volume: &NewVolume, error: AwsError) -> AwsError {
    let way_out = WAYS_OUT.iter().find(|(code, _)| error.is(code));
    let way_out = way_out.map_or(String::new(), |(_, way_out)| format!("; {way_out}"));
    AwsError {
        message: format!(
            "{}; this was the volume for {key} from {} in {}; the old volumes are as they were{way_out}",
            error.message, volume.snapshot_id, volume.zone
        ),
        ..error
    }
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

/// The tag first: a group must never stand suspended with nobody knowing that it is to be resumed.
pub async fn suspend(
    aws: &impl MasterWriter,
    groups: &[GroupName],
    by: &RestoreId,
) -> Result<(), AwsError> {
    aws.mark_suspended(groups, by).await?;
    let calls = groups
        .iter()
        .map(async |group| aws.suspend_launches(group).await);
    try_join_all(calls).await.map(drop)
}

/// All are tried, whichever fails; the tags go only off those that are resumed.
pub async fn resume(aws: &impl MasterWriter, groups: &[GroupName]) -> Result<(), AwsError> {
    let calls = groups
        .iter()
        .map(async |group| aws.resume_launches(group).await.map(|()| group.clone()));
    let (resumed, failed): (Vec<_>, Vec<_>) =
        join_all(calls).await.into_iter().partition(Result::is_ok);
    let resumed: Vec<GroupName> = resumed.into_iter().flatten().collect();
    if !resumed.is_empty() {
        aws.unmark_suspended(&resumed).await?;
    }
    match failed.into_iter().find_map(Result::err) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The journals first: a volume must never stand without its tags and without a memory of them.
pub async fn retire(
    aws: &impl VolumeWriter,
    retirements: &[(VolumeId, Retirement)],
) -> Result<(), AwsError> {
    let journals = retirements
        .iter()
        .map(async |(volume, retirement)| aws.tag_volume(volume, &retirement.tags()).await);
    try_join_all(journals).await.map_err(go_on)?;
    // What was never tagged has nothing to lose.
    let tagged = retirements
        .iter()
        .filter(|(_, retirement)| !retirement.was.is_empty());
    let (volumes, keys): (Vec<_>, Vec<_>) = tagged
        .map(|(volume, retirement)| (volume.clone(), retirement.was.keys().cloned()))
        .unzip();
    let keys: BTreeSet<String> = keys.into_iter().flatten().collect();
    match volumes.is_empty() {
        true => Ok(()),
        false => {
            let untagged = aws.untag_volumes(&volumes, &Vec::from_iter(keys)).await;
            untagged.map_err(go_on)
        }
    }
}

/// Makes volumes the masters' own.
pub async fn tag(aws: &impl VolumeWriter, tags: &[(VolumeId, Tags)]) -> Result<(), AwsError> {
    let writes = tags
        .iter()
        .map(async |(volume, tags)| aws.tag_volume(volume, tags).await);
    try_join_all(writes).await.map(drop).map_err(go_on)
}

/// Takes each volume's journal off.
pub async fn clean(
    aws: &impl VolumeWriter,
    leftovers: &[(VolumeId, Vec<String>)],
) -> Result<(), AwsError> {
    let volumes: Vec<_> = leftovers.iter().map(|(volume, _)| volume.clone()).collect();
    let keys: BTreeSet<_> = leftovers
        .iter()
        .flat_map(|(_, keys)| keys.clone())
        .collect();
    let cleaned = aws.untag_volumes(&volumes, &Vec::from_iter(keys)).await;
    cleaned.map_err(go_on)
}

/// The way out of a failure: launches that a restore suspended are resumed, so that masters come back,
/// on whatever volumes they find. Where even that fails, the message says how to do it by hand.
pub async fn let_masters_come(
    aws: &(impl Masters + MasterWriter),
    cluster: &ClusterName,
    failure: Diagnostic,
) -> Diagnostic {
    let suspended = match aws.groups(cluster).await {
        Ok(groups) => groups
            .into_iter()
            .filter(|group| group.suspended_by.is_some()),
        Err(error) => {
            return failure.with(&format!(
                "whether launches of the masters' groups are still suspended couldn't be told ({error}): \
                 see {{\"action\":\"status\",\"cluster\":\"{cluster}\"}}"
            ));
        }
    };
    let suspended: Vec<GroupName> = suspended.map(|group| group.name).collect();
    if suspended.is_empty() {
        return failure;
    }
    let names = list(suspended.iter());
    match resume(aws, &suspended).await {
        Ok(()) => failure.with(&format!(
            "launches of {names} are resumed, so that masters come back"
        )),
        Err(error) => failure.with(&format!(
            "launches of {names} may still be suspended ({error}); resume them: {}",
            resume_by_hand(&suspended).join("; ")
        )),
    }
}

/// Before it is known what an event is about, nothing is resumed; but nobody should have to wonder why no
/// master comes back.
pub async fn tell_suspended(
    aws: &impl Masters,
    cluster: &ClusterName,
    failure: Diagnostic,
) -> Diagnostic {
    let groups = aws.groups(cluster).await.unwrap_or_default();
    let suspended = groups.iter().filter(|group| group.suspended_by.is_some());
    let names = list(suspended.map(|group| &group.name));
    match groups.iter().any(|group| group.suspended_by.is_some()) {
        true => failure.with(&format!(
            "launches of {names} are suspended by a restore that isn't over: send the same event again"
        )),
        false => failure,
    }
}

/// The commands that resume groups' launches.
pub fn resume_by_hand(groups: &[GroupName]) -> Vec<String> {
    let commands = groups.iter().map(|group| {
        format!(
            "aws autoscaling resume-processes --scaling-processes Launch --auto-scaling-group-name {group} \
             && aws autoscaling delete-tags --tags \
             ResourceId={group},ResourceType=auto-scaling-group,Key={SUSPENDED_BY}"
        )
    });
    commands.collect()
}
