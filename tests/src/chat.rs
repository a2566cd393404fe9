//! AWS's chat applications as judges of messages: they drop what isn't of their schema.

use serde_json::Value;

use crate::emulated_aws::Message;

/// What they show of a message: what subscribers by https get.
///
/// # Panics
///
/// When they would drop it.
pub fn shown_in_chat(message: &Message) -> Value {
    let by_protocol = message.by_protocol.as_ref();
    let by_protocol = by_protocol.expect("one text for all: no chat application takes it");
    let notification: Value = serde_json::from_str(&by_protocol["https"]).expect("JSON");
    let schema = include_str!("../../shared/core/tests/chat_notification.schema.json");
    let schema = serde_json::from_str(schema).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let faults: Vec<_> = validator.iter_errors(&notification).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{notification:#}");
    notification
}
