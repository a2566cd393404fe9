//! The zone a volume must be in.
//!
//! A volume can be attached in its own zone only, and masters look for candidates there. The old
//! volume tells it; where that is gone, the member's name and the masters do, or nobody.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{MemberKey, MemberName, ZoneName};

use super::list::list;
use crate::collect::control_plane::ZoneEvidence;

/// The zones of members whose volumes are gone, given those that are `known`: as the event says them, or
/// the other members' volumes.
///
/// # Errors
///
/// `ZoneUnknown` for all of which nothing tells it, saying what to pass.
pub fn zones_of_vanished(
    vanished: &[MemberKey],
    known: &BTreeMap<MemberKey, ZoneName>,
    cluster: &Cluster,
    region: &str,
    evidence: &ZoneEvidence,
) -> Result<BTreeMap<MemberKey, ZoneName>, Diagnostic> {
    let mut zones = BTreeMap::new();
    let mut unknown: Vec<&MemberKey> = Vec::new();
    for key in vanished {
        let zone = by_name(&key.member, region, evidence).or_else(|| only_one(evidence));
        match zone {
            Some(zone) => drop(zones.insert(key.clone(), zone)),
            None => unknown.push(key),
        }
    }
    // A single member and a single free zone belong together; of several, none could be told from another.
    for key in unknown.clone() {
        let is_of_same = |other: &&MemberKey| other.etcd_cluster == key.etcd_cluster;
        if unknown.iter().copied().filter(is_of_same).count() == 1
            && let Some(zone) = only_one_open(key, cluster, &[known, &zones], evidence)
        {
            zones.insert(key.clone(), zone);
        }
    }
    unknown.retain(|key| !zones.contains_key(*key));
    if unknown.is_empty() {
        Ok(zones)
    } else {
        Err(zone_unknown(&unknown, evidence))
    }
}

/// Old clusters name members by zone, newer ones by the zone's letter, with a number where there are
/// several in one zone: `a-1`, `a-2`, `b-1`.
fn by_name(member: &MemberName, region: &str, evidence: &ZoneEvidence) -> Option<ZoneName> {
    let is_zone = |zone: &ZoneName| evidence.zones.contains(zone);
    let as_it_is = ZoneName::from(member.as_str());
    if is_zone(&as_it_is) {
        return Some(as_it_is);
    }
    let letter = letter_before_number(member.as_str());
    let by_letter = [Some(member.as_str()), letter].into_iter().flatten();
    let mut by_letter = by_letter.map(|letter| ZoneName::from(format!("{region}{letter}")));
    by_letter.find(|zone| is_zone(zone) && !is_contradicted(zone, evidence))
}

fn letter_before_number(member: &str) -> Option<&str> {
    let (letter, number) = member.split_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    (is_number && letter.len() == 1).then_some(letter)
}

/// Whether masters and groups are there, and none of them in this zone.
fn is_contradicted(zone: &ZoneName, evidence: &ZoneEvidence) -> bool {
    let mut places = places(evidence).peekable();
    places.peek().is_some() && !places.any(|place| place == zone)
}

fn places(evidence: &ZoneEvidence) -> impl Iterator<Item = &ZoneName> {
    evidence.of_masters.iter().chain(&evidence.of_groups)
}

/// The zone that all masters and groups are in.
fn only_one(evidence: &ZoneEvidence) -> Option<ZoneName> {
    let mut places = places(evidence);
    let first = places.next()?;
    places.all(|place| place == first).then(|| first.clone())
}

/// The only zone that has a master, or room in a group for one, more than its peers need. Where a peer is
/// to be restored, the zone that it comes into counts, whatever that of its volume now.
fn only_one_open(
    key: &MemberKey,
    cluster: &Cluster,
    chosen: &[&BTreeMap<MemberKey, ZoneName>],
    evidence: &ZoneEvidence,
) -> Option<ZoneName> {
    let mut open: BTreeMap<&ZoneName, usize> = BTreeMap::new();
    // A master and the group that it is in count once, not twice.
    for places in [&evidence.of_masters, &evidence.of_groups] {
        for zone in places {
            let count = places.iter().filter(|other| *other == zone).count();
            let most = open.entry(zone).or_default();
            *most = count.max(*most);
        }
    }
    let live = cluster.members_of(&key.etcd_cluster);
    let live = live.filter_map(|(peer, state)| Some((peer, &state.volumes.first()?.zone)));
    let chosen = chosen.iter().flat_map(|chosen| chosen.iter());
    let chosen = chosen.filter(|(peer, _)| peer.etcd_cluster == key.etcd_cluster);
    // The zones that were chosen come later in the chain, and replace those of the volumes.
    let taken: BTreeMap<&MemberKey, &ZoneName> = live.chain(chosen).collect();
    for zone in taken.into_values() {
        if let Some(count) = open.get_mut(zone) {
            *count = count.saturating_sub(1);
        }
    }
    let mut left = open.into_iter().filter(|(_, count)| *count > 0);
    match (left.next(), left.next()) {
        (Some((zone, _)), None) => Some(zone.clone()),
        _ => None,
    }
}

fn zone_unknown(unknown: &[&MemberKey], evidence: &ZoneEvidence) -> Diagnostic {
    // Each name is asked for once, as main and events have the same members.
    let names: BTreeSet<&MemberName> = unknown.iter().map(|key| &key.member).collect();
    let first = evidence
        .zones
        .first()
        .map_or("eu-west-2a", ZoneName::as_str);
    let pairs = names.iter().map(|name| format!("\"{name}\": \"{first}\""));
    Diagnostic::new(
        ErrorType::ZoneUnknown,
        format!(
            "the volumes of {} are gone, and neither names nor the cluster's masters tell their zones: \
             pass \"zones\": {{{}}} with the right one of {} for each",
            list(unknown),
            list(pairs),
            list(&evidence.zones)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(zones: &[&str]) -> Vec<ZoneName> {
        zones.iter().map(|zone| ZoneName::from(*zone)).collect()
    }

    fn evidence(of_masters: &[&str]) -> ZoneEvidence {
        ZoneEvidence {
            zones: names(&["eu-west-2a", "eu-west-2b", "eu-west-2c"]),
            of_masters: names(of_masters),
            of_groups: names(of_masters),
        }
    }

    fn zone(member: &str, of_masters: &[&str]) -> Result<String, String> {
        let key = MemberKey::new(&"main".into(), &member.into());
        let evidence = evidence(of_masters);
        zones_of_vanished(
            std::slice::from_ref(&key),
            &BTreeMap::new(),
            &Cluster::default(),
            "eu-west-2",
            &evidence,
        )
        .map(|zones| zones[&key].to_string())
        .map_err(|error| error.to_string())
    }

    #[test]
    fn a_member_named_by_zone_is_in_it() {
        assert_eq!(zone("eu-west-2b", &["eu-west-2a"]).unwrap(), "eu-west-2b");
    }

    #[test]
    fn a_members_letter_names_its_zone_unless_masters_contradict() {
        assert_eq!(zone("b", &[]).unwrap(), "eu-west-2b");
        assert_eq!(
            zone("b", &["eu-west-2a", "eu-west-2b"]).unwrap(),
            "eu-west-2b"
        );
        assert_eq!(zone("b", &["eu-west-2a"]).unwrap(), "eu-west-2a");
    }

    fn zones(members: &[&str], of_masters: &[&str]) -> Result<String, String> {
        zones_beside(&[], members, of_masters)
    }

    /// With members of which the event says the zone.
    fn zones_beside(
        known: &[(&str, &str)],
        members: &[&str],
        of_masters: &[&str],
    ) -> Result<String, String> {
        let of_both = |member: &str| {
            ["main", "events"].map(|name| MemberKey::new(&name.into(), &member.into()))
        };
        let keys = members.iter();
        let keys: Vec<MemberKey> = keys.flat_map(|member| of_both(member)).collect();
        let known = known.iter().flat_map(|(member, zone)| {
            let keys = of_both(member).into_iter();
            keys.map(move |key| (key, ZoneName::from(*zone)))
        });
        let zones = zones_of_vanished(
            &keys,
            &known.collect(),
            &Cluster::default(),
            "eu-west-2",
            &evidence(of_masters),
        );
        let zones = zones.map_err(|error| error.message)?;
        let of_main = zones
            .iter()
            .filter(|(key, _)| key.etcd_cluster.as_str() == "main");
        Ok(list(
            of_main.map(|(key, zone)| format!("{} {zone}", key.member)),
        ))
    }

    #[test]
    fn a_number_behind_the_letter_plays_no_part() {
        let two_zones = ["eu-west-2a", "eu-west-2a", "eu-west-2b"];
        for masters in [&two_zones[..], &[]] {
            let told = zones(&["a-1", "a-2", "b-1"], masters).unwrap();
            assert_eq!(told, "a-1 eu-west-2a, a-2 eu-west-2a, b-1 eu-west-2b");
        }
        assert!(zones(&["x-1", "y-1"], &two_zones).is_err());
    }

    #[test]
    fn all_are_in_the_only_zone_that_there_is() {
        let told = zones(&["1", "2", "3"], &["eu-west-2b"; 3]).unwrap();
        assert_eq!(told, "1 eu-west-2b, 2 eu-west-2b, 3 eu-west-2b");
    }

    #[test]
    fn an_unknown_zone_is_asked_for_in_json_that_can_be_pasted() {
        let message = zones(&["1", "2"], &["eu-west-2a", "eu-west-2b"]).unwrap_err();
        insta::assert_snapshot!(message, @r#"the volumes of main/1, events/1, main/2, events/2 are gone, and neither names nor the cluster's masters tell their zones: pass "zones": {"1": "eu-west-2a", "2": "eu-west-2a"} with the right one of eu-west-2a, eu-west-2b, eu-west-2c for each"#);
        let start = message.find('{').unwrap();
        let end = message.find('}').unwrap();
        let pasted: BTreeMap<String, String> = serde_json::from_str(&message[start..=end]).unwrap();
        assert_eq!(pasted.len(), 2);
    }

    #[test]
    fn zones_that_the_event_says_are_taken() {
        let one_each = ["eu-west-2a", "eu-west-2b", "eu-west-2c"];
        let known = [("1", "eu-west-2a"), ("2", "eu-west-2b")];
        let told = zones_beside(&known, &["3"], &one_each);
        assert_eq!(told.unwrap(), "3 eu-west-2c");
        assert!(zones_beside(&known[..1], &["2", "3"], &one_each).is_err());
        assert!(zones_beside(&known[..1], &["3"], &one_each).is_err());
        let both_in_a = [("1", "eu-west-2a"), ("2", "eu-west-2a")];
        assert!(zones_beside(&both_in_a, &["3"], &one_each).is_err());
    }

    #[test]
    fn two_masters_in_the_only_zone_leave_room_for_one_more_there() {
        let masters = ["eu-west-2a", "eu-west-2a"];
        assert_eq!(zone("1", &masters).unwrap(), "eu-west-2a");
        assert!(zone("1", &["eu-west-2a", "eu-west-2b"]).is_err());
        assert!(zone("1", &[]).is_err());
    }
}
