//! Carrying a plan out, step by step, until it is done or the invocation's time is up.
//!
//! Each round looks at what is there, decides the next step and does it. An invocation that ends in
//! the middle loses nothing: the next one looks, and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_backup_core::Tags;
use etcd_backup_core::aws::{AwsError, NewVolume, Storage, VolumeWriter};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{EtcdClusterName, MemberKey, VolumeId};
use etcd_backup_core::restore_tags::Retirement;
use etcd_backup_core::settings::Settings;
use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::collect::Situation;
use crate::event::Request;
use crate::plan::{Plan, Surroundings};
use crate::step::{Phase, Step};
use crate::{candidates, choice, identity};

/// Between two looks at what is there.
const PAUSE: Duration = Duration::from_secs(1);
/// What is left of the invocation for answering, and for a call that is under way.
const MARGIN: Duration = Duration::from_secs(5);
/// How often masters' filters are asked for what should be there, before it is called wrong: reads
/// lag writes in EC2, by seconds at most.
const LOOKS_MAX: u32 = 30;
/// EC2's answers to a client token whose volume was deleted, or was made otherwise.
const TOKEN_USED_UP: [&str; 2] = ["InvalidVolume.NotFound", "IdempotentParameterMismatch"];
/// In how many answers in a row the old volumes must be absent before the new ones are tagged.
const ABSENCES: u32 = 2;

/// Carries a plan out; gives it as it stands then, and how far it is.
///
/// # Errors
///
/// `VolumeFailed` when a new volume ends in `error` (the old ones are untouched then);
/// `CandidatesWrong` when masters don't find what they should; `AwsError`.
pub async fn execute(
    aws: &(impl Storage + VolumeWriter),
    settings: &Settings,
    request: &Request,
    mut situation: Situation,
    mut attempt: Attempt,
    surroundings: &Surroundings,
    deadline: Instant,
) -> Result<(Plan, Phase), Diagnostic> {
    let failed_before = failed_volumes(&situation);
    let mut unseen = Unseen::default();
    loop {
        let plan = Plan::new(request, &situation, settings, &attempt, surroundings)?;
        refuse_failed(&plan, &situation, &failed_before)?;
        let step = Step::next(&plan, settings, surroundings.now);
        if step == Step::Finish {
            return confirm(aws, plan, deadline).await;
        }
        if Instant::now() + MARGIN >= deadline {
            return Ok((plan, step.phase()));
        }
        let restore_id = plan.restore_id.as_str();
        tracing::info!(restore_id, phase = ?step.phase(), "{}", describe(&step));
        match step {
            Step::Create(volumes) => {
                let gone = create(aws, &volumes).await?;
                for key in unseen.after_creating(&volumes, gone) {
                    *attempt.used_up.entry(key).or_default() += 1;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Step::Retire(retirements) => retire(aws, &retirements).await.map_err(go_on)?,
            Step::Tag(tags) => match see_old_volumes_gone(aws, &plan, deadline).await? {
                true => tag(aws, &tags).await.map_err(go_on)?,
                false => return Ok((plan, Phase::Exchanging)),
            },
            Step::Wait | Step::Finish => tokio::time::sleep(PAUSE).await,
        }
        situation = situation.refreshed(aws, settings, request).await?;
    }
}

fn describe(step: &Step) -> String {
    match step {
        Step::Create(volumes) => format!("creating {} volumes", volumes.len()),
        Step::Wait => "waiting for the new volumes".to_owned(),
        Step::Retire(retirements) => format!("retiring {} volumes", retirements.len()),
        Step::Tag(tags) => format!("tagging {} volumes", tags.len()),
        Step::Finish => "finishing".to_owned(),
    }
}

/// Members whose volumes were made and are not to be seen: EC2's reads lag its writes by seconds, so one
/// that stays away for longer is gone, and its client token with it.
#[derive(Default)]
struct Unseen(BTreeMap<MemberKey, u32>);

impl Unseen {
    /// The members that need another token, after a round of making volumes that found those `gone`.
    fn after_creating(
        &mut self,
        volumes: &[(MemberKey, NewVolume)],
        mut gone: Vec<MemberKey>,
    ) -> Vec<MemberKey> {
        for (key, _) in volumes {
            let rounds = self.0.entry(key.clone()).or_default();
            *rounds += 1;
            if *rounds >= LOOKS_MAX {
                *rounds = 0;
                gone.push(key.clone());
            }
        }
        gone
    }
}

/// All at the same time, so that one that is refused doesn't hold the others up; the first refusal is
/// told. What was made stays, untagged, and is gone on with. Gives the members whose client token was
/// used up by a volume that is gone.
async fn create(
    aws: &impl VolumeWriter,
    volumes: &[(MemberKey, NewVolume)],
) -> Result<Vec<MemberKey>, AwsError> {
    let calls = volumes.iter().map(
        async |(key, volume)| match aws.create_volume(volume).await {
            Err(error) if TOKEN_USED_UP.iter().any(|code| error.is(code)) => Ok(Some(key.clone())),
            result => result.map(|_| None),
        },
    );
    let made = futures::future::join_all(calls).await;
    let gone = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(gone.into_iter().flatten().collect())
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

/// The journals first: a volume must never stand without its tags and without a memory of them.
async fn retire(
    aws: &impl VolumeWriter,
    retirements: &[(VolumeId, Retirement)],
) -> Result<(), AwsError> {
    let journals = retirements
        .iter()
        .map(async |(volume, retirement)| aws.tag_volume(volume, &retirement.tags()).await);
    futures::future::try_join_all(journals).await?;
    let volumes: Vec<_> = retirements
        .iter()
        .map(|(volume, _)| volume.clone())
        .collect();
    let keys: BTreeSet<_> = retirements
        .iter()
        .flat_map(|(_, retirement)| retirement.was.keys().cloned())
        .collect();
    aws.untag_volumes(&volumes, &Vec::from_iter(keys)).await
}

async fn tag(aws: &impl VolumeWriter, tags: &[(VolumeId, Tags)]) -> Result<(), AwsError> {
    let writes = tags
        .iter()
        .map(async |(volume, tags)| aws.tag_volume(volume, tags).await);
    futures::future::try_join_all(writes).await.map(drop)
}

/// Asks the masters' own filters until no old volume is found, several times in a row. `false` when
/// the invocation's time is up first.
async fn see_old_volumes_gone(
    aws: &impl Storage,
    plan: &Plan,
    deadline: Instant,
) -> Result<bool, Diagnostic> {
    let etcd_clusters = etcd_clusters(plan);
    let old: BTreeSet<_> = plan
        .members
        .iter()
        .flat_map(|member| &member.old)
        .map(|volume| &volume.id)
        .collect();
    let mut absences = 0;
    while absences < ABSENCES {
        if Instant::now() + MARGIN >= deadline {
            return Ok(false);
        }
        let found = candidates::candidates(aws, &plan.cluster, &etcd_clusters).await?;
        absences = match found.iter().any(|volume| old.contains(&volume.id)) {
            true => 0,
            false => absences + 1,
        };
        if absences < ABSENCES {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(true)
}

/// Sees that masters find the new volumes, and them alone.
async fn confirm(
    aws: &impl Storage,
    plan: Plan,
    deadline: Instant,
) -> Result<(Plan, Phase), Diagnostic> {
    let etcd_clusters = etcd_clusters(&plan);
    let mut wrong = Vec::new();
    for _ in 0..LOOKS_MAX {
        let found = candidates::candidates(aws, &plan.cluster, &etcd_clusters).await?;
        let made = plan
            .members
            .iter()
            .filter_map(|member| Some((&member.key, member.made.as_ref()?)));
        wrong = candidates::wrong(&found, made);
        if wrong.is_empty() {
            return Ok((plan, Phase::Done));
        }
        if Instant::now() + MARGIN >= deadline {
            return Ok((plan, Phase::Exchanging));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let wrong = wrong
        .iter()
        .map(|(key, found)| format!("{key}: {}", choice::list(found.iter())));
    Err(Diagnostic::new(
        ErrorType::CandidatesWrong,
        format!(
            "the volumes are exchanged, but masters would not find exactly one volume, the restored \
             one, for each member. They find for {}. Take the k8s.io/etcd tag off what shouldn't be \
             found before any master starts",
            wrong.collect::<Vec<_>>().join("; ")
        ),
    ))
}

fn etcd_clusters(plan: &Plan) -> BTreeSet<EtcdClusterName> {
    plan.members
        .iter()
        .map(|member| member.key.etcd_cluster.clone())
        .collect()
}

fn failed_volumes(situation: &Situation) -> BTreeSet<VolumeId> {
    let all = situation.cluster.unfinished.iter();
    let failed =
        all.filter(|(_, volume)| volume.state == etcd_backup_core::volume::VolumeState::Error);
    failed.map(|(_, volume)| volume.id.clone()).collect()
}

/// A volume that failed before this invocation is made anew; one that fails now ends it, as what
/// broke it (a KMS key, most often) won't have changed within seconds.
fn refuse_failed(
    plan: &Plan,
    situation: &Situation,
    failed_before: &BTreeSet<VolumeId>,
) -> Result<(), Diagnostic> {
    let failed: Vec<_> = identity::failed(&situation.cluster, &plan.restore_id)
        .filter(|(_, volume)| !failed_before.contains(&volume.id))
        .map(|(origin, volume)| {
            let snapshot = volume.made_from.as_ref().map_or("?", |id| id.as_str());
            format!("{} for {} from {snapshot}", volume.id, origin.member)
        })
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::new(
        ErrorType::VolumeFailed,
        format!(
            "EC2 could not make {} (state error; of an encrypted snapshot, most often because this \
             function may not use its KMS key). The old volumes are as they were. Mend the cause and \
             send the same event again: it makes the failed ones anew. Delete the failed ones with \
             aws ec2 delete-volume when all is done",
            failed.join(", ")
        ),
    ))
}
