//! The committed JSON Schemas as judges of events and answers.
//!
//! Invariants: an answer is of its function's schema and has no field that the schema doesn't name; an
//! event that is answered is of its function's schema.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// By function: its events and its answers.
const COMMITTED: [(&str, &str, &str); 4] = [
    (
        "audit",
        include_str!("../../events/schema/audit-event.json"),
        include_str!("../../events/schema/audit-answer.json"),
    ),
    (
        "converge",
        include_str!("../../events/schema/converge-event.json"),
        include_str!("../../events/schema/converge-answer.json"),
    ),
    (
        "restore",
        include_str!("../../events/schema/restore-event.json"),
        include_str!("../../events/schema/restore-answer.json"),
    ),
    (
        "verify",
        include_str!("../../events/schema/verify-event.json"),
        include_str!("../../events/schema/verify-answer.json"),
    ),
];

struct Judges {
    event: Validator,
    answer: Validator,
}

static JUDGES: LazyLock<BTreeMap<&str, Judges>> = LazyLock::new(|| {
    let judges = COMMITTED.map(|(function, event, answer)| {
        let parse = |text: &str| serde_json::from_str(text).expect("a schema is JSON");
        let judges = Judges {
            event: validator(&parse(event)),
            answer: validator(&closed(parse(answer))),
        };
        (function, judges)
    });
    BTreeMap::from(judges)
});

/// What is wrong with an event of a function, by its schema.
///
/// # Panics
///
/// When the function has none.
pub fn faults_of_event(function: &str, event: &Value) -> Vec<String> {
    faults(&judges(function).event, event)
}

/// What is wrong with an answer of a function, by its schema; fields that it doesn't name are wrong too.
///
/// # Panics
///
/// When the function has none.
pub fn faults_of_answer(function: &str, answer: &Value) -> Vec<String> {
    faults(&judges(function).answer, answer)
}

fn judges(function: &str) -> &'static Judges {
    let judges = JUDGES.get(function);
    judges.unwrap_or_else(|| panic!("{function} has no schema in events/schema"))
}

fn faults(validator: &Validator, value: &Value) -> Vec<String> {
    let faults = validator.iter_errors(value);
    faults.map(|fault| format!("{fault:#}")).collect()
}

fn validator(schema: &Value) -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).expect("a schema is one")
}

/// The same schema, but what an object may have is what it names. Programs that read answers must put up
/// with more, so what is committed leaves that open.
fn closed(mut schema: Value) -> Value {
    close(&mut schema, false);
    schema
}

/// A part of an object, an alternative beside fields that all have in common, can't be closed by itself.
fn close(schema: &mut Value, is_part: bool) {
    let Value::Object(schema) = schema else {
        return;
    };
    let is_object = schema.contains_key("properties");
    for (keyword, value) in schema.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs", Value::Object(schemas)) => {
                schemas.values_mut().for_each(|each| close(each, false));
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(schemas)) => {
                schemas
                    .iter_mut()
                    .for_each(|each| close(each, is_object || is_part));
            }
            ("items" | "additionalProperties", value) => close(value, false),
            _ => {}
        }
    }
    if is_object && !is_part && !schema.contains_key("additionalProperties") {
        schema.insert("unevaluatedProperties".to_owned(), false.into());
    }
}
