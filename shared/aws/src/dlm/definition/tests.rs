//! Every member of a policy, to and from the SDK.

use aws_sdk_dlm::types::RetentionIntervalUnitValues::Days;
use aws_sdk_dlm::types::{
    ArchiveRetainRule, ArchiveRule, CrossRegionCopyRetainRule, DeprecateRule, StageValues,
};

use super::*;

fn desired() -> DesiredPolicy {
    DesiredPolicy {
        description: "etcd".to_owned(),
        execution_role_arn: "arn:aws:iam::123456789012:role/dlm".to_owned(),
        target_tags: core_tags(&[
            tag("k8s.io/role/master", "1"),
            tag("k8s.io/role/master", "2"),
        ]),
        schedule_name: "Daily".to_owned(),
        schedule: etcd_backup_core::schedule::Schedule {
            interval_hours: 12,
            start_time: "06:30".parse().unwrap(),
        },
        retain_count: 14,
        tags_to_add: core_tags(&[tag("SnapshotCreator", "DLM")]),
    }
}

fn tag(key: &str, value: &str) -> SdkTag {
    SdkTag::builder().key(key).value(value).build()
}

#[test]
fn what_is_written_reads_as_desired() {
    let desired = desired();
    let details = written(&desired, &BTreeSet::new());
    assert_eq!(
        read(&desired.execution_role_arn, &details),
        desired.definition()
    );
}

#[test]
fn resetting_a_member_leaves_none_of_it() {
    let desired = desired();
    let sticky = BTreeSet::from([
        StickyMember::Parameters,
        StickyMember::Exclusions,
        StickyMember::CopyTags,
        StickyMember::ExtendDeletion,
        StickyMember::CrossRegionCopyTargets,
    ]);
    let details = written(&desired, &sticky);
    let read = read(&desired.execution_role_arn, &details);
    assert_eq!(read.other, BTreeMap::new());
    assert_eq!(
        details.parameters().unwrap().exclude_boot_volume(),
        Some(false)
    );
    assert!(details.exclusions().is_some() && details.cross_region_copy_targets.is_some());
    assert_eq!(
        (details.copy_tags(), details.extend_deletion()),
        (Some(false), Some(false))
    );
}

#[test]
fn settings_of_a_policy_that_the_project_never_makes_are_read_as_text() {
    let details = PolicyDetails::builder()
        .parameters(
            Parameters::builder()
                .exclude_boot_volume(true)
                .exclude_data_volume_tags(tag("a", "b"))
                .build(),
        )
        .exclusions(Exclusions::builder().exclude_volume_types("gp2").build())
        .copy_tags(true)
        .extend_deletion(true)
        .cross_region_copy_targets(
            CrossRegionCopyTarget::builder()
                .target_region("eu-west-1")
                .build(),
        );
    let definition = read("arn", &details.build());
    assert_eq!(
        pairs(&definition.other),
        [
            ("copy_tags", "true"),
            ("cross_region_copy_targets", "eu-west-1"),
            ("exclusions.exclude_volume_types", "gp2"),
            ("extend_deletion", "true"),
            ("parameters.exclude_boot_volume", "true"),
            ("parameters.exclude_data_volume_tags", "a=b"),
        ]
    );
    assert_eq!(definition.sticky.len(), 5);
    assert_eq!(
        definition.resource_locations,
        BTreeSet::from(["CLOUD".to_owned()])
    );
}

#[test]
fn settings_of_a_schedule_that_the_project_never_makes_are_read_as_text() {
    let script = Script::builder()
        .stages(StageValues::Pre)
        .execution_handler("freeze");
    let copy = CrossRegionCopyRule::builder()
        .target_region("eu-west-1")
        .retain_rule(
            CrossRegionCopyRetainRule::builder()
                .interval(3)
                .interval_unit(Days)
                .build(),
        );
    let zones = FastRestoreRule::builder()
        .count(2)
        .availability_zones("eu-west-2a");
    let tier = RetentionArchiveTier::builder()
        .interval(90)
        .interval_unit(Days)
        .build();
    let archive = ArchiveRetainRule::builder()
        .retention_archive_tier(tier)
        .build();
    let other = schedule(
        &Schedule::builder()
            .variable_tags(tag("i", "$(instance-id)"))
            .create_rule(
                CreateRule::builder()
                    .cron_expression("cron(0 6 * * ? *)")
                    .location(LocationValues::OutpostLocal)
                    .scripts(script.build())
                    .build(),
            )
            .retain_rule(
                RetainRule::builder()
                    .count(0)
                    .interval(30)
                    .interval_unit(Days)
                    .build(),
            )
            .fast_restore_rule(zones.build())
            .cross_region_copy_rules(copy.build())
            .share_rules(ShareRule::builder().target_accounts("999999999999").build())
            .deprecate_rule(DeprecateRule::builder().count(5).build())
            .archive_rule(ArchiveRule::builder().retain_rule(archive).build())
            .build(),
    );
    assert_eq!(other.retain_count, None);
    assert_eq!(
        pairs(&other.other),
        [
            ("archive_rule", "archive, keep 90 DAYS"),
            ("create_rule.cron_expression", "cron(0 6 * * ? *)"),
            ("create_rule.location", "OUTPOST_LOCAL"),
            ("create_rule.scripts", "PRE freeze"),
            ("cross_region_copy_rules", "to eu-west-1, keep 3 DAYS"),
            ("deprecate_rule", "5"),
            ("fast_restore_rule", "2 in eu-west-2a"),
            ("retain_rule.interval", "30 DAYS"),
            ("share_rules", "with 999999999999"),
            ("variable_tags", "i=$(instance-id)"),
        ]
    );
}

fn pairs(other: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    other
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect()
}
