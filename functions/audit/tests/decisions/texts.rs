//! What people read: the alert, its limits, and an answer's.

use audit::alert::alert;
use audit::inventory::Inventory;
use audit::report::Report;
use etcd_backup_core::alert::{Alert, Message};
use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::lifecycle_policy::PolicyState;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::world::{at, clean, lose_snapshot, report, report_at, settings_with, tags, volume};

fn alert_of(report: &Report) -> Option<Alert> {
    alert_in(report, "text")
}

fn alert_in(report: &Report, format: &str) -> Option<Alert> {
    let arn = "arn:aws:lambda:eu-west-2:123456789012:function:audit";
    let deployment = Deployment::of_function(arn).unwrap();
    let settings = settings_with(&[
        ("ALERT_FORMAT", format),
        ("DASHBOARD_NAME", "etcd-backup-eu-west-2"),
        ("RESTORE_FUNCTION", "etcd-backup-restore"),
    ]);
    alert(report, &settings, &deployment)
}

/// What an alert in the format `chat` shows in a channel, and all that it takes of SNS's 256 KiB.
fn shown_in_chat(alert: &Alert) -> (Value, usize) {
    let Message::ByProtocol(message) = alert.message() else {
        panic!("one text for all");
    };
    let by_protocol: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(by_protocol["default"], alert.body.as_str());
    let shown = by_protocol["https"].as_str().unwrap();
    let attributes = alert.attributes.iter();
    let attributes: usize = attributes
        .map(|(name, value)| name.len() + "String.Array".len() + value.value().len())
        .sum();
    (
        serde_json::from_str(shown).unwrap(),
        message.len() + attributes,
    )
}

fn faults(notification: &Value) -> Vec<String> {
    let schema = include_str!("../../../../shared/core/tests/chat_notification.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults = validator.iter_errors(notification);
    faults.map(|fault| fault.to_string()).collect()
}

/// So many volumes, each of a cluster of its own, with an etcd tag that can't be parsed.
fn unidentified_volumes(count: usize, name: &str, tag: &str) -> Inventory {
    let volumes = (0..count).map(|i| {
        let mut wrong = volume("main", "a");
        wrong.id = format!("vol-{i:017}").into();
        let cluster = format!("{name}{i}");
        wrong.tags = tags(&[("k8s.io/etcd/main", tag), ("KubernetesCluster", &cluster)]);
        wrong
    });
    Inventory {
        volumes: volumes.collect(),
        ..clean()
    }
}

#[test]
fn the_alert_says_what_is_wrong_where_and_what_to_do() {
    let mut inventory = clean();
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    inventory.policies[0].state = PolicyState::Disabled;
    let alert = alert_of(&report(inventory)).unwrap();
    insta::assert_snapshot!(alert.subject, @"etcd backup CRITICAL: 2 findings in k8s.mycompany.tld (123456789012 eu-west-2)");
    insta::assert_snapshot!(alert.body, @r#"
    etcd backups in account 123456789012, Region eu-west-2, audited at 2026-11-22T07:35:00Z.
    Due run 2026-11-22T06:00:00Z: 5 of 6 etcd volumes have their snapshot.
    Findings: 2 critical, 0 warning, 0 info.
    Dashboard: https://console.aws.amazon.com/cloudwatch/home?region=eu-west-2#dashboards/dashboard/etcd-backup-eu-west-2

    The account
    -----------

    CRITICAL policy_not_enabled
    The DLM policy policy-0abc is DISABLED: nothing is backed up and nothing is deleted. Run converge.
    More: docs/reference/findings.md#policy_not_enabled

    Cluster k8s.mycompany.tld
    -------------------------
    The latest of 13 restore points is of 2026-11-21T06:04:11Z.
    To list its restore points:
    AWS_MAX_ATTEMPTS=1 aws lambda invoke --region eu-west-2 --cli-read-timeout 920 --function-name etcd-backup-restore --cli-binary-format raw-in-base64-out --payload '{"action":"list","cluster":"k8s.mycompany.tld"}' restore-points.json && jq -r '.text // "\(.errorType): \(.errorMessage)"' restore-points.json

    CRITICAL snapshot_missing
    The run of 2026-11-22T06:00:00Z left no snapshot of main/a (vol-0-main-a); its latest is snap-0-main-a-1 of 2026-11-21T06:04:11Z. Check that the volume carries a target tag and the DLM policy is enabled, or take a snapshot by hand now, with the volume's own tags and those of TAGS_TO_ADD.
    More: docs/reference/findings.md#snapshot_missing
    "#);
    assert_eq!(alert_of(&report(clean())), None);
}

#[test]
fn a_fleet_where_everything_is_wrong_still_fits_into_an_answer() {
    let tag = "<script>".repeat(31);
    let report = report(unidentified_volumes(20_000, &tag, &tag));
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
    let report = report(unidentified_volumes(
        2_000,
        "größe-",
        &"malformed".repeat(20),
    ));
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
    let (_, bytes) = shown_in_chat(&alert_in(&report, "chat").unwrap());
    assert!((150 * 1024..256 * 1024).contains(&bytes), "{bytes} bytes");
}

/// A total loss in one cluster, and much that is milder in one that comes before it by name.
fn loss_behind_a_crowd(crowd: usize) -> Inventory {
    let mut inventory = clean();
    inventory.volumes.clear();
    let volumes = (0..crowd).map(|i| {
        let mut odd = volume("main", "a");
        let name = format!("m{i}");
        odd.id = format!("vol-{i}").into();
        // After the audit's run, so that no snapshot of it is missed.
        odd.created = at("2026-11-22T07:00:00Z");
        odd.tags = tags(&[
            ("KubernetesCluster", "a.tld"),
            ("k8s.io/etcd/main", &format!("{name}/{name}")),
            ("k8s.io/role/master", "1"),
            ("Name", &"wrong".repeat(40)),
        ]);
        odd
    });
    inventory.volumes = volumes.collect();
    inventory
}

#[test]
fn what_is_grave_is_in_the_subject_and_first_in_the_body_whatever_its_cluster_is_called() {
    let inventory = loss_behind_a_crowd(1);
    let alert = alert_of(&report(inventory)).unwrap();
    insta::assert_snapshot!(alert.subject, @"etcd backup CRITICAL: 2 findings in k8s.mycompany.tld (123456789012 eu-west-2)");
    let place = |text: &str| alert.body.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(place("\nCluster k8s.mycompany.tld\n") < place("\nCluster a.tld\n"));
    assert!(place("\nCRITICAL no_etcd_volumes\n") < place("\nWARNING volume_tag_wrong\n"));

    let alert = alert_of(&report(loss_behind_a_crowd(1_500))).unwrap();
    assert!(alert.subject.contains(" in k8s.mycompany.tld "));
    assert_eq!(
        alert.body.matches("\nCRITICAL no_etcd_volumes\n").count(),
        2
    );
    let told = alert.body.matches("\nWARNING volume_tag_wrong\n").count();
    assert!((1..1_500).contains(&told), "{told}");
    assert_eq!(alert.body.matches("\nINFO ").count(), 0, "they are milder");
}

#[test]
fn a_chat_channel_reads_the_gravest_findings_and_where_to_go() {
    let mut inventory = clean();
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    inventory.policies[0].state = PolicyState::Disabled;
    let report = report(inventory);
    let alert = alert_in(&report, "chat").unwrap();
    assert_eq!(alert.body, alert_of(&report).unwrap().body);
    let (shown, _) = shown_in_chat(&alert);
    assert_eq!(faults(&shown), Vec::<String>::new());
    insta::assert_snapshot!(shown["content"]["description"].as_str().unwrap(), @r"
    Due run 2026-11-22T06:00:00Z: 5 of 6 etcd volumes have their snapshot. Findings: 2 critical, 0 warning, 0 info.

    • CRITICAL policy_not_enabled: The DLM policy policy-0abc is DISABLED: nothing is backed up and nothing is deleted. Run converge. More: docs/reference/findings.md#policy_not_enabled

    • CRITICAL snapshot_missing in k8s.mycompany.tld: The run of 2026-11-22T06:00:00Z left no snapshot of main/a (vol-0-main-a); its latest is snap-0-main-a-1 of 2026-11-21T06:04:11Z. Check that the volume carries a target tag and the DLM policy is enabled, or take a snapshot by hand now, with the volume's own tags and those of TAGS_TO_ADD. More: docs/reference/findings.md#snapshot_missing

    k8s.mycompany.tld: The latest of 13 restore points is of 2026-11-21T06:04:11Z.
    ");
    insta::assert_snapshot!(format!("{:#}", shown["content"]["nextSteps"]), @r#"
    [
      "Look at the dashboard: https://console.aws.amazon.com/cloudwatch/home?region=eu-west-2#dashboards/dashboard/etcd-backup-eu-west-2",
      "List what k8s.mycompany.tld can be restored from: aws lambda invoke --region eu-west-2 --function-name etcd-backup-restore --cli-binary-format raw-in-base64-out --payload '{\"action\":\"list\",\"cluster\":\"k8s.mycompany.tld\"}' restore-points.json"
    ]
    "#);
    insta::assert_snapshot!(format!("{:#}", shown["metadata"]), @r#"
    {
      "additionalContext": {
        "account": "123456789012",
        "audited_at": "2026-11-22T07:35:00Z",
        "due_run": "2026-11-22T06:00:00Z",
        "region": "eu-west-2",
        "severity": "critical"
      },
      "eventType": "etcd-backup-audit",
      "relatedResources": [
        "vol-0-main-a"
      ],
      "summary": "etcd backup CRITICAL: 2 findings in k8s.mycompany.tld (123456789012 eu-west-2)",
      "threadId": "etcd-backup-123456789012-eu-west-2-2026-11-22T06:00:00Z"
    }
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_tags_say_sns_and_chat_applications_take_the_alert(
        count in 1..400_usize,
        // What EC2 takes in tags, and what takes the most room once it is written.
        names in prop_oneof!["[\"<\\\\]{1,200}", "\\PC{1,200}"],
        tag in prop_oneof!["[\"\\\\]{1,256}", "\\PC{1,256}"],
        lost in vec("main|events", 0..3),
    ) {
        let mut inventory = unidentified_volumes(count, &names, &tag);
        inventory.volumes.extend(lost.iter().map(|etcd_cluster| volume(etcd_cluster, "a")));
        let report = report(inventory);
        let alert = alert_in(&report, "chat").unwrap();
        let (shown, bytes) = shown_in_chat(&alert);
        prop_assert_eq!(faults(&shown), Vec::<String>::new());
        prop_assert!(bytes < 256 * 1024, "{} bytes", bytes);
        prop_assert!(alert.subject.len() <= 100 && alert.subject.is_ascii());
    }
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
