//! The events that the audit takes.

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::event_time;
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::written_event;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// The sources of schedules' events.
pub const SCHEDULES: [&str; 2] = ["aws.events", "aws.scheduler"];

/// What the audit is invoked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// To judge, to write metrics and to alert.
    Audit(Request),
    /// To show a dashboard what it judges, and to do nothing else.
    Widget(Request, Appearance),
    /// To tell the one who makes a dashboard what the widget is and takes.
    DescribeWidget,
}

/// How the dashboard shows the widget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// The console's theme.
    pub theme: Theme,
    /// The widget's width in CSS pixels, where the dashboard says it.
    pub width_px: Option<u32>,
}

/// The console's theme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light.
    #[default]
    Light,
    /// Light on dark.
    Dark,
}

impl Event {
    /// Decodes an event: a dashboard's (it may carry anything), a schedule's, or a person's.
    ///
    /// # Errors
    ///
    /// `InvalidEvent`, naming what isn't accepted.
    pub fn decode(event: &Value) -> Result<Self, Diagnostic> {
        if event["describe"] == true {
            Ok(Self::DescribeWidget)
        } else if event["widgetContext"].is_object() {
            // The widget's parameters stand beside its context, and others' may too.
            let parameters = json!({"now": event["now"], "clusters": event["clusters"]});
            let request = Request::decode(&parameters)?;
            Ok(Self::Widget(request, appearance(&event["widgetContext"])))
        } else {
            Request::decode(event).map(Self::Audit)
        }
    }
}

fn appearance(context: &Value) -> Appearance {
    Appearance {
        theme: match context["theme"].as_str() {
            Some("dark") => Theme::Dark,
            _ => Theme::Light,
        },
        width_px: context["width"]
            .as_f64()
            .filter(|width| (1.0..=100_000.0).contains(width))
            .map(|width| width as u32),
    }
}

/// What an audit is asked to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The moment to judge as; the clock where absent.
    #[serde(default, deserialize_with = "event_time::read")]
    #[schemars(with = "Option<Timestamp>")]
    pub now: Option<Timestamp>,
    /// The clusters to judge; all where absent.
    #[schemars(length(min = 1), extend("items" = {"type": "string", "minLength": 1}))]
    #[serde(default)]
    pub clusters: Option<Vec<ClusterName>>,
}

impl Request {
    /// Decodes an event: a schedule's (it may carry anything, its `time` is now), or a person's.
    ///
    /// # Errors
    ///
    /// `InvalidEvent`, naming what isn't accepted.
    pub fn decode(event: &Value) -> Result<Self, Diagnostic> {
        if !event.is_object() {
            return Err(Diagnostic::invalid_event(
                "the event is not a JSON object: send {} or {\"now\":\"…\",\"clusters\":[\"…\"]}",
            ));
        }
        if is_schedule(event) {
            let time = event["time"].as_str();
            return Ok(Self {
                now: time.and_then(|time| time.parse().ok()),
                clusters: None,
            });
        }
        let request: Self = written_event::read(event)?;
        match &request.clusters {
            Some(clusters) if clusters.is_empty() => Err(Diagnostic::invalid_event(
                "\"clusters\" is empty: name clusters, or leave the field out for all",
            )),
            Some(clusters) => match clusters.iter().find(|name| !name.is_dns_name()) {
                Some(name) => Err(Diagnostic::invalid_event(format!(
                    "\"clusters\" holds {:?}, which is no DNS name: name clusters as kops does, like \
                     k8s.mycompany.tld",
                    name.as_str()
                ))),
                None => Ok(request),
            },
            None => Ok(request),
        }
    }
}

fn is_schedule(event: &Value) -> bool {
    let source = event["source"].as_str();
    source.is_some_and(|source| SCHEDULES.contains(&source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Result<Request, Diagnostic> {
        Request::decode(&serde_json::from_str(json).unwrap())
    }

    fn event(json: &str) -> Result<Event, Diagnostic> {
        Event::decode(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_sample_event_is_decoded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/audit");
        let mut decoded = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let event = event(&std::fs::read_to_string(&path).unwrap());
            let is_widget = path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .contains("widget");
            match event {
                Ok(Event::Audit(_)) => assert!(!is_widget, "{}", path.display()),
                Ok(_) => assert!(is_widget, "{}", path.display()),
                Err(error) => panic!("{}: {error}", path.display()),
            }
            decoded += 1;
        }
        assert_eq!(decoded, 7);
    }

    #[test]
    fn a_schedules_time_is_now_and_the_rest_of_it_is_ignored() {
        let event =
            r#"{"source":"aws.scheduler","time":"2026-11-22T07:30:00Z","detail":"{}","x":1}"#;
        let request = decode(event).unwrap();
        assert_eq!(request.now.unwrap().to_string(), "2026-11-22T07:30:00Z");
        assert_eq!(
            decode(r#"{"source":"aws.events"}"#).unwrap(),
            Request::default()
        );
    }

    #[test]
    fn a_widgets_parameters_theme_and_width_are_taken_and_the_rest_is_ignored() {
        let widget = event(
            r#"{"clusters":["k8s"],"echo":"x","widgetContext":{"theme":"dark","width":588.5,"y":1}}"#,
        );
        let Ok(Event::Widget(request, appearance)) = widget else {
            panic!("{widget:?}");
        };
        assert_eq!(request.clusters, Some(vec!["k8s".into()]));
        assert_eq!(appearance.theme, Theme::Dark);
        assert_eq!(appearance.width_px, Some(588));
        let bare = event(r#"{"widgetContext":{}}"#).unwrap();
        assert_eq!(
            bare,
            Event::Widget(Request::default(), Appearance::default())
        );
        let wrong = event(r#"{"clusters":"k8s","widgetContext":{}}"#).unwrap_err();
        assert!(wrong.to_string().starts_with("InvalidEvent: "), "{wrong}");
    }

    #[test]
    fn describe_is_asked_with_or_without_a_context() {
        for json in [
            r#"{"describe":true}"#,
            r#"{"describe":true,"widgetContext":{"theme":"dark"}}"#,
        ] {
            assert_eq!(event(json).unwrap(), Event::DescribeWidget);
        }
        assert!(event(r#"{"describe":false}"#).is_err());
    }

    #[test]
    fn what_is_not_accepted_is_named() {
        let message = |json: &str| decode(json).unwrap_err().to_string();
        insta::assert_snapshot!(message(r#"{"cluster":"k8s"}"#), @"InvalidEvent: the event is not accepted: unknown field `cluster`, expected `now` or `clusters`");
        insta::assert_snapshot!(message(r#"{"clusters":[]}"#), @r#"InvalidEvent: "clusters" is empty: name clusters, or leave the field out for all"#);
        insta::assert_snapshot!(message(r#"{"clusters":["k8s","*"]}"#), @r#"InvalidEvent: "clusters" holds "*", which is no DNS name: name clusters as kops does, like k8s.mycompany.tld"#);
        insta::assert_snapshot!(message(r#"{"now":"yesterday"}"#), @r#"InvalidEvent: the event is not accepted: "now": "yesterday" is no time: write it in UTC like 2026-11-22T07:30:00Z"#);
        insta::assert_snapshot!(message(r#"{"now":5}"#), @r#"InvalidEvent: the event is not accepted: "now" is 5, and a string is wanted"#);
        insta::assert_snapshot!(message(r#"{"clusters":"k8s"}"#), @r#"InvalidEvent: the event is not accepted: "clusters" is "k8s", and a list is wanted"#);
        insta::assert_snapshot!(message(r#"{"clusters":[null]}"#), @r#"InvalidEvent: the event is not accepted: "clusters[0]" is null, and a string is wanted"#);
        assert!(message("[]").contains("not a JSON object"));
        assert!(message("null").contains("not a JSON object"));
    }
}
