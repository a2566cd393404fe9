//! Drift of the role and of its policy.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_drift_of_iam_is_reported() {
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
fn a_role_settles_two_minutes_after_it_was_made() {
    let settling = |created: &str| {
        let mut actual = converged();
        role(&mut actual).created = created.parse().unwrap();
        plan(&actual).role_settling
    };
    assert!(settling("2026-11-22T05:28:01Z"));
    assert!(!settling("2026-11-22T05:28:00Z"));
}

/// The role serves other Regions too, whose policies this one doesn't see.
#[test]
fn what_another_regions_rules_need_is_left_to_the_role() {
    let more = BTreeSet::from(["ec2:CopySnapshot", "ec2:ModifySnapshotAttribute"]);
    let mut actual = converged();
    role_policy(&mut actual).document = desired().role_policy(&more);
    assert_eq!(plan(&actual).changes, []);
    // Another drift is repaired, and they stay.
    let document = desired().role_policy(&more);
    let lacking = document.replace("\"ec2:DeleteSnapshot\",", "");
    assert_ne!(lacking, document);
    role_policy(&mut actual).document = lacking;
    let change = plan(&actual).changes.remove(0);
    let [
        Step::SetRolePolicy {
            document: written, ..
        },
    ] = &change.steps[..]
    else {
        panic!("{change:?}")
    };
    assert_eq!(*written, document);
    // Nothing else is left to it: neither other actions nor these under conditions.
    for excess in ["ec2:DeleteVolume", "ec2:*"] {
        role_policy(&mut actual).document = document.replace("ec2:ModifySnapshotAttribute", excess);
        assert_eq!(plan(&actual).changes.len(), 1, "{excess}");
    }
}

#[test]
fn a_permissions_boundary_that_is_set_is_kept_and_one_that_is_not_is_nobodys_business() {
    let arn = "arn:aws:iam::123456789012:policy/team/boundary";
    let mut desired = desired();
    desired.permissions_boundary = Some(arn.to_owned());
    let plan = |desired: &Desired, actual: &Actual| decide(desired, actual, NOW.parse().unwrap());
    let mut actual = converged();
    let change = plan(&desired, &actual).changes.remove(0);
    let set = Step::SetBoundary {
        role: "dlm-lifecycle-role".to_owned(),
        policy_arn: arn.to_owned(),
    };
    assert_eq!(change.steps, [set]);
    assert_eq!(change.differences[0].field, "permissions_boundary");

    role(&mut actual).permissions_boundary = Some(arn.to_owned());
    assert_eq!(plan(&desired, &actual).changes, []);
    role(&mut actual).permissions_boundary = Some("arn:aws:iam::aws:policy/Other".to_owned());
    assert_eq!(plan(&desired, &actual).changes.len(), 1);
    desired.permissions_boundary = None;
    assert_eq!(plan(&desired, &actual).changes, []);

    desired.permissions_boundary = Some(arn.to_owned());
    let step = plan(&desired, &Actual::default()).changes[0]
        .steps
        .remove(0);
    let Step::CreateRole(made) = step else {
        panic!("{step:?}")
    };
    assert_eq!(made.permissions_boundary.as_deref(), Some(arn));
}
