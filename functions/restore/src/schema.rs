//! The JSON Schemas of what restore takes and answers.

use etcd_backup_core::schema::{of_answers, of_events};
use schemars::Schema;

use crate::event::Request;
use crate::show::answer::RestoreAnswer;
use crate::show::history::HistoryAnswer;
use crate::show::list::ListAnswer;

/// What restore takes.
pub fn event() -> Schema {
    of_events("restore", |generator| {
        vec![generator.subschema_for::<Request>()]
    })
}

/// What restore answers.
pub fn answer() -> Schema {
    of_answers("restore", |generator| {
        vec![
            generator.subschema_for::<RestoreAnswer>(),
            generator.subschema_for::<ListAnswer>(),
            generator.subschema_for::<HistoryAnswer>(),
        ]
    })
}
