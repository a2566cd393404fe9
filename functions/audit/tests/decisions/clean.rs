//! Accounts in which nothing is wrong, and what is not to be blamed on anybody.

use audit::event::Request;
use audit::report::Report;
use etcd_backup_core::ids::VolumeId;
use etcd_backup_core::volume::Volume;
use jiff::SignedDuration;

use crate::world::{
    NOTHING, NOW, at, clean, each_is_found_and_nothing_else, findings, lines, report, report_at,
    settings, settings_with, snapshot, volume_mut,
};

#[test]
fn a_clean_account_is_ok() {
    let report = report(clean());
    assert_eq!(lines(&report.findings), NOTHING);
    assert_eq!(report.worst.name(), "ok");
    insta::assert_snapshot!(report, @r"
    etcd backup audit at 2026-11-22T07:35:00Z: OK
    Due run 2026-11-22T06:00:00Z: 6 of 6 etcd volumes have their snapshot.
      k8s.mycompany.tld: 6 of 6 volumes covered, 14 restore points, latest 2026-11-22T06:04:11Z (skew 0 s)
    No findings.
    ");
}

#[test]
fn a_clean_account_is_ok_at_every_minute_of_a_day() {
    for minute in 0..24 * 60 {
        let now = at("2026-11-22T05:00:00Z") + SignedDuration::from_mins(minute);
        let mut inventory = clean();
        // DLM deletes the oldest as soon as the newest is there.
        let newest_exists = now >= at("2026-11-23T06:04:11Z");
        let (first, last) = if newest_exists { (-1, 12) } else { (0, 13) };
        inventory.snapshots = inventory
            .volumes
            .iter()
            .flat_map(|volume| (first..=last).map(|day| snapshot(volume, day)))
            .collect();
        if now < at("2026-11-22T06:04:11Z") {
            let one_older = inventory.volumes.iter().map(|volume| snapshot(volume, 14));
            inventory.snapshots.extend(one_older);
        }
        let report = Report::new(inventory, &settings(), &Request::default(), now);
        assert_eq!(lines(&report.findings), NOTHING, "{now}");
    }
}

#[test]
fn copies_and_archived_snapshots_disturb_nothing() {
    each_is_found_and_nothing_else(&[(
        "a copy, and an archived snapshot",
        |i| {
            let mut copy = i.snapshots[0].clone();
            copy.id = "snap-copy".into();
            copy.volume_id = "vol-ffffffff".into();
            i.snapshots.push(copy);
            i.snapshots[3].archived = true;
        },
        &[],
    )]);
}

#[test]
fn an_account_without_a_cluster_on_purpose_is_ok() {
    let mut inventory = clean();
    inventory.volumes.clear();
    inventory.snapshots.clear();
    let settings = settings_with(&[("EXPECT_CLUSTERS", "none")]);
    let report = Report::new(inventory, &settings, &Request::default(), at(NOW));
    assert_eq!(report.worst.name(), "ok");
}

#[test]
fn a_new_deployment_reports_nothing_of_yesterday() {
    let mut inventory = clean();
    inventory.snapshots.clear();
    let policy = &mut inventory.policies[0];
    policy.created = at("2026-11-22T06:30:00Z");
    policy.tags.remove("etcd-backup/schedule-since");
    assert_eq!(findings(inventory.clone()), NOTHING);

    let next_day = lines(&report_at(inventory, "2026-11-23T07:30:00Z").findings);
    let count = |kind: &str| next_day.iter().filter(|line| line.contains(kind)).count();
    assert_eq!(count("snapshot_missing"), 6);
    assert_eq!(count("no_restore_point"), 2);
    assert_eq!(next_day.len(), 8);
}

#[test]
fn a_volume_made_after_the_run_has_no_finding_of_it() {
    let mut inventory = clean();
    let is_young = |id: &VolumeId| id.as_str() == "vol-0-main-c";
    inventory.snapshots.retain(|s| !is_young(&s.volume_id));
    volume_mut(&mut inventory, "vol-0-main-c").created = at("2026-11-22T06:30:00Z");
    let report = report(inventory);
    let missing = lines(&report.findings);
    assert!(!missing.iter().any(|line| line.contains("snapshot_missing")));
    assert_eq!(report.summary.volumes_covered, 5);
}

#[test]
fn a_members_history_goes_on_through_a_restore() {
    let mut inventory = clean();
    for volume in &mut inventory.volumes {
        let restored = Volume {
            id: format!("{}-new", volume.id).into(),
            created: at("2026-11-22T07:00:00Z"),
            made_from: Some("snap-x".into()),
            ..volume.clone()
        };
        *volume = restored;
    }
    let report = report(inventory);
    assert_eq!(
        lines(&report.findings),
        ["info snapshots_orphaned"],
        "the old volumes' own"
    );
    assert_eq!(
        (report.summary.volumes_covered, report.summary.snapshots),
        (6, 84)
    );
}

#[test]
fn a_cluster_grown_from_one_master_to_three_has_no_finding_of_its_past() {
    let mut inventory = clean();
    let grown = at("2026-11-20T12:00:00Z");
    let is_young = |volume: &VolumeId| !volume.as_str().ends_with("-a");
    let young = inventory.volumes.iter_mut().filter(|v| is_young(&v.id));
    young.for_each(|volume| volume.created = grown);
    inventory
        .snapshots
        .retain(|s| !is_young(&s.volume_id) || s.started > grown);
    for snapshot in inventory.snapshots.iter_mut().filter(|s| s.started < grown) {
        for key in ["k8s.io/etcd/main", "k8s.io/etcd/events"] {
            if let Some(value) = snapshot.tags.get_mut(key) {
                *value = "a/a".to_owned();
            }
        }
    }
    let report = report(inventory);
    assert_eq!(lines(&report.findings), NOTHING);
    assert_eq!(
        report.clusters[0].restore_points, 14,
        "older runs are whole as they were then"
    );
}
