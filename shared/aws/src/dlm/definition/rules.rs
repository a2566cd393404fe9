//! What a schedule does with its snapshots besides, to and from the SDK.

use aws_sdk_dlm::types::builders::ScheduleBuilder;
use aws_sdk_dlm::types::{
    ArchiveRetainRule, ArchiveRule, CrossRegionCopyDeprecateRule, CrossRegionCopyRetainRule,
    CrossRegionCopyRule, DeprecateRule, FastRestoreRule as SdkFastRestoreRule,
    RetentionArchiveTier, Schedule, Script as SdkScript, ShareRule as SdkShareRule,
};
use etcd_backup_core::lifecycle_policy::{
    CopyRule, Extent, FastRestoreRule, Rules, Script, ShareRule,
};

use super::{core_tags, extent, sdk_tags, unit, unless_empty};

pub(super) fn read(schedule: &Schedule) -> Rules {
    let archive = schedule.archive_rule().map(|rule| {
        let tier = rule
            .retain_rule()
            .and_then(ArchiveRetainRule::retention_archive_tier);
        tier.map(|tier| extent(tier.count(), tier.interval(), tier.interval_unit()))
            .unwrap_or_default()
    });
    Rules {
        variable_tags: core_tags(schedule.variable_tags()),
        copies: schedule
            .cross_region_copy_rules()
            .iter()
            .map(core_copy)
            .collect(),
        shares: schedule.share_rules().iter().map(core_share).collect(),
        fast_restore: schedule.fast_restore_rule().map(|rule| FastRestoreRule {
            extent: extent(rule.count(), rule.interval(), rule.interval_unit()),
            zones: rule.availability_zones().to_vec(),
            zone_ids: rule.availability_zone_ids().to_vec(),
        }),
        deprecate: schedule
            .deprecate_rule()
            .map(|rule| extent(rule.count(), rule.interval(), rule.interval_unit())),
        archive,
    }
}

pub(super) fn write(rules: &Rules, schedule: ScheduleBuilder) -> ScheduleBuilder {
    let copies = rules.copies.iter().map(sdk_copy).collect();
    let shares = rules.shares.iter().map(sdk_share).collect();
    let deprecate = rules.deprecate.as_ref().map(|extent| {
        DeprecateRule::builder()
            .set_count(extent.count)
            .set_interval(extent.interval)
            .set_interval_unit(unit(extent))
            .build()
    });
    schedule
        .set_variable_tags(unless_empty(sdk_tags(&rules.variable_tags)))
        .set_cross_region_copy_rules(unless_empty(copies))
        .set_share_rules(unless_empty(shares))
        .set_fast_restore_rule(rules.fast_restore.as_ref().map(sdk_fast_restore))
        .set_deprecate_rule(deprecate)
        .set_archive_rule(rules.archive.as_ref().map(sdk_archive))
}

fn core_copy(rule: &CrossRegionCopyRule) -> CopyRule {
    CopyRule {
        target: rule.target().map(str::to_owned),
        target_region: rule.target_region().map(str::to_owned),
        encrypted: rule.encrypted() == Some(true),
        key_arn: rule.cmk_arn().map(str::to_owned),
        copy_tags: rule.copy_tags(),
        retain: rule
            .retain_rule()
            .map(|rule| extent(None, rule.interval(), rule.interval_unit())),
        deprecate: rule
            .deprecate_rule()
            .map(|rule| extent(None, rule.interval(), rule.interval_unit())),
    }
}

fn sdk_copy(rule: &CopyRule) -> CrossRegionCopyRule {
    let retain = rule.retain.as_ref().map(|extent| {
        CrossRegionCopyRetainRule::builder()
            .set_interval(extent.interval)
            .set_interval_unit(unit(extent))
            .build()
    });
    let deprecate = rule.deprecate.as_ref().map(|extent| {
        CrossRegionCopyDeprecateRule::builder()
            .set_interval(extent.interval)
            .set_interval_unit(unit(extent))
            .build()
    });
    CrossRegionCopyRule::builder()
        .set_target(rule.target.clone())
        .set_target_region(rule.target_region.clone())
        .encrypted(rule.encrypted)
        .set_cmk_arn(rule.key_arn.clone())
        .set_copy_tags(rule.copy_tags)
        .set_retain_rule(retain)
        .set_deprecate_rule(deprecate)
        .build()
}

fn core_share(rule: &SdkShareRule) -> ShareRule {
    let unshare = extent(None, rule.unshare_interval(), rule.unshare_interval_unit());
    ShareRule {
        accounts: rule.target_accounts().to_vec(),
        unshare_after: (unshare != Extent::default()).then_some(unshare),
    }
}

fn sdk_share(rule: &ShareRule) -> SdkShareRule {
    let unshare = rule.unshare_after.as_ref();
    SdkShareRule::builder()
        .set_target_accounts(Some(rule.accounts.clone()))
        .set_unshare_interval(unshare.and_then(|extent| extent.interval))
        .set_unshare_interval_unit(unshare.and_then(unit))
        .build()
}

fn sdk_fast_restore(rule: &FastRestoreRule) -> SdkFastRestoreRule {
    SdkFastRestoreRule::builder()
        .set_count(rule.extent.count)
        .set_interval(rule.extent.interval)
        .set_interval_unit(unit(&rule.extent))
        .set_availability_zones(unless_empty(rule.zones.clone()))
        .set_availability_zone_ids(unless_empty(rule.zone_ids.clone()))
        .build()
}

fn sdk_archive(kept: &Extent) -> ArchiveRule {
    let tier = RetentionArchiveTier::builder()
        .set_count(kept.count)
        .set_interval(kept.interval)
        .set_interval_unit(unit(kept));
    let retain = ArchiveRetainRule::builder().retention_archive_tier(tier.build());
    ArchiveRule::builder().retain_rule(retain.build()).build()
}

pub(super) fn core_script(script: &SdkScript) -> Script {
    Script {
        stages: script
            .stages()
            .iter()
            .map(|stage| stage.as_str().to_owned())
            .collect(),
        service: script
            .execution_handler_service()
            .map(|service| service.as_str().to_owned()),
        handler: script.execution_handler().unwrap_or_default().to_owned(),
        snapshot_on_failure: script.execute_operation_on_script_failure(),
        timeout_seconds: script.execution_timeout(),
        retries_max: script.maximum_retry_count(),
    }
}

pub(super) fn sdk_script(script: &Script) -> SdkScript {
    let stages = script.stages.iter().map(|stage| stage.as_str().into());
    SdkScript::builder()
        .set_stages(unless_empty(stages.collect()))
        .set_execution_handler_service(script.service.as_deref().map(Into::into))
        .execution_handler(&script.handler)
        .set_execute_operation_on_script_failure(script.snapshot_on_failure)
        .set_execution_timeout(script.timeout_seconds)
        .set_maximum_retry_count(script.retries_max)
        .build()
}
