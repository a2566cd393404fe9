//! Drift of the lifecycle policy, and what of an adopted one is none.

use etcd_backup_core::lifecycle_policy::{
    CopyRule, CreateRule, Exclusions, FastRestoreRule, Script, ShareRule,
};

use super::*;

fn by_cron(expression: &str) -> CreateRule {
    CreateRule {
        cron_expression: Some(expression.to_owned()),
        ..CreateRule::default()
    }
}

#[test]
fn every_drift_of_the_dlm_policy_is_reported() {
    let drifts = [
        told(|actual| policy(actual).description = "else".to_owned()),
        told(|actual| policy(actual).state = PolicyState::Disabled),
        told(|actual| policy(actual).state = PolicyState::Error),
        told(|actual| policy(actual).definition.execution_role_arn = "arn".to_owned()),
        told(|actual| {
            policy(actual).definition.resource_types = BTreeSet::from(["INSTANCE".to_owned()])
        }),
        told(|actual| {
            policy(actual).definition.resource_locations = BTreeSet::from(["OUTPOST".to_owned()])
        }),
        told(|actual| policy(actual).definition.target_tags.clear()),
        told(|actual| {
            policy(actual)
                .definition
                .target_tags
                .extend([tag("a", "b")])
        }),
        // Reads like the two tags of which it isn't made.
        told(|actual| {
            policy(actual).definition.schedules[0].tags_to_add =
                BTreeSet::from([tag("SnapshotCreator", "DLM, SnapshotCreator=DLM")])
        }),
        told(|actual| policy(actual).definition.schedules.clear()),
        told(|actual| schedule(actual).name = "Weekly".to_owned()),
        told(|actual| schedule(actual).copy_tags = false),
        told(|actual| schedule(actual).tags_to_add.clear()),
        told(|actual| schedule(actual).create.interval_hours = Some(12)),
        told(|actual| schedule(actual).create.times = vec!["07:00".to_owned()]),
        told(|actual| schedule(actual).retain = Extent::count(7)),
        told(|actual| schedule(actual).retain = by_age()),
        told(|actual| schedule(actual).create = by_cron("cron(0 7 * * ? *)")),
        told(|actual| schedule(actual).create.location = Some("OUTPOST_LOCAL".to_owned())),
        told(|actual| drop(policy(actual).tags.remove(MANAGED_BY))),
    ];
    insta::assert_snapshot!(drifts.join("\n"), @r"
    dlm-policy description: else → etcd data lifecycle policy
    dlm-policy state: DISABLED → ENABLED
    dlm-policy state: ERROR → ENABLED
    dlm-policy execution_role_arn: arn → arn:aws:iam::123456789012:role/dlm-lifecycle-role
    dlm-policy resource_types: INSTANCE → VOLUME
    dlm-policy resource_locations: OUTPOST → CLOUD
    dlm-policy target_tags: (none) → k8s.io/role/master=1
    dlm-policy target_tags: a=b, k8s.io/role/master=1 → k8s.io/role/master=1
    dlm-policy schedule.tags_to_add: SnapshotCreator=DLM, SnapshotCreator=DLM → SnapshotCreator=DLM
    dlm-policy schedule.name: (none) → Daily 2 week etcd snapshots
    dlm-policy schedule.copy_tags: false → true
    dlm-policy schedule.tags_to_add: (none) → SnapshotCreator=DLM
    dlm-policy schedule.create_rule.interval: (none) → 24
    dlm-policy schedule.create_rule.times: (none) → 06:00
    dlm-policy schedule.retain_rule.count: (none) → 14
    dlm-policy schedule.name: Weekly → Daily 2 week etcd snapshots
    dlm-policy schedule.copy_tags: false → true
    dlm-policy schedule.tags_to_add: (none) → SnapshotCreator=DLM
    dlm-policy schedule.create_rule.interval: 12 → 24
    dlm-policy schedule.create_rule.times: 07:00 → 06:00
    dlm-policy schedule.retain_rule.count: 7 → 14
    dlm-policy schedule.retain_rule.count: (none) → 14
    dlm-policy schedule.retain_rule.interval: 30 DAYS → (none)
    dlm-policy schedule.create_rule.interval: (none) → 24
    dlm-policy schedule.create_rule.times: (none) → 06:00
    dlm-policy schedule.create_rule.cron_expression: cron(0 7 * * ? *) → (none)
    dlm-policy schedule.create_rule.location: OUTPOST_LOCAL → CLOUD
    dlm-policy tags.managed-by: (none) → etcd-backup
    ");
}

#[test]
fn the_schedule_is_dated_when_it_changes_and_at_no_other_time() {
    let dated = |breaking: fn(&mut Actual)| {
        let mut actual = converged();
        breaking(&mut actual);
        let step = plan(&actual).changes[0].steps.pop().unwrap();
        let Step::UpdatePolicy(update) = step else {
            panic!("{step:?}")
        };
        update.schedule_since.is_some()
    };
    assert!(dated(|actual| schedule(actual).name.push('x')));
    assert!(dated(
        |actual| schedule(actual).create.interval_hours = Some(12)
    ));
    assert!(dated(
        |actual| schedule(actual).create.times = vec!["07:00".to_owned()]
    ));
    assert!(dated(|actual| schedule(actual).retain = Extent::count(7)));
    assert!(dated(|actual| policy(actual).definition.schedules.clear()));
    assert!(!dated(|actual| schedule(actual).copy_tags = false));
    assert!(!dated(|actual| policy(actual).state = PolicyState::Disabled));
    assert!(!dated(|actual| policy(actual)
        .definition
        .target_tags
        .clear()));
}

/// What there is beside what the settings say, all of it.
fn enrich(actual: &mut Actual) {
    let copy = |target: &str, key: Option<&str>| CopyRule {
        target: Some(target.to_owned()),
        key_arn: key.map(str::to_owned),
        retain: Some(by_age()),
        ..CopyRule::default()
    };
    let rules = &mut schedule(actual).rules;
    rules.copies = vec![
        copy(
            "eu-west-1",
            Some("arn:aws:kms:eu-west-1:123456789012:key/0a"),
        ),
        copy("eu-central-1", None),
    ];
    rules.shares = vec![ShareRule {
        accounts: vec!["999999999999".to_owned()],
        unshare_after: None,
    }];
    rules.fast_restore = Some(FastRestoreRule {
        extent: Extent::count(1),
        zones: vec!["eu-west-2a".to_owned()],
        zone_ids: Vec::new(),
    });
    rules.archive = Some(Extent::count(3));
    let weekly = PolicySchedule {
        name: "Weekly".to_owned(),
        create: by_cron("cron(0 6 ? * SUN *)"),
        retain: Extent::count(52),
        ..PolicySchedule::default()
    };
    let definition = &mut policy(actual).definition;
    definition.schedules.insert(0, weekly);
    definition.parameters = Some(Parameters {
        exclude_boot_volume: Some(true),
        ..Parameters::default()
    });
}

#[test]
fn what_no_setting_says_stays_and_is_listed_and_has_its_permissions() {
    let mut actual = converged();
    enrich(&mut actual);
    let before = policy(&mut actual).definition.clone();
    let plan = plan(&actual);
    let [change] = &plan.changes[..] else {
        panic!("{:?}", plan.changes)
    };
    insta::assert_snapshot!(change.to_string(), @r#"
    ~ iam-policy "dlm-policy"
        document: (none) → Allow ec2:CopySnapshot, ec2:DescribeAvailabilityZones, ec2:DescribeFastSnapshotRestores, ec2:DescribeSnapshotAttribute, ec2:DescribeSnapshotTierStatus, ec2:DisableFastSnapshotRestores, ec2:EnableFastSnapshotRestores, ec2:ModifySnapshotAttribute, ec2:ModifySnapshotTier on *
    "#);
    insta::assert_snapshot!(plan.warnings.join("\n"), @r#"
    kept as it is in policy-0a, as no setting names it: another schedule "Weekly" (cron(0 6 ? * SUN *), keeps 52); schedule "Daily 2 week etcd snapshots" copies to eu-west-1, kept 30 DAYS; copies to eu-central-1, kept 30 DAYS; shares with 999999999999; fast restore of 1 in eu-west-2a; archives, kept 3; leaves instances' boot volumes out
    to copy what is encrypted, the role dlm-lifecycle-role needs kms:CreateGrant, kms:ListGrants, kms:RevokeGrant, kms:Encrypt, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey* and kms:DescribeKey on arn:aws:kms:eu-west-1:123456789012:key/0a and the customer managed keys of the volumes, if there are any: give them by another policy attached to the role, which stays attached
    "#);

    // Something of ours differs: what is written has all the rest.
    actual.policies[0].state = PolicyState::Disabled;
    let step = self::plan(&actual).changes[1].steps.pop().unwrap();
    let Step::UpdatePolicy(update) = step else {
        panic!("{step:?}")
    };
    assert_eq!(update.definition, before);
    assert_eq!(update.schedule_since, None);
}

#[test]
fn what_is_kept_of_a_policy_as_a_whole_is_listed_too() {
    let mut actual = converged();
    let definition = &mut policy(&mut actual).definition;
    definition.exclusions = Some(Exclusions::default());
    definition.copy_targets = vec!["eu-west-1".to_owned()];
    definition.extend_deletion = Some(true);
    definition.parameters = Some(Parameters {
        exclude_data_volume_tags: BTreeSet::from([tag("a", "b")]),
        ..Parameters::default()
    });
    definition.schedules[0].create.scripts = vec![Script {
        handler: "freeze".to_owned(),
        ..Script::default()
    }];
    let plan = plan(&actual);
    assert_eq!(plan.changes, []);
    insta::assert_snapshot!(plan.warnings.join("\n"), @r#"kept as it is in policy-0a, as no setting names it: schedule "Daily 2 week etcd snapshots" runs the script freeze; leaves instances' volumes out by tags; leaves volumes out; copies to eu-west-1; deletes a volume's last snapshot too"#);
}

#[test]
fn a_schedule_may_stand_as_a_cron_expression() {
    let mut actual = converged();
    schedule(&mut actual).create = by_cron("cron(0 6 * * ? *)");
    let plan = plan(&actual);
    assert_eq!((plan.changes, plan.warnings), (vec![], vec![]));
}

#[test]
fn a_policy_without_a_schedule_of_ours_gets_one_unless_it_has_four() {
    let mut actual = converged();
    schedule(&mut actual).name = "Hourly".to_owned();
    schedule(&mut actual).create.interval_hours = Some(1);
    schedule(&mut actual).create.times = vec!["00:00".to_owned()];
    let hourly = schedule(&mut actual).clone();
    let another = |name: &str| PolicySchedule {
        name: name.to_owned(),
        ..hourly.clone()
    };
    let schedules = &mut policy(&mut actual).definition.schedules;
    schedules.extend([another("b"), another("c")]);
    let three = schedules.clone();
    let planned = plan(&actual);
    let Some(Step::UpdatePolicy(update)) = planned.changes[0].steps.last() else {
        panic!("{:?}", planned.changes)
    };
    assert_eq!(update.definition.schedules[..3], three);
    assert_eq!(
        update.definition.schedules[3].name,
        "Daily 2 week etcd snapshots"
    );
    assert!(update.schedule_since.is_some() && update.obstacle.is_none());

    policy(&mut actual).definition.schedules.push(another("d"));
    let planned = plan(&actual);
    let Some(Step::UpdatePolicy(update)) = planned.changes[0].steps.last() else {
        panic!("{:?}", planned.changes)
    };
    let obstacle = update.obstacle.as_deref().unwrap();
    assert!(obstacle.contains("a fifth schedule"), "{obstacle}");
}
