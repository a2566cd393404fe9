//! Whether each volume's tags let DLM and masters find it.

use etcd_backup_core::settings::Tag;
use etcd_backup_core::volume::Volume;

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// `volume_not_targeted`, `volume_tag_wrong`.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        for (key, member) in &cluster.members {
            for volume in &member.volumes {
                let subject = Subject::member(name, key).volume(&volume.id);
                findings.extend(check_target(scope, subject, volume));
            }
        }
    }
    for misfit in &scope.fleet.misfits {
        let subject = Subject {
            cluster: misfit.cluster(),
            volume_id: Some(misfit.volume.id.clone()),
            ..Subject::default()
        };
        findings.extend(check_target(scope, subject.clone(), &misfit.volume));
        findings.push(Finding::new(
            subject,
            Kind::VolumeTagWrong {
                problem: misfit.problem.to_string(),
            },
        ));
    }
    findings
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
