//! The events that answers and refusals name for the operator to send, as JSON that can be pasted.

use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord};

use crate::event::Request;

/// The event that goes on with a record's unfinished turn.
pub fn to_go_on(record: &RestoreRecord) -> String {
    match record.turn().direction {
        Direction::Restore => of_restore(record),
        direction @ (Direction::Undo | Direction::Redo) => {
            of_turn(record, direction, record.turn().masters)
        }
    }
}

/// The event that gives a record's unfinished turn up.
pub fn to_give_up(record: &RestoreRecord) -> String {
    let direction = match record.turn().direction {
        Direction::Undo => Direction::Redo,
        Direction::Restore | Direction::Redo => Direction::Undo,
    };
    of_turn(record, direction, record.turn().masters)
}

/// The event of an undo or redo, as JSON.
pub fn of_turn(record: &RestoreRecord, direction: Direction, masters: MastersOption) -> String {
    // An event that replaces the masters does not need to know what runs on them.
    let masters = match (masters, record.turn().mounted_by) {
        (MastersOption::Replace, _) => ",\"masters\":\"replace\"".to_owned(),
        (MastersOption::Leave, Some(by)) => format!(",\"mounted_by\":\"{}\"", by.name()),
        (MastersOption::Leave, None) => String::new(),
    };
    format!(
        "{{\"action\":\"{}\",\"cluster\":\"{}\",\"restore_id\":\"{}\"{masters}}}",
        direction.name(),
        record.cluster,
        record.id
    )
}

/// The event of a restore, as JSON, without the options that are at their defaults.
pub fn of_restore(record: &RestoreRecord) -> String {
    let bare = serde_json::json!({"cluster": record.cluster});
    let defaults = Request::decode(&bare).map(|request| request.options());
    let (Some(options), Ok(defaults)) = (record.event.as_object(), defaults) else {
        return record.event.to_string();
    };
    let options = options
        .iter()
        .filter(|(key, value)| *key == "cluster" || defaults.get(key) != Some(*value));
    let options: serde_json::Map<_, _> = options
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    serde_json::Value::from(options).to_string()
}
