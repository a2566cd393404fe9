//! The way out of a failure: whether masters may come back, and on what.

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::restore_record::Direction;

use super::{Execution, World};
use crate::act::{Stop, masters};
use crate::decide::exchange::{Side, side_found};
use crate::decide::list::list;
use crate::decide::masters as master_decisions;

impl<Aws: World> Execution<'_, Aws> {
    /// The way out of a failure: launches that are held are resumed if masters that come now would find
    /// what was there when the turn began, or what it is to leave, for all members alike. Else they stay
    /// suspended, and the message says so.
    pub(super) async fn let_masters_come(&mut self, failure: Diagnostic) -> Stop {
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
