//! In which order masters start.
//!
//! Members restored from snapshots seconds apart are not alike: under load the newest has committed what
//! no other holds. Where a quorum of older members starts first, the newest follows for ever and never
//! serves; with it among the first quorum, all come up whole. So a quorum of masters with the newest
//! member of each etcd cluster starts first, and the rest when the volumes of these have been attached for
//! a while.
//!
//! A master takes a volume in its zone, and nobody can say which one where there are several: so it is
//! zones, with all groups that launch in them, that start first or later. Only zones that get as many
//! masters as they need come first.

mod place;

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::ids::{EtcdClusterName, GroupName, MemberKey};
use etcd_backup_core::restore_record::{MemberRecord, StartOrder};
use jiff::Timestamp;

use self::place::{Place, places};
use super::list::list;
use crate::collect::control_plane::ControlPlane;
use crate::event::StartOption;

/// The etcd cluster that comes first where not all can be right.
const MAIN: &str = "main";
/// Beyond that many places the subsets are too many to try; kops makes three or five.
const PLACES_MAX: usize = 12;

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
    let first_masters = FirstMasters {
        members,
        first_etcd_cluster,
        quorum: count / 2 + 1,
    };
    match first_masters.choose(&places) {
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
                first: first_masters.sorted(&first_members),
                first_groups: groups(&first),
                second_groups: groups(&second),
            };
            (order, first_masters.warnings(&first_members))
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

/// What the first masters are to be.
struct FirstMasters<'a> {
    members: &'a BTreeMap<MemberKey, MemberRecord>,
    first_etcd_cluster: &'a EtcdClusterName,
    quorum: usize,
}

/// How new a member is, beside what verify names: by the revision that verify read where it read all of
/// them, else by the snapshot's start.
type Age = (Option<u64>, Timestamp);

/// How good a choice is, compared from the top: of etcd clusters, in their order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    holds_needed: Vec<bool>,
    holds_newest: Vec<bool>,
    named: usize,
    ages: Vec<Option<Age>>,
}

impl<'a> FirstMasters<'a> {
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
        subsets.filter(fits).max_by_key(|chosen| self.rank(chosen))
    }

    /// What makes one choice better than another: first what each etcd cluster needs, in their order, so that
    /// no other one's newest comes before what verify names of `main`; then what is most likely its newest;
    /// then as many as possible of those that verify names; then those that are newest.
    fn rank(&self, chosen: &BTreeSet<MemberKey>) -> Rank {
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
        Rank {
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
mod tests;
