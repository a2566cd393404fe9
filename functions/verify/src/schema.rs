//! The JSON Schemas of what verify takes and answers.

use etcd_backup_core::schema::{event_from, of_answers, of_events};
use schemars::Schema;

use crate::event::{EC2, SCHEDULES, Written};
use crate::show::answer::{Answer, NothingAnswer, SweepAnswer};

/// What verify takes.
pub fn event() -> Schema {
    of_events("verify", |generator| {
        vec![
            generator.subschema_for::<Written>(),
            event_from(&SCHEDULES),
            event_from(&[EC2]),
        ]
    })
}

/// What verify answers.
pub fn answer() -> Schema {
    of_answers("verify", |generator| {
        vec![
            generator.subschema_for::<Answer>(),
            generator.subschema_for::<SweepAnswer>(),
            generator.subschema_for::<NothingAnswer>(),
        ]
    })
}
