//! A notification as Amazon Q Developer in chat applications (AWS Chatbot before) shows it in Slack,
//! Teams and Chime: the schema of custom notifications, version 1.0. It drops every other message.
//!
//! Invariants: whatever the texts are, the JSON is of the schema, and no text in it mentions or pings
//! anybody: what comes out of tags is anybody's.
//!
//! Source: administrator guide, "Custom notifications". Its own limits of lengths are not all
//! documented; those held here are the lowest that are reported.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// In characters, as all lengths here.
const TITLE_LENGTH_MAX: usize = 250;
const DESCRIPTION_LENGTH_MAX: usize = 8_000;
/// Of one next step: a command that fits in here is whole.
pub const NEXT_STEP_LENGTH_MAX: usize = 350;
const KEYWORD_LENGTH_MAX: usize = 75;
/// Of what else there is in the metadata.
const METADATA_LENGTH_MAX: usize = 300;
/// Next steps, keywords, resources, entries of the context.
const ITEMS_MAX: usize = 10;
/// What stands in place of what is cut off.
const ELLIPSIS: char = '…';

/// A notification; what is too long or too much for the schema is left out when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// One line: how bad, what and where.
    pub title: String,
    /// What happened. Lines, links as they are.
    pub description: String,
    /// What to do, each whole or left out.
    pub next_steps: Vec<String>,
    /// Words to search for.
    pub keywords: Vec<String>,
    /// Notifications with the same one stand in one thread, where the channel allows it.
    pub thread_id: Option<String>,
    /// What kind of event it is, for custom actions.
    pub event_type: &'static str,
    /// Ids of what it is about.
    pub related_resources: Vec<String>,
    /// Anything else, by name.
    pub additional_context: BTreeMap<&'static str, String>,
}

impl Notification {
    /// The JSON that chat applications take.
    pub fn to_json(&self) -> Value {
        let title = cut(&plain(&self.title), TITLE_LENGTH_MAX);
        let context = self.additional_context.iter().take(ITEMS_MAX);
        let mut metadata = json!({
            "summary": title,
            "eventType": self.event_type,
            "relatedResources": texts(&self.related_resources, METADATA_LENGTH_MAX),
            "additionalContext": context
                .map(|(name, text)| (*name, cut(&plain(text), METADATA_LENGTH_MAX)))
                .collect::<BTreeMap<_, _>>(),
        });
        if let Some(thread_id) = &self.thread_id {
            metadata["threadId"] = cut(&plain(thread_id), METADATA_LENGTH_MAX).into();
        }
        let next_steps = self.next_steps.iter().filter(|step| fits(step));
        json!({
            "version": "1.0",
            "source": "custom",
            "content": {
                "textType": "client-markdown",
                "title": title,
                "description": cut(&plain(&self.description), DESCRIPTION_LENGTH_MAX),
                "nextSteps": next_steps.take(ITEMS_MAX).map(|step| plain(step)).collect::<Vec<_>>(),
                "keywords": texts(&self.keywords, KEYWORD_LENGTH_MAX),
            },
            "metadata": metadata,
        })
    }
}

/// Whether a next step can be told whole; half a command is worse than none.
fn fits(step: &str) -> bool {
    (1..=NEXT_STEP_LENGTH_MAX).contains(&step.chars().count())
}

fn texts(texts: &[String], length_max: usize) -> Vec<String> {
    let texts = texts.iter().filter(|text| !text.is_empty());
    let cut = texts.map(|text| cut(&plain(text), length_max));
    cut.take(ITEMS_MAX).collect()
}

/// At most so many characters; where something is cut off, the last of them says so.
pub fn cut(text: &str, length_max: usize) -> String {
    if text.chars().count() <= length_max {
        return text.to_owned();
    }
    let kept = text.chars().take(length_max.saturating_sub(1));
    kept.chain([ELLIPSIS]).collect()
}

/// Without what chat applications would take for a mention (`<!here>`), a link or a control.
fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '<' => '‹',
        '>' => '›',
        '\n' => '\n',
        c if c.is_control() => ' ',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_pinged_and_no_command_is_cut() {
        let notification = Notification {
            title: "x".repeat(300),
            description: "a cluster named <!channel>".to_owned(),
            next_steps: vec!["x".repeat(351), "aws lambda invoke".to_owned()],
            ..Notification::default()
        };
        let json = notification.to_json();
        assert_eq!(json["content"]["description"], "a cluster named ‹!channel›");
        assert_eq!(json["content"]["nextSteps"], json!(["aws lambda invoke"]));
        let title = json["content"]["title"].as_str().unwrap();
        assert_eq!(title.chars().count(), 250);
        assert!(title.ends_with('…'));
    }
}
