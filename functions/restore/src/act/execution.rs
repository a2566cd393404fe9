//! Carrying a record's last turn out, step by step, until it ends or the invocation's time is up.
//!
//! Each round looks at what is there, has the next step decided and does it. An invocation that ends in
//! the middle loses nothing: the next one looks, and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_backup_core::aws::{MasterWriter, Masters, Storage, VolumeWriter};
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{MemberKey, VolumeId};
use etcd_backup_core::lifecycle_policy::Policies;
use etcd_backup_core::restore_record::{
    Direction, LAYOUT, MastersOption, RestoreRecord, RestoreStage,
};
use etcd_backup_core::restore_table::RestoreTable;
use etcd_backup_core::restore_tags::{self, Retirement};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::volume::VolumeState;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::lease::{Lease, RecordSlot};
use super::volumes::Made;
use super::{Stop, masters, volumes};
use crate::collect::candidates;
use crate::collect::control_plane::ControlPlane;
use crate::collect::inventory::{Inventory, volumes_by_id};
use crate::decide::exchange::{
    Exchange, Side, WrongMember, is_in_service, masters_find, side_found, unknown_found,
    wrong_members,
};
use crate::decide::list::list;
use crate::decide::masters_find::MastersFind;
use crate::decide::stage::{self, Scene, Step};
use crate::decide::{masters as master_decisions, refusal};
use crate::event::MountedBy;

/// For each listing that a look takes, between it and the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks while the first masters have their volumes.
const PAUSE_WHILE_STARTING: Duration = Duration::from_secs(5);
/// What is left of the invocation for answering, and for a call that is under way.
pub const MARGIN: Duration = Duration::from_secs(5);
/// How many looks a volume may stay away that was just made, or masters' filters be behind: reads lag
/// writes in EC2, by seconds.
const LOOKS_MAX: u32 = 20;
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
    /// What mounts the volumes, where somebody said so.
    pub mounted_by: Option<MountedBy>,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// When Lambda ends the invocation.
    pub deadline: Instant,
    /// What this invocation has seen so far.
    pub seen: Seen,
}

/// What one invocation has seen: nothing of it needs to outlive it.
#[derive(Debug, Default)]
pub struct Seen {
    /// Incoming volumes that were shown at all.
    shown: BTreeSet<VolumeId>,
    /// How many looks the others stayed away.
    absences: BTreeMap<VolumeId, u32>,
    /// Since when volumes are attached, by this invocation's clock.
    attached_since: BTreeMap<VolumeId, Instant>,
    /// What masters' filters showed last.
    pub found: Option<MastersFind>,
    /// Whether masters' filters showed what the turn is to leave, after the last tag was written.
    is_confirmed: bool,
}

impl Seen {
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
        match self.rounds().await {
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
        let body = self
            .record
            .body()
            .map_err(|error| Diagnostic::new(ErrorType::Internal, error.to_string()))?;
        let written = self
            .lease
            .write_record(self.aws, &mut self.slot, LAYOUT, &body);
        Ok(written.await?)
    }

    async fn rounds(&mut self) -> Result<(), Stop> {
        self.adopt();
        loop {
            self.refuse_failed().await?;
            self.refuse_lost()?;
            self.refuse_for_masters()?;
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
                    self.record.held_groups.clear();
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
        let scene = Scene {
            volumes: &self.inventory.volumes,
            control_plane: &self.inventory.control_plane,
            seen_attached: &seen_attached,
            settings: self.settings,
            now: (self.clock)(),
        };
        stage::next(&self.record, scene)
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
        // With the groups that it is about to suspend, which are noted then.
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
                let held = &mut self.record.held_groups;
                let new = groups.iter().filter(|group| !held.contains(group));
                let new: Vec<_> = new.cloned().collect();
                held.extend(new);
                self.save().await?;
                let id = self.record.id.clone();
                masters::suspend(aws, lease, groups, &id).await?;
            }
            Step::Terminate(instances) => masters::terminate(aws, lease, instances).await?,
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
                // Asked just before, whatever was seen earlier.
                self.seen.forget_look();
                if self.confirm().await? {
                    masters::resume(aws, lease, groups).await?;
                }
            }
            Step::WaitForFirst(_) => sleep(PAUSE_WHILE_STARTING).await,
            Step::Finish => {}
        }
        Ok(())
    }

    /// Looks again. Masters are read before volumes: who sees outgoing volumes in service then knows that
    /// the masters seen are from before the exchange.
    async fn refresh(&mut self, step: &Step) -> Result<(), Stop> {
        let was_creating = matches!(step, Step::Create(_) | Step::WaitForVolumes);
        let masters_matter = self.record.turn().masters == MastersOption::Replace
            || !self.record.held_groups.is_empty();
        if was_creating {
            self.read_volumes().await?;
            let is_creating = self.next().stage(Direction::Restore) == RestoreStage::Creating;
            if is_creating || !masters_matter {
                return Ok(());
            }
        }
        if masters_matter {
            self.read_control_plane().await?;
        }
        self.read_volumes().await
    }

    async fn read_control_plane(&mut self) -> Result<(), Stop> {
        let asks_protection = self.record.turn().masters == MastersOption::Replace;
        let before = &self.inventory.control_plane;
        self.inventory.control_plane =
            ControlPlane::read(self.aws, &self.record.cluster, asks_protection, before).await?;
        Ok(())
    }

    async fn read_volumes(&mut self) -> Result<(), Stop> {
        let recorded: Vec<VolumeId> = self.record.volume_ids().cloned().collect();
        let listed = volumes_by_id(self.aws, recorded.iter()).await?;
        for id in &recorded {
            self.inventory.volumes.remove(id);
        }
        self.inventory.volumes.extend(listed);
        Ok(())
    }

    /// Volumes of this restore that its record doesn't know of, as it was cut off between making them and
    /// writing that down.
    fn adopt(&mut self) {
        let id = self.record.id.clone();
        for (key, member) in &mut self.record.members {
            let incoming = &mut member.incoming;
            if incoming.volume_id.is_some() {
                continue;
            }
            let mut volumes = self.inventory.volumes.values();
            let found = volumes.find(|volume| {
                restore_tags::is_made_by(&volume.tags, &id, key)
                    && !Retirement::is_on(&volume.tags)
                    && !incoming.failed.contains(&volume.id)
                    && volume.state != VolumeState::Error
            });
            incoming.volume_id = found.map(|volume| volume.id.clone());
        }
    }

    async fn create(&mut self, keys: &[MemberKey]) -> Result<(), Stop> {
        let made = volumes::create(self.aws, self.lease, &self.record, keys).await?;
        let mut gone = Vec::new();
        let mut failure = None;
        for (key, made) in made {
            let Some(member) = self.record.members.get_mut(&key) else {
                continue;
            };
            let incoming = &mut member.incoming;
            match made {
                Made::Volume(id) => incoming.volume_id = Some(id),
                Made::Gone => {
                    incoming.attempt += 1;
                    gone.push(format!("the volume for {key}"));
                }
                Made::RateRefused(error) => {
                    let rate = incoming.initialization_rate_mib_s.take().unwrap_or(0);
                    incoming.attempt += 1;
                    self.record.warnings.push(format!(
                        "the volume of {key} is made without initialization_rate, as EC2 refused {rate} \
                         MiB/s: etcd's first minutes may be slow ({error})"
                    ));
                }
                Made::Failed(error) => {
                    failure = failure.or(Some((key, error)));
                }
            }
        }
        self.save().await?;
        if let Some((key, error)) = failure {
            return Err(volumes::not_made(&self.record, &key, error).into());
        }
        if !gone.is_empty() {
            return Err(self.volume_failed(&gone).into());
        }
        Ok(())
    }

    /// A volume that ended in `error`, or is no longer shown, is given up: the next invocation makes another
    /// one, with a token of its own. This one ends, as what broke it won't have changed within seconds.
    async fn refuse_failed(&mut self) -> Result<(), Stop> {
        if self.record.turn().direction != Direction::Restore {
            return Ok(());
        }
        let mut failed = Vec::new();
        for (key, member) in &mut self.record.members {
            let incoming = &mut member.incoming;
            let Some(id) = incoming.volume_id.clone() else {
                continue;
            };
            let what = match self.inventory.volumes.get(&id) {
                Some(volume) if volume.state == VolumeState::Error => "state error",
                Some(_) => {
                    self.seen.shown.insert(id);
                    continue;
                }
                None => {
                    let absences = self.seen.absences.entry(id.clone()).or_default();
                    *absences += 1;
                    if !self.seen.shown.contains(&id) && *absences < LOOKS_MAX {
                        continue;
                    }
                    "vanished"
                }
            };
            failed.push(format!(
                "{id} for {key} from {} ({what})",
                member.snapshot.id
            ));
            incoming.failed.push(id);
            incoming.volume_id = None;
            incoming.attempt += 1;
        }
        if failed.is_empty() {
            return Ok(());
        }
        self.save().await?;
        Err(self.volume_failed(&failed).into())
    }

    fn volume_failed(&self, failed: &[String]) -> Diagnostic {
        let exchange = Exchange::of(&self.record);
        let volumes = &self.inventory.volumes;
        let are_untouched = exchange
            .leaving(volumes)
            .all(|(_, volume)| is_in_service(volume, self.settings));
        let old = if are_untouched {
            "The old volumes are as they were."
        } else {
            "Old volumes are out of service already: an undo brings them back."
        };
        Diagnostic::new(
            ErrorType::VolumeFailed,
            format!(
                "EC2 could not make {}. Most often this function, or EC2 in its name, may not use the KMS \
                 key: that of an encrypted snapshot or of \"kms_key_id\", or the account's default key where \
                 encryption by default is on. {old} Mend the cause and send the same event again: it makes \
                 the failed ones anew, and nothing twice. Delete what is left of the failed ones with aws \
                 ec2 delete-volume when all is done",
                list(failed)
            ),
        )
    }

    /// What an undo or a redo puts in service must be there: all members turn, or none does.
    fn refuse_lost(&self) -> Result<(), Stop> {
        let turn = self.record.turn();
        if turn.direction == Direction::Restore {
            return Ok(());
        }
        let exchange = Exchange::of(&self.record);
        let members = exchange.members.iter();
        let lost = members.filter_map(|member| {
            let (id, _) = member.coming?;
            let is_lost = !self.inventory.volumes.contains_key(id);
            is_lost.then(|| format!("{id} of {}", member.key))
        });
        let lost: Vec<String> = lost.collect();
        if lost.is_empty() {
            return Ok(());
        }
        let (name, back) = match turn.direction {
            Direction::Undo => ("undo", "redo"),
            Direction::Restore | Direction::Redo => ("redo", "undo"),
        };
        Err(Stop::Failed(Diagnostic::new(
            ErrorType::UndoImpossible,
            format!(
                "{} is gone since the {name} began, so that it can't end: send {{\"action\":\"{back}\",\
                 \"cluster\":\"{}\",\"restore_id\":\"{}\"}} to turn back",
                list(lost),
                self.record.cluster,
                self.record.id
            ),
        )))
    }

    /// Once the exchange has begun, ending it comes first; only dead masters are never risked.
    fn refuse_for_masters(&self) -> Result<(), Stop> {
        let exchange = Exchange::of(&self.record);
        let has_begun = exchange.has_begun(&self.inventory.volumes, self.settings);
        if has_begun && self.record.turn().masters == MastersOption::Leave {
            return Ok(());
        }
        let refused = refusal::masters(
            &self.record,
            self.mounted_by,
            &self.inventory,
            self.settings,
        );
        Ok(refused?)
    }

    fn note_attachments(&mut self) {
        let volumes = &self.inventory.volumes;
        let since = &mut self.seen.attached_since;
        since.retain(|id, _| {
            let volume = volumes.get(id);
            volume.is_some_and(|volume| !volume.attachments.is_empty())
        });
        let attached = volumes
            .values()
            .filter(|volume| !volume.attachments.is_empty());
        for volume in attached {
            since.entry(volume.id.clone()).or_insert_with(Instant::now);
        }
    }

    async fn look(&mut self) -> Result<MastersFind, Stop> {
        let volumes = candidates::read(self.aws, &self.record.cluster).await?;
        let found = masters_find(&self.record, &volumes);
        self.seen.found = Some(found.clone());
        Ok(found)
    }

    /// Asks the masters' own filters until no volume that leaves is found, several times in a row. `false`
    /// when the invocation's time is up first.
    async fn see_gone(&mut self) -> Result<bool, Stop> {
        let exchange = Exchange::of(&self.record);
        let members = exchange.members.iter();
        let leaving = members.flat_map(|member| &member.leaving);
        let leaving: BTreeSet<VolumeId> = leaving.map(|id| (*id).clone()).collect();
        let mut absences = 0;
        loop {
            if self.is_time_up() {
                return Ok(false);
            }
            let found = self.look().await?;
            let unknown = unknown_found(&self.record, &found);
            if !unknown.is_empty() {
                return Err(candidates_wrong(&unknown).into());
            }
            let mut found = found.0.values().flatten();
            if found.any(|id| leaving.contains(id)) {
                absences = 0;
            } else {
                absences += 1;
            }
            if absences == ABSENCES {
                return Ok(true);
            }
            sleep(2 * PAUSE).await;
        }
    }

    /// Sees that masters find what the turn is to leave, and that alone. `false` when the invocation's time
    /// is up first.
    async fn confirm(&mut self) -> Result<bool, Stop> {
        if self.seen.is_confirmed {
            return Ok(true);
        }
        let side = Side::left_by(self.record.turn().direction);
        let mut wrong = Vec::new();
        for _ in 0..LOOKS_MAX {
            let found = self.look().await?;
            wrong = wrong_members(&self.record, side, &found);
            if wrong.is_empty() {
                self.seen.is_confirmed = true;
                return Ok(true);
            }
            if self.is_time_up() {
                return Ok(false);
            }
            sleep(2 * PAUSE).await;
        }
        Err(candidates_wrong(&wrong).into())
    }

    /// The way out of a failure: launches that are held are resumed if masters that come now would find
    /// what was there when the turn began, or what it is to leave, for all members alike. Else they stay
    /// suspended, and the message says so.
    async fn let_masters_come(&mut self, failure: Diagnostic) -> Stop {
        match self.try_to_let_masters_come().await {
            Ok(None) => Stop::Failed(failure),
            Ok(Some(what)) => Stop::Failed(failure.with(&what)),
            Err(Stop::LeaseLost(lost)) => Stop::LeaseLost(lost),
            Err(Stop::Failed(error)) => {
                let held = list(&self.record.held_groups);
                Stop::Failed(failure.with(&format!(
                    "launches of {held} may still be suspended, as it could not be seen whether masters \
                     would find the right volumes, or they could not be resumed ({})",
                    error.message
                )))
            }
        }
    }

    async fn try_to_let_masters_come(&mut self) -> Result<Option<String>, Stop> {
        if self.record.held_groups.is_empty() {
            return Ok(None);
        }
        self.read_control_plane().await?;
        let left = master_decisions::to_resume(&self.record, &self.inventory.control_plane);
        if left.is_empty() {
            return Ok(None);
        }
        let found = self.look().await?;
        let side = side_found(&self.record, &found);
        let direction = self.record.turn().direction;
        let second = &self.record.start_order.second_groups;
        // Restored volumes keep their order also here; what runs on them already has it behind it.
        let is_ordered = side == Some(Side::Incoming) && direction != Direction::Undo;
        let groups: Vec<_> = match side {
            None => Vec::new(),
            Some(_) => left
                .iter()
                .filter(|group| !is_ordered || !second.contains(group))
                .cloned()
                .collect(),
        };
        let kept: Vec<_> = left
            .iter()
            .filter(|group| !groups.contains(group))
            .collect();
        let mut told = Vec::new();
        if !kept.is_empty() {
            let why = match side {
                None => {
                    "as masters would not find the right volume, and it alone, for every member"
                }
                Some(_) => "as their masters start after the first ones",
            };
            told.push(format!("launches of {} stay suspended, {why}", list(&kept)));
        }
        if !groups.is_empty() {
            masters::resume(self.aws, self.lease, &groups).await?;
            self.record
                .held_groups
                .retain(|group| !groups.contains(group));
            self.save().await?;
            self.read_control_plane().await?;
            let which = match side {
                Some(Side::Incoming) => "the restored volumes",
                _ => "the volumes that were there when the restore began",
            };
            told.push(format!(
                "launches of {} are resumed, so that masters come back on {which}",
                list(&groups)
            ));
        }
        Ok(Some(told.join("; ")))
    }
}

fn candidates_wrong(wrong: &[WrongMember]) -> Diagnostic {
    let said = |member: &WrongMember| {
        let WrongMember { key, wanted, found } = member;
        match (wanted.first(), found.is_empty()) {
            (Some(wanted), true) => format!("{key}: none is found, {wanted} should be"),
            (Some(wanted), false) if found.contains(wanted) => {
                format!(
                    "{key}: too many are found ({}), {wanted} alone should be",
                    list(found)
                )
            }
            (Some(wanted), false) => {
                format!("{key}: {} is found in the place of {wanted}", list(found))
            }
            (None, _) => format!("{key}: {} is found, and none should be", list(found)),
        }
    };
    let is_any_missing = wrong.iter().any(|member| member.found.is_empty());
    let is_any_too_many = wrong.iter().any(|member| !member.found.is_empty());
    let mut advice = Vec::new();
    if is_any_missing {
        advice.push("put the discovery tags back that somebody takes off the right ones");
    }
    if is_any_too_many {
        advice.push("take the k8s.io/etcd/… tag off what should not be found");
    }
    Diagnostic::new(
        ErrorType::CandidatesWrong,
        format!(
            "masters would not find exactly the right one for each member: \
             {}. Before any master starts, {}; then send the same event again",
            wrong.iter().map(said).collect::<Vec<_>>().join("; "),
            advice.join(", and ")
        ),
    )
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
