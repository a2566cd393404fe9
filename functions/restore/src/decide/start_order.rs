//! In which order masters start.
//!
//! Members restored from snapshots seconds apart are not alike: under load the newest has committed what
//! no other holds. Where a quorum of older members starts first, the newest follows for ever and never
//! serves; with it among the first quorum, all come up whole. So a quorum of masters with the newest
//! member of each etcd cluster starts first, and the rest when the volumes of these have been attached for
//! a while.
//!
//! A master takes a volume in its zone, and nobody can say which one where there are several: so it is
//! zones, with all groups that launch in them, that start first or later. What waits for a member whose
//! master never comes waits for ever: only zones that get as many masters as they need come first.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::aws::MasterGroup;
use etcd_backup_core::ids::{EtcdClusterName, GroupName, MemberKey, ZoneName};
use etcd_backup_core::restore_record::{MemberRecord, StartOrder};
use jiff::Timestamp;

use super::list::list;
use crate::collect::control_plane::ControlPlane;
use crate::event::StartOption;

/// The etcd cluster that comes first where not all can be right.
const MAIN: &str = "main";
/// Beyond that many places the subsets are too many to try; kops makes three or five.
const PLACES_MAX: usize = 12;

/// Members that start together: those of zones that groups share.
#[derive(Clone, Debug, Default)]
struct Place {
    zones: BTreeSet<ZoneName>,
    groups: BTreeSet<GroupName>,
    members: BTreeSet<MemberKey>,
    /// The masters that its groups are sure to bring to each zone.
    masters: BTreeMap<ZoneName, usize>,
    /// Whether these are enough for all members.
    is_able: bool,
}

/// The order, and what the operator should know of it.
pub fn order(
    members: &BTreeMap<MemberKey, MemberRecord>,
    control_plane: &ControlPlane,
    option: StartOption,
    is_partial: bool,
) -> (StartOrder, Vec<String>) {
    let Some(first_etcd_cluster) = first_etcd_cluster(members) else {
        return (StartOrder::default(), Vec::new());
    };
    let count = members_of(members, first_etcd_cluster).count();
    if count < 2 {
        // One member is a quorum by itself.
        return (StartOrder::default(), Vec::new());
    }
    let together = |why: &str| {
        let warning = format!(
            "masters start all at once, {why}: of snapshots seconds apart the newest member may then never \
             serve. Where one doesn't come up, restore again, and see the order in \"start_first\""
        );
        (StartOrder::default(), vec![warning])
    };
    if option == StartOption::Together {
        return together("as \"start\" says");
    }
    if is_partial {
        return together("as only a part of the members is restored");
    }
    let places = places(members, control_plane);
    let wanted = Wanted {
        members,
        first_etcd_cluster,
        quorum: count / 2 + 1,
    };
    match wanted.choose(&places) {
        Some(first) => {
            let (first, second): (Vec<_>, Vec<_>) = places
                .into_iter()
                .partition(|place| place.members.iter().any(|key| first.contains(key)));
            let groups = |places: &[Place]| -> Vec<GroupName> {
                let groups = places.iter().flat_map(|place| &place.groups);
                groups.cloned().collect()
            };
            let first_members = first.iter().flat_map(|place| &place.members);
            let first_members: BTreeSet<&MemberKey> = first_members.collect();
            let order = StartOrder {
                first: wanted.sorted(&first_members),
                first_groups: groups(&first),
                second_groups: groups(&second),
            };
            (order, wanted.warnings(&first_members))
        }
        None => together(
            "as one autoscaling group or zone holds masters of both halves, or the groups of a zone don't bring \
             as many at the moment as it has members",
        ),
    }
}

/// `main`, or where that isn't restored the first by name.
fn first_etcd_cluster(members: &BTreeMap<MemberKey, MemberRecord>) -> Option<&EtcdClusterName> {
    let mut names = members.keys().map(|key| &key.etcd_cluster);
    let main = names.clone().find(|name| name.as_str() == MAIN);
    main.or_else(|| names.next())
}

fn members_of<'a>(
    members: &'a BTreeMap<MemberKey, MemberRecord>,
    name: &'a EtcdClusterName,
) -> impl Iterator<Item = (&'a MemberKey, &'a MemberRecord)> {
    members
        .iter()
        .filter(move |(key, _)| key.etcd_cluster == *name)
}

/// Zones that a group spans are one place, and so are groups that launch in one zone. Where there is no
/// group at all people start the masters, and nobody waits for them.
fn places(members: &BTreeMap<MemberKey, MemberRecord>, control_plane: &ControlPlane) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let of_groups = control_plane.groups.iter().map(|group| Place {
        zones: group.zones.iter().cloned().collect(),
        groups: BTreeSet::from([group.name.clone()]),
        masters: masters_of(group),
        ..Place::default()
    });
    let of_members = members.iter().map(|(key, member)| Place {
        zones: BTreeSet::from([member.incoming.zone.clone()]),
        members: BTreeSet::from([key.clone()]),
        ..Place::default()
    });
    for mut place in of_groups.chain(of_members) {
        let (same, others): (Vec<Place>, Vec<Place>) = places
            .into_iter()
            .partition(|other| !other.zones.is_disjoint(&place.zones));
        for other in same {
            place.zones.extend(other.zones);
            place.groups.extend(other.groups);
            place.members.extend(other.members);
            for (zone, masters) in other.masters {
                *place.masters.entry(zone).or_default() += masters;
            }
        }
        places = others;
        places.push(place);
    }
    places.retain(|place| !place.members.is_empty());
    for place in &mut places {
        place.is_able = control_plane.groups.is_empty() || place.brings_enough(members);
    }
    places
}

/// A group that keeps none, or that somebody has suspended, brings none; one that spans zones may put what
/// is over in any of them.
fn masters_of(group: &MasterGroup) -> BTreeMap<ZoneName, usize> {
    let is_suspended = group.launches_suspended && group.suspended_by.is_none();
    let size = usize::try_from(group.desired_size).unwrap_or(0);
    let size = if is_suspended { 0 } else { size };
    let zones: BTreeSet<&ZoneName> = group.zones.iter().collect();
    let in_each = size / zones.len().max(1);
    zones
        .into_iter()
        .map(|zone| (zone.clone(), in_each))
        .collect()
}

impl Place {
    /// A master takes one member of each etcd cluster.
    fn brings_enough(&self, members: &BTreeMap<MemberKey, MemberRecord>) -> bool {
        let mut needed: BTreeMap<(&EtcdClusterName, &ZoneName), usize> = BTreeMap::new();
        let own = members
            .iter()
            .filter(|(key, _)| self.members.contains(*key));
        for (key, member) in own {
            let needed = needed.entry((&key.etcd_cluster, &member.incoming.zone));
            *needed.or_default() += 1;
        }
        let masters_in = |zone: &ZoneName| self.masters.get(zone).copied().unwrap_or(0);
        let mut needed = needed.into_iter();
        needed.all(|((_, zone), count)| masters_in(zone) >= count)
    }
}

/// What the first masters are to be.
struct Wanted<'a> {
    members: &'a BTreeMap<MemberKey, MemberRecord>,
    first_etcd_cluster: &'a EtcdClusterName,
    quorum: usize,
}

/// How new a member is, beside what verify names: by the revision that verify read where it read all of
/// them, else by the snapshot's start.
type Age = (Option<u64>, Timestamp);

/// What a choice is worth, compared from the top: of etcd clusters, in their order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    holds_needed: Vec<bool>,
    holds_newest: Vec<bool>,
    named: usize,
    ages: Vec<Option<Age>>,
}

impl<'a> Wanted<'a> {
    fn age(&self, key: &MemberKey) -> Option<Age> {
        let snapshot = &self.members.get(key)?.snapshot;
        let mut peers = members_of(self.members, &key.etcd_cluster);
        let are_all_read = peers.all(|(_, peer)| peer.snapshot.revision.is_some());
        let revision = snapshot.revision.filter(|_| are_all_read);
        Some((revision, snapshot.started_at))
    }

    /// The members that verify has start first, a quorum of the etcd cluster; none where it named another
    /// number, as where the order doesn't matter, or tags are left of another set.
    fn named(&self, name: &'a EtcdClusterName) -> Option<BTreeSet<&'a MemberKey>> {
        let quorum = members_of(self.members, name).count() / 2 + 1;
        let named = members_of(self.members, name);
        let named = named.filter(|(_, member)| member.snapshot.starts_first);
        let named: BTreeSet<&'a MemberKey> = named.map(|(key, _)| key).collect();
        (named.len() == quorum).then_some(named)
    }

    /// The member that is the newest as far as is known: where verify has read the logs it is one of those
    /// that it names, but revisions and times may not tell which.
    fn newest(&self, name: &'a EtcdClusterName) -> Option<&'a MemberKey> {
        let named = self.named(name);
        let keys = self.members.keys();
        let members = keys.filter(|key| key.etcd_cluster == *name);
        let candidates =
            members.filter(|key| named.as_ref().is_none_or(|named| named.contains(key)));
        candidates.max_by_key(|key| self.age(key))
    }

    /// Those that must be first for all of the etcd cluster to serve: all that verify names, as any of them
    /// may be the newest; else the newest.
    fn needed(&self, name: &'a EtcdClusterName) -> BTreeSet<&'a MemberKey> {
        let newest = || self.newest(name).into_iter().collect();
        self.named(name).unwrap_or_else(newest)
    }

    /// The etcd clusters, the one that comes first before all others.
    fn etcd_clusters(&self) -> Vec<&'a EtcdClusterName> {
        let names: BTreeSet<_> = self.members.keys().map(|key| &key.etcd_cluster).collect();
        let first = |name: &&EtcdClusterName| *name != self.first_etcd_cluster;
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(first);
        names
    }

    /// The best places that hold exactly a quorum, the newest member among it; `None` where none do.
    fn choose(&self, places: &[Place]) -> Option<BTreeSet<MemberKey>> {
        let places: Vec<&Place> = places.iter().filter(|place| place.is_able).collect();
        if places.len() > PLACES_MAX {
            return None;
        }
        let subsets = (0_u32..1 << places.len()).map(|bits| {
            let chosen = places.iter().enumerate();
            let chosen = chosen.filter(|(index, _)| bits & (1 << index) != 0);
            let members = chosen.flat_map(|(_, place)| place.members.iter().cloned());
            members.collect::<BTreeSet<MemberKey>>()
        });
        let fits = |chosen: &BTreeSet<MemberKey>| {
            let of_first = chosen
                .iter()
                .filter(|key| key.etcd_cluster == *self.first_etcd_cluster);
            let newest = self.newest(self.first_etcd_cluster);
            of_first.count() == self.quorum && newest.is_some_and(|newest| chosen.contains(newest))
        };
        subsets.filter(fits).max_by_key(|chosen| self.worth(chosen))
    }

    /// What makes one choice better than another: first what each etcd cluster needs, in their order, so that
    /// no other one's newest comes before what verify names of `main`; then what is most likely its newest;
    /// then as many as possible of those that verify names; then those that are newest.
    fn worth(&self, chosen: &BTreeSet<MemberKey>) -> Worth {
        let holds_needed = self.etcd_clusters().into_iter().map(|name| {
            let mut needed = self.needed(name).into_iter();
            needed.all(|key| chosen.contains(key))
        });
        let holds_newest = self.etcd_clusters().into_iter().map(|name| {
            let newest = self.newest(name);
            newest.is_some_and(|newest| chosen.contains(newest))
        });
        let named = chosen.iter().filter(|key| {
            let member = self.members.get(*key);
            member.is_some_and(|member| member.snapshot.starts_first)
        });
        let ages = self.sorted(&chosen.iter().collect());
        let ages = ages.iter().map(|key| self.age(key));
        Worth {
            holds_needed: holds_needed.collect(),
            holds_newest: holds_newest.collect(),
            named: named.count(),
            ages: ages.collect(),
        }
    }

    /// By etcd cluster, the newest first.
    fn sorted(&self, keys: &BTreeSet<&MemberKey>) -> Vec<MemberKey> {
        let mut sorted = Vec::new();
        for name in self.etcd_clusters() {
            let mut of_one: Vec<&MemberKey> = keys
                .iter()
                .copied()
                .filter(|key| key.etcd_cluster == *name)
                .collect();
            of_one.sort_by_key(|key| std::cmp::Reverse(self.age(key)));
            sorted.extend(of_one.into_iter().cloned());
        }
        sorted
    }

    fn warnings(&self, first: &BTreeSet<&MemberKey>) -> Vec<String> {
        let names = self.etcd_clusters();
        let late = names.into_iter().flat_map(|name| self.needed(name));
        let late: Vec<&MemberKey> = late.filter(|key| !first.contains(key)).collect();
        if late.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "not all members can be among the first that should, as the newest of their etcd cluster or as \
             verify names them. Later: {}. Where one doesn't come up, restore its etcd cluster alone",
            list(late)
        )]
    }
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::Tags;
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
    fn a_quorum_that_verify_names_comes_before_revisions_and_times() {
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
    fn an_empty_group_beside_one_that_brings_enough_is_in_nobodys_way() {
        let taken = members(&[("main/a", 20), ("main/b", 10), ("main/c", 30)]);
        let groups = [("ga", "a"), ("gb", "b"), ("gc", "c"), ("old", "c")];
        let mut control_plane = control_plane(&groups);
        control_plane.groups[3].desired_size = 0;
        let (order, warnings) = order(&taken, &control_plane, StartOption::Ordered, false);
        assert_eq!(list(&order.first_groups), "ga, gc, old");
        assert_eq!(warnings.len(), 0);
    }

    #[test]
    fn one_master_needs_no_order_and_together_is_a_wish() {
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
}
