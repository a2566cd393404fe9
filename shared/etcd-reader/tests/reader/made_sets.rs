//! Sets that `tests/real_etcd` made with real etcd and restarted, against what then happened.

use crate::images;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use etcd_reader::judge::{Verdict, judge_set};
use etcd_reader::member::{MemberContext, read_volume};
use serde_json::Value;

#[test]
fn sets_are_judged_as_their_restart_went() {
    let file = File::open(images::fixtures().join("made-sets.json")).unwrap();
    let sets: BTreeMap<String, Value> = serde_json::from_reader(file).unwrap();
    let mut restarted = 0;
    for (name, truth) in &sets {
        let member = |(member, volume)| {
            let etcd_cluster = truth["etcd_cluster"].as_str().unwrap().to_owned();
            read_volume(
                volume,
                &MemberContext {
                    etcd_cluster,
                    member,
                    ..MemberContext::default()
                },
            )
        };
        let report = judge_set(
            &images::volumes(name)
                .into_iter()
                .map(member)
                .collect::<Vec<_>>(),
        );
        let answered = serde_json::to_value(&report).unwrap();
        assert_eq!(answered["verdict"], truth["verdict"], "{name} {report:#?}");
        for member in answered["members"].as_array().unwrap() {
            assert_eq!(
                member["verdict"],
                truth["members"][member["member"].as_str().unwrap()],
                "{name} {member:#}"
            );
        }
        let text = answered.to_string();
        assert!(!text.contains("SECRETVALUE") && !text.contains("leakname"));
        let Some(served) = truth["served"].as_object() else {
            continue;
        };
        restarted += 1;
        let range = report.revision.unwrap();
        for member in &report.members {
            let revision = served[&member.member].as_u64();
            let learns = member
                .warnings
                .iter()
                .any(|warning| warning.contains("learner"));
            // A learner serves nothing until it is promoted.
            let expected = member.verdict <= Verdict::Degraded && !learns;
            assert_eq!(revision.is_some(), expected, "{name} {}", member.member);
            assert!(
                revision
                    .is_none_or(|revision| (range.at_least..=range.at_most).contains(&revision)),
                "{name} {revision:?} {range:?}"
            );
        }
    }
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "{} made sets, of which {restarted} were restarted, are judged as it went",
        sets.len()
    );
    assert!(restarted >= 4 && sets.len() > restarted);
}
