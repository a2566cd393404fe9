//! The zone a volume must be in.
//!
//! A volume can be attached in its own zone only, and masters look for candidates there. The old
//! volume tells it; where that is gone, the member's name and the masters do, or nobody.

use std::collections::BTreeMap;

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{MemberKey, MemberName, ZoneName};

use crate::collect::ZoneEvidence;

/// The zones of members whose volumes are gone.
///
/// # Errors
///
/// `ZoneUnknown` for all of which nothing tells it, saying what to pass.
pub fn zones_of_vanished(
    vanished: &[MemberKey],
    cluster: &Cluster,
    region: &str,
    evidence: &ZoneEvidence,
) -> Result<BTreeMap<MemberKey, ZoneName>, Diagnostic> {
    let mut zones = BTreeMap::new();
    let mut unknown: Vec<&MemberKey> = Vec::new();
    for key in vanished {
        match by_name(&key.member, region, evidence) {
            Some(zone) => drop(zones.insert(key.clone(), zone)),
            None => unknown.push(key),
        }
    }
    // One left and one place left: of more, none could be told from another.
    for key in unknown.clone() {
        let is_of_same = |other: &&MemberKey| other.etcd_cluster == key.etcd_cluster;
        if unknown.iter().copied().filter(is_of_same).count() == 1
            && let Some(zone) = only_one_open(key, cluster, &zones, evidence)
        {
            zones.insert(key.clone(), zone);
        }
    }
    unknown.retain(|key| !zones.contains_key(*key));
    match unknown.is_empty() {
        true => Ok(zones),
        false => Err(zone_unknown(&unknown, evidence)),
    }
}

/// Old clusters name members by zone, newer ones by the zone's letter.
fn by_name(member: &MemberName, region: &str, evidence: &ZoneEvidence) -> Option<ZoneName> {
    let is_zone = |zone: &ZoneName| evidence.zones.contains(zone);
    let as_it_is = ZoneName::from(member.as_str());
    if is_zone(&as_it_is) {
        return Some(as_it_is);
    }
    let by_letter = ZoneName::from(format!("{region}{member}"));
    let mut places = evidence
        .of_masters
        .iter()
        .chain(&evidence.of_groups)
        .peekable();
    let contradicted = places.peek().is_some() && !places.any(|place| *place == by_letter);
    (is_zone(&by_letter) && !contradicted).then_some(by_letter)
}

/// The only zone that has a master, or room in a group for one, more than its peers need.
fn only_one_open(
    key: &MemberKey,
    cluster: &Cluster,
    told: &BTreeMap<MemberKey, ZoneName>,
    evidence: &ZoneEvidence,
) -> Option<ZoneName> {
    let mut open: BTreeMap<&ZoneName, usize> = BTreeMap::new();
    // A master and the group that it is in are one.
    for places in [&evidence.of_masters, &evidence.of_groups] {
        for zone in places {
            let count = places.iter().filter(|other| *other == zone).count();
            let most = open.entry(zone).or_default();
            *most = count.max(*most);
        }
    }
    let live = cluster
        .members_of(&key.etcd_cluster)
        .filter_map(|(_, peer)| Some(&peer.volumes.first()?.zone));
    let told = told
        .iter()
        .filter(|(other, _)| other.etcd_cluster == key.etcd_cluster);
    for zone in live.chain(told.map(|(_, zone)| zone)) {
        if let Some(count) = open.get_mut(zone) {
            *count = count.saturating_sub(1);
        }
    }
    let mut left = open
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(zone, _)| zone);
    match (left.next(), left.next()) {
        (Some(zone), None) => Some(zone.clone()),
        _ => None,
    }
}

fn zone_unknown(unknown: &[&MemberKey], evidence: &ZoneEvidence) -> Diagnostic {
    let zones: Vec<&str> = evidence.zones.iter().map(ZoneName::as_str).collect();
    let keys: Vec<String> = unknown.iter().map(|key| key.to_string()).collect();
    let mut names: Vec<String> = unknown
        .iter()
        .map(|key| format!("\"{}\": \"…\"", key.member))
        .collect();
    names.dedup();
    Diagnostic::new(
        ErrorType::ZoneUnknown,
        format!(
            "the volumes of {} are gone, and neither names nor the cluster's masters tell their zones: \
             pass \"zones\": {{{}}} with some of {}",
            keys.join(", "),
            names.join(", "),
            zones.join(", ")
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
    fn a_letter_is_the_zones_unless_masters_contradict() {
        assert_eq!(zone("b", &[]).unwrap(), "eu-west-2b");
        assert_eq!(
            zone("b", &["eu-west-2a", "eu-west-2b"]).unwrap(),
            "eu-west-2b"
        );
        assert_eq!(zone("b", &["eu-west-2a"]).unwrap(), "eu-west-2a");
    }

    #[test]
    fn of_several_members_none_is_put_into_the_only_zone_left() {
        let key = |member: &str| MemberKey::new(&"main".into(), &member.into());
        let vanished = [key("a-1"), key("b-1")];
        let evidence = evidence(&["eu-west-2a", "eu-west-2a", "eu-west-2b"]);
        let error = zones_of_vanished(&vanished, &Cluster::default(), "eu-west-2", &evidence);
        insta::assert_snapshot!(error.unwrap_err(), @r#"ZoneUnknown: the volumes of main/a-1, main/b-1 are gone, and neither names nor the cluster's masters tell their zones: pass "zones": {"a-1": "…", "b-1": "…"} with some of eu-west-2a, eu-west-2b, eu-west-2c"#);
    }

    #[test]
    fn two_masters_in_the_only_zone_leave_room_for_one_more_there() {
        let masters = ["eu-west-2a", "eu-west-2a"];
        assert_eq!(zone("1", &masters).unwrap(), "eu-west-2a");
        assert!(zone("1", &["eu-west-2a", "eu-west-2b"]).is_err());
        assert!(zone("1", &[]).is_err());
    }
}
