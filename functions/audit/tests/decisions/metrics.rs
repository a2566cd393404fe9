//! The metric lines, held against what CloudWatch says of its embedded metric format.

use std::time::Duration;

use crate::world::{NOW, account, at, lose_snapshot, settings};
use audit::event::Request;
use audit::inventory::Inventory;
use audit::metrics;
use audit::report::Report;
use serde_json::Value;

const TOOK: Duration = Duration::from_millis(1234);

fn lines(inventory: Inventory, is_of_all: bool) -> Vec<String> {
    let report = Report::new(inventory, &settings(), &Request::default(), at(NOW));
    let lines = metrics::lines(&report, is_of_all, TOOK);
    lines.iter().map(ToString::to_string).collect()
}

fn red() -> Inventory {
    let mut inventory = account(&["k8s.mycompany.tld", "live-2.mycompany.tld"], 14);
    lose_snapshot(&mut inventory, "vol-0-main-b", 0);
    inventory
}

/// What CloudWatch would refuse: by the schema, and by the rules that a schema can't say.
fn faults(line: &str) -> Vec<String> {
    let line: Value = serde_json::from_str(line).unwrap();
    let schema = include_str!("embedded_metric_format.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut faults: Vec<String> = validator
        .iter_errors(&line)
        .map(|e| e.to_string())
        .collect();
    for directive in line["_aws"]["CloudWatchMetrics"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for metric in directive["Metrics"].as_array().into_iter().flatten() {
            let name = metric["Name"].as_str().unwrap_or_default();
            if !line[name].is_number() {
                faults.push(format!("{name} is {}", line[name]));
            }
        }
        let sets = directive["Dimensions"].as_array().into_iter().flatten();
        for key in sets.filter_map(Value::as_array).flatten() {
            let value = line[key.as_str().unwrap_or_default()]
                .as_str()
                .unwrap_or_default();
            let is_taken = (1..=1024).contains(&value.len())
                && value.bytes().all(|b| (b' '..=b'~').contains(&b))
                && !value.trim().is_empty()
                && !value.starts_with(':');
            if !is_taken {
                faults.push(format!("{key} is {value:?}"));
            }
        }
    }
    faults
}

fn check(line: &str) {
    assert!(!line.contains('\n') && line.len() < 256 * 1024, "{line}");
    assert_eq!(faults(line), Vec::<String>::new(), "{line}");
}

#[test]
fn faults_are_found() {
    let good = &lines(red(), true)[0];
    for (from, to) in [
        ("1795332900000", "1795332900"),
        ("\"None\"", "\"Hours\""),
        ("[[\"Cluster\"]]", "[]"),
        ("[[\"Cluster\"]]", "[[\"Clusters\"]]"),
        ("\"Namespace\":\"EtcdBackup\"", "\"Namespace\":\"\""),
        ("\"VolumesTotal\":6", "\"VolumesTotal\":\"6\""),
        ("\"Cluster\":\"k8s", "\"Cluster\":\":k8s"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, *good, "{from}");
        assert!(!faults(&bad).is_empty(), "{bad}");
    }
}

#[test]
fn a_line_for_each_cluster_and_one_for_all() {
    let lines = lines(red(), true);
    insta::assert_snapshot!(lines.join("\n"));
    lines.iter().for_each(|line| check(line));
}

#[test]
fn the_age_is_that_of_the_oldest_latest_restore_point() {
    let ages = |inventory| {
        let lines = lines(inventory, true).into_iter();
        let lines = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        lines
            .map(|line| line["RestorePointAgeHours"].as_f64())
            .collect::<Vec<_>>()
    };
    // 06:04:11 to 07:35:00, and a day more.
    assert_eq!(ages(red()), [Some(25.514), Some(1.514), Some(25.514)]);
    let mut without_any = red();
    without_any
        .snapshots
        .retain(|of| !of.volume_id.as_str().starts_with("vol-0"));
    assert_eq!(ages(without_any), [None, Some(1.514), Some(1.514)]);
}

#[test]
fn an_empty_account_is_measured_too() {
    let lines = lines(Inventory::default(), true);
    assert_eq!(lines.len(), 1);
    check(&lines[0]);
    assert!(lines[0].contains(r#""VolumesTotal":0"#), "{}", lines[0]);
    assert!(!lines[0].contains("RestorePointAgeHours"), "{}", lines[0]);
}

#[test]
fn some_clusters_are_not_reported_as_all() {
    let lines = lines(red(), false);
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line.contains(r#""Dimensions":[["Cluster"]]"#))
    );
}

#[test]
fn foreign_names_still_make_lines_that_cloudwatch_takes() {
    for name in [
        "caf\u{e9}\n{\"_aws\":1}",
        ":colon",
        " ",
        &"\u{1f980}".repeat(60),
    ] {
        for line in lines(account(&[name], 2), true) {
            check(&line);
        }
    }
}
