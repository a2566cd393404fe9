//! Says whether the etcd inside snapshots would start, without making a volume of them.
//!
//! Collect ([`collect`]: the snapshots, and what is in them) → decide ([`decide`]: which snapshots, and what
//! becomes of them) → show ([`show`]) → act ([`act`]: verdicts stand as tags on the snapshots). The reading
//! itself is the crate `etcd-reader`'s.
//!
//! Invariant: no key's name and no value of a database is answered, logged or written down anywhere.

pub mod act;
pub mod collect;
pub mod decide;
pub mod event;
pub mod schema;
pub mod show;

use std::time::Duration;

use etcd_backup_aws::function::Invocation;
use etcd_backup_core::aws::{SnapshotTagger, Storage};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{ClusterName, SnapshotId};
use etcd_backup_core::lifecycle_policy::Policies;
use etcd_backup_core::settings::{Settings, VerifyMode};
use etcd_backup_core::snapshot::SnapshotState;
use etcd_backup_core::snapshot_blocks::SnapshotBlocks;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::collect::{inventory, members};
use crate::decide::assessment::Assessment;
use crate::decide::choice::{self, Asked, Chosen};
use crate::decide::sweep::{self, Outcome};
use crate::decide::tags;
use crate::event::{Event, Which};
use crate::show::answer::{Answer, NothingAnswer, SweepAnswer};
use crate::show::metrics;

/// What is kept of an invocation's time for writing tags and answering, but no more than a part of it.
const MARGIN_MAX: Duration = Duration::from_secs(20);
const MARGIN_PART: u32 = 5;
/// How often, and after which waits, EC2 is asked again for a snapshot that it has just said is completed.
const ASKED_AGAIN_AFTER_SECONDS: [u64; 5] = [1, 2, 4, 8, 15];

/// The AWS that verify needs.
pub trait World: Storage + Policies + SnapshotBlocks + SnapshotTagger + Clone + 'static {}
impl<A: Storage + Policies + SnapshotBlocks + SnapshotTagger + Clone + 'static> World for A {}

/// Handles one invocation.
///
/// # Errors
///
/// `InvalidEvent`, `ClusterNotFound`, `NoRestorePoint`; `AwsError` when a listing or a tag fails. What can't
/// be read of a snapshot is no error but a verdict: `unsupported`.
pub async fn handle(
    aws: &impl World,
    settings: &Settings,
    invocation: Invocation,
) -> Result<Value, Diagnostic> {
    let function = Function {
        aws,
        settings,
        invocation: &invocation,
    };
    match Event::decode(&invocation.event)? {
        Event::Cluster(name, which) => function.cluster(&name, which).await,
        Event::Snapshot(id) => function.alone(&id).await,
        Event::Completed(Some(id)) => function.completed(&id).await,
        Event::Completed(None) => nothing("the event tells of no snapshot that was completed"),
        Event::Sweep => function.sweep().await,
    }
}

struct Function<'a, A> {
    aws: &'a A,
    settings: &'a Settings,
    invocation: &'a Invocation,
}

impl<A: World> Function<'_, A> {
    fn mode(&self) -> VerifyMode {
        choice::mode(self.settings)
    }

    /// When reading ends.
    fn deadline(&self) -> Instant {
        let Invocation {
            started, deadline, ..
        } = self.invocation;
        let margin = MARGIN_MAX.min((*deadline - *started) / MARGIN_PART);
        *deadline - margin
    }

    async fn cluster(&self, name: &ClusterName, which: Which) -> Result<Value, Diagnostic> {
        let cluster = inventory::cluster(self.aws, self.settings, name);
        let schedule = &self.settings.schedule;
        let chosen = match which {
            Which::Latest => choice::restore_point(name, &cluster.await?, schedule, None)?,
            Which::At(at) => choice::restore_point(name, &cluster.await?, schedule, Some(at))?,
            Which::Named(named) => {
                let found = inventory::snapshots(self.aws, named.values());
                let (cluster, found) = tokio::try_join!(cluster, found)?;
                choice::by_hand(name, &cluster, schedule, &found, &named)?
            }
        };
        json(&Answer::new(self.verify(&chosen, self.deadline()).await?))
    }

    async fn alone(&self, id: &SnapshotId) -> Result<Value, Diagnostic> {
        let mut found = inventory::snapshots(self.aws, [id].into_iter()).await?;
        let snapshot = found
            .remove(id)
            .ok_or_else(|| choice::not_found("snapshot_id", id))?;
        let identity = inventory::identity(self.aws, &snapshot).await?;
        let cluster = match &identity {
            Some(identity) => {
                inventory::cluster(self.aws, self.settings, &identity.cluster).await?
            }
            None => Cluster::default(),
        };
        let schedule = &self.settings.schedule;
        let chosen = choice::alone(snapshot, identity.as_ref(), &cluster, schedule);
        json(&Answer::new(self.verify(&chosen, self.deadline()).await?))
    }

    /// A snapshot was completed. EC2's describes may lag behind its events.
    async fn completed(&self, id: &SnapshotId) -> Result<Value, Diagnostic> {
        if self.mode() == VerifyMode::Off {
            return nothing("VERIFY is off");
        }
        let mut waits = ASKED_AGAIN_AFTER_SECONDS
            .into_iter()
            .map(Duration::from_secs);
        loop {
            match self.asked(id).await? {
                Asked::Verify(chosen) => {
                    let assessment = self.verify(&chosen, self.deadline()).await?;
                    return json(&Answer::new(assessment));
                }
                Asked::Nothing(why) => return nothing(why),
                Asked::Again => {}
            }
            let wait = waits
                .next()
                .filter(|wait| Instant::now() + *wait < self.deadline());
            let Some(wait) = wait else {
                return nothing(format!(
                    "{id} still reads as pending; the sweep sees to its run"
                ));
            };
            sleep(wait).await;
        }
    }

    async fn asked(&self, id: &SnapshotId) -> Result<Asked, Diagnostic> {
        let mut found = inventory::snapshots(self.aws, [id].into_iter()).await?;
        let Some(snapshot) = found.remove(id) else {
            return Ok(Asked::Nothing(format!("{id} is not there")));
        };
        // Most of an account's snapshots are none of etcd's: one call, and no more, for each of them.
        let Some(identity) = inventory::identity(self.aws, &snapshot).await? else {
            return Ok(Asked::Nothing(format!("{id} is of no etcd volume")));
        };
        if snapshot.state == SnapshotState::Pending {
            return Ok(Asked::Again);
        }
        let name = &identity.cluster;
        let cluster = inventory::cluster(self.aws, self.settings, name).await?;
        Ok(choice::completed(
            name,
            &cluster,
            self.settings,
            self.mode(),
            id,
        ))
    }

    /// Cluster by cluster, as long as there is time; members of one cluster are read at the same time. What
    /// fails of one keeps none of the others from its verdict, nor from being told.
    async fn sweep(&self) -> Result<Value, Diagnostic> {
        if self.mode() == VerifyMode::Off {
            return nothing("VERIFY is off");
        }
        let fleet = inventory::fleet(self.aws, self.settings).await?;
        let is_left = |(name, cluster): &(&ClusterName, &Cluster)| {
            choice::left_over(name, cluster, self.settings, self.mode()).is_some()
        };
        let left = fleet.clusters.iter().filter(is_left);
        let left: Vec<&ClusterName> = left.map(|(name, _)| name).collect();
        let left = sweep::in_turn(left, self.invocation.now);
        let mut outcomes = Vec::new();
        let mut longest = Duration::ZERO;
        for (done, name) in left.iter().enumerate() {
            let began = Instant::now();
            let outcome = if began + longest >= self.deadline() {
                Outcome::NotReached
            } else {
                let share = sweep::share(self.deadline() - began, left.len() - done);
                match self.left_over(name, began + share).await {
                    Ok(None) => Outcome::Settled,
                    Ok(Some(assessment)) => Outcome::Read(assessment),
                    Err(error) => {
                        tracing::warn!(cluster = name.as_str(), "{error}");
                        Outcome::Failed(error)
                    }
                }
            };
            longest = longest.max(began.elapsed());
            outcomes.push(((*name).clone(), outcome));
        }
        json(&SweepAnswer::new(sweep::sum_up(outcomes)?))
    }

    /// Verifies a cluster's latest restore point where it still has no verdict: those before it took minutes.
    async fn left_over(
        &self,
        name: &ClusterName,
        deadline: Instant,
    ) -> Result<Option<Assessment>, Diagnostic> {
        let cluster = inventory::cluster(self.aws, self.settings, name).await?;
        match choice::left_over(name, &cluster, self.settings, self.mode()) {
            Some(chosen) => self.verify(&chosen, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads, judges, logs and writes down.
    async fn verify(&self, chosen: &Chosen, deadline: Instant) -> Result<Assessment, Diagnostic> {
        let began = Instant::now();
        let region = &self.invocation.deployment.region;
        let read = members::read(self.aws, region, &chosen.targets, deadline).await;
        let mut assessment = Assessment::new(chosen, read);
        log(&assessment, began.elapsed());
        if let Some(line) = metrics::line(&assessment, (self.invocation.clock)(), began.elapsed()) {
            // Not through tracing, which would put a timestamp in front: a line is to be plain JSON.
            println!("{line}");
        }
        let written = act::tag(self.aws, tags::of(chosen, &assessment)).await;
        match tags::note(&mut assessment, chosen, &written) {
            Ok(()) => Ok(assessment),
            Err(error) => Err(Diagnostic::from(error).with(&format!(
                "the verdict is {}, and could not be written down on all snapshots",
                assessment.verdict.name()
            ))),
        }
    }
}

fn log(assessment: &Assessment, duration: Duration) {
    let traffic = assessment.traffic();
    tracing::info!(
        cluster = assessment.cluster.as_ref().map(ClusterName::as_str),
        run = assessment.run.map(|run| run.to_string()),
        verdict = assessment.verdict.name(),
        blocks = traffic.blocks,
        blocks_unused = traffic.unused,
        duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        "verified"
    );
    for of in &assessment.etcd_clusters {
        for (report, source) in of.report.members.iter().zip(&of.sources) {
            for problem in &report.problems {
                tracing::warn!(
                    cluster = assessment.cluster.as_ref().map(ClusterName::as_str),
                    etcd_cluster = of.report.etcd_cluster,
                    member = report.member,
                    snapshot_id = source.snapshot_id.as_str(),
                    "{problem}"
                );
            }
        }
    }
}

fn nothing(why: impl Into<String>) -> Result<Value, Diagnostic> {
    let answer = NothingAnswer::new(why.into());
    tracing::info!("nothing was verified: {}", answer.reason);
    json(&answer)
}

fn json(answer: &impl Serialize) -> Result<Value, Diagnostic> {
    serde_json::to_value(answer)
        .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))
}
