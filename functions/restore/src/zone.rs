//! The zone a volume must be in.
//!
//! A volume can be attached in its own zone only, and masters look for candidates there. The old
//! volume tells it; where that is gone, the member's name and the masters do, or nobody.

use std::collections::BTreeSet;

use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::ids::{MemberKey, MemberName, ZoneName};

use crate::collect::ZoneEvidence;

/// The zone of a member whose volume is gone. `taken` are the zones that its peers have.
///
/// # Errors
///
/// `ZoneUnknown`, saying what to pass.
pub fn zone_of_vanished(
    key: &MemberKey,
    region: &str,
    evidence: &ZoneEvidence,
    taken: &BTreeSet<ZoneName>,
) -> Result<ZoneName, Diagnostic> {
    by_name(&key.member, region, evidence)
        .or_else(|| only_one_open(evidence, taken))
        .ok_or_else(|| zone_unknown(key, evidence))
}

/// Old clusters name members by zone, newer ones by the zone's letter.
fn by_name(member: &MemberName, region: &str, evidence: &ZoneEvidence) -> Option<ZoneName> {
    let is_zone = |zone: &ZoneName| evidence.zones.contains(zone);
    let as_it_is = ZoneName::from(member.as_str());
    if is_zone(&as_it_is) {
        return Some(as_it_is);
    }
    let by_letter = ZoneName::from(format!("{region}{member}"));
    let contradicted = !evidence.of_masters.is_empty() && !evidence.of_masters.contains(&by_letter);
    (is_zone(&by_letter) && !contradicted).then_some(by_letter)
}

fn only_one_open(evidence: &ZoneEvidence, taken: &BTreeSet<ZoneName>) -> Option<ZoneName> {
    let of_masters: BTreeSet<_> = evidence.of_masters.iter().cloned().collect();
    let mut open = of_masters.difference(taken);
    match (open.next(), open.next()) {
        (Some(zone), None) => Some(zone.clone()),
        _ => None,
    }
}

fn zone_unknown(key: &MemberKey, evidence: &ZoneEvidence) -> Diagnostic {
    let zones: Vec<&str> = evidence.zones.iter().map(ZoneName::as_str).collect();
    Diagnostic::new(
        ErrorType::ZoneUnknown,
        format!(
            "the volume of {key} is gone, and neither its name nor the cluster's masters tell its zone: \
             pass \"zones\": {{\"{}\": \"…\"}} with one of {}",
            key.member,
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

    fn zone(member: &str, of_masters: &[&str], taken: &[&str]) -> Result<String, String> {
        let evidence = ZoneEvidence {
            zones: names(&["eu-west-2a", "eu-west-2b", "eu-west-2c"]),
            of_masters: names(of_masters),
        };
        let key = MemberKey::new(&"main".into(), &member.into());
        let taken = names(taken).into_iter().collect();
        zone_of_vanished(&key, "eu-west-2", &evidence, &taken)
            .map(|zone| zone.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_member_named_by_zone_is_in_it() {
        assert_eq!(
            zone("eu-west-2b", &["eu-west-2a"], &[]).unwrap(),
            "eu-west-2b"
        );
    }

    #[test]
    fn a_letter_is_the_zones_unless_masters_contradict() {
        assert_eq!(zone("b", &[], &[]).unwrap(), "eu-west-2b");
        assert_eq!(
            zone("b", &["eu-west-2a", "eu-west-2b"], &[]).unwrap(),
            "eu-west-2b"
        );
        assert_eq!(zone("b", &["eu-west-2a"], &[]).unwrap(), "eu-west-2a");
    }

    #[test]
    fn the_only_zone_left_open_is_it() {
        let masters = ["eu-west-2a", "eu-west-2b", "eu-west-2a"];
        assert_eq!(zone("1", &masters, &["eu-west-2a"]).unwrap(), "eu-west-2b");
    }

    #[test]
    fn else_the_error_says_what_to_pass() {
        insta::assert_snapshot!(zone("1", &["eu-west-2a", "eu-west-2b"], &[]).unwrap_err(), @r#"ZoneUnknown: the volume of main/1 is gone, and neither its name nor the cluster's masters tell its zone: pass "zones": {"1": "…"} with one of eu-west-2a, eu-west-2b, eu-west-2c"#);
        assert!(zone("1", &[], &[]).is_err());
    }
}
