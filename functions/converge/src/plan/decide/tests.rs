//! A converged account in which one thing is broken at a time.

use std::collections::BTreeSet;

use etcd_backup_core::deployment::Deployment;
use etcd_backup_core::iam::{AttachedPolicy, ManagedPolicy};
use etcd_backup_core::lifecycle_policy::{Extent, MANAGED_BY, Parameters, PolicySchedule};
use etcd_backup_core::settings::{Settings, Tag};

use super::super::world::{converged, desired};
use super::*;

mod iam;
mod lifecycle_policy;

const NOW: &str = "2026-11-22T05:30:00Z";

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

fn by_age() -> Extent {
    Extent {
        interval: Some(30),
        unit: Some("DAYS".to_owned()),
        ..Extent::default()
    }
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
    // As the console writes them into each policy.
    policy(&mut actual).definition.parameters = Some(Parameters::default());
    actual.attached.push(AttachedPolicy {
        name: "theirs".to_owned(),
        arn: "arn:aws:iam::aws:policy/theirs".to_owned(),
    });
    assert_eq!(plan(&actual).changes, []);
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
    let Step::CreatePolicy {
        definition, tags, ..
    } = step
    else {
        panic!("{step:?}")
    };
    assert_eq!(
        definition.execution_role_arn,
        "arn:aws:iam::123456789012:role/team/dlm-lifecycle-role"
    );
    assert_eq!(tags[SCHEDULE_SINCE], NOW);
}

#[test]
fn a_run_that_had_begun_when_the_schedule_came_is_older_than_it() {
    let mut actual = converged();
    actual.policies.clear();
    for (now, since) in [
        ("2026-11-22T06:00:00Z", "2026-11-22T06:00:00Z"),
        ("2026-11-22T06:00:00.000000001Z", "2026-11-22T06:00:01Z"),
        ("2026-11-22T06:00:00.999Z", "2026-11-22T06:00:01Z"),
    ] {
        let mut plan = decide(&desired(), &actual, now.parse().unwrap());
        let Some(Step::CreatePolicy { tags, .. }) = plan.changes[0].steps.pop() else {
            panic!("{:?}", plan.changes)
        };
        assert_eq!(tags[SCHEDULE_SINCE], since, "{now}");
    }
}

#[test]
fn people_are_warned_of_what_converge_leaves_alone() {
    let mut actual = converged();
    policy(&mut actual).state = PolicyState::Error;
    policy(&mut actual).status_message = Some("no permission".to_owned());
    schedule(&mut actual).retain = by_age();
    let mut younger = actual.policies[0].clone();
    younger.id = "policy-0b".into();
    actual.policies.push(younger);
    actual.namesakes.push("policy-0c".into());
    actual.lookalikes.push("policy-0d".into());
    insta::assert_snapshot!(plan(&actual).warnings.join("\n"), @r#"
    3 DLM policies are tagged or described like ours, and each of them may snapshot the volumes: policy-0a is kept converged, policy-0b, policy-0c are left alone; delete what is not wanted with `aws dlm delete-lifecycle-policy --region eu-west-2 --policy-id …`
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
        &desired.role_policy(&BTreeSet::new()),
        &desired.role_policy_arn(),
        &desired.policy_arn("policy-0a"),
    ] {
        assert!(
            text.contains("arn:aws-cn:") && !text.contains("arn:aws:"),
            "{text}"
        );
    }
}
