//! Whether each volume's tags let DLM, masters and kops find it, don't contradict each other, and leave
//! room for those that come on top.

use etcd_backup_core::discovery::{
    CLUSTER, CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, Identity, NAME, ROLE_CONTROL_PLANE, ROLE_MASTER,
};
use etcd_backup_core::fleet::{Cluster, UnidentifiedVolume};
use etcd_backup_core::ids::{ClusterName, MemberName, ZoneName};
use etcd_backup_core::settings::Tag;
use etcd_backup_core::volume::Volume;

use super::{Scope, tag_room};
use crate::finding::{Finding, Kind, Subject};

/// `volume_not_targeted`, `volume_tag_wrong`.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        for (key, member) in &cluster.members {
            for volume in &member.volumes {
                let subject = Subject::member(name, key).volume(&volume.id);
                findings.extend(check_target(scope, subject.clone(), volume));
                let latest = member.snapshots.last();
                let latest = latest.map(|of_member| &*of_member.snapshot);
                let mut problems = tag_problems(scope, cluster, volume);
                problems.extend(tag_room::problems(scope.settings, volume, latest));
                if !problems.is_empty() {
                    findings.push(Finding::new(subject, Kind::VolumeTagWrong { problems }));
                }
            }
        }
    }
    for (claimed, unidentified) in scope.fleet.unidentified_volumes.iter().flat_map(claims) {
        let subject = Subject {
            cluster: claimed.clone(),
            volume_id: Some(unidentified.volume.id.clone()),
            ..Subject::default()
        };
        findings.extend(check_target(scope, subject.clone(), &unidentified.volume));
        let mut problems = vec![unidentified.problem.to_string()];
        let latest = unidentified.snapshots.iter().map(|of| &**of);
        let latest = latest.max_by_key(|of| of.started);
        problems.extend(tag_room::problems(
            scope.settings,
            &unidentified.volume,
            latest,
        ));
        findings.push(Finding::new(subject, Kind::VolumeTagWrong { problems }));
    }
    findings
}

fn claims<'a>(
    (claimed, volumes): (&'a Option<ClusterName>, &'a Vec<UnidentifiedVolume>),
) -> impl Iterator<Item = (&'a Option<ClusterName>, &'a UnidentifiedVolume)> {
    volumes.iter().map(move |volume| (claimed, volume))
}

fn check_target(scope: &Scope, subject: Subject, volume: &Volume) -> Option<Finding> {
    let text = |tag: &Tag| format!("{}={}", tag.key, tag.value);
    (!scope.settings.targets(&volume.tags)).then(|| {
        Finding::new(
            subject,
            Kind::VolumeNotTargeted {
                target_tags: scope.settings.target_tags.iter().map(text).collect(),
            },
        )
    })
}

/// What is wrong with a volume's discovery tags, beside what keeps it from being placed at all.
fn tag_problems(scope: &Scope, cluster: &Cluster, volume: &Volume) -> Vec<String> {
    let Some(Ok(identity)) = Identity::of(&volume.tags) else {
        return Vec::new();
    };
    [
        cluster_problems(cluster, volume, &identity),
        name_problem(volume, &identity).into_iter().collect(),
        role_problems(scope, cluster, volume),
        zone_problem(volume, &identity).into_iter().collect(),
    ]
    .concat()
}

fn cluster_problems(cluster: &Cluster, volume: &Volume, identity: &Identity) -> Vec<String> {
    let mut problems = Vec::new();
    match volume.tags.get(CLUSTER) {
        Some(name) if name == identity.cluster.as_str() => {}
        Some(name) => problems.push(format!("{CLUSTER}={name} should be {}", identity.cluster)),
        None => problems.push(format!("{CLUSTER} is missing")),
    }
    let own_key = format!("{CLUSTER_OWNED_PREFIX}{}", identity.cluster);
    for (key, value) in &volume.tags {
        if *key == own_key && value != CLUSTER_OWNED {
            problems.push(format!("{key}={value} should be {CLUSTER_OWNED}"));
        } else if *key != own_key && key.starts_with(CLUSTER_OWNED_PREFIX) && value == CLUSTER_OWNED
        {
            // The masters of a cluster that merely shares the volume do not find it by this tag.
            problems.push(format!(
                "{key}={value} contradicts {CLUSTER}={}",
                identity.cluster
            ));
        }
    }
    // Old clusters have no such tag: its absence is a fault only where another volume of the cluster carries
    // it.
    if !volume.tags.contains_key(&own_key) && any_has(cluster, &own_key, CLUSTER_OWNED) {
        problems.push(format!(
            "{own_key} is missing, which other volumes of the cluster carry"
        ));
    }
    problems
}

fn name_problem(volume: &Volume, identity: &Identity) -> Option<String> {
    let expected = identity.volume_name();
    match volume.tags.get(NAME) {
        Some(name) if *name == expected => None,
        Some(name) => Some(format!("{NAME}={name} should be {expected}")),
        None => Some(format!("{NAME} is missing, and should be {expected}")),
    }
}

fn role_problems(scope: &Scope, cluster: &Cluster, volume: &Volume) -> Vec<String> {
    let mut problems = Vec::new();
    for key in [ROLE_MASTER, ROLE_CONTROL_PLANE] {
        match volume.tags.get(key) {
            Some(value) if value == "1" => {}
            Some(value) => problems.push(format!("{key}={value} should be 1")),
            // Where it is a target tag, volume_not_targeted reports its absence already.
            None if key == ROLE_MASTER && !scope.settings.targets(&volume.tags) => {}
            None if key == ROLE_MASTER => problems.push(format!("{key} is missing")),
            None if any_has(cluster, key, "1") => problems.push(format!(
                "{key} is missing, which other volumes of the cluster carry"
            )),
            None => {}
        }
    }
    problems
}

fn zone_problem(volume: &Volume, identity: &Identity) -> Option<String> {
    let member = &identity.etcd.member;
    is_another_zone(member, &volume.zone).then(|| {
        format!(
            "the member is named after the zone {member}, but the volume is in {}",
            volume.zone
        )
    })
}

/// Whether a member's name is that of another zone of the same Region: `eu-central-1a` in `eu-central-1b`.
/// Members may be named freely, `control-plane-1a` among the names.
fn is_another_zone(member: &MemberName, zone: &ZoneName) -> bool {
    let (member, zone) = (member.as_str(), zone.as_str());
    let region = zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let letter = member.strip_prefix(region);
    let is_a_zone =
        letter.is_some_and(|of| of.len() == 1 && of.bytes().all(|b| b.is_ascii_lowercase()));
    is_a_zone && member != zone
}

fn any_has(cluster: &Cluster, key: &str, value: &str) -> bool {
    let mut volumes = cluster.members.values().flat_map(|member| &member.volumes);
    volumes.any(|volume| volume.tags.get(key).is_some_and(|own| own == value))
}
