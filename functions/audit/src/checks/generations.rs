//! Whether a member's volume was made blank though there were snapshots of another before.

use etcd_backup_core::fleet::Member;
use etcd_backup_core::generation::{Generation, Generations};
use etcd_backup_core::snapshot::Snapshot;

use super::Scope;
use crate::finding::{Finding, Kind, Subject};

/// `volume_recreated`: after a loss `kops update cluster` makes blank volumes, whose snapshots look like
/// any others.
pub fn check(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, history) in scope.histories {
        for (key, generation) in history.recreated(scope.now) {
            let member = scope.fleet.clusters.get(*name);
            let member = member.and_then(|cluster| cluster.members.get(key));
            let generations = history.generations(key);
            let before = member
                .zip(generations)
                .and_then(|(member, generations)| latest_before(member, generations, generation));
            findings.extend(before.map(|before| {
                Finding::new(
                    Subject::member(name, key).volume(generation.volume),
                    Kind::VolumeRecreated {
                        began: generation.began,
                        snapshot_before: before.id.clone(),
                        snapshot_before_started: before.started,
                    },
                )
            }));
        }
    }
    findings
}

/// The newest snapshot that a restore may go back to, of an earlier generation.
fn latest_before<'a>(
    member: &'a Member,
    generations: &Generations,
    generation: &Generation,
) -> Option<&'a Snapshot> {
    let is_before = |snapshot: &&Snapshot| {
        let own = generations.of_snapshot(snapshot);
        own.is_some_and(|own| own.number < generation.number)
    };
    let snapshots = member
        .snapshots
        .iter()
        .map(|of_member| &*of_member.snapshot);
    let mut before = snapshots.rev().filter(is_before);
    let newest = before.clone().next();
    before.find(|snapshot| snapshot.is_usable()).or(newest)
}
