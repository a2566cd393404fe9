//! What people read: the alert, its limits, and an answer's.

use audit::alert::alert;
use audit::report::Report;
use etcd_backup_core::aws::Alert;
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::lifecycle_policy::PolicyState;

use crate::world::{clean, lose_snapshot, report, report_at, settings, tags, volume};

fn alert_of(report: &Report) -> Option<Alert> {
    let arn = "arn:aws:lambda:eu-west-2:123456789012:function:audit";
    let deployment = Deployment::of_function(arn).unwrap();
    alert(report, &settings(), &deployment)
}

#[test]
fn the_alert_says_what_is_wrong_where_and_what_to_do() {
    let mut inventory = clean();
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    inventory.policies[0].state = PolicyState::Disabled;
    let alert = alert_of(&report(inventory)).unwrap();
    insta::assert_snapshot!(alert.subject, @"etcd backup CRITICAL: 2 findings in k8s.mycompany.tld (123456789012 eu-west-2)");
    insta::assert_snapshot!(alert.body, @r"
    etcd backups in account 123456789012, Region eu-west-2, audited at 2026-11-22T07:35:00Z.
    Due run 2026-11-22T06:00:00Z: 5 of 6 etcd volumes have their snapshot.
    Findings: 2 critical, 0 warning, 0 info.

    The account
    -----------

    CRITICAL policy_not_enabled
    The DLM policy policy-0abc is DISABLED: nothing is backed up and nothing is deleted. Run converge.

    Cluster k8s.mycompany.tld
    -------------------------
    It can be restored: the latest of 13 restore points is of 2026-11-21T06:04:11Z.

    CRITICAL snapshot_missing
    The run of 2026-11-22T06:00:00Z left no snapshot of main/a (vol-0-main-a); its latest is snap-0-main-a-1 of 2026-11-21T06:04:11Z. Check that the volume carries a target tag and the DLM policy is enabled, or take a snapshot by hand now.
    ");
    assert_eq!(alert_of(&report(clean())), None);
}

#[test]
fn a_fleet_where_everything_is_wrong_still_fits_into_an_answer() {
    let mut inventory = clean();
    let tag = "<script>".repeat(32);
    inventory.volumes = (0..20_000)
        .map(|i| {
            let mut wrong = volume("main", "a");
            wrong.id = format!("vol-{i:017}").into();
            let cluster = format!("{tag}-{}", i / 3);
            wrong.tags = tags(&[("k8s.io/etcd/main", &tag), ("KubernetesCluster", &cluster)]);
            wrong
        })
        .collect();
    let report = report(inventory);
    let kept = report.findings.len();
    assert!(kept > 1000 && report.findings_left_out > 0);
    let all = report.summary.critical + report.summary.warning + report.summary.info;
    assert_eq!(
        kept + report.findings_left_out,
        all,
        "the count of the rest is exact"
    );
    let size = serde_json::to_string(&report).unwrap().len() + report.to_string().len();
    assert!(size < 5_500_000, "{size} bytes");
}

#[test]
fn an_alert_keeps_to_the_limits_of_sns_and_counts_what_it_leaves_out() {
    let mut inventory = clean();
    inventory.volumes = (0..2_000)
        .map(|i| {
            let mut wrong = volume("main", "a");
            wrong.id = format!("vol-{i:017}").into();
            let cluster = format!("größe-{i}.tld");
            let tags = &mut wrong.tags;
            tags.insert("KubernetesCluster".into(), cluster);
            tags.insert("k8s.io/etcd/main".into(), "malformed".repeat(20));
            wrong
        })
        .collect();
    let report = report(inventory);
    let alert = alert_of(&report).unwrap();
    let subject = &alert.subject;
    assert!(subject.len() <= 100 && subject.is_ascii(), "{subject}");
    assert!(alert.body.len() < 256 * 1024, "{} bytes", alert.body.len());
    let told = ["\nCRITICAL ", "\nWARNING ", "\nINFO "];
    let told: usize = told.iter().map(|of| alert.body.matches(of).count()).sum();
    let summary = &report.summary;
    let left_out = summary.critical + summary.warning + summary.info - told;
    assert!(
        alert.body.contains(&format!("\n{left_out} more findings")),
        "{left_out}"
    );
    let attributes = alert.attributes.iter();
    let attributes: usize = attributes
        .map(|(_, value)| format!("{value:?}").len())
        .sum();
    assert!(
        alert.body.len() + attributes < 256 * 1024,
        "{attributes} bytes of attributes"
    );
}

#[test]
fn times_are_whole_seconds() {
    let mut inventory = clean();
    for snapshot in &mut inventory.snapshots {
        snapshot.started += jiff::SignedDuration::from_nanos(123_456_789);
    }
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    inventory.volumes.truncate(5);
    let report = report_at(inventory, "2026-11-22T07:35:00.987654321Z");
    let alert = alert_of(&report).unwrap();
    for text in [report.to_string(), alert.body] {
        assert!(text.contains("2026-11-22T07:35:00Z"), "{text}");
        assert!(text.contains("2026-11-21T06:04:11Z"), "{text}");
        assert!(!text.contains("11.1") && !text.contains(".9"), "{text}");
    }
}
