//! Policies as the template gives them to the functions' roles, taken apart: what each statement grants,
//! and the same without one of its actions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Every action that some statement of a function's policies grants, by statement.
pub fn granted(documents: &[Value]) -> BTreeSet<(Option<String>, String)> {
    let statements = documents
        .iter()
        .flat_map(|document| document["Statement"].as_array().unwrap());
    statements
        .flat_map(|statement| {
            let sid = statement["Sid"].as_str().map(str::to_owned);
            actions(statement)
                .into_iter()
                .map(move |action| (sid.clone(), action))
        })
        .collect()
}

fn actions(statement: &Value) -> Vec<String> {
    match &statement["Action"] {
        Value::String(one) => vec![one.clone()],
        several => {
            let several = several.as_array().unwrap().iter();
            several
                .map(|action| action.as_str().unwrap().to_owned())
                .collect()
        }
    }
}

/// The same policies without one action of one statement.
pub fn without(documents: &[Value], sid: Option<&str>, action: &str) -> Vec<Value> {
    let mut documents = documents.to_vec();
    for document in &mut documents {
        let statements = document["Statement"].as_array_mut().unwrap();
        for statement in statements.iter_mut() {
            if statement["Sid"].as_str() == sid {
                let kept: Vec<_> = actions(statement)
                    .into_iter()
                    .filter(|other| other != action)
                    .collect();
                statement["Action"] = json!(kept);
            }
        }
        statements.retain(|statement| !actions(statement).is_empty());
    }
    documents
}
