//! Looking at what is there while a turn is carried out: the record's volumes, the masters, and what the
//! masters' own filters show before anything is tagged or resumed.

use std::collections::BTreeSet;

use etcd_backup_core::ids::VolumeId;
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreStage};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::{ABSENCES, Execution, PAUSE, World};
use crate::act::Stop;
use crate::collect::candidates;
use crate::collect::control_plane::ControlPlane;
use crate::collect::inventory::volumes_by_id;
use crate::decide::exchange::{Exchange, Side, masters_find, unknown_found, wrong_members};
use crate::decide::masters_find::MastersFind;
use crate::decide::sightings::LOOKS_MAX;
use crate::decide::stage::Step;
use crate::decide::{refusal, turn};

impl<Aws: World> Execution<'_, Aws> {
    /// Looks again. Masters are read before volumes: who sees outgoing volumes in service then knows that
    /// the masters seen are from before the exchange.
    pub(super) async fn refresh(&mut self, step: &Step) -> Result<(), Stop> {
        let was_creating = matches!(step, Step::Create(_) | Step::WaitForVolumes);
        let masters_matter = self.record.turn().masters == MastersOption::Replace
            || !self.record.suspended_groups.is_empty();
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
        if matches!(step, Step::Tag(_)) {
            return self.look_at_tagged().await;
        }
        self.read_volumes().await
    }

    /// What was tagged is shown by the masters' own filters, which are to be asked then anyway; where they
    /// don't show all of it yet, the volumes themselves tell why.
    async fn look_at_tagged(&mut self) -> Result<(), Stop> {
        let volumes = candidates::read(self.aws, &self.record.cluster).await?;
        let found = masters_find(&self.record, &volumes);
        let side = Side::left_by(self.record.turn().direction);
        self.seen.is_confirmed = wrong_members(&self.record, side, &found).is_empty();
        self.seen.found = Some(found);
        if !self.seen.is_confirmed {
            return self.read_volumes().await;
        }
        let recorded: BTreeSet<&VolumeId> = self.record.volume_ids().collect();
        let of_record = volumes.into_iter().filter(|(id, _)| recorded.contains(id));
        self.inventory.volumes.extend(of_record);
        Ok(())
    }

    pub(super) async fn read_control_plane(&mut self) -> Result<(), Stop> {
        let asks_protection = self.record.turn().masters == MastersOption::Replace;
        let before = &self.inventory.control_plane;
        self.inventory.control_plane =
            ControlPlane::read(self.aws, &self.record.cluster, asks_protection, before).await?;
        Ok(())
    }

    pub(super) async fn read_volumes(&mut self) -> Result<(), Stop> {
        let recorded: Vec<VolumeId> = self.record.volume_ids().cloned().collect();
        let listed = volumes_by_id(self.aws, recorded.iter()).await?;
        for id in &recorded {
            self.inventory.volumes.remove(id);
        }
        self.inventory.volumes.extend(listed);
        Ok(())
    }

    /// What an undo or a redo puts in service must be there. A listing without a volume tells nothing, as
    /// reads lag: what EC2 knows by its id is waited for.
    pub(super) async fn refuse_lost(&mut self) -> Result<(), Stop> {
        loop {
            let mut lost = turn::lost(&self.record, &self.inventory.volumes);
            if lost.is_empty() || self.is_time_up() {
                return Ok(());
            }
            let asked = lost.iter().map(|(id, _)| self.aws.is_volume_gone(id));
            let mut are_gone = try_join_all(asked).await?.into_iter();
            lost.retain(|_| are_gone.next() == Some(true));
            if !lost.is_empty() {
                return Err(turn::lost_on_the_way(&self.record, &lost).into());
            }
            sleep(PAUSE).await;
            self.read_volumes().await?;
        }
    }

    pub(super) fn note_attachments(&mut self) {
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

    pub(super) async fn look(&mut self) -> Result<MastersFind, Stop> {
        let volumes = candidates::read(self.aws, &self.record.cluster).await?;
        let found = masters_find(&self.record, &volumes);
        self.seen.found = Some(found.clone());
        Ok(found)
    }

    /// Asks the masters' own filters until no volume that leaves is found, several times in a row. `false`
    /// when the invocation's time is up first.
    pub(super) async fn see_gone(&mut self) -> Result<bool, Stop> {
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
                return Err(refusal::candidates_wrong(&unknown).into());
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
    pub(super) async fn confirm(&mut self) -> Result<bool, Stop> {
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
        Err(refusal::candidates_wrong(&wrong).into())
    }
}
