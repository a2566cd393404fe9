//! What an invocation is about, once it has decided. Where somebody else was at work before it could be, it
//! decides again; but an event that was sent before another one must not undo what that one did since.
//!
//! Invariant: of one invocation, every later decision is about the same turn of the same restore as the first.

use std::collections::BTreeSet;

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::RestoreId;
use etcd_backup_core::restore_record::RestoreRecord;

use super::{Decision, same_event};
use crate::collect::inventory::Inventory;
use crate::collect::records::Records;
use crate::event::Request;

/// What an invocation's first decision was about.
#[derive(Clone, Debug)]
pub struct Aim {
    /// The restore, and how many turns it has with this one; none where one is to begin.
    turn: Option<(RestoreId, usize)>,
    /// The restores that were recorded then.
    known: BTreeSet<RestoreId>,
}

impl Aim {
    /// What a decision is about.
    pub fn of(decision: &Decision, records: &Records) -> Self {
        let turn = match decision {
            Decision::Begin(_) => None,
            Decision::Turn(..) | Decision::GoOn(..) | Decision::Repeat(_) => {
                Some(turn_of(decision.record()))
            }
        };
        Self {
            turn,
            known: records.all().map(|record| record.id.clone()).collect(),
        }
    }

    /// Whether a later decision may be carried out.
    ///
    /// # Errors
    ///
    /// `RestoreInProgress`, where it is about anything else.
    pub fn refuse_other(
        &self,
        decision: &Decision,
        records: &Records,
        request: &Request,
        inventory: &Inventory,
    ) -> Result<(), Diagnostic> {
        let record = decision.record();
        let begins = matches!(decision, Decision::Begin(_));
        let is_new = |record: &RestoreRecord| !self.known.contains(&record.id);
        let is_same = match &self.turn {
            Some(turn) => !begins && turn_of(record) == *turn,
            // Another invocation of the same event, or this one, may have begun it since.
            None if begins => !records
                .all()
                .any(|record| is_new(record) && same_event::is_of(request, record, inventory)),
            None => is_new(record) && record.later_turns.is_empty(),
        };
        if is_same {
            return Ok(());
        }
        let turned = match &self.turn {
            Some((id, _)) => format!("restore {id}"),
            None => "the restore that it began".to_owned(),
        };
        Err(Diagnostic::new(
            ErrorType::RestoreInProgress,
            format!(
                "while this event waited, another one has turned {turned} of {cluster}: this one does nothing more. \
                 {{\"action\":\"status\",\"cluster\":\"{cluster}\"}} shows how it stands; send the event again \
                 if you still want it",
                cluster = request.cluster
            ),
        ))
    }
}

fn turn_of(record: &RestoreRecord) -> (RestoreId, usize) {
    (record.id.clone(), record.later_turns.len())
}
