//! Events that people write, read strictly.
//!
//! serde alone takes a list for an object, and `{"plan": null}` for `"plan"`; and what it says of a wrong
//! value doesn't say where that is.
//!
//! Invariants: every refusal names the field and what is wanted there. A choice is a string, an object is an
//! object; `null` is the same as a field left out where that may be, and refused everywhere else.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, Expected, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Number, Value};

use crate::diagnostic::Diagnostic;

/// Reads an event.
///
/// # Errors
///
/// `InvalidEvent`, naming the field and what is wanted there.
pub fn read<'de, T: Deserialize<'de>>(event: &'de Value) -> Result<T, Diagnostic> {
    let event = Written {
        value: event,
        path: "",
    };
    event
        .read(PhantomData::<T>)
        .map_err(|fault| Diagnostic::invalid_event(format!("the event is not accepted: {fault}")))
}

/// A value, and where it stands: `volume.iops`, `members[0]`; the event itself stands nowhere.
#[derive(Clone, Copy, Debug)]
struct Written<'de, 'p> {
    value: &'de Value,
    path: &'p str,
}

/// The fields of an object, one after the other.
struct Fields<'de, 'p> {
    path: &'p str,
    left: serde_json::map::Iter<'de>,
    /// The field whose key was read last, and whose value is next.
    at: Option<(&'de str, &'de Value)>,
}

/// The items of a list, one after the other.
struct Items<'de, 'p> {
    path: &'p str,
    left: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

/// What is wrong.
#[derive(Debug)]
enum Fault {
    /// The value is not what is wanted in its place: this.
    Wanted(String),
    /// This, which doesn't say where.
    Said(String),
    /// This, which says where.
    Placed(String),
}

impl<'de> Written<'de, '_> {
    fn read<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self).map_err(|fault| fault.of(self))
    }

    fn name(self) -> String {
        if self.path.is_empty() {
            "it".to_owned()
        } else {
            format!("\"{}\"", self.path)
        }
    }

    /// A list or an object would say more than anybody reads.
    fn shown(self) -> String {
        match self.value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            scalar => scalar.to_string(),
        }
    }
}

impl<'de> Deserializer<'de> for Written<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let path = self.path;
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items {
                path,
                left: items.iter().enumerate(),
            }),
            Value::Object(fields) => visitor.visit_map(Fields {
                path,
                left: fields.iter(),
                at: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// serde would take a list of the fields' values as well.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if self.value.is_object() {
            self.deserialize_any(visitor)
        } else {
            Err(Fault::Wanted("an object".to_owned()))
        }
    }

    /// serde would take an object with the choice as its key as well.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        choices: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            Value::String(choice) => visitor.visit_enum(StrDeserializer::<Fault>::new(choice)),
            _ => Err(Fault::Wanted(one_of(choices))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Fault> {
    match (number.as_u64(), number.as_i64()) {
        (Some(whole), _) => visitor.visit_u64(whole),
        (None, Some(negative)) => visitor.visit_i64(negative),
        (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
    }
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some((key, value)) = self.left.next() else {
            return Ok(None);
        };
        self.at = Some((key.as_str(), value));
        seed.deserialize(StrDeserializer::<Fault>::new(key))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, value)) = self.at.take() else {
            return Err(Fault::custom("a value was read before its key"));
        };
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        let written = Written { value, path: &path };
        written.read(seed)
    }
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some((index, value)) = self.left.next() else {
            return Ok(None);
        };
        let path = format!("{}[{index}]", self.path);
        let written = Written { value, path: &path };
        written.read(seed).map(Some)
    }
}

impl Fault {
    /// The same, said of a value, unless it is of one within that already.
    fn of(self, written: Written) -> Self {
        let name = written.name();
        Self::Placed(match self {
            Self::Wanted(wanted) => {
                format!("{name} is {}, and {wanted} is wanted", written.shown())
            }
            Self::Said(what) if written.path.is_empty() => what,
            Self::Said(what) => format!("{name}: {what}"),
            Self::Placed(what) => what,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted(wanted) => write!(f, "{wanted} is wanted"),
            Self::Said(what) | Self::Placed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self::Said(message.to_string())
    }

    fn invalid_type(_: Unexpected, wanted: &dyn Expected) -> Self {
        Self::Wanted(in_plain_words(&wanted.to_string()))
    }

    fn invalid_value(_: Unexpected, wanted: &dyn Expected) -> Self {
        Self::Wanted(in_plain_words(&wanted.to_string()))
    }

    fn unknown_variant(_: &str, choices: &'static [&'static str]) -> Self {
        Self::Wanted(one_of(choices))
    }
}

fn one_of(choices: &[&str]) -> String {
    let choices = choices.iter().map(|choice| format!("\"{choice}\""));
    format!("one of {}", choices.collect::<Vec<_>>().join(", "))
}

/// What serde and Rust call something, as people who write JSON do.
fn in_plain_words(wanted: &str) -> String {
    match wanted {
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i32" => format!("a whole number up to {}", i32::MAX),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::Timestamp;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::event_time;
    use crate::ids::{ClusterName, MemberKey, SnapshotId};

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Event {
        cluster: Option<ClusterName>,
        choice: Choice,
        of: Option<Choice>,
        members: Option<BTreeSet<String>>,
        snapshots: BTreeMap<MemberKey, SnapshotId>,
        flag: bool,
        count: u32,
        inner: Option<Inner>,
        #[serde(deserialize_with = "event_time::read")]
        at: Option<Timestamp>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        #[default]
        First,
        Second,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        iops: Option<i32>,
        kind: Option<String>,
    }

    fn event(event: &Value) -> Result<Event, Diagnostic> {
        read(event)
    }

    #[test]
    fn what_is_written_right_is_read() {
        let written = json!({
            "cluster": "k8s", "choice": "second", "of": "first", "members": ["b", "a", "b"],
            "snapshots": {"main/a": "snap-0a"}, "flag": true, "count": 60,
            "inner": {"iops": -1, "kind": "gp3"}, "at": "2026-11-22T07:30:00Z",
        });
        let expected = Event {
            cluster: Some("k8s".into()),
            choice: Choice::Second,
            of: Some(Choice::First),
            members: Some(["a", "b"].map(str::to_owned).into()),
            snapshots: [("main/a".parse().unwrap(), "snap-0a".into())].into(),
            flag: true,
            count: 60,
            inner: Some(Inner {
                iops: Some(-1),
                kind: Some("gp3".to_owned()),
            }),
            at: Some("2026-11-22T07:30:00Z".parse().unwrap()),
        };
        assert_eq!(event(&written).unwrap(), expected);
        let absent =
            json!({"cluster": null, "of": null, "members": null, "inner": null, "at": null});
        for nothing in [json!({}), absent] {
            assert_eq!(event(&nothing).unwrap(), Event::default(), "{nothing}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field_and_what_is_wanted() {
        for (written, expected) in [
            (
                json!({"cluster": 5}),
                r#""cluster" is 5, and a string is wanted"#,
            ),
            (
                json!({"choice": "third"}),
                r#""choice" is "third", and one of "first", "second" is wanted"#,
            ),
            (
                json!({"choice": {"second": null}}),
                r#""choice" is an object, and one of "first", "second" is wanted"#,
            ),
            (
                json!({"of": {"second": null}}),
                r#""of" is an object, and one of "first", "second" is wanted"#,
            ),
            (
                json!({"choice": null}),
                r#""choice" is null, and one of "first", "second" is wanted"#,
            ),
            (
                json!({"members": "a"}),
                r#""members" is "a", and a list is wanted"#,
            ),
            (
                json!({"members": ["a", 1]}),
                r#""members[1]" is 1, and a string is wanted"#,
            ),
            (
                json!({"snapshots": ["snap-0a"]}),
                r#""snapshots" is a list, and an object is wanted"#,
            ),
            (
                json!({"snapshots": {"main/a": null}}),
                r#""snapshots.main/a" is null, and a string is wanted"#,
            ),
            (
                json!({"snapshots": {"a": "snap-0a"}}),
                r#""snapshots": "a" names no member: write <etcd cluster>/<member>, like main/a"#,
            ),
            (
                json!({"flag": "yes"}),
                r#""flag" is "yes", and true or false is wanted"#,
            ),
            (
                json!({"count": -1}),
                r#""count" is -1, and a whole number from 0 to 4294967295 is wanted"#,
            ),
            (
                json!({"count": 1.5}),
                r#""count" is 1.5, and a whole number from 0 to 4294967295 is wanted"#,
            ),
            (
                json!({"inner": [3000, "gp3"]}),
                r#""inner" is a list, and an object is wanted"#,
            ),
            (
                json!({"inner": {"iops": 3_000_000_000_u32}}),
                r#""inner.iops" is 3000000000, and a whole number up to 2147483647 is wanted"#,
            ),
            (
                json!({"inner": {"size": 1}}),
                r#""inner": unknown field `size`, expected `iops` or `kind`"#,
            ),
            (
                json!({"at": "yesterday"}),
                r#""at": "yesterday" is no time: write it in UTC like 2026-11-22T07:30:00Z"#,
            ),
            (json!({"at": 5}), r#""at" is 5, and a string is wanted"#),
            (json!([]), "it is a list, and an object is wanted"),
        ] {
            let error = event(&written).unwrap_err();
            let expected = format!("InvalidEvent: the event is not accepted: {expected}");
            assert_eq!(error.to_string(), expected, "{written}");
        }
    }
}
