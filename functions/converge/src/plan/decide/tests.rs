//! A converged account in which one thing is broken at a time.

use std::collections::BTreeSet;

use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::iam::AttachedPolicy;
use etcd_backup_core::lifecycle_policy::{MANAGED_BY, PolicySchedule, StickyMember};
use etcd_backup_core::settings::{Settings, Tag};

use super::*;

const NOW: &str = "2026-11-22T05:30:00Z";

fn desired() -> Desired {
    let arn = "arn:aws:lambda:eu-west-2:123456789012:function:converge";
    let settings = Settings::from_variables(&|_| None).unwrap();
    Desired::new(&settings, &Deployment::of_function(arn).unwrap())
}

/// As Terraform leaves it: without the tag that records the schedule's age, and with the documents
/// as IAM gives them back.
fn converged() -> Actual {
    let desired = desired();
    let (role_arn, role_policy_arn) = (desired.role_arn(), desired.role_policy_arn());
    let encoded = |document: &str| document.replace('{', "%7B").replace('"', "%22");
    Actual {
        role: Some(Role {
            name: desired.role_name.clone(),
            arn: role_arn.to_owned(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            trust: encoded(&desired.trust),
            tags: desired.tags.clone(),
        }),
        attached: vec![AttachedPolicy {
            name: desired.role_policy_name.clone(),
            arn: role_policy_arn.clone(),
        }],
        role_policy: Some(ManagedPolicy {
            arn: role_policy_arn,
            document: encoded(&desired.role_policy),
            tags: desired.tags.clone(),
        }),
        policies: vec![LifecyclePolicy {
            id: "policy-0a".into(),
            description: "etcd data lifecycle policy".to_owned(),
            state: PolicyState::Enabled,
            status_message: Some("ENABLED".to_owned()),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            modified: None,
            definition: desired.policy(role_arn).definition(),
            tags: desired.tags.clone(),
        }],
        namesakes: Vec::new(),
        lookalikes: Vec::new(),
    }
}

fn plan(actual: &Actual) -> Plan {
    decide(&desired(), actual, NOW.parse().unwrap())
}

/// What the plan says of one broken thing, a line for each difference.
fn told(breaking: impl FnOnce(&mut Actual)) -> String {
    let mut actual = converged();
    breaking(&mut actual);
    let plan = plan(&actual);
    let [change] = &plan.changes[..] else {
        panic!("one change, not {:?}", plan.changes);
    };
    let differences: Vec<_> = change
        .differences
        .iter()
        .map(|difference| {
            format!(
                "{} {}: {} → {}",
                change.resource, difference.field, difference.actual, difference.desired
            )
        })
        .collect();
    differences.join("\n")
}

fn role(actual: &mut Actual) -> &mut Role {
    actual.role.as_mut().unwrap()
}

fn role_policy(actual: &mut Actual) -> &mut ManagedPolicy {
    actual.role_policy.as_mut().unwrap()
}

fn policy(actual: &mut Actual) -> &mut LifecyclePolicy {
    &mut actual.policies[0]
}

fn schedule(actual: &mut Actual) -> &mut PolicySchedule {
    &mut actual.policies[0].definition.schedules[0]
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

#[test]
fn a_converged_account_plans_nothing() {
    let plan = plan(&converged());
    assert_eq!((plan.changes, plan.warnings), (vec![], vec![]));
    assert_eq!(plan.policy_id, Some("policy-0a".into()));
    assert!(!plan.role_settling);
}

#[test]
fn what_belongs_to_other_people_is_no_drift() {
    let mut actual = converged();
    let theirs = || ("team".to_owned(), "platform".to_owned());
    role(&mut actual).tags.extend([theirs()]);
    role_policy(&mut actual).tags.extend([theirs()]);
    policy(&mut actual)
        .tags
        .extend([theirs(), (SCHEDULE_SINCE.to_owned(), NOW.to_owned())]);
    policy(&mut actual)
        .definition
        .sticky
        .insert(StickyMember::Parameters);
    actual.attached.push(AttachedPolicy {
        name: "theirs".to_owned(),
        arn: "arn:aws:iam::aws:policy/theirs".to_owned(),
    });
    assert_eq!(plan(&actual).changes, []);
}

#[test]
fn every_drift_of_iam_is_told() {
    let statement =
        |document: &str| format!(r#"{{"Version":"2012-10-17","Statement":{document}}}"#);
    let drifts = [
        told(|actual| {
            role(actual).trust = statement(
                r#"{"Effect":"Allow","Principal":{"Service":"dlm.amazonaws.com"},"Action":"sts:AssumeRole"}"#,
            )
        }),
        told(|actual| role(actual).trust = "?".to_owned()),
        told(|actual| drop(role(actual).tags.remove(MANAGED_BY))),
        told(|actual| {
            let document = &mut role_policy(actual).document;
            *document = document.replace("2012-10-17", "2008-10-17");
        }),
        told(|actual| {
            let document = &mut role_policy(actual).document;
            *document = document.replace("ec2:DeleteSnapshot", "ec2:DeleteVolume");
        }),
        told(|actual| {
            drop(
                role_policy(actual)
                    .tags
                    .insert(MANAGED_BY.to_owned(), "me".to_owned()),
            )
        }),
    ];
    insta::assert_snapshot!(drifts.join("\n"), @r#"
    iam-role trust_policy: Allow sts:AssumeRole to Service dlm.amazonaws.com → Allow sts:AssumeRole to Service dlm.amazonaws.com if aws:SourceArn ArnLike arn:aws:dlm:*:123456789012:policy/* and aws:SourceAccount StringEquals 123456789012
    iam-role trust_policy: (unreadable: not JSON) → Allow sts:AssumeRole to Service dlm.amazonaws.com if aws:SourceArn ArnLike arn:aws:dlm:*:123456789012:policy/* and aws:SourceAccount StringEquals 123456789012
    iam-role tags.managed-by: (none) → etcd-backup
    iam-policy document.version: 2008-10-17 → 2012-10-17
    iam-policy document: Allow ec2:DeleteVolume on * → Allow ec2:DeleteSnapshot on *
    iam-policy tags.managed-by: me → etcd-backup
    "#);
}

#[test]
fn every_drift_of_the_dlm_policy_is_told() {
    let other = |path: &'static str, value: &'static str| {
        move |actual: &mut Actual| {
            schedule(actual)
                .other
                .insert(path.to_owned(), value.to_owned());
        }
    };
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
        told(|actual| {
            drop(policy(actual).definition.other.insert(
                "parameters.exclude_boot_volume".to_owned(),
                "true".to_owned(),
            ))
        }),
        told(|actual| policy(actual).definition.schedules.clear()),
        told(|actual| {
            let another = PolicySchedule {
                name: "Hourly".to_owned(),
                ..schedule(actual).clone()
            };
            policy(actual).definition.schedules.insert(0, another);
        }),
        told(|actual| schedule(actual).name = "Weekly".to_owned()),
        told(|actual| schedule(actual).copy_tags = false),
        told(|actual| schedule(actual).tags_to_add.clear()),
        told(|actual| schedule(actual).interval_hours = Some(12)),
        told(|actual| schedule(actual).times = vec!["07:00".to_owned()]),
        told(|actual| schedule(actual).retain_count = Some(7)),
        told(other("create_rule.cron_expression", "cron(0 6 * * ? *)")),
        told(other("create_rule.interval_unit", "DAYS")),
        told(other("create_rule.location", "OUTPOST_LOCAL")),
        told(other("share_rules", "with 999999999999")),
        told(|actual| drop(policy(actual).tags.remove(MANAGED_BY))),
    ];
    insta::assert_snapshot!(drifts.join("\n"), @r#"
    dlm-policy description: else → etcd data lifecycle policy
    dlm-policy state: DISABLED → ENABLED
    dlm-policy state: ERROR → ENABLED
    dlm-policy execution_role_arn: arn → arn:aws:iam::123456789012:role/dlm-lifecycle-role
    dlm-policy resource_types: INSTANCE → VOLUME
    dlm-policy resource_locations: OUTPOST → CLOUD
    dlm-policy target_tags: (none) → k8s.io/role/master=1
    dlm-policy target_tags: a=b, k8s.io/role/master=1 → k8s.io/role/master=1
    dlm-policy schedule.tags_to_add: SnapshotCreator=DLM, SnapshotCreator=DLM → SnapshotCreator=DLM
    dlm-policy parameters.exclude_boot_volume: true → (none)
    dlm-policy schedule.name: (none) → Daily 2 week etcd snapshots
    dlm-policy schedule.copy_tags: false → true
    dlm-policy schedule.tags_to_add: (none) → SnapshotCreator=DLM
    dlm-policy schedule.create_rule.interval: (none) → 24
    dlm-policy schedule.create_rule.times: (none) → 06:00
    dlm-policy schedule.retain_rule.count: (none) → 14
    dlm-policy schedules: Hourly, Daily 2 week etcd snapshots → Daily 2 week etcd snapshots
    dlm-policy schedule.name: Weekly → Daily 2 week etcd snapshots
    dlm-policy schedule.copy_tags: false → true
    dlm-policy schedule.tags_to_add: (none) → SnapshotCreator=DLM
    dlm-policy schedule.create_rule.interval: 12 → 24
    dlm-policy schedule.create_rule.times: 07:00 → 06:00
    dlm-policy schedule.retain_rule.count: 7 → 14
    dlm-policy schedule.create_rule.cron_expression: cron(0 6 * * ? *) → (none)
    dlm-policy schedule.create_rule.interval_unit: DAYS → HOURS
    dlm-policy schedule.create_rule.location: OUTPOST_LOCAL → CLOUD
    dlm-policy schedule.share_rules: with 999999999999 → (none)
    dlm-policy tags.managed-by: (none) → etcd-backup
    "#);
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
    assert!(dated(|actual| schedule(actual).interval_hours = Some(12)));
    assert!(dated(
        |actual| schedule(actual).times = vec!["07:00".to_owned()]
    ));
    assert!(dated(|actual| schedule(actual).retain_count = Some(7)));
    assert!(dated(|actual| policy(actual).definition.schedules.clear()));
    assert!(!dated(|actual| schedule(actual).copy_tags = false));
    assert!(!dated(|actual| policy(actual).state = PolicyState::Disabled));
    assert!(!dated(|actual| policy(actual)
        .definition
        .target_tags
        .clear()));
}

#[test]
fn what_is_missing_is_made_where_it_belongs() {
    let mut actual = converged();
    role_policy(&mut actual).arn = "arn:aws:iam::123456789012:policy/team/dlm-policy".to_owned();
    let attach = Step::Attach {
        role: "dlm-lifecycle-role".to_owned(),
        policy_arn: "arn:aws:iam::123456789012:policy/team/dlm-policy".to_owned(),
    };
    assert_eq!(plan(&actual).changes[0].steps, [attach]);

    let mut actual = converged();
    role(&mut actual).arn = "arn:aws:iam::123456789012:role/team/dlm-lifecycle-role".to_owned();
    actual.policies.clear();
    let step = plan(&actual).changes[0].steps.pop().unwrap();
    let Step::CreatePolicy { policy, tags } = step else {
        panic!("{step:?}")
    };
    assert_eq!(
        policy.execution_role_arn,
        "arn:aws:iam::123456789012:role/team/dlm-lifecycle-role"
    );
    assert_eq!(tags[SCHEDULE_SINCE], NOW);
}

#[test]
fn a_role_settles_two_minutes_after_it_was_made() {
    let settling = |created: &str| {
        let mut actual = converged();
        role(&mut actual).created = created.parse().unwrap();
        plan(&actual).role_settling
    };
    assert!(settling("2026-11-22T05:28:01Z"));
    assert!(!settling("2026-11-22T05:28:00Z"));
}

#[test]
fn people_are_warned_of_what_converge_leaves_alone() {
    let mut actual = converged();
    policy(&mut actual).state = PolicyState::Error;
    policy(&mut actual).status_message = Some("no permission".to_owned());
    schedule(&mut actual).retain_count = None;
    let mut younger = actual.policies[0].clone();
    younger.id = "policy-0b".into();
    actual.policies.push(younger);
    actual.namesakes.push("policy-0c".into());
    actual.lookalikes.push("policy-0d".into());
    insta::assert_snapshot!(plan(&actual).warnings.join("\n"), @r#"
    3 DLM policies are tagged or described like ours, and each of them may snapshot the volumes: policy-0a is kept converged, policy-0b, policy-0c are left alone; delete what is not wanted with `aws dlm delete-lifecycle-policy --policy-id …`
    DLM had given up on policy-0a: no permission; if it does so again, the cause is still there
    policy-0d is tagged or described like ours but doesn't take snapshots by a schedule of its own, which DLM doesn't let change: it is left alone
    DLM doesn't let policy-0a keep by count what it kept by age: delete it, or take the tag and the description off it, and converge makes another (the snapshots that it made stay, and nothing deletes them)
    "#);
}

#[test]
fn other_partitions_have_their_own_arns() {
    let arn = "arn:aws-cn:lambda:cn-north-1:123456789012:function:converge";
    let settings = Settings::from_variables(&|_| None).unwrap();
    let desired = Desired::new(&settings, &Deployment::of_function(arn).unwrap());
    for text in [
        &desired.trust,
        &desired.role_policy,
        &desired.role_policy_arn(),
        &desired.policy_arn("policy-0a"),
    ] {
        assert!(
            text.contains("arn:aws-cn:") && !text.contains("arn:aws:"),
            "{text}"
        );
    }
}
