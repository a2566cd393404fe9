//! The audit's answer: what was looked at, and everything that is wrong.

use std::collections::BTreeSet;

use etcd_backup_core::fleet::{Cluster, Fleet, Misfit};
use etcd_backup_core::ids::{ClusterName, VolumeId};
use etcd_backup_core::restore_point;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::{Settings, Severity};
use etcd_backup_core::snapshot::SnapshotState;
use jiff::Timestamp;
use serde::Serialize;

use crate::checks::{self, Scope};
use crate::event::Request;
use crate::finding::Finding;
use crate::inventory::Inventory;

/// An audit's outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The moment judged as.
    pub audited_at: Timestamp,
    /// The latest run that was due then.
    pub due_run: Run,
    /// The gravest finding.
    pub worst: Worst,
    /// Whether an alert was published.
    pub alerted: bool,
    /// Counts over all clusters.
    pub summary: Summary,
    /// Each cluster that has volumes, or should have.
    pub clusters: Vec<ClusterReport>,
    /// What is wrong, gravest first.
    pub findings: Vec<Finding>,
    /// What the reader should know beside the findings.
    pub warnings: Vec<String>,
}

/// The gravest finding, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worst(pub Option<Severity>);

/// Counts over all clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Clusters reported on.
    pub clusters: usize,
    /// Etcd volumes.
    pub volumes: usize,
    /// Volumes whose due run has a snapshot that is not in error.
    pub volumes_covered: usize,
    /// Managed snapshots of etcd volumes.
    pub snapshots: usize,
    /// Critical findings.
    pub critical: usize,
    /// Warnings.
    pub warning: usize,
    /// Findings merely worth knowing.
    pub info: usize,
}

/// One cluster's counts and restore points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterReport {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its etcd volumes.
    pub volumes: usize,
    /// Those whose due run has a snapshot that is not in error.
    pub volumes_covered: usize,
    /// Runs that all its etcd clusters can be restored from.
    pub restore_points: usize,
    /// The start of the latest one's earliest snapshot.
    pub latest_restore_point: Option<Timestamp>,
    /// Seconds between the latest one's earliest and latest snapshot.
    pub skew_seconds: Option<i64>,
}

impl Worst {
    /// The name used in answers: a severity, or `ok`.
    pub fn name(self) -> &'static str {
        self.0.map_or("ok", Severity::name)
    }
}

impl Serialize for Worst {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Report {
    /// Judges what an account held at `now`.
    pub fn new(
        inventory: Inventory,
        settings: &Settings,
        request: &Request,
        now: Timestamp,
    ) -> Self {
        let mut fleet = inventory.fleet(settings, now);
        if let Some(asked) = &request.clusters {
            keep_only(&mut fleet, asked);
        }
        let scope = Scope {
            fleet: &fleet,
            policy: inventory.policy(),
            asked: request.clusters.as_deref(),
            settings,
            now,
        };
        let findings = find(&scope);
        let clusters = cluster_reports(&scope, &findings);
        let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
        Self {
            audited_at: now,
            due_run: scope.due_run(),
            worst: Worst(findings.iter().map(|finding| finding.severity).max()),
            alerted: false,
            summary: Summary {
                clusters: clusters.len(),
                volumes: fleet.volume_count(),
                volumes_covered: covered(&scope).len(),
                snapshots: snapshot_count(&fleet),
                critical: count(Severity::Critical),
                warning: count(Severity::Warning),
                info: count(Severity::Info),
            },
            clusters,
            findings,
            warnings: Vec::new(),
        }
    }
}

fn keep_only(fleet: &mut Fleet, asked: &[ClusterName]) {
    fleet.clusters.retain(|name, _| asked.contains(name));
    fleet
        .misfits
        .retain(|misfit| misfit.cluster().is_some_and(|name| asked.contains(&name)));
}

fn find(scope: &Scope) -> Vec<Finding> {
    let mut findings = [
        checks::policy::check(scope),
        checks::clusters::check_presence(scope),
        checks::clusters::check_restore_points(scope),
        checks::members::check(scope),
        checks::volumes::check(scope),
        checks::runs::check(scope),
    ]
    .concat();
    findings.sort_by(Finding::order);
    findings
}

/// Clusters that have volumes, and those that a finding says should have.
fn cluster_reports(scope: &Scope, findings: &[Finding]) -> Vec<ClusterReport> {
    let covered = covered(scope);
    let with_volumes = scope
        .fleet
        .clusters
        .iter()
        .filter(|(_, cluster)| cluster.volume_count() > 0)
        .map(|(name, _)| name.clone());
    let misfits = scope.fleet.misfits.iter().filter_map(Misfit::cluster);
    let in_findings = findings
        .iter()
        .filter_map(|finding| finding.subject.cluster.clone());
    let names: BTreeSet<ClusterName> = with_volumes.chain(misfits).chain(in_findings).collect();
    names
        .into_iter()
        .map(|name| {
            let absent = Cluster::default();
            let cluster = scope.fleet.clusters.get(&name).unwrap_or(&absent);
            let runs = restore_point::runs(
                cluster,
                &cluster.current_etcd_clusters(scope.settings.schedule.interval()),
                &scope.settings.schedule,
            );
            let points: Vec<_> = runs.iter().filter(|run| run.is_complete()).collect();
            let own_covered = covered
                .iter()
                .filter(|(owner, _)| owner.as_ref() == Some(&name));
            ClusterReport {
                volumes: checks::clusters::volume_count(scope, &name),
                volumes_covered: own_covered.count(),
                restore_points: points.len(),
                latest_restore_point: points.first().and_then(|point| point.earliest()),
                skew_seconds: points.first().map(|point| point.skew_seconds()),
                cluster: name,
            }
        })
        .collect()
}

/// The volumes whose due run has a snapshot that is not in error, with their clusters. Where two
/// volumes claim one member, a snapshot speaks for the one it was taken of.
fn covered(scope: &Scope) -> BTreeSet<(Option<ClusterName>, VolumeId)> {
    let due_run = scope.due_run();
    let mut covered = BTreeSet::new();
    for (name, cluster) in &scope.fleet.clusters {
        for member in cluster.members.values() {
            let good: Vec<_> = checks::runs::snapshots_of(scope, member, due_run)
                .filter(|snapshot| snapshot.state != SnapshotState::Error)
                .collect();
            for volume in &member.volumes {
                let is_only = member.volumes.len() == 1;
                if good
                    .iter()
                    .any(|snapshot| is_only || snapshot.volume_id == volume.id)
                {
                    covered.insert((Some(name.clone()), volume.id.clone()));
                }
            }
        }
    }
    for misfit in &scope.fleet.misfits {
        let in_due_run = |started| scope.settings.schedule.run_of(started) == due_run;
        let mut snapshots = misfit.snapshots.iter();
        if snapshots.any(|s| in_due_run(s.started) && s.state != SnapshotState::Error) {
            covered.insert((misfit.cluster(), misfit.volume.id.clone()));
        }
    }
    covered
}

fn snapshot_count(fleet: &Fleet) -> usize {
    let members = fleet
        .clusters
        .values()
        .flat_map(|cluster| cluster.members.values());
    let of_members: usize = members.map(|member| member.snapshots.len()).sum();
    let of_misfits: usize = fleet
        .misfits
        .iter()
        .map(|misfit| misfit.snapshots.len())
        .sum();
    of_members + of_misfits
}
