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

/// The most of a value that a message shows.
const VALUE_CHARS_MAX: usize = 100;

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
            scalar => {
                let text = scalar.to_string();
                match text.char_indices().nth(VALUE_CHARS_MAX) {
                    Some((end, _)) => format!("{}…", &text[..end]),
                    None => text,
                }
            }
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
    /// The same fault with the place of the value, unless it names the place of one inside that already.
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
mod tests;
