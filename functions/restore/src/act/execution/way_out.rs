//! The way out of a failure: whether masters may come back, and on what.

use etcd_backup_core::diagnostic::Diagnostic;
use tokio::time::sleep;

use super::{Execution, PAUSE, World};
use crate::act::{Stop, masters};
use crate::decide::exchange::Side;
use crate::decide::list::list;
use crate::decide::masters as master_decisions;
use crate::decide::sightings::LOOKS_MAX;
use crate::decide::way_out::{self, WayOut};

impl<Aws: World> Execution<'_, Aws> {
    /// The way out of a failure: suspended launches are resumed if masters that come now would find
    /// what was there when the turn began, or what it is to leave, for all members alike. Else they stay
    /// suspended, and the message says so.
    pub(super) async fn let_masters_come(&mut self, failure: Diagnostic) -> Stop {
        match self.try_to_let_masters_come().await {
            Ok(None) => Stop::Failed(failure),
            Ok(Some(what)) => Stop::Failed(failure.with(&what)),
            Err(Stop::LeaseLost(lost)) => Stop::LeaseLost(lost),
            Err(Stop::Failed(error)) => {
                let suspended = list(&self.record.suspended_groups);
                Stop::Failed(failure.with(&format!(
                    "launches of {suspended} may still be suspended, as it could not be seen whether masters \
                     would find the right volumes, or they could not be resumed ({})",
                    error.message
                )))
            }
        }
    }

    /// The side that masters which start now would find: shown by as many looks in a row as it takes.
    async fn side_shown(&mut self) -> Result<Option<Side>, Stop> {
        let looks_needed = way_out::looks_needed(&self.record);
        let (mut side, mut looks_alike) = (None, 0);
        for look in 0..LOOKS_MAX {
            if look > 0 {
                sleep(2 * PAUSE).await;
            }
            self.read_volumes().await?;
            let found = self.look().await?;
            let shown = way_out::side_shown(&self.record, &found, &self.inventory.volumes);
            if shown != side {
                looks_alike = 0;
            }
            (side, looks_alike) = (shown, looks_alike + 1);
            if looks_alike == looks_needed {
                return Ok(side);
            }
            if self.is_time_up() {
                break;
            }
        }
        Ok(None)
    }

    async fn try_to_let_masters_come(&mut self) -> Result<Option<String>, Stop> {
        if self.record.suspended_groups.is_empty() {
            return Ok(None);
        }
        self.read_control_plane().await?;
        let left = master_decisions::to_resume(&self.record, &self.inventory.control_plane);
        if left.is_empty() {
            return Ok(None);
        }
        let side = self.side_shown().await?;
        let WayOut { resumed, kept, why } = way_out::decide(&self.record, side, &self.inventory);
        let mut outcome = Vec::new();
        if !kept.is_empty() {
            outcome.push(format!("launches of {} stay suspended, {why}", list(&kept)));
        }
        if !resumed.is_empty() {
            masters::resume(self.aws, self.lease, &resumed).await?;
            self.record
                .suspended_groups
                .retain(|group| !resumed.contains(group));
            self.save().await?;
            self.read_control_plane().await?;
            let which = match side {
                Some(Side::Incoming) => "the restored volumes",
                _ => "the volumes that were there when the restore began",
            };
            outcome.push(format!(
                "launches of {} are resumed, so that masters come back on {which}",
                list(&resumed)
            ));
        }
        Ok(Some(outcome.join("; ")))
    }
}
