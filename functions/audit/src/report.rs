//! The audit's answer: what was looked at, and everything that is wrong.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::fleet::{Cluster, Fleet, Member};
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::listing::Listed;
use etcd_backup_core::schedule::Run;
use etcd_backup_core::settings::{Settings, Severity};
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::volume::Volume;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::checks::{self, Histories, Scope};
use crate::event::Request;
use crate::finding::{Finding, Kind};
use crate::inventory::Inventory;

/// What findings may take of the 6 MB that Lambda lets an answer have; the text repeats some of them.
const FINDINGS_BYTES_MAX: usize = 3_000_000;
/// The same for clusters.
const CLUSTERS_BYTES_MAX: usize = 1_000_000;

/// An audit's outcome.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
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
    /// Each cluster that has volumes, or should have, by name; as many as fit.
    pub clusters: Vec<ClusterReport>,
    /// What is wrong, gravest first; the counts of the summary are of all, these are what fits.
    pub findings: Vec<Finding>,
    /// How many findings more there are than fit into an answer.
    pub findings_left_out: usize,
    /// What the reader should know beside the findings.
    pub warnings: Vec<String>,
}

/// The gravest finding, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worst(pub Option<Severity>);

/// Counts over all clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Summary {
    /// Clusters reported on.
    pub clusters: usize,
    /// Etcd volumes.
    pub volumes: usize,
    /// Volumes whose due run has a snapshot that is not in error.
    pub volumes_covered: usize,
    /// Managed snapshots of etcd volumes.
    pub snapshots: usize,
    /// Members of which the due run left no snapshot.
    pub snapshots_missing: usize,
    /// Critical findings.
    pub critical: usize,
    /// Warnings.
    pub warning: usize,
    /// Findings merely worth knowing.
    pub info: usize,
}

/// One cluster's counts and restore points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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
    /// Members of which the due run left no snapshot.
    pub snapshots_missing: usize,
    /// Its critical findings.
    pub critical: usize,
    /// Its warnings.
    pub warning: usize,
}

/// How many findings there are of what counts on its own.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    snapshots_missing: usize,
    critical: usize,
    warning: usize,
    info: usize,
}

impl Counts {
    fn add(&mut self, finding: &Finding) {
        let of_severity = match finding.severity {
            Severity::Critical => &mut self.critical,
            Severity::Warning => &mut self.warning,
            Severity::Info => &mut self.info,
        };
        *of_severity += 1;
        self.snapshots_missing += usize::from(matches!(finding.kind, Kind::SnapshotMissing { .. }));
    }

    fn of<'a>(findings: impl Iterator<Item = &'a Finding>) -> Self {
        let mut counts = Self::default();
        findings.for_each(|finding| counts.add(finding));
        counts
    }
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

impl JsonSchema for Worst {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Worst".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The gravest finding, if there is one.",
            "enum": ["ok", "info", "warning", "critical"],
        })
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
        let fleet = asked_fleet(&inventory, settings, request, now);
        let histories = checks::histories(&fleet, &inventory.restores, settings);
        Self::of(&scope(
            &inventory, &fleet, &histories, settings, request, now,
        ))
    }

    /// Judges what is in scope.
    pub fn of(scope: &Scope) -> Self {
        let findings = find(scope);
        let clusters = cluster_reports(scope, &findings);
        let counts = Counts::of(findings.iter());
        let kept = how_many_fit(&findings, FINDINGS_BYTES_MAX);
        let clusters_kept = how_many_fit(&clusters, CLUSTERS_BYTES_MAX);
        Self {
            audited_at: scope.now,
            due_run: scope.due_run(),
            worst: Worst(findings.iter().map(|finding| finding.severity).max()),
            alerted: false,
            summary: Summary {
                clusters: clusters.len(),
                volumes: scope.fleet.volume_count(),
                volumes_covered: covered(scope).values().sum(),
                snapshots: snapshot_count(scope.fleet),
                snapshots_missing: counts.snapshots_missing,
                critical: counts.critical,
                warning: counts.warning,
                info: counts.info,
            },
            clusters: clusters.into_iter().take(clusters_kept).collect(),
            findings_left_out: findings.len() - kept,
            findings: findings.into_iter().take(kept).collect(),
            warnings: unreadable_records(scope),
        }
    }
}

/// Records of restores that nothing can be told from. What they say isn't guessed.
fn unreadable_records(scope: &Scope) -> Vec<String> {
    let unreadable = scope.inventory.restores.unreadable.iter();
    let asked = unreadable.filter(|of| scope.asked.is_none_or(|asked| asked.contains(&of.cluster)));
    asked
        .map(|of| {
            format!(
                "a restore of {} is not taken into account here: {}",
                of.cluster, of.problem
            )
        })
        .collect()
}

/// How many items, from the first on, take no more than so many bytes of JSON.
fn how_many_fit<T: Serialize>(items: &[T], bytes_max: usize) -> usize {
    let size = |item: &T| serde_json::to_string(item).map_or(0, |json| json.len());
    let sizes = items.iter().scan(0, |sum, item| {
        *sum += size(item);
        Some(*sum)
    });
    sizes.take_while(|sum| *sum <= bytes_max).count()
}

/// The volumes and snapshots of the clusters asked for.
pub fn asked_fleet(
    inventory: &Inventory,
    settings: &Settings,
    request: &Request,
    now: Timestamp,
) -> Fleet {
    let mut fleet = inventory.fleet(settings, now);
    if let Some(asked) = &request.clusters {
        keep_only(&mut fleet, asked);
    }
    fleet
}

/// All that the checks may look at, of [`asked_fleet`]'s fleet.
pub fn scope<'a>(
    inventory: &'a Inventory,
    fleet: &'a Fleet,
    histories: &'a Histories<'a>,
    settings: &'a Settings,
    request: &'a Request,
    now: Timestamp,
) -> Scope<'a> {
    Scope {
        inventory,
        fleet,
        histories,
        policy: inventory.policy(),
        asked: request.clusters.as_deref(),
        settings,
        now,
    }
}

fn keep_only(fleet: &mut Fleet, asked: &[ClusterName]) {
    fleet.clusters.retain(|name, _| asked.contains(name));
    let is_asked =
        |name: &Option<ClusterName>| name.as_ref().is_some_and(|name| asked.contains(name));
    fleet.unidentified_volumes.retain(|name, _| is_asked(name));
}

fn find(scope: &Scope) -> Vec<Finding> {
    let mut findings = [
        checks::policy::check(scope),
        checks::clusters::check_presence(scope),
        checks::clusters::check_restore_points(scope),
        checks::members::check(scope),
        checks::generations::check(scope),
        checks::volumes::check(scope),
        checks::runs::check(scope),
        checks::snapshots::check(scope),
        checks::clusters::check_skew(scope),
        checks::verdicts::check(scope),
        checks::restores::check(scope),
        checks::retired::check(scope),
        checks::orphans::check(scope),
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
    let with_unidentified = scope.fleet.unidentified_volumes.keys().flatten().cloned();
    // The orphaned snapshots of a cluster that was given up stay for ever, and their age would be an alarm
    // for ever.
    let in_findings = findings
        .iter()
        .filter(|finding| !matches!(finding.kind, Kind::SnapshotsOrphaned { .. }))
        .filter_map(|finding| finding.subject.cluster.clone());
    let mut counts: BTreeMap<&ClusterName, Counts> = BTreeMap::new();
    for finding in findings {
        if let Some(name) = &finding.subject.cluster {
            counts.entry(name).or_default().add(finding);
        }
    }
    let names: BTreeSet<ClusterName> = with_volumes
        .chain(with_unidentified)
        .chain(in_findings)
        .collect();
    names
        .into_iter()
        .map(|name| {
            let absent = Cluster::default();
            let cluster = scope.fleet.clusters.get(&name).unwrap_or(&absent);
            let runs = scope.runs(&name, cluster);
            let counts = counts.get(&name).copied().unwrap_or_default();
            let points: Vec<_> = runs.iter().filter(|run| run.is_complete()).collect();
            ClusterReport {
                volumes: checks::clusters::volume_count(scope, &name),
                volumes_covered: covered.get(&Some(name.clone())).copied().unwrap_or(0),
                restore_points: points.len(),
                latest_restore_point: points.first().and_then(|point| point.earliest()),
                skew_seconds: points.first().map(|point| point.skew_seconds()),
                snapshots_missing: counts.snapshots_missing,
                critical: counts.critical,
                warning: counts.warning,
                cluster: name,
            }
        })
        .collect()
}

/// How many volumes, by cluster, have a snapshot of the due run that is not in error. Where two volumes
/// claim one member, a snapshot speaks for the one it was taken of.
fn covered(scope: &Scope) -> BTreeMap<Option<ClusterName>, usize> {
    let due_run = scope.due_run();
    let mut covered: BTreeMap<Option<ClusterName>, usize> = BTreeMap::new();
    for (name, cluster) in &scope.fleet.clusters {
        let members = cluster.members.values();
        let count: usize = members.map(|member| covered_volumes(scope, member)).sum();
        *covered.entry(Some(name.clone())).or_default() += count;
    }
    let is_good = |snapshot: &Listed<Snapshot>| {
        scope.settings.schedule.run_of(snapshot.started) == due_run
            && snapshot.state != SnapshotState::Error
    };
    for (claimed, unidentified_volumes) in &scope.fleet.unidentified_volumes {
        let good = unidentified_volumes
            .iter()
            .filter(|unidentified| unidentified.snapshots.iter().any(is_good));
        *covered.entry(claimed.clone()).or_default() += good.count();
    }
    covered
}

fn covered_volumes(scope: &Scope, member: &Member) -> usize {
    let due_run = checks::runs::judged_run(scope, member);
    let good: Vec<_> = checks::runs::snapshots_of(scope, member, due_run)
        .filter(|snapshot| snapshot.state != SnapshotState::Error)
        .collect();
    let is_only = member.volumes.len() == 1;
    let is_covered = |volume: &&Volume| {
        good.iter()
            .any(|snapshot| is_only || snapshot.volume_id == volume.id)
    };
    member.volumes.iter().filter(is_covered).count()
}

fn snapshot_count(fleet: &Fleet) -> usize {
    let members = fleet
        .clusters
        .values()
        .flat_map(|cluster| cluster.members.values());
    let of_members: usize = members.map(|member| member.snapshots.len()).sum();
    let of_unidentified: usize = fleet
        .unidentified_volumes
        .values()
        .flatten()
        .map(|unidentified| unidentified.snapshots.len())
        .sum();
    of_members + of_unidentified
}
