//! Where members start together: zones, with all groups that launch in them.
//!
//! What waits for a member whose master never comes waits for ever, so a place knows whether its groups are
//! sure to bring as many masters as it needs.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::aws::MasterGroup;
use etcd_backup_core::ids::{EtcdClusterName, GroupName, MemberKey, ZoneName};
use etcd_backup_core::restore_record::MemberRecord;

use crate::collect::control_plane::ControlPlane;

/// Members that start together: those of zones that groups share.
#[derive(Clone, Debug, Default)]
pub struct Place {
    zones: BTreeSet<ZoneName>,
    /// The groups that launch there.
    pub groups: BTreeSet<GroupName>,
    /// The members that come there.
    pub members: BTreeSet<MemberKey>,
    /// The masters that its groups are sure to bring to each zone.
    masters: BTreeMap<ZoneName, usize>,
    /// Whether these are enough for all members.
    pub is_able: bool,
}

/// Zones that a group spans are one place, and so are groups that launch in one zone. Where there is no
/// group at all people start the masters, and nobody waits for them.
pub fn places(
    members: &BTreeMap<MemberKey, MemberRecord>,
    control_plane: &ControlPlane,
) -> Vec<Place> {
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
