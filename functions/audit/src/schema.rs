//! The JSON Schemas of what audit takes and answers.

use etcd_backup_core::schema::{event_from, of_answers, of_events};
use schemars::{Schema, json_schema};

use crate::Answer;
use crate::event::{Request, SCHEDULES};

/// What audit takes.
pub fn event() -> Schema {
    of_events("audit", |generator| {
        let request = generator.subschema_for::<Request>();
        vec![
            request,
            event_from(&SCHEDULES),
            json_schema!({
                "description": "A dashboard's: the widget is shown. It may carry anything besides.",
                "type": "object",
                "properties": {"widgetContext": {"type": "object"}},
                "required": ["widgetContext"],
            }),
            json_schema!({
                "description": "A dashboard's: the widget is described. It may carry anything besides.",
                "type": "object",
                "properties": {"describe": {"const": true}},
                "required": ["describe"],
            }),
        ]
    })
}

/// What audit answers.
pub fn answer() -> Schema {
    of_answers("audit", |generator| {
        vec![
            generator.subschema_for::<Answer>(),
            json_schema!({
                "description": "To a dashboard: HTML, or Markdown that describes the widget.",
                "type": "string",
            }),
        ]
    })
}
