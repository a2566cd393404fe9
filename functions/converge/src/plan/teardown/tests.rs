//! A stack's converged account in which one thing keeps something from being deleted.

use etcd_backup_core::lifecycle_policy::LifecyclePolicy;

use super::super::world::{converged, desired};
use super::*;

fn changes(plan: &Plan) -> Vec<String> {
    let line = |change: &Change| format!("{:?} {}", change.operation, change.resource);
    plan.changes.iter().map(line).collect()
}

const ALL: [&str; 4] = [
    "Delete iam-role",
    "Delete iam-policy",
    "Delete iam-attachment",
    "Delete dlm-policy",
];

/// The only warning, after its beginning, and what goes all the same.
fn kept(breaking: impl FnOnce(&mut Actual, &mut RoleUses)) -> (String, Vec<String>) {
    let (mut actual, mut uses) = (converged(), RoleUses::default());
    breaking(&mut actual, &mut uses);
    let plan = teardown(&desired(), &actual, &uses);
    let [warning] = &plan.warnings[..] else {
        panic!("{:?}", plan.warnings)
    };
    (warning.clone(), changes(&plan))
}

#[test]
fn what_is_ours_alone_goes() {
    let plan = teardown(&desired(), &converged(), &RoleUses::default());
    assert_eq!(changes(&plan), ALL);
    assert_eq!(plan.warnings, Vec::<String>::new());
}

#[test]
fn a_role_that_anybody_else_uses_stays_with_its_policy_and_it_is_told() {
    let theirs = || AttachedPolicy {
        name: "theirs".to_owned(),
        arn: "arn:aws:iam::aws:policy/theirs".to_owned(),
    };
    let untagged = |actual: &mut Actual| {
        let policy = LifecyclePolicy {
            id: "policy-0b".into(),
            tags: Tags::new(),
            ..actual.policies[0].clone()
        };
        actual.policies.push(policy);
    };
    let kept = [
        kept(|_, uses| uses.policies.push("policy-0c".into())),
        kept(|actual, _| untagged(actual)),
        kept(|actual, _| actual.attached.push(theirs())),
        kept(|_, uses| uses.inline = vec!["kms".to_owned(), "logs".to_owned()]),
        kept(|_, uses| uses.instance_profiles.push("backup-host".to_owned())),
        kept(|actual, _| {
            let tags = &mut actual.role.as_mut().unwrap().tags;
            tags.insert(format!("{USED_IN_PREFIX}eu-central-1"), "yes".to_owned());
        }),
    ];
    for (_, changes) in &kept {
        assert_eq!(*changes, ["Delete dlm-policy"]);
    }
    let told: Vec<_> = kept.into_iter().map(|(warning, _)| warning).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    the role dlm-lifecycle-role and its policy stay: other lifecycle policies use it: policy-0c
    the role dlm-lifecycle-role and its policy stay: other lifecycle policies use it: policy-0b
    the role dlm-lifecycle-role and its policy stay: other policies are attached to it: theirs
    the role dlm-lifecycle-role and its policy stay: it has inline policies: kms, logs
    the role dlm-lifecycle-role and its policy stay: it is in the instance profiles backup-host
    the role dlm-lifecycle-role and its policy stay: stacks use it in eu-central-1
    ");
}

#[test]
fn a_policy_that_others_have_attached_too_stays_alone() {
    let (warning, changes) = kept(|actual, _| actual.role_policy.as_mut().unwrap().uses = 2);
    assert_eq!(
        changes,
        [
            "Delete iam-role",
            "Delete iam-attachment",
            "Delete dlm-policy"
        ]
    );
    insta::assert_snapshot!(warning, @"the IAM policy arn:aws:iam::123456789012:policy/dlm-policy stays, as more than the role dlm-lifecycle-role has it");
}

#[test]
fn a_role_that_stays_forgets_the_stack() {
    let desired = desired().used_by_stack();
    let mut actual = converged();
    actual.role.as_mut().unwrap().tags = desired.role_tags.clone();
    let uses = RoleUses {
        inline: vec!["kms".to_owned()],
        ..RoleUses::default()
    };
    let plan = teardown(&desired, &actual, &uses);
    assert_eq!(changes(&plan), ["Update iam-role", "Delete dlm-policy"]);
    let untag = Step::UntagRole {
        role: "dlm-lifecycle-role".to_owned(),
        keys: vec!["etcd-backup/used-in/eu-west-2".to_owned()],
    };
    assert_eq!(plan.changes[0].steps, [untag]);
}

#[test]
fn what_does_not_carry_our_tag_was_only_found_and_stays() {
    let mut actual = converged();
    actual.role.as_mut().unwrap().tags.clear();
    actual.policies[0].tags.clear();
    let plan = teardown(&desired(), &actual, &RoleUses::default());
    assert_eq!((plan.changes, plan.warnings), (vec![], vec![]));
}
