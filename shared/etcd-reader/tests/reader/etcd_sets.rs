//! The committed sets of real crashed members, against what etcd's own tools and real restarts say of them.

use crate::images;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use etcd_reader::judge::{SetReport, Verdict, judge_set};
use etcd_reader::member::{MemberContext, read_volume};
use serde_json::Value;

fn judge(set: &str) -> SetReport {
    let member = |(name, volume)| {
        let context = MemberContext {
            etcd_cluster: "main".to_owned(),
            member: name,
            count_secrets_encryption: true,
            ..MemberContext::default()
        };
        read_volume(volume, &context)
    };
    judge_set(
        &images::volumes(set)
            .into_iter()
            .map(member)
            .collect::<Vec<_>>(),
    )
}

fn truth(file: &str) -> BTreeMap<String, Value> {
    serde_json::from_reader(File::open(images::fixtures().join(file)).unwrap()).unwrap()
}

/// Compares what is answered of each member with what is expected of it, by the fields' names.
fn compare_members(report: &SetReport, expected: &Value, fields: &[(&str, &str)]) {
    let answered = serde_json::to_value(report).unwrap();
    for member in answered["members"].as_array().unwrap() {
        let expected = &expected["members"][member["member"].as_str().unwrap()];
        for (field, expected_field) in fields {
            assert_eq!(
                member[field], expected[expected_field],
                "{} {field}",
                member["member"]
            );
        }
        assert_eq!(member["problems"], Value::Array(Vec::new()));
    }
    let text = answered.to_string();
    assert!(!text.contains("SECRETVALUE") && !text.contains("leakname"));
}

#[test]
fn sets_are_judged_as_real_restarts_went() {
    let sets = truth("etcd-sets.json");
    assert_eq!(sets.len(), 6);
    let mut restarts = 0;
    for (name, expected) in &sets {
        let report = judge(name);
        assert_eq!(
            report.verdict,
            Verdict::Restorable,
            "{name} {:?}",
            report.problems
        );
        assert_eq!(
            report.cluster_id.as_deref(),
            expected["cluster_id"].as_str()
        );
        compare_members(
            &report,
            expected,
            &[
                ("member_id", "member_id"),
                ("data_dir", "data_dir"),
                ("other_data_dirs", "other_data_dirs"),
                ("revision", "db_revision"),
                ("consistent_index", "consistent_index"),
                ("term", "term"),
                ("commit", "commit"),
                ("wal_last", "wal_last"),
                ("db_size", "db_size"),
            ],
        );
        let range = report.revision.unwrap();
        let orders = expected["orders"].as_object().unwrap();
        restarts += orders.len();
        for (order, outcome) in orders {
            for revision in outcome["revision"].as_object().unwrap().values() {
                let revision = revision.as_u64().unwrap();
                assert!(
                    (range.at_least..=range.at_most).contains(&revision),
                    "{name} {order}: {revision} {range:?}"
                );
            }
        }
        // Where any order works, none is asked for; else the newest must be first, with a quorum.
        assert_eq!(
            report.start_first.is_empty(),
            expected["any_order"].as_bool().unwrap(),
            "{name}"
        );
        if let Some(first) = report.start_first.first() {
            let newest = report
                .members
                .iter()
                .max_by_key(|member| member.wal_last)
                .unwrap();
            assert_eq!(
                (first, report.start_first.len()),
                (&newest.member, report.quorum.unwrap()),
                "{name}"
            );
            let whole = orders["newest first"]["up"].as_array().unwrap().len();
            assert_eq!(whole, report.members.len(), "{name}");
        }
    }
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "{} given sets are judged as {restarts} restarts of them went",
        sets.len()
    );
}

#[test]
fn a_set_of_another_layout_is_judged_too() {
    let expected = serde_json::to_value(truth("etcd-crash.json")).unwrap();
    let report = judge("etcd-crash");
    assert_eq!(report.verdict, Verdict::Restorable, "{:?}", report.problems);
    let fields = [
        "member_id",
        "revision",
        "key_entries",
        "consistent_index",
        "wal_last",
        "commit",
        "term",
    ];
    compare_members(&report, &expected, &fields.map(|field| (field, field)));
    let range = report.revision.unwrap();
    let revision = expected["set"]["revision_after_restart"].as_u64().unwrap();
    assert!(
        (range.at_least..=range.at_most).contains(&revision),
        "{range:?}"
    );
    assert!(report.start_first.is_empty());
}
