//! JSON Schemas (draft 2020-12) of what functions take and answer, for programs that invoke them.
//!
//! Invariants: what people write and what functions answer is derived from the types that read and write
//! it; what AWS sends is described as far as a function looks at it, as it may carry anything.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::version::Version;

const META_SCHEMA: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a function takes: each of these, and the question for its version.
pub fn of_events(
    function: &str,
    alternatives: impl FnOnce(&mut SchemaGenerator) -> Vec<Schema>,
) -> Schema {
    let generator = SchemaSettings::draft2020_12().for_deserialize();
    document(
        format!("What {function} takes"),
        generator.into_generator(),
        |generator| [alternatives(generator), vec![version_event()]].concat(),
    )
}

/// What a function answers: one of these, or its version.
pub fn of_answers(
    function: &str,
    alternatives: impl FnOnce(&mut SchemaGenerator) -> Vec<Schema>,
) -> Schema {
    let generator = SchemaSettings::draft2020_12().for_serialize();
    document(
        format!("What {function} answers"),
        generator.into_generator(),
        |generator| {
            let version = generator.subschema_for::<Version>();
            [alternatives(generator), vec![version]].concat()
        },
    )
}

/// An event of EventBridge from one of these sources.
pub fn event_from(sources: &[&str]) -> Schema {
    json_schema!({
        "description": "EventBridge's; it may carry anything.",
        "type": "object",
        "properties": {"source": {"enum": sources}},
        "required": ["source"],
    })
}

fn version_event() -> Schema {
    json_schema!({
        "description": "Which version answers.",
        "type": "object",
        "properties": {"action": {"const": "version"}},
        "required": ["action"],
        "additionalProperties": false,
    })
}

fn document(
    title: String,
    mut generator: SchemaGenerator,
    alternatives: impl FnOnce(&mut SchemaGenerator) -> Vec<Schema>,
) -> Schema {
    let alternatives = alternatives(&mut generator);
    json_schema!({
        "$schema": META_SCHEMA,
        "title": title,
        "anyOf": alternatives,
        "$defs": generator.take_definitions(true),
    })
}
