//! Carrying a restore or an undo out, step by step, until it is done or the invocation's time is up.
//!
//! Each round looks at what is there, decides the next step and does it. An invocation that ends in
//! the middle loses nothing: the next one looks, and goes on. One that fails in the middle lets masters
//! come back first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_backup_core::aws::{MasterWriter, Masters, NewVolume, Storage, VolumeWriter};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{MemberKey, RestoreId, VolumeId};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::standing::Standing;
use etcd_backup_core::volume::VolumeState;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::collect::{FleetOfMasters, Situation};
use crate::event::Request;
use crate::exchange::Exchange;
use crate::plan::{Plan, Surroundings};
use crate::step::{Phase, Step, Work};
use crate::undo::Undo;
use crate::{act, attempt, candidates, choice, identity, refusal, undo};

/// Between two looks at what is there.
const PAUSE: Duration = Duration::from_secs(1);
/// What is left of the invocation for answering, and for a call that is under way.
const MARGIN: Duration = Duration::from_secs(5);
/// How often masters' filters are asked for what should be there, before it is called wrong: reads
/// lag writes in EC2, by seconds at most.
const LOOKS_MAX: u32 = 30;
/// In how many answers in a row the old volumes must be absent before the new ones are tagged.
const ABSENCES: u32 = 2;

/// What an invocation goes by, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Execution<'a> {
    /// The event.
    pub request: &'a Request,
    /// The settings.
    pub settings: &'a Settings,
    /// Which restore it is, and what planning needs beside what is there; `None` for an undo.
    pub restore: Option<(Attempt, Surroundings)>,
    /// The invocation's clock.
    pub now: Timestamp,
    /// When Lambda ends the invocation.
    pub deadline: Instant,
}

/// How far an execution came.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The work as it stands.
    pub work: Work,
    /// How far it is.
    pub phase: Phase,
    /// The masters as they stand.
    pub fleet: FleetOfMasters,
}

impl Execution<'_> {
    /// Decides what the work is, from what is there.
    ///
    /// # Errors
    ///
    /// What it is refused for.
    pub fn work(&self, situation: &Situation) -> Result<Work, Diagnostic> {
        let Self {
            request, settings, ..
        } = self;
        match &self.restore {
            Some((attempt, surroundings)) => {
                self.refuse_undone_meanwhile(&attempt.restore_id, situation)?;
                let plan = Plan::new(request, situation, settings, attempt, surroundings)?;
                Ok(Work::Restore(Box::new(plan)))
            }
            None => {
                let undo = Undo::of(request, situation)?;
                refusal::exchange(request, &undo.exchange, situation, settings)?;
                Ok(Work::Undo(Box::new(undo)))
            }
        }
    }

    /// Carries it out.
    ///
    /// # Errors
    ///
    /// Before anything is written, a refusal. `VolumeFailed` when a new volume ends in `error` (the old
    /// ones are untouched then); `CandidatesWrong` when masters don't find what they should;
    /// `AwsError`. Launches that a restore suspended are resumed on the way out, but for
    /// `CandidatesWrong`.
    pub async fn run(
        mut self,
        aws: &(impl Storage + VolumeWriter + Masters + MasterWriter),
        situation: Situation,
    ) -> Result<Progress, Diagnostic> {
        // A refusal changes nothing, unless launches are suspended already in this restore's name.
        let mut has_acted = self.has_suspended(&situation);
        let result = self.rounds(aws, situation, &mut has_acted).await;
        match result {
            // Masters that came back now would choose between two volumes.
            Err(failure) if failure.error_type == ErrorType::CandidatesWrong => Err(failure),
            Err(failure) if has_acted => {
                Err(act::let_masters_come(aws, &self.request.cluster, failure).await)
            }
            result => result,
        }
    }

    fn has_suspended(&self, situation: &Situation) -> bool {
        let own = match &self.restore {
            Some((attempt, _)) => Some(attempt.restore_id.clone()),
            None => undo::standing(self.request, situation)
                .ok()
                .map(|standing| standing.id),
        };
        let suspended = situation.fleet_of_masters.suspended();
        let mut by = suspended.filter_map(|group| group.suspended_by.as_ref());
        by.any(|by| Some(by.restore()) == own)
    }

    /// Another invocation's undo comes first, should two ever run at once.
    fn refuse_undone_meanwhile(
        &self,
        id: &RestoreId,
        situation: &Situation,
    ) -> Result<(), Diagnostic> {
        let standing = Standing::of(&situation.cluster, id);
        match standing.and_then(|standing| standing.turn()) {
            Some(turn) => Err(attempt::undo_in_progress(self.request, id, turn)),
            None => Ok(()),
        }
    }

    async fn rounds(
        &mut self,
        aws: &(impl Storage + VolumeWriter + Masters + MasterWriter),
        mut situation: Situation,
        has_acted: &mut bool,
    ) -> Result<Progress, Diagnostic> {
        let failed_before = failed_volumes(&situation);
        let mut unseen = Unseen::default();
        let mut is_confirmed = false;
        let mut before: Option<Work> = None;
        loop {
            let work = match (self.work(&situation), before) {
                // The last journal is gone, and with it all that told of the undo: it was confirmed.
                (Err(error), Some(Work::Undo(undo)))
                    if error.error_type == ErrorType::RestoreNotFound && is_confirmed =>
                {
                    return Ok(Progress {
                        phase: Work::Undo(undo.clone()).phase(&Step::Finish),
                        work: Work::Undo(undo),
                        fleet: situation.fleet_of_masters,
                    });
                }
                (work, _) => work?,
            };
            if let Work::Restore(plan) = &work {
                refuse_failed(&plan.restore_id, &situation, &failed_before)?;
            }
            let fleet = &situation.fleet_of_masters;
            let step = work.next(self.request.masters, fleet, self.settings, self.now);
            let exchange = work.exchange();
            let is_exchanged = matches!(step, Step::Resume(_) | Step::Clean(_) | Step::Finish);
            if is_exchanged && !is_confirmed {
                is_confirmed = self.confirm(aws, &exchange).await?;
            }
            let is_over = step == Step::Finish || Instant::now() + MARGIN >= self.deadline;
            if is_over {
                let phase = match is_confirmed || step != Step::Finish {
                    true => work.phase(&step),
                    false => Phase::Exchanging,
                };
                return Ok(Progress {
                    work,
                    phase,
                    fleet: situation.fleet_of_masters,
                });
            }
            tracing::info!(
                restore_id = exchange.id.as_str(),
                phase = ?work.phase(&step),
                "{}",
                act::describe(&step)
            );
            *has_acted = true;
            match step {
                Step::Create(volumes) => {
                    let gone = act::create(aws, &volumes).await?;
                    self.forget_used_up(unseen.after_creating(&volumes, gone));
                    tokio::time::sleep(PAUSE).await;
                }
                Step::Tag(tags) if self.see_gone(aws, &exchange).await? => {
                    act::tag(aws, &tags).await?;
                }
                Step::Wait | Step::WaitForMasters | Step::Tag(_) | Step::Finish => {
                    tokio::time::sleep(PAUSE).await;
                }
                Step::Suspend(groups) => act::suspend(aws, &groups, &exchange.id).await?,
                Step::Terminate(instances) => aws.terminate(&instances).await?,
                Step::Retire(retirements) => act::retire(aws, &retirements).await?,
                Step::Clean(leftovers) => act::clean(aws, &leftovers).await?,
                Step::Resume(groups) => act::resume(aws, &groups).await?,
            }
            situation = situation
                .refreshed(aws, self.settings, self.request)
                .await?;
            before = Some(work);
        }
    }

    fn forget_used_up(&mut self, members: Vec<MemberKey>) {
        if let Some((attempt, _)) = &mut self.restore {
            for key in members {
                *attempt.used_up.entry(key).or_default() += 1;
            }
        }
    }

    /// Asks the masters' own filters until no volume that leaves is found, several times in a row.
    /// `false` when the invocation's time is up first.
    async fn see_gone(&self, aws: &impl Storage, exchange: &Exchange) -> Result<bool, Diagnostic> {
        let out: BTreeSet<_> = exchange.leaving().map(|volume| &volume.id).collect();
        let etcd_clusters = exchange.etcd_clusters();
        let mut absences = 0;
        while absences < ABSENCES {
            if Instant::now() + MARGIN >= self.deadline {
                return Ok(false);
            }
            let cluster = &self.request.cluster;
            let found = candidates::candidates(aws, cluster, &etcd_clusters).await?;
            absences = match found.iter().any(|volume| out.contains(&volume.id)) {
                true => 0,
                false => absences + 1,
            };
            if absences < ABSENCES {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(true)
    }

    /// Sees that masters find what they shall, and that alone. `false` when the invocation's time is up
    /// first.
    async fn confirm(&self, aws: &impl Storage, exchange: &Exchange) -> Result<bool, Diagnostic> {
        let etcd_clusters = exchange.etcd_clusters();
        let mut wrong = Vec::new();
        for _ in 0..LOOKS_MAX {
            let cluster = &self.request.cluster;
            let found = candidates::candidates(aws, cluster, &etcd_clusters).await?;
            wrong = candidates::wrong(&found, exchange.wanted());
            if wrong.is_empty() {
                return Ok(true);
            }
            if Instant::now() + MARGIN >= self.deadline {
                return Ok(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
        let wrong = wrong
            .iter()
            .map(|(key, found)| format!("{key}: {}", choice::list(found.iter())));
        Err(Diagnostic::new(
            ErrorType::CandidatesWrong,
            format!(
                "the volumes are exchanged, but masters would not find exactly one volume, the right \
                 one, for each member. They find for {}. Take the k8s.io/etcd tag off what shouldn't be \
                 found before any master starts (launches that were suspended for this stay so), then \
                 send the same event again",
                wrong.collect::<Vec<_>>().join("; ")
            ),
        ))
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

fn failed_volumes(situation: &Situation) -> BTreeSet<VolumeId> {
    let all = situation.cluster.unfinished.iter();
    let failed = all.filter(|(_, volume)| volume.state == VolumeState::Error);
    failed.map(|(_, volume)| volume.id.clone()).collect()
}

/// A volume that failed before this invocation is made anew; one that fails now ends it, as what
/// broke it (a KMS key, most often) won't have changed within seconds.
fn refuse_failed(
    restore_id: &RestoreId,
    situation: &Situation,
    failed_before: &BTreeSet<VolumeId>,
) -> Result<(), Diagnostic> {
    let failed: Vec<_> = identity::failed(&situation.cluster, restore_id)
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
