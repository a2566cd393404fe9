//! What converge answers: the plan as JSON, and the same as text.

use std::fmt;

use etcd_backup_core::ids::PolicyId;
use serde::Serialize;

use crate::event::Action;
use crate::plan::{Change, Operation, Plan};

/// The answer.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Answer {
    /// What was asked for.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// The DLM policy; `null` where it is only planned.
    pub policy_id: Option<PolicyId>,
    /// The role that DLM assumes, also where it is only planned.
    pub role_arn: String,
    /// What changed, or would.
    pub changes: Vec<Change>,
    /// What people should know.
    pub warnings: Vec<String>,
    /// The same for a person to read.
    pub text: String,
}

/// What came of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything was as it should be.
    Unchanged,
    /// Something was not, and is now.
    Changed,
    /// Something is not.
    Drifted,
}

impl Answer {
    /// What to say of a plan, made for or applied.
    pub fn new(action: Action, plan: Plan) -> Self {
        let outcome = match (plan.changes.is_empty(), action) {
            (true, _) => Outcome::Unchanged,
            (false, Action::Apply) => Outcome::Changed,
            (false, Action::Plan) => Outcome::Drifted,
        };
        Self {
            action,
            outcome,
            policy_id: plan.policy_id,
            role_arn: plan.role_arn,
            changes: plan.changes,
            warnings: plan.warnings,
            text: String::new(),
        }
        .with_text()
    }

    /// With one more warning.
    pub fn warning(mut self, warning: String) -> Self {
        self.warnings.push(warning);
        self.with_text()
    }

    fn with_text(mut self) -> Self {
        self.text = self.to_string();
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            write!(f, "{change}")?;
        }
        if !self.changes.is_empty() {
            writeln!(f)?;
        }
        match self.outcome {
            Outcome::Unchanged => write!(f, "Nothing to change.")?,
            Outcome::Drifted => {
                let counts = counts(&self.changes, ["to create", "to update", "to delete"]);
                write!(f, "Plan: {counts}.")?;
            }
            Outcome::Changed => {
                let counts = counts(&self.changes, ["created", "updated", "deleted"]);
                write!(f, "Done: {counts}.")?;
            }
        }
        for warning in &self.warnings {
            write!(f, "\n\nWarning: {warning}.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = match self.operation {
            Operation::Create => '+',
            Operation::Update => '~',
            Operation::Delete => '-',
        };
        writeln!(f, "  {symbol} {} \"{}\"", self.resource, self.name)?;
        for difference in &self.differences {
            let (field, actual, desired) =
                (&difference.field, &difference.actual, &difference.desired);
            writeln!(f, "      {field}: {actual} → {desired}")?;
        }
        Ok(())
    }
}

/// How many changes there are of each operation, those of none left out.
fn counts(changes: &[Change], words: [&str; 3]) -> String {
    let counts: Vec<_> = [Operation::Create, Operation::Update, Operation::Delete]
        .into_iter()
        .zip(words)
        .map(|(operation, words)| {
            (
                changes
                    .iter()
                    .filter(|change| change.operation == operation)
                    .count(),
                words,
            )
        })
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    counts.join(", ")
}
