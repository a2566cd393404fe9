//! Every member of a policy, to and from the SDK.

use aws_sdk_dlm::types::RetentionIntervalUnitValues::{Days, Months};
use aws_sdk_dlm::types::{
    ArchiveRetainRule, ArchiveRule, CrossRegionCopyDeprecateRule, CrossRegionCopyRetainRule,
    CrossRegionCopyRule, DeprecateRule, ExecutionHandlerServiceValues, FastRestoreRule,
    LocationValues, RetentionArchiveTier, Script, ShareRule, StageValues,
};
use etcd_backup_core::lifecycle_policy::DesiredPolicy;

use super::*;

const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/dlm";

fn desired() -> DesiredPolicy {
    DesiredPolicy {
        description: "etcd".to_owned(),
        execution_role_arn: ROLE_ARN.to_owned(),
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
    let definition = desired().definition();
    assert_eq!(read(ROLE_ARN, &written(&definition)), definition);
}

/// A policy that says all that one can say.
fn rich() -> PolicyDetails {
    let schedules = [
        full_schedule(),
        minimal_schedule(),
        schedule_by_cron_and_age(),
    ];
    PolicyDetails::builder()
        .policy_type(PolicyTypeValues::EbsSnapshotManagement)
        .resource_types(ResourceTypeValues::Volume)
        .resource_locations(ResourceLocationValues::Cloud)
        .target_tags(tag("k8s.io/role/master", "1"))
        .set_schedules(Some(schedules.into()))
        .parameters(
            SdkParameters::builder()
                .exclude_boot_volume(true)
                .exclude_data_volume_tags(tag("a", "b"))
                .build(),
        )
        .exclusions(
            SdkExclusions::builder()
                .exclude_boot_volumes(true)
                .exclude_volume_types("gp2")
                .exclude_tags(tag("c", "d"))
                .build(),
        )
        .copy_tags(true)
        .extend_deletion(true)
        .cross_region_copy_targets(
            CrossRegionCopyTarget::builder()
                .target_region("eu-west-1")
                .build(),
        )
        .build()
}

fn full_schedule() -> Schedule {
    let script = Script::builder()
        .stages(StageValues::Pre)
        .stages(StageValues::Post)
        .execution_handler_service(ExecutionHandlerServiceValues::AwsSystemsManager)
        .execution_handler("freeze")
        .execute_operation_on_script_failure(false)
        .execution_timeout(30)
        .maximum_retry_count(2);
    let create = SdkCreateRule::builder()
        .location(LocationValues::Cloud)
        .interval(12)
        .interval_unit(IntervalUnitValues::Hours)
        .times("06:00")
        .scripts(script.build());
    let fast_restore = FastRestoreRule::builder()
        .count(2)
        .availability_zones("eu-west-2a")
        .availability_zone_ids("euw2-az1");
    let tier = RetentionArchiveTier::builder()
        .interval(6)
        .interval_unit(Months);
    let archive = ArchiveRetainRule::builder().retention_archive_tier(tier.build());
    let share = ShareRule::builder()
        .target_accounts("999999999999")
        .unshare_interval(7)
        .unshare_interval_unit(Days);
    let share_for_ever = ShareRule::builder().target_accounts("888888888888");
    Schedule::builder()
        .name("Full")
        .copy_tags(true)
        .tags_to_add(tag("SnapshotCreator", "DLM"))
        .variable_tags(tag("i", "$(instance-id)"))
        .create_rule(create.build())
        .retain_rule(RetainRule::builder().count(14).build())
        .fast_restore_rule(fast_restore.build())
        .cross_region_copy_rules(copy_of_snapshots())
        .cross_region_copy_rules(older_copy())
        .share_rules(share.build())
        .share_rules(share_for_ever.build())
        .deprecate_rule(DeprecateRule::builder().count(5).build())
        .archive_rule(ArchiveRule::builder().retain_rule(archive.build()).build())
        .build()
}

fn copy_of_snapshots() -> CrossRegionCopyRule {
    let retain = CrossRegionCopyRetainRule::builder()
        .interval(3)
        .interval_unit(Days);
    let deprecate = CrossRegionCopyDeprecateRule::builder()
        .interval(2)
        .interval_unit(Days);
    CrossRegionCopyRule::builder()
        .target("eu-west-1")
        .encrypted(true)
        .cmk_arn("arn:aws:kms:eu-west-1:123456789012:key/0a")
        .copy_tags(true)
        .retain_rule(retain.build())
        .deprecate_rule(deprecate.build())
        .build()
}

fn older_copy() -> CrossRegionCopyRule {
    CrossRegionCopyRule::builder()
        .target_region("eu-central-1")
        .encrypted(false)
        .copy_tags(false)
        .build()
}

fn minimal_schedule() -> Schedule {
    let create = SdkCreateRule::builder()
        .interval(24)
        .interval_unit(IntervalUnitValues::Hours);
    Schedule::builder()
        .name("Minimal")
        .copy_tags(false)
        .set_tags_to_add(Some(Vec::new()))
        .create_rule(create.build())
        .retain_rule(RetainRule::builder().count(1).build())
        .build()
}

fn schedule_by_cron_and_age() -> Schedule {
    let create = SdkCreateRule::builder().cron_expression("cron(0 6 ? * SUN *)");
    let retain = RetainRule::builder().interval(30).interval_unit(Days);
    Schedule::builder()
        .name("By age")
        .copy_tags(true)
        .set_tags_to_add(Some(Vec::new()))
        .create_rule(create.build())
        .retain_rule(retain.build())
        .build()
}

#[test]
fn whatever_a_policy_says_is_written_again_as_it_was_read() {
    let rich = rich();
    assert_eq!(written(&read(ROLE_ARN, &rich)), rich);
}

/// Lifecycle Manager shows what nobody set.
#[test]
fn what_lifecycle_manager_shows_by_itself_is_not_sent_back() {
    let mut shown = full_schedule();
    let retain = RetainRule::builder().count(14).interval(0);
    shown.retain_rule = Some(retain.interval_unit(Days).build());
    if let Some(rule) = &mut shown.fast_restore_rule {
        rule.interval = Some(0);
    }
    let definition = PolicyDefinition {
        schedules: vec![core_schedule(&shown)],
        ..PolicyDefinition::default()
    };
    assert_eq!(written(&definition).schedules(), [full_schedule()]);
}

/// The console writes parameters into each policy, and then they can't be left out.
#[test]
fn parameters_once_there_are_named_with_their_defaults_at_least() {
    let empty = PolicyDetails::builder().parameters(SdkParameters::builder().build());
    let details = written(&read(ROLE_ARN, &empty.build()));
    let parameters = details.parameters().unwrap();
    assert_eq!(parameters.exclude_boot_volume(), Some(false));
    assert!(parameters.exclude_data_volume_tags.is_some());
    let none = written(&read(ROLE_ARN, &PolicyDetails::builder().build()));
    assert!(none.parameters().is_none() && none.exclusions().is_none());
}

#[test]
fn a_default_policy_says_what_it_takes_in_a_member_of_its_own() {
    let details = PolicyDetails::builder().resource_type(ResourceTypeValues::Volume);
    let definition = read(ROLE_ARN, &details.build());
    assert!(definition.resource_types.contains("VOLUME"));
    assert!(definition.target_tags.is_empty());
}

/// Source: DLM API reference, `RetainRule`: with an archive rule, a count or an age of 0 archives at once.
#[test]
fn a_schedule_that_archives_at_once_keeps_its_zero() {
    let tier = RetentionArchiveTier::builder().count(3).build();
    let archive = ArchiveRetainRule::builder().retention_archive_tier(tier);
    let archive = ArchiveRule::builder().retain_rule(archive.build()).build();
    let by_count = RetainRule::builder().count(0);
    let by_age = RetainRule::builder().interval(0).interval_unit(Days);
    for rule in [by_count.build(), by_age.build()] {
        let mut archiving = minimal_schedule();
        archiving.retain_rule = Some(rule.clone());
        archiving.archive_rule = Some(archive.clone());
        let details = PolicyDetails::builder().schedules(archiving).build();
        let again = written(&read(ROLE_ARN, &details));
        assert_eq!(again.schedules()[0].retain_rule(), Some(&rule));
    }
}
