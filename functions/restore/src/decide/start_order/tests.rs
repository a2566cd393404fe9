//! Which masters start first.

use etcd_backup_core::Tags;
use etcd_backup_core::aws::MasterGroup;
use etcd_backup_core::restore_record::{IncomingVolume, SnapshotRecord};
use etcd_backup_core::volume::Performance;
use proptest::prelude::*;

use super::*;

fn member(zone: &str, second: i64, revision: Option<u64>) -> MemberRecord {
    let start: Timestamp = "2026-11-22T06:03:00Z".parse().unwrap();
    MemberRecord {
        snapshot: SnapshotRecord {
            id: "snap-0a".into(),
            started_at: start + jiff::SignedDuration::from_secs(second),
            volume_id: "vol-0o".into(),
            revision,
            verified: None,
            starts_first: false,
        },
        incoming: IncomingVolume {
            zone: format!("eu-west-2{zone}").as_str().into(),
            size_gib: 20,
            performance: Performance {
                volume_type: "gp3".to_owned(),
                iops: None,
                throughput: None,
            },
            encrypted: false,
            kms_key_id: None,
            initialization_rate_mib_s: None,
            tags: Tags::new(),
            client_token_base: String::new(),
            attempt: 0,
            volume_id: None,
            failed: Vec::new(),
        },
        outgoing: Vec::new(),
    }
}

/// Members as `main/a` in zone `a`, with the second at which each was taken.
fn members(taken: &[(&str, i64)]) -> BTreeMap<MemberKey, MemberRecord> {
    let taken = taken.iter().map(|(key, second)| {
        let key: MemberKey = key.parse().unwrap();
        let zone = &key.member.as_str()[..1];
        let member = member(zone, *second, None);
        (key, member)
    });
    taken.collect()
}

fn control_plane(groups: &[(&str, &str)]) -> ControlPlane {
    let group = |(name, zones): &(&str, &str)| MasterGroup {
        name: (*name).into(),
        zones: zones
            .chars()
            .map(|zone| format!("eu-west-2{zone}").as_str().into())
            .collect(),
        desired_size: 1,
        instances: Vec::new(),
        launching: Vec::new(),
        launches_suspended: false,
        suspended_by: None,
        tags: Tags::new(),
    };
    ControlPlane {
        groups: groups.iter().map(group).collect(),
        ..ControlPlane::default()
    }
}

fn told(
    members: &BTreeMap<MemberKey, MemberRecord>,
    groups: &[(&str, &str)],
) -> (String, String, usize) {
    let control_plane = control_plane(groups);
    let (order, warnings) = order(members, &control_plane, StartOption::Ordered, false);
    (
        list(&order.first),
        list(&order.first_groups),
        warnings.len(),
    )
}

const THREE: [(&str, &str); 3] = [("ga", "a"), ("gb", "b"), ("gc", "c")];

#[test]
fn the_newest_and_the_next_start_first() {
    let taken = members(&[("main/a", 20), ("main/b", 10), ("main/c", 30)]);
    let (first, groups, warnings) = told(&taken, &THREE);
    assert_eq!(
        (first.as_str(), groups.as_str()),
        ("main/c, main/a", "ga, gc")
    );
    assert_eq!(warnings, 0);
}

#[test]
fn the_newest_of_the_other_etcd_cluster_comes_before_mains_next() {
    let taken = members(&[
        ("main/a", 20),
        ("main/b", 10),
        ("main/c", 30),
        ("events/a", 5),
        ("events/b", 9),
        ("events/c", 1),
    ]);
    let (first, groups, _) = told(&taken, &THREE);
    assert_eq!(groups, "gb, gc");
    assert_eq!(first, "main/c, main/b, events/b, events/c");
}

#[test]
fn main_comes_first_where_not_all_can() {
    let taken = members(&[
        ("main/a", 3),
        ("main/b", 2),
        ("main/c", 1),
        ("cilium/a", 1),
        ("cilium/b", 2),
        ("cilium/c", 1),
        ("events/a", 1),
        ("events/b", 1),
        ("events/c", 3),
    ]);
    let (_, groups, warnings) = told(&taken, &THREE);
    assert_eq!((groups.as_str(), warnings), ("ga, gb", 1), "events/c waits");
}

#[test]
fn a_revision_says_more_than_a_start() {
    let mut taken = members(&[("main/a", 30), ("main/b", 10), ("main/c", 20)]);
    for (member, revision) in taken.values_mut().zip([5, 7, 6]) {
        member.snapshot.revision = Some(revision);
    }
    assert_eq!(told(&taken, &THREE).0, "main/b, main/c");
    taken.values_mut().next().unwrap().snapshot.revision = None;
    assert_eq!(told(&taken, &THREE).0, "main/a, main/c", "one is not read");
}

#[test]
fn a_quorum_that_verify_names_outranks_revisions_and_times() {
    let mut taken = members(&[("main/a", 20), ("main/b", 10), ("main/c", 30)]);
    let name = |taken: &mut BTreeMap<MemberKey, MemberRecord>, named: &[&str]| {
        for (key, member) in taken {
            member.snapshot.starts_first = named.contains(&key.to_string().as_str());
        }
    };
    for (key, revision) in [("main/a", 300), ("main/b", 200), ("main/c", 100)] {
        let member = taken.get_mut(&key.parse().unwrap()).unwrap();
        member.snapshot.revision = Some(revision);
    }
    assert_eq!(told(&taken, &THREE).0, "main/a, main/b");
    name(&mut taken, &["main/b", "main/c"]);
    assert_eq!(told(&taken, &THREE).0, "main/b, main/c");
    for member in taken.values_mut() {
        member.snapshot.revision = None;
    }
    name(&mut taken, &["main/a", "main/b"]);
    assert_eq!(told(&taken, &THREE).0, "main/a, main/b");
    // Left of another set: no quorum of this one.
    for named in [&["main/b"][..], &["main/a", "main/b", "main/c"]] {
        name(&mut taken, named);
        let first = told(&taken, &THREE).0;
        assert!(first.starts_with("main/c"), "{named:?}: {first}");
    }
}

/// Verify names a quorum where it has read the logs, and the newest is any of them: which one, equal
/// revisions don't tell, and a guess that leaves one out may leave out the newest.
#[test]
fn what_verify_names_of_main_comes_before_another_etcd_clusters_newest() {
    let mut taken = members(&[
        ("main/a", 1),
        ("main/b", 2),
        ("main/c", 3),
        ("events/a", 1),
        ("events/b", 2),
        ("events/c", 3),
    ]);
    let name = |taken: &mut BTreeMap<MemberKey, MemberRecord>, named: &[&str]| {
        for (key, member) in taken {
            member.snapshot.revision = Some(100);
            member.snapshot.starts_first = named.contains(&key.to_string().as_str());
        }
    };
    name(&mut taken, &["main/a", "main/b"]);
    let (first, groups, warnings) = told(&taken, &THREE);
    assert_eq!(first, "main/b, main/a, events/b, events/a");
    assert_eq!((groups.as_str(), warnings), ("ga, gb", 1), "events/c waits");
    // The most likely newest of both is b, and still events' may be c.
    name(&mut taken, &["main/a", "main/b", "events/b", "events/c"]);
    let (_, groups, warnings) = told(&taken, &THREE);
    assert_eq!((groups.as_str(), warnings), ("ga, gb", 1), "events/c waits");
    name(&mut taken, &["events/a", "events/b"]);
    let (_, groups, warnings) = told(&taken, &THREE);
    assert_eq!(
        (groups.as_str(), warnings),
        ("gb, gc", 1),
        "main/c is first"
    );
    name(&mut taken, &["main/a", "main/b", "events/a", "events/b"]);
    let (_, groups, warnings) = told(&taken, &THREE);
    assert_eq!((groups.as_str(), warnings), ("ga, gb", 0));
}

#[test]
fn what_verify_names_and_zones_keep_apart_is_said() {
    let mut taken = members(&[("main/a-1", 3), ("main/a-2", 1), ("main/b-1", 2)]);
    for (key, member) in &mut taken {
        member.snapshot.starts_first = key.member.as_str() != "a-2";
    }
    let groups = [("ga1", "a"), ("ga2", "a"), ("gb", "b")];
    let (first, groups, warnings) = told(&taken, &groups);
    assert_eq!(first, "main/a-1, main/a-2");
    assert_eq!((groups.as_str(), warnings), ("ga1, ga2", 1), "b-1 waits");
}

#[test]
fn several_members_in_a_zone_start_together_or_all_do() {
    let taken = members(&[("main/a-1", 1), ("main/a-2", 3), ("main/b-1", 2)]);
    let groups = [("ga1", "a"), ("ga2", "a"), ("gb", "b")];
    assert_eq!(told(&taken, &groups).1, "ga1, ga2");
    let taken = members(&[("main/a-1", 1), ("main/a-2", 2), ("main/b-1", 3)]);
    assert_eq!(
        told(&taken, &groups),
        ("nothing".to_owned(), "nothing".to_owned(), 1)
    );
    assert_eq!(told(&taken, &[("all", "abc")]).2, 1, "one group brings all");
}

/// A wave that waits for a master that nothing brings would never end.
#[test]
fn only_zones_that_get_as_many_masters_as_members_come_first() {
    let taken = members(&[("main/a", 20), ("main/b", 10), ("main/c", 30)]);
    let together = || ("nothing".to_owned(), "nothing".to_owned(), 1);
    // The group of the newest is gone, or that of the next.
    assert_eq!(told(&taken, &THREE[..2]), together());
    let (first, groups, _) = told(&taken, &THREE[1..]);
    assert_eq!(
        (first.as_str(), groups.as_str()),
        ("main/c, main/b", "gb, gc")
    );
    // A group of one for two zones.
    assert_eq!(told(&taken, &[("ga", "a"), ("gbc", "bc")]), together());
    // Two in a zone with one master, of the first etcd cluster or of another.
    for moved in ["main/b", "events/b"] {
        let mut taken = taken.clone();
        let events = members(&[("events/a", 1), ("events/b", 2), ("events/c", 3)]);
        taken.extend(events);
        let zone = "eu-west-2c".into();
        taken
            .get_mut(&moved.parse().unwrap())
            .unwrap()
            .incoming
            .zone = zone;
        assert_eq!(told(&taken, &THREE), together(), "{moved}");
    }
    // No group at all: people start the masters.
    assert_eq!(told(&taken, &[]).0, "main/c, main/a");
}

#[test]
fn a_group_is_as_many_masters_as_it_keeps() {
    let taken = members(&[("main/a", 20), ("main/b", 10), ("main/c", 30)]);
    let first = |size: i32, suspended: bool, second_group: bool| {
        let groups = [("gbc", "bc"), ("ga", "a"), ("gc", "c")];
        let count = if second_group { 3 } else { 2 };
        let mut control_plane = control_plane(&groups[..count]);
        control_plane.groups[0].desired_size = size;
        control_plane.groups[0].launches_suspended = suspended;
        let (order, _) = order(&taken, &control_plane, StartOption::Ordered, false);
        list(&order.first_groups)
    };
    assert_eq!(first(2, false, false), "gbc");
    assert_eq!(first(2, true, false), "nothing");
    assert_eq!(first(1, false, true), "nothing", "b may stay without");
    assert_eq!(first(-1, false, false), "nothing");
}

#[test]
fn an_empty_group_does_not_matter_beside_one_that_brings_enough() {
    let taken = members(&[("main/a", 20), ("main/b", 10), ("main/c", 30)]);
    let groups = [("ga", "a"), ("gb", "b"), ("gc", "c"), ("old", "c")];
    let mut control_plane = control_plane(&groups);
    control_plane.groups[3].desired_size = 0;
    let (order, warnings) = order(&taken, &control_plane, StartOption::Ordered, false);
    assert_eq!(list(&order.first_groups), "ga, gc, old");
    assert_eq!(warnings.len(), 0);
}

#[test]
fn one_master_needs_no_order_and_together_gets_none() {
    assert_eq!(
        told(&members(&[("main/a", 1), ("events/a", 2)]), &THREE).2,
        0
    );
    let taken = members(&[("main/a", 20), ("main/b", 10), ("main/c", 30)]);
    let (order, warnings) = order(&taken, &control_plane(&THREE), StartOption::Together, false);
    assert_eq!((order, warnings.len()), (StartOrder::default(), 1));
}

proptest! {
    #[test]
    fn the_first_are_a_quorum_with_the_newest(seconds in proptest::collection::vec(0_i64..60, 5)) {
        let names = ["main/a", "main/b", "main/c", "main/d", "main/e"];
        let taken: Vec<_> = names.into_iter().zip(seconds.clone()).collect();
        let five = [("ga", "a"), ("gb", "b"), ("gc", "c"), ("gd", "d"), ("ge", "e")];
        let taken = members(&taken);
        let (order, _) = order(&taken, &control_plane(&five), StartOption::Ordered, false);
        prop_assert_eq!(order.first.len(), 3);
        prop_assert_eq!((order.first_groups.len(), order.second_groups.len()), (3, 2));
        let newest = seconds.iter().max().unwrap();
        let start: Timestamp = "2026-11-22T06:03:00Z".parse().unwrap();
        let holds = order.first.iter().any(|key| {
            taken[key].snapshot.started_at == start + jiff::SignedDuration::from_secs(*newest)
        });
        prop_assert!(holds);
    }
}
