//! `{"action":"version"}`: which version of which function answers. It is the same for every function,
//! reads nothing, and so answers wherever a function starts at all.

use serde::Serialize;
use serde_json::Value;

use crate::diagnostic::Diagnostic;

/// The version of all that this workspace builds.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const ACTION: &str = "version";

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Version {
    /// `version`
    pub action: &'static str,
    /// The function's name in this project: `audit`.
    pub function: &'static str,
    /// As in the changelog: `0.2.0`.
    pub version: &'static str,
    /// The same for a person.
    pub text: String,
}

impl Version {
    /// The function's answer, where an event asks for it.
    ///
    /// # Errors
    ///
    /// `InvalidEvent` where it asks for anything else besides.
    pub fn asked(event: &Value, function: &'static str) -> Result<Option<Self>, Diagnostic> {
        let fields = event.as_object();
        let Some(fields) = fields.filter(|fields| fields.get("action") == Some(&ACTION.into()))
        else {
            return Ok(None);
        };
        if let Some(other) = fields.keys().find(|field| *field != "action") {
            return Err(Diagnostic::invalid_event(format!(
                "\"version\" takes \"action\" alone, not {other:?}"
            )));
        }
        Ok(Some(Self {
            action: ACTION,
            function,
            version: VERSION,
            text: format!("{function} {VERSION}"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_answered_where_it_is_asked_for_and_nothing_else_is() {
        let answer = Version::asked(&json!({"action": "version"}), "audit").unwrap();
        let answer = serde_json::to_value(answer.unwrap()).unwrap();
        let expected = json!({
            "action": "version",
            "function": "audit",
            "version": VERSION,
            "text": format!("audit {VERSION}"),
        });
        assert_eq!(answer, expected);
        for other in [
            json!({}),
            json!({"action": "plan"}),
            json!([]),
            json!("version"),
        ] {
            assert_eq!(Version::asked(&other, "audit").unwrap(), None);
        }
        let more = json!({"action": "version", "cluster": "k8s.mycompany.tld"});
        insta::assert_snapshot!(
            Version::asked(&more, "restore").unwrap_err(),
            @r#"InvalidEvent: "version" takes "action" alone, not "cluster""#
        );
    }
}
