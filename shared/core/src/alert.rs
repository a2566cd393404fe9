//! Alerts: the messages that SNS brings to people, as text and, where that is set, in the format of chat
//! applications.
//!
//! Invariants: a subject is one that SNS accepts; a body of at most [`BODY_BYTES_MAX`], a chat
//! notification and attributes of at most [`ATTRIBUTES_BYTES_MAX`] together stay under SNS's 256 KiB;
//! both formats say the same, chat more shortly.

pub mod chat;
pub mod links;

use serde_json::json;

use crate::settings::AlertFormat;
pub use chat::Notification;
pub use links::Links;

/// SNS's limit of a subject's length, in ASCII characters.
const SUBJECT_LENGTH_MAX: usize = 100;
/// What a body may take of SNS's 256 KiB, measured as [`json_bytes`] does: 32 KiB are for attributes,
/// and a notification's texts take less than the rest however much of them has to be escaped.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// What attributes may take of it.
pub const ATTRIBUTES_BYTES_MAX: usize = 32 * 1024;

/// An attribute of an alert, for subscribers' filter policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertAttribute {
    /// One string.
    Text(String),
    /// Several strings; a filter policy matches on any.
    List(Vec<String>),
}

/// One SNS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// At most 100 ASCII characters, no line break.
    pub subject: String,
    /// At most [`BODY_BYTES_MAX`].
    pub body: String,
    /// What subscribers by https get in the body's place; `None` where all get the body.
    pub chat: Option<Notification>,
    /// By name.
    pub attributes: Vec<(&'static str, AlertAttribute)>,
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The same text for every subscriber.
    ForAll(String),
    /// A JSON object of texts by protocol (SNS's `MessageStructure` `json`).
    ByProtocol(String),
}

impl Alert {
    /// The notification goes out only where the setting says so.
    #[must_use]
    pub fn in_format(self, format: AlertFormat) -> Self {
        let chat = match format {
            AlertFormat::Text => None,
            AlertFormat::Chat => self.chat,
        };
        Self { chat, ..self }
    }

    /// What is published. AWS's chat applications subscribe by https, people by others.
    pub fn message(&self) -> Message {
        match &self.chat {
            None => Message::ForAll(self.body.clone()),
            Some(notification) => {
                let https = notification.to_json().to_string();
                Message::ByProtocol(json!({"default": self.body, "https": https}).to_string())
            }
        }
    }
}

impl AlertAttribute {
    /// The value as SNS takes it: a list is written as JSON.
    pub fn value(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(texts) => serde_json::Value::from(texts.clone()).to_string(),
        }
    }
}

/// The text as SNS accepts it in a subject: short, printable ASCII in one line.
pub fn subject(text: &str) -> String {
    let printable = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c == ' ' || c.is_ascii_graphic() => c,
        _ => '?',
    };
    text.trim_start()
        .chars()
        .map(printable)
        .take(SUBJECT_LENGTH_MAX)
        .collect()
}

/// How many bytes a text takes inside JSON, where quotes and line breaks take two and other control
/// characters six.
pub fn json_bytes(text: &str) -> usize {
    text.chars().map(escaped_bytes).sum()
}

/// The longest beginning of a text that takes no more than so many bytes inside JSON.
pub fn within_json_bytes(text: &str, bytes_max: usize) -> &str {
    let mut bytes = 0;
    let first_beyond = text.char_indices().find(|(_, c)| {
        bytes += escaped_bytes(*c);
        bytes > bytes_max
    });
    first_beyond.map_or(text, |(end, _)| &text[..end])
}

fn escaped_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_are_one_short_line_of_ascii() {
        assert_eq!(subject(" größe\nin\tk8s\u{7f}"), "gr??e in k8s?");
        assert_eq!(subject(&"x".repeat(200)).len(), 100);
    }

    proptest! {
        #[test]
        fn bytes_are_counted_as_they_are_written(text in any::<String>()) {
            let written = serde_json::Value::from(text.clone()).to_string();
            prop_assert_eq!(json_bytes(&text), written.len() - 2);
        }

        #[test]
        fn a_text_is_cut_where_it_would_take_too_much(text in any::<String>(), bytes_max in 0..64_usize) {
            let kept = within_json_bytes(&text, bytes_max);
            prop_assert!(text.starts_with(kept) && json_bytes(kept) <= bytes_max);
            let next = text[kept.len()..].chars().next();
            let is_longest = next.is_none_or(|c| json_bytes(&format!("{kept}{c}")) > bytes_max);
            prop_assert!(is_longest);
        }
    }
}
