//! Volumes that were made blank though there were snapshots of others before.

use audit::inventory::Inventory;
use etcd_backup_core::volume::Volume;

use crate::world::{
    CLUSTER, NOTHING, at, clean, findings, lines, lose_volume, report, report_at, snapshot, volume,
    volume_mut,
};

/// An account in which kops made a blank volume for `main/a` so many days before the due run, in the
/// afternoon, and DLM has taken snapshots of it since.
fn recreated(days_ago: i64) -> Inventory {
    let mut inventory = clean();
    lose_volume(&mut inventory, "vol-0-main-a");
    let created = at("2026-11-22T15:00:00Z") - jiff::SignedDuration::from_hours(24 * days_ago);
    let blank = Volume {
        id: "vol-blank".into(),
        created,
        ..volume("main", "a")
    };
    for snapshot in &mut inventory.snapshots {
        if snapshot.volume_id.as_str() == "vol-0-main-a" && snapshot.started > created {
            snapshot.volume_id = blank.id.clone();
        }
    }
    inventory.volumes.push(blank);
    inventory
}

#[test]
fn a_volume_made_anew_is_reported_for_a_week() {
    let told = |days_ago| {
        let mut findings = findings(recreated(days_ago));
        findings.retain(|line| line != "info snapshots_orphaned");
        findings
    };
    for days_ago in [1, 3, 7] {
        assert_eq!(
            told(days_ago),
            ["warning volume_recreated main/a"],
            "{days_ago}"
        );
    }
    assert_eq!(told(8), NOTHING);
}

#[test]
fn a_volume_made_anew_is_reported_before_its_first_run() {
    let mut inventory = recreated(1);
    inventory
        .snapshots
        .retain(|s| s.volume_id.as_str() != "vol-blank");
    let report = report_at(inventory, "2026-11-21T16:00:00Z");
    let found = lines(&report.findings);
    assert!(
        found.contains(&"warning volume_recreated main/a".to_owned()),
        "{found:?}"
    );
}

#[test]
fn its_finding_names_the_latest_snapshot_of_before_and_how_to_go_back() {
    let findings = report(recreated(3)).findings;
    let found = findings
        .iter()
        .find(|finding| finding.kind.name() == "volume_recreated")
        .unwrap();
    let json = serde_json::to_value(found).unwrap();
    assert_eq!(json["volume_id"], "vol-blank");
    assert_eq!(json["evidence"]["began"], "2026-11-19T15:00:00Z");
    assert_eq!(json["evidence"]["snapshot_before"], "snap-0-main-a-3");
    let event = format!(
        r#"{{"action":"plan","cluster":"{CLUSTER}","masters":"replace","at":"2026-11-19T06:04:12Z"}}"#
    );
    assert!(found.message.contains(&event), "{}", found.message);
}

#[test]
fn what_a_restore_made_or_an_undo_put_back_was_not_made_anew() {
    let mut inventory = recreated(1);
    volume_mut(&mut inventory, "vol-blank").made_from = Some("snap-0-main-a-1".into());
    assert_eq!(findings(inventory), ["info snapshots_orphaned"]);

    let mut inventory = clean();
    volume_mut(&mut inventory, "vol-0-main-a").created = at("2026-11-01T12:00:00Z");
    assert_eq!(findings(inventory), NOTHING, "the member's first volume");
}

#[test]
fn the_restore_point_before_a_blank_beginning_is_in_no_command_however_old_it_is() {
    let mut inventory = clean();
    // The cluster was made anew in October; what was before it ended with September.
    for volume in inventory.volumes.clone() {
        let before = Volume {
            id: format!("{}-before", volume.id).into(),
            ..volume
        };
        let left = (60..74).map(|day| snapshot(&before, day));
        inventory.snapshots.extend(left);
    }
    let findings = report(inventory).findings;
    assert_eq!(lines(&findings), ["info snapshots_orphaned"]);
    let json = serde_json::to_value(&findings[0]).unwrap();
    assert_eq!(json["evidence"]["count"], 6 * 14);
    let commands = json["evidence"]["commands"].to_string();
    assert!(commands.contains("-before-61 "), "{commands}");
    assert!(!commands.contains("-before-60"), "{commands}");
}
