//! Carrying a record's last turn out, step by step, until it ends or the invocation's time is up.
//!
//! Each round looks at what is there, has the next step decided and does it. An invocation that ends in
//! the middle loses nothing: the next one looks, and goes on.

mod looking;
mod making;
mod way_out;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_backup_core::aws::{MasterWriter, Masters, Storage, VolumeWriter};
use etcd_backup_core::ids::VolumeId;
use etcd_backup_core::lifecycle_policy::Policies;
use etcd_backup_core::restore_record::{LAYOUT, RestoreRecord};
use etcd_backup_core::restore_table::RestoreTable;
use etcd_backup_core::settings::Settings;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::lease::{Lease, RecordSlot};
use super::{Stop, masters, volumes};
use crate::collect::inventory::Inventory;
use crate::decide::list::list;
use crate::decide::masters as master_decisions;
use crate::decide::masters_find::MastersFind;
use crate::decide::refusal;
use crate::decide::sightings::Sightings;
use crate::decide::stage::{self, StageInput, Step};

/// For each listing that a look takes, between it and the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks while the first masters have their volumes.
const PAUSE_WHILE_STARTING: Duration = Duration::from_secs(5);
/// What is left of the invocation for answering, and for a call that is under way.
pub const MARGIN: Duration = Duration::from_secs(5);
/// In how many answers in a row the outgoing volumes must be absent before others are tagged.
const ABSENCES: u32 = 2;

/// What AWS must be able to do.
pub trait World:
    Storage
    + Policies
    + VolumeWriter
    + Masters
    + MasterWriter
    + RestoreTable
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> World for T where
    T: Storage
        + Policies
        + VolumeWriter
        + Masters
        + MasterWriter
        + RestoreTable
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A turn being carried out.
#[derive(Debug)]
pub struct Execution<'a, Aws> {
    /// AWS.
    pub aws: &'a Aws,
    /// The cluster's lease.
    pub lease: &'a Lease,
    /// The record's place in the table.
    pub slot: RecordSlot,
    /// The record.
    pub record: RestoreRecord,
    /// What is there.
    pub inventory: Inventory,
    /// The settings.
    pub settings: &'a Settings,
    /// The Region.
    pub region: &'a str,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// When Lambda ends the invocation.
    pub deadline: Instant,
    /// What this invocation has seen so far.
    pub seen: Observations,
}

/// What one invocation has seen: nothing of it needs to outlive it.
#[derive(Debug, Default)]
pub struct Observations {
    /// In which looks the incoming volumes were shown.
    sightings: BTreeMap<VolumeId, Sightings>,
    /// Since when volumes are attached, by this invocation's clock.
    attached_since: BTreeMap<VolumeId, Instant>,
    /// What masters' filters showed last.
    pub found: Option<MastersFind>,
    /// Whether masters' filters showed what the turn is to leave, after the last tag was written.
    is_confirmed: bool,
}

impl Observations {
    /// What masters' filters showed is about to change.
    fn forget_look(&mut self) {
        self.is_confirmed = false;
        self.found = None;
    }
}

impl<Aws: World> Execution<'_, Aws> {
    /// Carries the turn out. The record and the inventory are as it left them, whatever ended it.
    ///
    /// # Errors
    ///
    /// `VolumeFailed` when an incoming volume can't be made (the outgoing ones are untouched then);
    /// `CandidatesWrong` when masters don't find what they should; a refusal for the masters' sake;
    /// `AwsError`. Launches are resumed on the way out if masters find what was there when the turn began,
    /// or what it is to leave, for all members alike.
    pub async fn run(&mut self) -> Result<(), Stop> {
        // The lease must hold also while this only looks and waits: whoever has taken it may have turned
        // everything.
        let lease = self.lease;
        match lease.during(self.rounds()).await? {
            Err(Stop::Failed(failure)) => Err(self.let_masters_come(failure).await),
            result => result,
        }
    }

    /// Writes the record as it stands.
    ///
    /// # Errors
    ///
    /// When the lease is gone, or the table can't be written.
    pub async fn save(&mut self) -> Result<(), Stop> {
        let body = super::body(&self.record)?;
        let written = self
            .lease
            .write_record(self.aws, &mut self.slot, LAYOUT, &body);
        Ok(written.await?)
    }

    async fn rounds(&mut self) -> Result<(), Stop> {
        self.adopt();
        loop {
            self.refuse_failed().await?;
            self.refuse_lost().await?;
            refusal::masters_meanwhile(&self.record, &self.inventory, self.region)?;
            self.note_attachments();
            let step = self.next();
            if self.is_time_up() {
                return Ok(());
            }
            tracing::info!(
                restore_id = self.record.id.as_str(),
                cluster = self.record.cluster.as_str(),
                direction = self.record.turn().direction.name(),
                "{}",
                describe(&step)
            );
            if step == Step::Finish {
                if self.confirm().await? {
                    self.record.turn_mut().end((self.clock)());
                    self.record.suspended_groups.clear();
                    self.save().await?;
                }
                return Ok(());
            }
            self.enter(&step).await?;
            self.act(&step).await?;
            self.refresh(&step).await?;
        }
    }

    fn next(&self) -> Step {
        let attached = self.seen.attached_since.iter();
        let seen_attached: BTreeMap<VolumeId, Duration> = attached
            .map(|(id, since)| (id.clone(), since.elapsed()))
            .collect();
        let input = StageInput {
            volumes: &self.inventory.volumes,
            control_plane: &self.inventory.control_plane,
            seen_attached: &seen_attached,
            settings: self.settings,
            now: (self.clock)(),
        };
        stage::next(&self.record, input)
    }

    fn is_time_up(&self) -> bool {
        Instant::now() + MARGIN >= self.deadline
    }

    /// The record says in which stage it is before anything of that stage is done.
    async fn enter(&mut self, step: &Step) -> Result<(), Stop> {
        let stage = step.stage(self.record.turn().direction);
        if self.record.stage() == stage {
            return Ok(());
        }
        let now = (self.clock)();
        self.record.turn_mut().enter(stage, now);
        // This step saves the record itself, together with the groups that it is about to suspend.
        if matches!(step, Step::Suspend(_)) {
            return Ok(());
        }
        self.save().await
    }

    async fn act(&mut self, step: &Step) -> Result<(), Stop> {
        let (aws, lease) = (self.aws, self.lease);
        match step {
            Step::Create(keys) => self.create(keys).await?,
            Step::WaitForVolumes => sleep(PAUSE).await,
            Step::Suspend(groups) => {
                let suspended = &mut self.record.suspended_groups;
                let new = groups.iter().filter(|group| !suspended.contains(group));
                let new: Vec<_> = new.cloned().collect();
                suspended.extend(new);
                self.save().await?;
                let id = self.record.id.clone();
                masters::suspend(aws, lease, groups, &id).await?;
            }
            Step::Terminate(instances) => {
                if self.record.turn_mut().name_terminated(instances) {
                    self.save().await?;
                }
                masters::terminate(aws, lease, instances).await?;
            }
            Step::WaitForMasters => sleep(3 * PAUSE).await,
            Step::Retire(removals) => {
                self.seen.forget_look();
                volumes::retire(aws, lease, removals).await?;
            }
            Step::Clear(journals) => volumes::clear(aws, lease, journals).await?,
            Step::Tag(tags) => {
                if self.see_gone().await? {
                    self.seen.forget_look();
                    volumes::tag(aws, lease, tags).await?;
                }
            }
            Step::Resume(groups) => {
                // Masters' filters are asked just before launches are resumed, whatever they showed earlier.
                self.seen.forget_look();
                let inventory = &self.inventory;
                master_decisions::refuse_resuming(&self.record, groups, inventory, self.region)?;
                if self.confirm().await? {
                    masters::resume(aws, lease, groups).await?;
                }
            }
            Step::WaitForFirst(_) => sleep(PAUSE_WHILE_STARTING).await,
            Step::Finish => {}
        }
        Ok(())
    }
}

/// A step as a log line has it.
fn describe(step: &Step) -> String {
    match step {
        Step::Create(keys) => format!("creating {} volumes", keys.len()),
        Step::WaitForVolumes => "waiting for the incoming volumes".to_owned(),
        Step::Suspend(groups) => format!("suspending launches of {}", list(groups)),
        Step::Terminate(instances) => format!("terminating {}", list(instances)),
        Step::WaitForMasters => "waiting until the outgoing volumes are free".to_owned(),
        Step::Retire(removals) => format!("retiring {} volumes", removals.len()),
        Step::Clear(journals) => format!("clearing {} journals", journals.len()),
        Step::Tag(tags) => format!("tagging {} volumes", tags.len()),
        Step::Resume(groups) => format!("resuming launches of {}", list(groups)),
        Step::WaitForFirst(keys) => format!("waiting for the first masters, with {}", list(keys)),
        Step::Finish => "finishing".to_owned(),
    }
}
