//! Documents written in every way that must not matter, and changed in every way that must.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// One statement as a test makes it: lists that can be written in many ways.
#[derive(Clone, Debug)]
struct Statement {
    effect: &'static str,
    principals: Vec<String>,
    actions: Vec<String>,
    negated: bool,
    resources: Vec<String>,
    conditions: Vec<(String, Vec<String>)>,
}

/// How a document is written, which must not matter.
#[derive(Clone, Debug)]
struct Style {
    reversed: bool,
    split: bool,
    single_as_string: bool,
    upper_case_actions: bool,
    sids: bool,
    url_encoded: bool,
}

fn names(prefix: &'static str, least: usize) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set(0_u8..6, least..4)
        .prop_map(move |set| set.into_iter().map(|n| format!("{prefix}{n}")).collect())
}

prop_compose! {
    fn statement()(
        effect in proptest::sample::select(&["Allow", "Deny"][..]),
        principals in names("arn:aws:iam::12345678901", 1),
        actions in names("ec2:Action", 1),
        negated in proptest::bool::weighted(0.2),
        resources in names("arn:aws:ec2:*::snapshot/", 1),
        conditions in proptest::collection::btree_map("aws:Source[A-C]", names("value", 1), 0..3),
    ) -> Statement {
        let conditions = conditions.into_iter().collect();
        Statement { effect, principals, actions, negated, resources, conditions }
    }
}

prop_compose! {
    fn style()(bits in any::<[bool; 6]>()) -> Style {
        let [reversed, split, single_as_string, upper_case_actions, sids, url_encoded] = bits;
        Style { reversed, split, single_as_string, upper_case_actions, sids, url_encoded }
    }
}

impl Style {
    const PLAIN: Self = Self {
        reversed: false,
        split: false,
        single_as_string: false,
        upper_case_actions: false,
        sids: false,
        url_encoded: false,
    };

    fn list(&self, values: &[String]) -> Value {
        match values {
            [one] if self.single_as_string => json!(one),
            many if self.reversed => many.iter().rev().cloned().collect(),
            many => json!(many),
        }
    }

    fn written(&self, statements: &[Statement]) -> String {
        let mut list: Vec<_> = statements
            .iter()
            .flat_map(|statement| self.parts(statement))
            .collect();
        if self.reversed {
            list.reverse();
        }
        let list: Vec<_> = list
            .iter()
            .enumerate()
            .map(|(n, part)| self.object(n, part))
            .collect();
        let statement = match &list[..] {
            [one] if self.single_as_string => one.clone(),
            many => json!(many),
        };
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        if self.url_encoded {
            utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()
        } else {
            text
        }
    }

    /// The statement, or one for each of its actions where those can be told apart.
    fn parts(&self, statement: &Statement) -> Vec<Statement> {
        if self.split && !statement.negated {
            statement
                .actions
                .iter()
                .map(|action| Statement {
                    actions: vec![action.clone()],
                    ..statement.clone()
                })
                .collect()
        } else {
            vec![statement.clone()]
        }
    }

    fn object(&self, number: usize, statement: &Statement) -> Value {
        let actions: Vec<_> = statement
            .actions
            .iter()
            .map(|action| {
                if self.upper_case_actions {
                    action.to_ascii_uppercase()
                } else {
                    action.clone()
                }
            })
            .collect();
        let keys: Map<_, _> = statement
            .conditions
            .iter()
            .map(|(key, values)| (key.clone(), self.list(values)))
            .collect();
        let action = if statement.negated {
            "NotAction"
        } else {
            "Action"
        };
        let mut object = json!({
            "Effect": statement.effect,
            "Principal": {"AWS": self.list(&statement.principals)},
            action: self.list(&actions),
            "Resource": self.list(&statement.resources),
        });
        if !keys.is_empty() {
            object["Condition"] = json!({"StringEquals": keys});
        }
        if self.sids {
            object["Sid"] = json!(format!("S{number}"));
        }
        object
    }
}

/// A statement that says something else, by one change.
fn changed(statement: &Statement, change: usize) -> Statement {
    let mut statement = statement.clone();
    let new = || "something:else".to_owned();
    match change {
        0 => {
            statement.effect = if statement.effect == "Allow" {
                "Deny"
            } else {
                "Allow"
            }
        }
        1 => statement.principals.push(new()),
        2 => statement.actions.push(new()),
        3 => statement.resources.push(new()),
        4 => statement.conditions.push((new(), vec![new()])),
        5 => statement.negated = !statement.negated,
        6 => statement.principals[0] = new(),
        7 => statement.actions[0] = new(),
        8 => statement.resources[0] = new(),
        _ => match statement.conditions.first_mut() {
            Some((_, values)) => values[0] = new(),
            None => statement.resources[0].push('x'),
        },
    }
    statement
}

proptest! {
    #[test]
    fn writing_it_otherwise_changes_nothing(
        statements in proptest::collection::vec(statement(), 1..4),
        style in style(),
    ) {
        let plain = PolicyDocument::parse(&Style::PLAIN.written(&statements)).unwrap();
        let styled = PolicyDocument::parse(&style.written(&statements)).unwrap();
        prop_assert_eq!(styled.beyond(&plain), None);
        prop_assert_eq!(plain.beyond(&styled), None);
        prop_assert_eq!(plain, styled);
    }

    #[test]
    fn any_single_change_shows(statement in statement(), change in 0_usize..10, style in style()) {
        let before = PolicyDocument::parse(&Style::PLAIN.written(std::slice::from_ref(&statement))).unwrap();
        let after = PolicyDocument::parse(&style.written(&[changed(&statement, change)])).unwrap();
        prop_assert_ne!(&before, &after);
        prop_assert!(before.beyond(&after).is_some() || after.beyond(&before).is_some());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,60}") {
        let _ = PolicyDocument::parse(&text);
    }
}

fn parse(document: Value) -> Result<PolicyDocument, DocumentError> {
    PolicyDocument::parse(&document.to_string())
}

#[test]
fn differences_read_like_sentences() {
    let desired = parse(json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["ec2:CreateSnapshot", "ec2:DeleteSnapshot"], "Resource": "*"},
        {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:aws:ec2:*::snapshot/*"},
    ]}))
    .unwrap();
    let actual = parse(json!({"Version": "2012-10-17", "Statement":
        {"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*",
         "Principal": {"Service": "dlm.amazonaws.com"},
         "Condition": {"StringEquals": {"aws:SourceAccount": ["1", 2]}, "Bool": {"aws:SecureTransport": true}}},
    }))
    .unwrap();
    insta::assert_snapshot!(desired.beyond(&actual).unwrap(), @"Allow ec2:CreateSnapshot, ec2:DeleteSnapshot on *; Allow ec2:CreateTags on arn:aws:ec2:*::snapshot/*");
    insta::assert_snapshot!(actual.beyond(&desired).unwrap(), @"Allow all but iam:* and sts:* to Service dlm.amazonaws.com on * if aws:SecureTransport Bool true and aws:SourceAccount StringEquals 1 or 2");
}

#[test]
fn an_absent_version_is_the_old_one() {
    let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let absent = parse(json!({"Statement": statement})).unwrap();
    let old = parse(json!({"Version": "2008-10-17", "Id": "x", "Statement": statement})).unwrap();
    let new = parse(json!({"Version": "2012-10-17", "Statement": statement})).unwrap();
    assert_eq!(absent, old);
    assert_ne!(absent, new);
}

#[test]
fn what_has_no_known_meaning_is_an_error() {
    for (document, error) in [
        ("", "not JSON"),
        ("%7B", "not JSON"),
        ("%ff", "not JSON"),
        ("[]", "the document is not as IAM's grammar has it"),
        ("{}", "Statement is not as IAM's grammar has it"),
        (
            r#"{"Statement":[],"Comment":"x"}"#,
            "Comment is not as IAM's grammar has it",
        ),
        (
            r#"{"Statement":{"Action":"*"}}"#,
            "Effect is not as IAM's grammar has it",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":1}}"#,
            "Action is not as IAM's grammar has it",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"a","NotAction":"b"}}"#,
            "NotAction is not as IAM's grammar has it",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"a","Condition":{"Bool":{"k":null}}}}"#,
            "Condition is not as IAM's grammar has it",
        ),
    ] {
        assert_eq!(
            PolicyDocument::parse(document).unwrap_err().to_string(),
            error,
            "{document}"
        );
    }
}

#[test]
fn a_document_that_expands_beyond_bounds_is_refused() {
    let many = |prefix: &str| (0..70).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let document = json!({"Statement":
        {"Effect": "Allow", "Action": many("a"), "Resource": many("r")}});
    assert_eq!(parse(document), Err(DocumentError::TooLarge));
}
