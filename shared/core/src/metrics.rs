//! Metrics as lines in CloudWatch's embedded metric format: CloudWatch Logs reads them off a function's
//! log, so that no call and no permission is needed.
//!
//! The crates that write this format come with queues, histograms and recorders, dozens of crates for a
//! handful of gauges (`metrique`), or want to be the process's one global recorder
//! (`metrics_cloudwatch_embedded`); so the format is written down here.
//!
//! Source: CloudWatch user guide, "Specification: Embedded metric format"; CloudWatch API reference,
//! `MetricDatum` and `Dimension`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Number;

use crate::ids::ClusterName;

/// The namespace in CloudWatch.
pub const NAMESPACE: &str = "EtcdBackup";
/// The dimension of a cluster's own metrics.
pub const CLUSTER: &str = "Cluster";
/// CloudWatch's limit of a dimension's value, in characters.
const DIMENSION_LENGTH_MAX: usize = 1024;

/// One line of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    #[serde(rename = "_aws")]
    metadata: Metadata,
    #[serde(rename = "Cluster", skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(flatten)]
    values: BTreeMap<&'static str, Number>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    /// Milliseconds since 1970.
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: [Directive; 1],
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [Vec<&'static str>; 1],
    metrics: Vec<Definition>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: Unit,
}

/// CloudWatch's units; it has none for hours.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A duration.
    Milliseconds,
    /// Whatever else.
    None,
}

/// A metric's name, unit and value.
pub type Metric = (&'static str, Unit, Number);

impl Line {
    /// Metrics as of a moment: of one cluster, or of all.
    pub fn new(at: Timestamp, cluster: Option<&ClusterName>, metrics: Vec<Metric>) -> Self {
        let definitions = metrics
            .iter()
            .map(|(name, unit, _)| Definition { name, unit: *unit });
        Self {
            metadata: Metadata {
                timestamp: at.as_millisecond(),
                directives: [Directive {
                    namespace: NAMESPACE,
                    dimensions: [cluster.map(|_| CLUSTER).into_iter().collect()],
                    metrics: definitions.collect(),
                }],
            },
            cluster: cluster.map(dimension_value),
            values: metrics
                .into_iter()
                .map(|(name, _, value)| (name, value))
                .collect(),
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&json)
    }
}

/// What CloudWatch takes as a dimension's value: printable ASCII, not only blanks, no colon in front.
/// It drops the whole line otherwise, and a cluster's name is a tag, which may hold anything.
fn dimension_value(cluster: &ClusterName) -> String {
    let ascii = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    let mut value: String = cluster.as_str().chars().map(ascii).collect();
    value.truncate(DIMENSION_LENGTH_MAX);
    if value.starts_with(':') || value.trim().is_empty() {
        value.replace_range(..value.len().min(1), "?");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_becomes_what_cloudwatch_takes() {
        let value = |name: &str| dimension_value(&ClusterName::from(name));
        assert_eq!(value("k8s.mycompany.tld"), "k8s.mycompany.tld");
        assert_eq!(value("k8s\n\u{e9}"), "k8s??");
        assert_eq!(value(":k8s"), "?k8s");
        assert_eq!(value("  "), "? ");
        assert_eq!(value(""), "?");
        assert_eq!(value(&"é".repeat(2000)).len(), 1024);
    }
}
