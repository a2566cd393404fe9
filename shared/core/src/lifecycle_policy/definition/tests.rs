//! Which volumes a policy takes.

use super::*;
use crate::volume::{Performance, VolumeState};

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn policy(resource_type: &str, targets: &[(&str, &str)]) -> PolicyDefinition {
    let tag = |(key, value): &(&str, &str)| Tag {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    PolicyDefinition {
        resource_types: BTreeSet::from([resource_type.to_owned()]),
        target_tags: targets.iter().map(tag).collect(),
        schedules: vec![PolicySchedule::default()],
        ..PolicyDefinition::default()
    }
}

/// A gp3 volume with these tags.
fn volume(pairs: &[(&str, &str)]) -> Volume {
    Volume {
        id: "vol-0a".into(),
        state: VolumeState::InUse,
        created: "2026-10-01T12:00:00Z".parse().unwrap(),
        zone: "eu-west-2a".into(),
        size_gib: 20,
        performance: Performance {
            volume_type: "gp3".to_owned(),
            iops: None,
            throughput: None,
        },
        encrypted: true,
        kms_key_id: None,
        made_from: None,
        attachments: Vec::new(),
        tags: tags(pairs),
    }
}

#[test]
fn a_policy_takes_what_has_any_of_its_tags() {
    let (master, other) = ([("k8s.io/role/master", "1")], [("a", "c")]);
    let (of_master, of_other) = (tags(&master), tags(&other));
    let (master, other) = (volume(&master), volume(&other));
    let targets = [("k8s.io/role/master", "1"), ("a", "b")];
    let volumes = policy("VOLUME", &targets);
    assert!(volumes.takes(&master, None));
    assert!(!volumes.takes(&other, Some(&of_master)));
    let mut instances = policy("INSTANCE", &targets);
    assert!(instances.takes(&other, Some(&of_master)));
    assert!(!instances.takes(&master, Some(&of_other)) && !instances.takes(&master, None));
    instances.parameters = Some(Parameters {
        exclude_data_volume_tags: policy("", &[("a", "c")]).target_tags,
        ..Parameters::default()
    });
    assert!(!instances.takes(&other, Some(&of_master)));
    assert!(instances.takes(&master, Some(&of_master)));
}

#[test]
fn a_default_policy_takes_all_volumes_and_an_event_based_one_none() {
    let mut default = policy("VOLUME", &[]);
    default.schedules.clear();
    assert!(default.takes(&volume(&[]), None));
    assert!(!PolicyDefinition::default().takes(&volume(&[]), Some(&Tags::new())));
}

#[test]
fn a_default_policy_leaves_out_what_it_excludes() {
    let of_etcd = volume(&[("k8s.io/etcd/main", "a/a"), ("team", "platform")]);
    for (volume_types, excluded, is_taken) in [
        (vec![], vec![], true),
        (vec!["gp2", "io1"], vec![("team", "shop")], true),
        (vec!["gp2", "gp3"], vec![], false),
        (vec![], vec![("a", "b"), ("team", "platform")], false),
    ] {
        let mut default = policy("VOLUME", &[]);
        default.schedules.clear();
        default.exclusions = Some(Exclusions {
            boot_volumes: Some(true),
            volume_types: volume_types.iter().map(ToString::to_string).collect(),
            tags: policy("", &excluded).target_tags,
        });
        let case = format!("{volume_types:?} {excluded:?}");
        assert_eq!(default.takes(&of_etcd, None), is_taken, "{case}");
        // A policy that isn't a default one has none.
        let mut by_tags = default.clone();
        by_tags.target_tags = policy("", &[("team", "platform")]).target_tags;
        assert!(by_tags.takes(&of_etcd, None), "{case}");
    }
}
