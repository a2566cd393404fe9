//! Policy documents, compared by what they mean.
//!
//! IAM gives documents back URL-encoded and may write them otherwise than they were sent. Here a
//! document is the set of the single permissions that it states, so that order, splitting and
//! joining of statements, one string or a list of one, `Sid`s and layout play no part, and nothing
//! else is overlooked.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use thiserror::Error;

/// The version that a document without one has.
///
/// Source: IAM user guide, "IAM JSON policy elements: Version".
const VERSION_ABSENT: &str = "2008-10-17";
/// A bound on the permissions of one document: what IAM's size limit lets through could multiply to
/// a million, and no document of this project has more than a dozen.
const PERMISSIONS_MAX: usize = 4096;

/// A document that can't be read, and so is unlike any that can.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// Neither JSON nor URL-encoded JSON.
    #[error("not JSON")]
    NotJson,
    /// An element is missing, unknown or has another type than IAM's grammar gives it.
    #[error("{0} is not as IAM's grammar has it")]
    Grammar(String),
    /// More single permissions than any document to compare with has.
    #[error("more than {PERMISSIONS_MAX} single permissions")]
    TooLarge,
}

/// A policy document by its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDocument {
    version: String,
    permissions: BTreeSet<Permission>,
}

/// What one effect, principal, action and resource come to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    effect: String,
    principal: Option<Scope<String>>,
    action: Option<Scope<FoldedCase>>,
    resource: Option<Scope<String>>,
    conditions: BTreeSet<Condition>,
}

/// What an element names: one thing, or all but some. The latter means its whole list at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope<T> {
    Each(T),
    AllBut(BTreeSet<T>),
}

/// One operator and key with any of its values. All conditions of a statement must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    operator: String,
    key: FoldedCase,
    values: BTreeSet<String>,
}

/// A name that IAM compares without regard to case: an action, a condition key. Shown as written.
#[derive(Clone, Debug)]
struct FoldedCase(String);

impl PolicyDocument {
    /// Reads a document, plain or URL-encoded.
    ///
    /// # Errors
    ///
    /// [`DocumentError`], when IAM's grammar doesn't give the document a meaning that is known here.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let decoded = if text.trim_start().starts_with('{') {
            text.into()
        } else {
            percent_decode_str(text)
                .decode_utf8()
                .map_err(|_| DocumentError::NotJson)?
        };
        let document: Value = serde_json::from_str(&decoded).map_err(|_| DocumentError::NotJson)?;
        let document = object(&document, "the document")?;
        only_known(document, &["Version", "Id", "Statement"])?;
        let version = match document.get("Version") {
            None => VERSION_ABSENT.to_owned(),
            Some(version) => scalar(version, "Version")?,
        };
        let mut permissions = BTreeSet::new();
        for statement in one_or_more(
            document
                .get("Statement")
                .ok_or_else(|| grammar("Statement"))?,
        ) {
            for permission in permissions_of(statement)? {
                permissions.insert(permission);
                if permissions.len() > PERMISSIONS_MAX {
                    return Err(DocumentError::TooLarge);
                }
            }
        }
        Ok(Self {
            version,
            permissions,
        })
    }

    /// The version of the policy language.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it allows an action on everything, without conditions, in so many words.
    pub fn allows_everywhere(&self, action: &str) -> bool {
        self.permissions.contains(&Permission {
            effect: "Allow".to_owned(),
            principal: None,
            action: Some(Scope::Each(FoldedCase(action.to_owned()))),
            resource: Some(Scope::Each("*".to_owned())),
            conditions: BTreeSet::new(),
        })
    }

    /// All that the document states, in words.
    pub fn in_words(&self) -> String {
        let nothing = Self {
            version: String::new(),
            permissions: BTreeSet::new(),
        };
        self.beyond(&nothing).unwrap_or_default()
    }

    /// What this document states and another doesn't, in words; `None` when that is nothing.
    pub fn beyond(&self, other: &Self) -> Option<String> {
        let mut statements: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for permission in self.permissions.difference(&other.permissions) {
            let of = (
                &permission.effect,
                &permission.principal,
                &permission.resource,
                &permission.conditions,
            );
            statements
                .entry(of)
                .or_default()
                .extend(words(permission.action.as_ref()));
        }
        // Resources that share everything else are listed together, as people write them.
        let mut merged: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for ((effect, principal, resource, conditions), actions) in statements {
            let of = (effect, words(principal.as_ref()), actions, conditions);
            merged
                .entry(of)
                .or_default()
                .extend(words(resource.as_ref()));
        }
        let sentences: Vec<_> = merged
            .into_iter()
            .map(|((effect, principal, actions, conditions), resources)| {
                let mut sentence = vec![effect.clone(), joined(actions)];
                sentence.extend(principal.map(|who| format!("to {who}")));
                if !resources.is_empty() {
                    sentence.push(format!("on {}", joined(resources)));
                }
                if !conditions.is_empty() {
                    sentence.push(format!("if {}", joined_by(conditions.iter(), " and ")));
                }
                sentence.join(" ")
            })
            .collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }
}

/// Every combination of what a statement names.
fn permissions_of(statement: &Value) -> Result<Vec<Permission>, DocumentError> {
    let statement = object(statement, "Statement")?;
    only_known(
        statement,
        &[
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ],
    )?;
    let effect = match statement.get("Effect").and_then(Value::as_str) {
        Some(effect @ ("Allow" | "Deny")) => effect.to_owned(),
        _ => return Err(grammar("Effect")),
    };
    let conditions = conditions(statement)?;
    let principals = scopes(statement, "Principal", "NotPrincipal", principals)?;
    let actions = scopes(statement, "Action", "NotAction", |value| {
        Ok(strings(value, "Action")?
            .into_iter()
            .map(FoldedCase)
            .collect())
    })?;
    let resources = scopes(statement, "Resource", "NotResource", |value| {
        strings(value, "Resource")
    })?;
    if principals.len() * actions.len() * resources.len() > PERMISSIONS_MAX {
        return Err(DocumentError::TooLarge);
    }
    let mut permissions = Vec::new();
    for principal in &principals {
        for action in &actions {
            for resource in &resources {
                permissions.push(Permission {
                    effect: effect.clone(),
                    principal: principal.clone(),
                    action: action.clone(),
                    resource: resource.clone(),
                    conditions: conditions.clone(),
                });
            }
        }
    }
    Ok(permissions)
}

/// The scopes that an element or its negation names; one `None` where the statement has neither.
fn scopes<T: Clone + Ord>(
    statement: &Map<String, Value>,
    element: &str,
    negation: &str,
    read: impl Fn(&Value) -> Result<BTreeSet<T>, DocumentError>,
) -> Result<Vec<Option<Scope<T>>>, DocumentError> {
    match (statement.get(element), statement.get(negation)) {
        (None, None) => Ok(vec![None]),
        (Some(value), None) => Ok(read(value)?
            .into_iter()
            .map(Scope::Each)
            .map(Some)
            .collect()),
        (None, Some(value)) => Ok(vec![Some(Scope::AllBut(read(value)?))]),
        (Some(_), Some(_)) => Err(grammar(negation)),
    }
}

fn principals(value: &Value) -> Result<BTreeSet<String>, DocumentError> {
    if value.as_str() == Some("*") {
        return Ok(BTreeSet::from(["*".to_owned()]));
    }
    let mut principals = BTreeSet::new();
    for (kind, names) in object(value, "Principal")? {
        for name in strings(names, "Principal")? {
            principals.insert(format!("{kind} {name}"));
        }
    }
    Ok(principals)
}

fn conditions(statement: &Map<String, Value>) -> Result<BTreeSet<Condition>, DocumentError> {
    let mut conditions = BTreeSet::new();
    let Some(condition) = statement.get("Condition") else {
        return Ok(conditions);
    };
    for (operator, keys) in object(condition, "Condition")? {
        for (key, values) in object(keys, "Condition")? {
            let values = one_or_more(values)
                .iter()
                .map(|value| scalar(value, "Condition"))
                .collect::<Result<_, _>>()?;
            conditions.insert(Condition {
                operator: operator.clone(),
                key: FoldedCase(key.clone()),
                values,
            });
        }
    }
    Ok(conditions)
}

fn one_or_more(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        value => std::slice::from_ref(value),
    }
}

fn strings(value: &Value, element: &str) -> Result<BTreeSet<String>, DocumentError> {
    one_or_more(value)
        .iter()
        .map(|value| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| grammar(element))
        })
        .collect()
}

/// Condition values may be written `true` or `"true"`, `1` or `"1"`.
fn scalar(value: &Value, element: &str) -> Result<String, DocumentError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(grammar(element)),
    }
}

fn object<'a>(value: &'a Value, element: &str) -> Result<&'a Map<String, Value>, DocumentError> {
    value.as_object().ok_or_else(|| grammar(element))
}

fn only_known(object: &Map<String, Value>, known: &[&str]) -> Result<(), DocumentError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(grammar(unknown)),
        None => Ok(()),
    }
}

fn grammar(element: &str) -> DocumentError {
    DocumentError::Grammar(element.to_owned())
}

fn words<T: fmt::Display>(scope: Option<&Scope<T>>) -> Option<String> {
    scope.map(|scope| match scope {
        Scope::Each(one) => one.to_string(),
        Scope::AllBut(some) => format!("all but {}", joined_by(some.iter(), " and ")),
    })
}

fn joined(words: impl IntoIterator<Item = impl fmt::Display>) -> String {
    joined_by(words.into_iter(), ", ")
}

fn joined_by(words: impl Iterator<Item = impl fmt::Display>, separator: &str) -> String {
    words
        .map(|word| word.to_string())
        .collect::<Vec<_>>()
        .join(separator)
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = joined_by(self.values.iter(), " or ");
        write!(f, "{} {} {values}", self.key, self.operator)
    }
}

impl fmt::Display for FoldedCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for FoldedCase {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .to_ascii_lowercase()
            .cmp(&other.0.to_ascii_lowercase())
    }
}

impl PartialOrd for FoldedCase {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FoldedCase {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FoldedCase {}

#[cfg(test)]
mod tests;
