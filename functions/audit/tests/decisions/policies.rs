//! The policies: ours, and others that take the same volumes.

use etcd_backup_core::Tags;
use etcd_backup_core::aws::{InstanceState, TaggedMaster};
use etcd_backup_core::lifecycle_policy::{LifecyclePolicy, Parameters, PolicyState};

use crate::world::{
    CLUSTER, NOTHING, add_other_policy, clean, each_is_found_and_nothing_else, findings,
    other_policy, tag, tags,
};

fn theirs() -> LifecyclePolicy {
    other_policy("policy-0def", "VOLUME", &[("KubernetesCluster", CLUSTER)])
}

#[test]
fn what_is_wrong_with_policies_is_found() {
    each_is_found_and_nothing_else(&[
        (
            "the policy is gone",
            |i| i.policies.clear(),
            &["critical policy_missing"],
        ),
        (
            "the policy is disabled",
            |i| i.policies[0].state = PolicyState::Disabled,
            &["critical policy_not_enabled"],
        ),
        (
            "another team's policy takes the same volumes",
            |i| add_other_policy(i, theirs()),
            &["info policy_duplicated"],
        ),
        (
            "a policy of ours was doubled",
            |i| {
                let mut policy = theirs();
                policy.description = "etcd data lifecycle policy".into();
                add_other_policy(i, policy);
            },
            &["warning policy_duplicated"],
        ),
        (
            "another team's policy is disabled",
            |i| {
                let mut policy = theirs();
                policy.state = PolicyState::Disabled;
                add_other_policy(i, policy);
            },
            &[],
        ),
        (
            "another team's policy takes other volumes",
            |i| {
                let policy = other_policy("policy-0def", "VOLUME", &[("backup", "yes")]);
                add_other_policy(i, policy);
            },
            &[],
        ),
        (
            "another team's policy takes what ours no longer does",
            |i| {
                let policy = &mut i.policies[0];
                policy.definition.target_tags = [tag("backup", "yes")].into();
                add_other_policy(i, theirs());
            },
            &[],
        ),
        (
            "two policies of other teams take what ours no longer does",
            |i| {
                let policy = &mut i.policies[0];
                policy.definition.target_tags = [tag("backup", "yes")].into();
                add_other_policy(i, theirs());
                let mut another = theirs();
                another.id = "policy-0fed".into();
                add_other_policy(i, another);
            },
            &["info policy_duplicated"],
        ),
        (
            "two policies share the volumes out",
            |i| {
                let policy = &mut i.policies[0];
                policy.definition.target_tags = [tag("k8s.io/etcd/main", "a/a,b,c")].into();
                let target = [("k8s.io/etcd/main", "b/a,b,c")];
                add_other_policy(i, other_policy("policy-0def", "VOLUME", &target));
            },
            &[],
        ),
        (
            "a policy was made again",
            |i| {
                i.policies[0].id = "policy-0new".into();
                i.policy_ids = ["policy-0new".into()].into();
            },
            &["info snapshots_orphaned"],
        ),
    ]);
}

fn master(id: &str, tags: Tags) -> TaggedMaster {
    TaggedMaster {
        id: id.into(),
        state: InstanceState::Running,
        volumes: Vec::new(),
        tags,
    }
}

/// What an instance policy for `backup=yes` is found to be, with this tag on the master of `main/a` and
/// these tags of volumes left out.
fn instance_policy(on_master: (&str, &str), excluded: &[(&str, &str)]) -> Vec<String> {
    let mut inventory = clean();
    inventory.masters = vec![master(
        "i-0-a",
        tags(&[("k8s.io/role/master", "1"), on_master]),
    )];
    let mut policy = other_policy("policy-0def", "INSTANCE", &[("backup", "yes")]);
    let excluded = excluded.iter().map(|(key, value)| tag(key, value));
    policy.definition.parameters = Some(Parameters {
        exclude_data_volume_tags: excluded.collect(),
        ..Parameters::default()
    });
    add_other_policy(&mut inventory, policy);
    findings(inventory)
}

#[test]
fn a_policy_for_instances_takes_the_volumes_that_are_attached_to_them() {
    let yes = ("backup", "yes");
    assert_eq!(instance_policy(yes, &[]), ["info policy_duplicated"]);
    assert_eq!(
        instance_policy(yes, &[("scratch", "yes"), ("k8s.io/role/node", "1")]),
        ["info policy_duplicated"]
    );
    assert_eq!(instance_policy(("backup", "no"), &[]), NOTHING);
    assert_eq!(
        instance_policy(yes, &[("scratch", "yes"), ("k8s.io/role/master", "1")]),
        NOTHING,
        "it leaves out data volumes with this tag"
    );
}

#[test]
fn a_policy_for_instances_takes_none_by_the_volumes_own_tags() {
    let mut inventory = clean();
    inventory.masters = vec![master("i-0-a", Tags::new())];
    let policy = other_policy("policy-0def", "INSTANCE", &[("k8s.io/role/master", "1")]);
    add_other_policy(&mut inventory, policy);
    assert_eq!(findings(inventory), NOTHING);
}
