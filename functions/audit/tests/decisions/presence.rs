//! Members, etcd clusters and clusters that should be there.

use audit::event::Request;
use audit::report::Report;
use etcd_backup_core::volume::Volume;

use crate::world::{
    NOW, at, clean, each_is_found_and_nothing_else, lines, lose_snapshot, lose_volume, report_at,
    settings, settings_with, volume,
};

#[test]
fn what_is_missing_or_doubled_is_found() {
    each_is_found_and_nothing_else(&[
        (
            "a volume is gone",
            |i| lose_volume(i, "vol-0-events-b"),
            &[
                "critical member_missing events/b",
                "info snapshots_orphaned",
            ],
        ),
        (
            "kops made a second volume",
            |i| {
                i.volumes.push(Volume {
                    id: "vol-twin".into(),
                    ..volume("main", "c")
                });
            },
            &["critical member_duplicated main/c"],
        ),
        (
            "an etcd cluster is gone",
            |i| i.volumes.retain(|v| !v.id.as_str().contains("events")),
            &["critical no_etcd_volumes events", "info snapshots_orphaned"],
        ),
        (
            "the whole cluster is gone",
            |i| i.volumes.clear(),
            &[
                "critical no_etcd_volumes events",
                "critical no_etcd_volumes main",
                "info snapshots_orphaned",
            ],
        ),
        (
            "nothing is left at all",
            |i| {
                i.volumes.clear();
                i.snapshots.clear();
            },
            &["critical no_etcd_volumes"],
        ),
    ]);
}

/// Otherwise what is in use would go back in time with what is lost.
#[test]
fn the_plan_of_a_loss_leaves_out_what_is_whole() {
    let plan = |gone: &[&str]| {
        let mut inventory = clean();
        inventory
            .volumes
            .retain(|volume| !gone.iter().any(|gone| volume.id.as_str().contains(gone)));
        let report = report_at(inventory, NOW);
        let mut findings = report.findings.iter();
        let loss = findings.find(|finding| finding.kind.name() == "no_etcd_volumes");
        let message = &loss.expect("a total loss").message;
        let (_, event) = message.split_once("invoke restore with ").unwrap();
        event.split_once(" and look").unwrap().0.to_owned()
    };
    let of_all = r#"{"action":"plan","cluster":"k8s.mycompany.tld","masters":"replace"}"#;
    let alone = r#"{"action":"plan","cluster":"k8s.mycompany.tld","etcd_clusters":["main"],"masters":"replace"}"#;
    assert_eq!(plan(&["main"]), alone);
    assert_eq!(plan(&["main", "events"]), of_all);
    assert_eq!(plan(&["main", "events-b"]), of_all, "events isn't whole");
}

#[test]
fn only_what_was_asked_for_is_judged() {
    let mut inventory = clean();
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    let request = Request {
        clusters: Some(vec!["other.tld".into()]),
        ..Request::default()
    };
    let report = Report::new(inventory, &settings(), &request, at(NOW));
    assert_eq!(lines(&report.findings), ["critical no_etcd_volumes"]);
    assert_eq!(report.clusters.len(), 1);
    assert_eq!(report.clusters[0].restore_points, 0);
}

#[test]
fn a_cluster_that_is_named_twice_is_missed_once() {
    let asked = Request {
        clusters: Some(vec!["gone.tld".into(); 2]),
        ..Request::default()
    };
    let expected = settings_with(&[("EXPECT_CLUSTERS", "gone.tld,gone.tld")]);
    for (settings, request) in [(&settings(), &asked), (&expected, &Request::default())] {
        let report = Report::new(clean(), settings, request, at(NOW));
        assert_eq!(lines(&report.findings), ["critical no_etcd_volumes"]);
    }
}

fn losses(report: &Report) -> usize {
    let found = lines(&report.findings);
    let is_loss = |line: &&String| line.starts_with("critical no_etcd_volumes ");
    found.iter().filter(is_loss).count()
}

#[test]
fn a_loss_is_one_for_two_days_however_short_the_interval_is() {
    let mut inventory = clean();
    inventory.volumes.clear();
    let hourly = settings_with(&[("INTERVAL_HOURS", "1")]);
    for (settings, now, expected) in [
        (&hourly, "2026-11-24T06:03:00Z", 2),
        (&hourly, "2026-11-24T06:05:00Z", 0),
        (&settings(), "2026-11-24T06:03:00Z", 2),
        (&settings(), "2026-11-24T06:05:00Z", 0),
    ] {
        let report = Report::new(inventory.clone(), settings, &Request::default(), at(now));
        assert_eq!(losses(&report), expected, "{now}");
        if expected > 0 {
            let latest = report.clusters[0].latest_restore_point;
            assert_eq!(latest, Some(at("2026-11-22T06:04:11Z")), "it is measured");
        }
    }
}

#[test]
fn a_cluster_given_up_long_ago_is_no_loss() {
    let mut inventory = clean();
    inventory.volumes.clear();
    let report = report_at(inventory, "2026-12-24T07:35:00Z");
    let expected = ["critical no_etcd_volumes", "info snapshots_orphaned"];
    assert_eq!(lines(&report.findings), expected);
    assert!(
        report.clusters.is_empty(),
        "its age would be an alarm for ever"
    );
}
