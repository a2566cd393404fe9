//! Events that are wrong in every way, and the error for each.

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
    let absent = json!({"cluster": null, "of": null, "members": null, "inner": null, "at": null});
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

#[test]
fn a_refusal_is_readable_whatever_the_event_holds() {
    let long = "x".repeat(100_000);
    let key = format!("a\u{1b}[2J\n{long}");
    for written in [
        json!({"choice": long}),
        json!({"count": long}),
        json!({"choice": "\u{0}\u{1b}[2J\n"}),
        json!({key: 1}),
    ] {
        let message = event(&written).unwrap_err().message;
        assert!(message.chars().count() <= 2001, "{} bytes", message.len());
        assert!(!message.contains(char::is_control), "{message:?}");
    }
    let cut = event(&json!({"choice": long})).unwrap_err().message;
    assert!(
        cut.ends_with(r#"…, and one of "first", "second" is wanted"#),
        "{cut}"
    );
}
