//! The JSON Schemas of what converge takes and answers.

use etcd_backup_core::schema::{event_from, of_answers, of_events};
use schemars::{Schema, json_schema};

use crate::Answered;
use crate::event::{Action, SOURCES};

/// What converge takes.
pub fn event() -> Schema {
    of_events("converge", |generator| {
        vec![
            json_schema!({
                "description": "A person's; without an action, it is to apply.",
                "type": "object",
                "properties": {"action": generator.subschema_for::<Action>()},
                "additionalProperties": false,
            }),
            event_from(&SOURCES),
            json_schema!({
                "description": "A custom resource request of CloudFormation's; it may carry anything besides.",
                "type": "object",
                "properties": {"ResponseURL": {"type": "string", "pattern": "^http"}},
                "required": ["ResponseURL"],
            }),
        ]
    })
}

/// What converge answers.
pub fn answer() -> Schema {
    of_answers("converge", |generator| {
        vec![generator.subschema_for::<Answered>()]
    })
}
