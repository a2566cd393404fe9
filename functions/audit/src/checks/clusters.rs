//! Whether what should have etcd volumes has any, and can be restored.

use std::collections::BTreeSet;

use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{ClusterName, EtcdClusterName, RestoreId};
use etcd_backup_core::settings::ExpectClusters;
use etcd_backup_core::snapshot::Snapshot;

use super::{Scope, restores, runs};
use crate::finding::{Finding, Kind, Subject};

/// How far apart a restore point's snapshots may be started; restore's own default as well.
pub const SKEW_SECONDS_MAX: i64 = 60 * 60;

/// `no_etcd_volumes`: a total loss per etcd cluster; else per cluster asked for or expected; else,
/// where nothing at all is there, once for the account.
pub fn check_presence(scope: &Scope) -> Vec<Finding> {
    let mut findings = total_losses(scope);
    let lost: BTreeSet<_> = findings
        .iter()
        .filter_map(|f| f.subject.cluster.clone())
        .collect();
    for name in wanted(scope) {
        if !lost.contains(&name) && !has_any(scope, &name) {
            findings.push(Finding::new(
                Subject {
                    cluster: Some(name),
                    ..Subject::default()
                },
                nothing(),
            ));
        }
    }
    let none_on_purpose = scope.settings.expect_clusters == ExpectClusters::None;
    let whole_account = scope.asked.is_none() && !none_on_purpose;
    let is_empty = || {
        scope.fleet.volume_count() == 0
            && !scope.fleet.clusters.keys().any(|name| has_any(scope, name))
    };
    if findings.is_empty() && whole_account && is_empty() {
        findings.push(Finding::new(Subject::default(), nothing()));
    }
    findings
}

/// Whether a cluster has etcd volumes, those among them that a restore holds at the moment.
fn has_any(scope: &Scope, name: &ClusterName) -> bool {
    volume_count(scope, name) > 0 || !restores::in_exchange(scope, name).is_empty()
}

/// Whether a cluster was given up: nobody expects it, it has no etcd volume, and its newest snapshot is so old that the
/// audit no longer reports a loss.
pub fn is_given_up(scope: &Scope, name: &ClusterName, cluster: &Cluster) -> bool {
    let members = cluster.members.values();
    let mut newest = members.filter_map(|member| member.snapshots.last());
    !wanted(scope).contains(name)
        && !has_any(scope, name)
        && !newest.any(|of_member| is_recent(scope, &of_member.snapshot))
}

fn is_recent(scope: &Scope, snapshot: &Snapshot) -> bool {
    scope.now.duration_since(snapshot.started) < scope.settings.schedule.loss_window()
}

fn nothing() -> Kind {
    Kind::NoEtcdVolumes {
        latest_snapshot: None,
        latest_snapshot_started: None,
        restore_id: None,
        restored_alone: Vec::new(),
    }
}

fn total_losses(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        let lost = lost(scope, name, cluster);
        let restored_alone = restored_alone(scope, cluster, &lost);
        for etcd_cluster in &lost {
            let newest = newest_snapshot(cluster, etcd_cluster);
            findings.push(Finding::new(
                Subject::etcd_cluster(name, etcd_cluster),
                Kind::NoEtcdVolumes {
                    latest_snapshot: newest.map(|newest| newest.id.clone()),
                    latest_snapshot_started: newest.map(|newest| newest.started),
                    restore_id: restore_of(scope, name, etcd_cluster),
                    restored_alone: restored_alone.clone(),
                },
            ));
        }
    }
    findings
}

/// The etcd clusters that lost every volume not long ago.
fn lost(scope: &Scope, name: &ClusterName, cluster: &Cluster) -> BTreeSet<EtcdClusterName> {
    let mut etcd_clusters = cluster.etcd_clusters();
    etcd_clusters.retain(|etcd_cluster| {
        let newest = newest_snapshot(cluster, etcd_cluster);
        newest.is_some_and(|newest| is_recent(scope, newest))
            && scope.is_lost(name, cluster, etcd_cluster)
    });
    etcd_clusters
}

/// Those that are lost, where each of the others in use is whole: it would go back in time with them.
fn restored_alone(
    scope: &Scope,
    cluster: &Cluster,
    lost: &BTreeSet<EtcdClusterName>,
) -> Vec<EtcdClusterName> {
    let in_use = cluster.current_etcd_clusters(&scope.settings.schedule);
    let mut others = in_use.difference(lost).peekable();
    if others.peek().is_some() && others.all(|other| is_whole(cluster, other)) {
        lost.iter().cloned().collect()
    } else {
        Vec::new()
    }
}

/// Whether every member that an etcd tag names has a volume.
fn is_whole(cluster: &Cluster, etcd_cluster: &EtcdClusterName) -> bool {
    let members = cluster.members_of(etcd_cluster).map(|(_, member)| member);
    let mut named = members.filter(|member| member.is_named).peekable();
    named.peek().is_some() && named.all(|member| !member.volumes.is_empty())
}

/// The restore that has begun to bring a lost etcd cluster back.
fn restore_of(
    scope: &Scope,
    name: &ClusterName,
    etcd_cluster: &EtcdClusterName,
) -> Option<RestoreId> {
    let record = restores::unfinished(scope, name)?;
    let mut of_record = record.etcd_clusters();
    of_record
        .any(|of_record| of_record == etcd_cluster)
        .then(|| record.id.clone())
}

fn newest_snapshot<'a>(
    cluster: &'a Cluster,
    etcd_cluster: &'a EtcdClusterName,
) -> Option<&'a Snapshot> {
    cluster
        .members_of(etcd_cluster)
        .filter_map(|(_, member)| member.snapshots.last())
        .map(|of_member| &*of_member.snapshot)
        .max_by_key(|snapshot| snapshot.started)
}

/// The clusters that the event asks for; without any, those that the settings expect. Who names one twice
/// means one.
fn wanted(scope: &Scope) -> BTreeSet<ClusterName> {
    let names: &[ClusterName] = match (scope.asked, &scope.settings.expect_clusters) {
        (Some(asked), _) => asked,
        (None, ExpectClusters::Named(names)) => names,
        (None, ExpectClusters::Any | ExpectClusters::None) => &[],
    };
    names.iter().cloned().collect()
}

/// A cluster's volumes, those with a malformed etcd tag among them.
pub fn volume_count(scope: &Scope, name: &ClusterName) -> usize {
    let identified = scope
        .fleet
        .clusters
        .get(name)
        .map_or(0, Cluster::volume_count);
    identified + scope.fleet.unidentified_volumes_of(name).len()
}

/// `no_restore_point`: an etcd cluster has none, though a run was due of every member.
pub fn check_restore_points(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, cluster) in &scope.fleet.clusters {
        for etcd_cluster in cluster.etcd_clusters() {
            let all_due = all_due(scope, cluster, &etcd_cluster);
            let history = scope.histories.get(name);
            let only = BTreeSet::from([etcd_cluster.clone()]);
            let runs = history.map_or(Vec::new(), |history| history.runs(&only));
            if !all_due || runs.iter().any(|run| run.is_complete()) {
                continue;
            }
            let due = runs.iter().find(|run| run.run == scope.due_run());
            let missing = due.map(|run| run.missing.iter().cloned().collect());
            findings.push(Finding::new(
                Subject::etcd_cluster(name, &etcd_cluster),
                Kind::NoRestorePoint {
                    missing: missing.unwrap_or_default(),
                    mixed: due.is_some_and(|run| !run.mixed.is_empty()),
                },
            ));
        }
    }
    findings
}

fn all_due(scope: &Scope, cluster: &Cluster, etcd_cluster: &EtcdClusterName) -> bool {
    let mut present = cluster
        .members_of(etcd_cluster)
        .filter(|(_, member)| !member.volumes.is_empty())
        .peekable();
    present.peek().is_some()
        && present.all(|(_, member)| runs::is_expected(scope, member, scope.due_run()))
}

/// `restore_point_skewed`: how far apart the latest restore point's snapshots were started.
pub fn check_skew(scope: &Scope) -> Vec<Finding> {
    let skewed = scope.fleet.clusters.iter().filter_map(|(name, cluster)| {
        if cluster.volume_count() == 0 {
            return None;
        }
        let runs = scope.runs(name, cluster);
        let latest = runs.into_iter().find(|run| run.is_complete())?;
        let skew_seconds = latest.skew_seconds();
        let subject = Subject {
            cluster: Some(name.clone()),
            ..Subject::default()
        };
        let kind = Kind::RestorePointSkewed {
            run: latest.run,
            skew_seconds,
        };
        (skew_seconds > SKEW_SECONDS_MAX).then(|| Finding::new(subject, kind))
    });
    skewed.collect()
}
