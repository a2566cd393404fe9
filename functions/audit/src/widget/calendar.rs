//! What the calendar says: a row for each member, a cell for each run.
//!
//! Clusters and members with findings come first. Only so many rows are open; the rest is folded, and
//! no row with findings is folded while one without is open.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::fleet::{Member, UnidentifiedVolume};
use etcd_backup_core::ids::{ClusterName, MemberKey, SnapshotId, VolumeId};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use etcd_backup_core::verdict::Verdict;
use jiff::Timestamp;

use crate::checks::Scope;
use crate::checks::runs::is_expected;
use crate::finding::{Finding, Subject};
use crate::report::{ClusterReport, Report, Worst};

/// Rows shown cell by cell: what a person can take in, and what keeps the answer small.
pub const OPEN_ROWS_MAX: usize = 24;
/// Rows shown folded; those beyond are merely counted.
pub const FOLDED_ROWS_MAX: usize = 500;

/// The last runs of all members.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// The runs shown, oldest first.
    pub columns: Vec<Run>,
    /// How many runs are kept, shown or not.
    pub runs_retained: usize,
    /// How many hours lie between two runs.
    pub interval_hours: i32,
    /// The rows shown cell by cell.
    pub open: Vec<Section>,
    /// The rows to be unfolded.
    pub folded: Vec<Section>,
    /// How many rows more there are.
    pub rows_left_out: usize,
    /// How many of those folded or left out have findings.
    pub with_findings_folded: usize,
}

/// A cluster's rows, or some of them.
#[derive(Clone, Debug)]
pub struct Section {
    /// The cluster; `None` for volumes that don't tell theirs.
    pub cluster: Option<ClusterName>,
    /// The gravest finding on it.
    pub worst: Worst,
    /// Its counts and restore points.
    pub report: Option<ClusterReport>,
    /// Its members, worst first.
    pub rows: Vec<Row>,
}

/// A member's runs, or those of a volume that doesn't tell whose it is.
#[derive(Clone, Debug)]
pub struct Row {
    /// `main/a`
    pub label: String,
    /// The gravest finding on the member or its etcd cluster.
    pub worst: Worst,
    /// The kinds of findings on the member itself, gravest first.
    pub kinds: Vec<&'static str>,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// What one run left of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The run.
    pub run: Run,
    /// What became of it.
    pub state: CellState,
    /// The best snapshot that it left, and that snapshot's start.
    pub snapshot: Option<(SnapshotId, Timestamp)>,
    /// verify's verdict on it.
    pub verdict: Option<Verdict>,
}

/// What became of one run of one member. Ordered: the best snapshot of a run is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CellState {
    /// A snapshot that a volume can be made from.
    Completed,
    /// A snapshot that is still being written.
    Pending,
    /// A snapshot that is archived, or being recovered.
    Unusable,
    /// A snapshot that failed.
    Error,
    /// No snapshot, though one was due.
    Missing,
    /// No snapshot, as the member had lost its volume.
    NoVolume,
    /// No snapshot, as none was expected: before the volume or the schedule was made.
    NotExpected,
    /// No snapshot yet; the run is less than 90 minutes past.
    NotDue,
}

impl CellState {
    /// All of them, in the order of the legend.
    pub const ALL: [Self; 8] = [
        Self::Completed,
        Self::Pending,
        Self::Error,
        Self::Missing,
        Self::NoVolume,
        Self::Unusable,
        Self::NotExpected,
        Self::NotDue,
    ];

    /// The state in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Pending => "pending",
            Self::Unusable => "archived or being recovered",
            Self::Error => "error",
            Self::Missing => "missing",
            Self::NoVolume => "no volume",
            Self::NotExpected => "not expected",
            Self::NotDue => "not due yet",
        }
    }

    fn of(snapshot: &Snapshot) -> Self {
        match snapshot.state {
            SnapshotState::Completed if snapshot.is_usable() => Self::Completed,
            SnapshotState::Completed | SnapshotState::Other => Self::Unusable,
            SnapshotState::Pending => Self::Pending,
            SnapshotState::Error => Self::Error,
        }
    }
}

impl Calendar {
    /// Lays out at most `columns_max` of the runs that retention keeps.
    pub fn new(scope: &Scope, report: &Report, columns_max: usize) -> Self {
        let runs_retained = usize::try_from(scope.settings.retain_count).unwrap_or(1);
        let columns = columns(scope, runs_retained.min(columns_max));
        let mut sections = sections(scope, report, &columns);
        sections.sort_by_key(|section| Reverse(section.worst));
        let (open, mut folded) = fold(sections);
        let with_findings_folded = with_findings(&folded);
        let rows_left_out = cut(&mut folded, FOLDED_ROWS_MAX);
        Self {
            columns,
            runs_retained,
            interval_hours: scope.settings.schedule.interval_hours,
            open,
            folded,
            rows_left_out,
            with_findings_folded,
        }
    }
}

/// The last runs, the one that isn't due yet included.
fn columns(scope: &Scope, count: usize) -> Vec<Run> {
    let schedule = &scope.settings.schedule;
    let newest = schedule.run_of(scope.now);
    let backwards = std::iter::successors(Some(newest), |run| Some(schedule.before(*run)));
    let mut columns: Vec<Run> = backwards.take(count).collect();
    columns.reverse();
    columns
}

fn sections(scope: &Scope, report: &Report, columns: &[Run]) -> Vec<Section> {
    let mut rows = rows_by_cluster(scope, columns);
    // Clusters that should have volumes and have none are shown too.
    for cluster in &report.clusters {
        rows.entry(Some(cluster.cluster.clone())).or_default();
    }
    let mut findings: BTreeMap<Option<&ClusterName>, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        let cluster = finding.subject.cluster.as_ref();
        findings.entry(cluster).or_default().push(finding);
    }
    rows.into_iter()
        .map(|(cluster, rows)| {
            let findings = findings.get(&cluster.as_ref());
            let findings = findings.map_or(&[][..], Vec::as_slice);
            let mut rows: Vec<Row> = rows.into_iter().map(|row| row.judged(findings)).collect();
            // The sort is stable: members of equal rank stay in the order of their names.
            rows.sort_by_key(|row| Reverse(row.worst));
            let worst_row = rows.iter().map(|row| row.worst).max();
            Section {
                // Findings without a cluster may be the account's; only those of a row count here.
                worst: match cluster {
                    Some(_) => worst(findings.iter().copied()),
                    None => worst_row.unwrap_or(Worst(None)),
                },
                report: report
                    .clusters
                    .iter()
                    .find(|of| Some(&of.cluster) == cluster.as_ref())
                    .cloned(),
                cluster,
                rows,
            }
        })
        .collect()
}

/// A row that findings are not assigned to yet.
struct Subjects {
    label: String,
    key: Option<MemberKey>,
    volumes: BTreeSet<VolumeId>,
    cells: Vec<Cell>,
}

fn rows_by_cluster(scope: &Scope, columns: &[Run]) -> BTreeMap<Option<ClusterName>, Vec<Subjects>> {
    let mut rows: BTreeMap<Option<ClusterName>, Vec<Subjects>> = BTreeMap::new();
    for (name, cluster) in &scope.fleet.clusters {
        for (key, member) in &cluster.members {
            let row = Subjects::of_member(scope, key, member, columns);
            let is_there = !member.volumes.is_empty() || member.is_named;
            // A member that was given up long ago has nothing within the runs shown, and gets no row.
            if is_there || row.cells.iter().any(|cell| cell.snapshot.is_some()) {
                rows.entry(Some(name.clone())).or_default().push(row);
            }
        }
    }
    for (claimed, unidentified_volumes) in &scope.fleet.unidentified_volumes {
        let of_cluster = unidentified_volumes
            .iter()
            .map(|unidentified| Subjects::of_unidentified(scope, unidentified, columns));
        rows.entry(claimed.clone()).or_default().extend(of_cluster);
    }
    rows
}

impl Subjects {
    fn of_member(scope: &Scope, key: &MemberKey, member: &Member, columns: &[Run]) -> Self {
        let snapshots = member.snapshots.iter().map(|of| &*of.snapshot);
        let label = match member.volumes.len() {
            0 => format!("{key} (no volume)"),
            1 => key.to_string(),
            count => format!("{key} ({count} volumes)"),
        };
        let newest = member.snapshots.last().map(|of| of.snapshot.started);
        let newest = newest.map(|started| scope.settings.schedule.run_of(started));
        let without_snapshot = |run| {
            if member.volumes.is_empty() && Some(run) > newest {
                CellState::NoVolume
            } else if !member.volumes.is_empty() && is_expected(scope, member, run) {
                CellState::Missing
            } else {
                CellState::NotExpected
            }
        };
        Self {
            label,
            key: Some(key.clone()),
            volumes: member.volumes.iter().map(|of| of.id.clone()).collect(),
            cells: cells(scope, snapshots, columns, without_snapshot),
        }
    }

    fn of_unidentified(scope: &Scope, unidentified: &UnidentifiedVolume, columns: &[Run]) -> Self {
        let key = unidentified.likely_member();
        let id = &unidentified.volume.id;
        Self {
            label: match &key {
                Some(key) => format!("{key}? ({id})"),
                None => id.to_string(),
            },
            key,
            volumes: BTreeSet::from([id.clone()]),
            cells: cells(
                scope,
                unidentified.snapshots.iter().map(|of| &**of),
                columns,
                |_| CellState::NotExpected,
            ),
        }
    }

    fn judged(self, findings: &[&Finding]) -> Row {
        let own = findings
            .iter()
            .filter(|finding| self.is_subject(&finding.subject));
        let mut kinds: Vec<&str> = own.map(|finding| finding.kind.name()).collect();
        kinds.dedup();
        let concerning = findings
            .iter()
            .filter(|finding| self.is_subject(&finding.subject) || self.is_in(&finding.subject));
        Row {
            worst: worst(concerning.copied()),
            kinds,
            label: self.label,
            cells: self.cells,
        }
    }

    /// Whether a finding on this subject is on the member itself, or on a volume of it.
    fn is_subject(&self, subject: &Subject) -> bool {
        let member = subject.etcd_cluster.as_ref().zip(subject.member.as_ref());
        let own_key = self.key.as_ref();
        let by_member = member
            .zip(own_key)
            .is_some_and(|((etcd_cluster, member), key)| {
                key.etcd_cluster == *etcd_cluster && key.member == *member
            });
        let by_volume = subject
            .volume_id
            .as_ref()
            .is_some_and(|id| self.volumes.contains(id));
        by_member || by_volume
    }

    /// Whether a finding on this subject is on the whole etcd cluster that the member is in.
    fn is_in(&self, subject: &Subject) -> bool {
        let of_all = subject.member.is_none() && subject.volume_id.is_none();
        let own = self.key.as_ref().map(|key| &key.etcd_cluster);
        of_all && (subject.cluster.is_some() && subject.etcd_cluster.as_ref() == own)
    }
}

fn worst<'a>(findings: impl Iterator<Item = &'a Finding>) -> Worst {
    Worst(findings.map(|finding| finding.severity).max())
}

fn cells<'a>(
    scope: &Scope,
    snapshots: impl Iterator<Item = &'a Snapshot>,
    columns: &[Run],
    without_snapshot: impl Fn(Run) -> CellState,
) -> Vec<Cell> {
    let mut best: BTreeMap<Run, &Snapshot> = BTreeMap::new();
    let rank = |snapshot: &Snapshot| (CellState::of(snapshot), snapshot.started);
    for snapshot in snapshots {
        let run = scope.settings.schedule.run_of(snapshot.started);
        let of_run = best.entry(run).or_insert(snapshot);
        if rank(snapshot) < rank(of_run) {
            *of_run = snapshot;
        }
    }
    let due_run = scope.due_run();
    columns
        .iter()
        .map(|run| Cell {
            run: *run,
            state: match best.get(run) {
                Some(snapshot) => CellState::of(snapshot),
                None if *run > due_run => CellState::NotDue,
                None => without_snapshot(*run),
            },
            snapshot: best.get(run).map(|of| (of.id.clone(), of.started)),
            verdict: best.get(run).and_then(|of| Verdict::of(of)),
        })
        .collect()
}

/// Divides rows into those to be open and those to be folded: as many as may be are open, those with
/// findings before others.
fn fold(sections: Vec<Section>) -> (Vec<Section>, Vec<Section>) {
    let mut grave_left = with_findings(&sections).min(OPEN_ROWS_MAX);
    let mut clean_left = OPEN_ROWS_MAX - grave_left;
    let (mut open, mut folded) = (Vec::new(), Vec::new());
    for section in sections {
        let without_rows = section.rows.is_empty();
        let frame = Section {
            rows: Vec::new(),
            ..section.clone()
        };
        let (open_rows, folded_rows): (Vec<Row>, Vec<Row>) =
            section.rows.into_iter().partition(|row| {
                let left = match row.worst {
                    Worst(None) => &mut clean_left,
                    Worst(Some(_)) => &mut grave_left,
                };
                let is_open = *left > 0;
                *left -= usize::from(is_open);
                is_open
            });
        for (rows, into) in [(open_rows, &mut open), (folded_rows, &mut folded)] {
            if !rows.is_empty() {
                let frame = frame.clone();
                into.push(Section { rows, ..frame });
            }
        }
        if without_rows {
            open.push(frame);
        }
    }
    (open, folded)
}

fn with_findings(sections: &[Section]) -> usize {
    let rows = sections.iter().flat_map(|section| &section.rows);
    rows.filter(|row| row.worst > Worst(None)).count()
}

/// Leaves at most `rows_max` rows, and says how many more there were.
fn cut(sections: &mut Vec<Section>, rows_max: usize) -> usize {
    let (mut left, mut left_out) = (rows_max, 0);
    for section in sections.iter_mut() {
        let kept = section.rows.len().min(left);
        left_out += section.rows.len() - kept;
        left -= kept;
        section.rows.truncate(kept);
    }
    sections.retain(|section| !section.rows.is_empty());
    left_out
}
