//! One member alone: would etcd start with what its volume holds.

use jiff::Timestamp;

use super::report::{MemberReport, Verdict};
use super::start::Start;
use super::warnings::{warn_of_quiet, warn_of_size, warn_of_trashcan, warn_of_volume};
use crate::ReadError;
use crate::layout::{Current, DataDirectory, Layout, StateFile};
use crate::member::{Data, Member, MemberContext};
use crate::mvcc::{Alarm, Contents};
use crate::version::Version;

/// Judges a member by itself.
#[must_use]
pub fn judge_member(member: &Member) -> MemberReport {
    let mut report = examine(member);
    if let Some(start) = Start::of(member) {
        judge_alone(&start, &mut report);
    }
    report
}

/// Judges what doesn't depend on the other members.
pub(super) fn examine(member: &Member) -> MemberReport {
    let mut report = MemberReport {
        member: member.context.member.clone(),
        ..MemberReport::default()
    };
    let layout = match &member.layout {
        Ok(layout) => layout,
        Err(error) => {
            let advice = "The volume's files can't be read: use another restore point for this member, or let it rejoin the others with an empty volume.";
            fail(error, advice, &mut report);
            return report;
        }
    };
    describe(member, layout, &mut report);
    judge_layout(member, layout, &mut report);
    let is_known = judge_versions(member, layout, &mut report);
    if let Some(data) = member.data.as_ref().filter(|_| is_known) {
        judge_data(data, &mut report);
    }
    if let Some(start) = Start::of(member).filter(|_| is_known) {
        judge_age(layout, start.contents, &mut report);
        judge_start(&start, &mut report);
        judge_alarms(start.contents, &mut report);
        warn_of_size(start.contents, &mut report);
        warn_of_trashcan(layout, start.contents, &mut report);
    }
    warn_of_quiet(&member.context, &mut report);
    if let Some(volume) = &member.volume {
        warn_of_volume(&member.context, volume, &mut report);
    }
    report
}

/// The facts, as far as they could be read.
fn describe(member: &Member, layout: &Layout, report: &mut MemberReport) {
    if let Some(state) = layout.state() {
        report.etcd_version =
            Some(state.etcd_version.clone()).filter(|version| !version.is_empty());
        report.cluster_token = state.cluster.as_ref().map(|cluster| cluster.token.clone());
        report.quarantined = state.quarantined;
    }
    let current = member.data.as_ref().map(|data| data.path.as_str());
    report.other_data_dirs = layout
        .directories
        .iter()
        .map(|directory| directory.path.clone())
        .filter(|path| Some(path.as_str()) != current)
        .collect();
    let Some(data) = &member.data else { return };
    report.data_dir = Some(data.path.clone());
    if let Ok(log) = &data.log {
        report.member_id = Some(format!("{:x}", log.node_id));
        report.wal_last = log.entries.last().map(|(_, index)| index);
        report.commit = Some(log.hard_state.commit);
        report.term = Some(log.hard_state.term);
    }
    if let Ok(found) = &data.database {
        let contents = &found.contents;
        report
            .storage_version
            .clone_from(&contents.meta.storage_version);
        report.revision = Some(contents.revision);
        report.key_entries = Some(contents.key_entries);
        report.consistent_index = Some(contents.meta.consistent_index);
        report.alarms = contents
            .alarms
            .iter()
            .map(|alarm| alarm_name(*alarm).to_owned())
            .collect();
        report.db_size = Some(contents.size_bytes);
        report.db_in_use = Some(contents.in_use_bytes);
        report.objects.clone_from(&contents.objects);
        report.secrets_encryption.clone_from(&contents.secrets);
    }
    let written = data
        .database_written_seconds
        .into_iter()
        .chain(data.log.as_ref().ok().map(|log| log.written_seconds))
        .max();
    report.written_at = written.and_then(|seconds| Timestamp::from_second(seconds).ok());
}

fn judge_layout(member: &Member, layout: &Layout, report: &mut MemberReport) {
    match layout.current() {
        Current::Named(_) => judge_state(member, layout, report),
        Current::Only(directory) => {
            let what = if layout.state == StateFile::Torn { "is torn" } else { "is missing" };
            report.problem(
                Verdict::Degraded,
                format!("/state {what}, so etcd-manager doesn't start this member by itself; its only data directory is {}. Copy /state from another member's volume, or let the member rejoin with an empty volume.", directory.path),
            );
        }
        Current::Unmanaged(_) => {
            if layout.state == StateFile::NoFile {
                report.warning("/state is no file: this isn't the layout of etcd-manager.");
            }
        }
        Current::Missing(path) => report.problem(
            Verdict::Damaged,
            format!("/state names {path} as the current data directory, and it isn't there: etcd-manager would start without data.{}", trashcan(layout)),
        ),
        Current::NoCluster => report.problem(
            Verdict::Damaged,
            format!("/state knows no cluster, so etcd-manager starts no etcd with this volume: it is new, or /state was cut off by a crash. Choose another restore point, or copy /state from another member's volume of this one.{}", trashcan(layout)),
        ),
        Current::Ambiguous => {
            let listed: Vec<_> = member
                .revisions
                .iter()
                .map(|(path, revision)| {
                    let written = layout.directories.iter().find(|directory| directory.path == *path).and_then(DataDirectory::written_seconds);
                    let revision = revision.as_ref().map_or_else(|error| format!("unreadable: {error}"), |revision| format!("revision {revision}"));
                    format!("{path} ({revision}, written {})", time(written))
                })
                .collect();
            report.problem(
                Verdict::Unsupported,
                format!("/state doesn't tell which data directory is the current one, and there are several: {}. Copy /state from another member's volume, or choose another snapshot.", listed.join(", ")),
            );
        }
        Current::Nothing => report.problem(Verdict::Damaged, format!("There is no etcd data on the volume: it is blank, or was emptied.{}", trashcan(layout))),
        Current::Etcd2(directory) => {
            report.problem(Verdict::Unsupported, format!("{} has no database of etcd 3: data of etcd 2 can't be verified.", directory.path));
        }
    }
}

/// `/state` itself: does it name this member.
fn judge_state(member: &Member, layout: &Layout, report: &mut MemberReport) {
    let Some(state) = layout.state() else { return };
    let names = node_names(&member.context);
    let nodes = state
        .cluster
        .as_ref()
        .map(|cluster| cluster.nodes.as_slice())
        .unwrap_or_default();
    let known = !member.context.member.is_empty() && !nodes.is_empty();
    if known && !nodes.iter().any(|node| names.contains(node)) {
        report.problem(
            Verdict::Damaged,
            format!("/state names the members {}, and this one isn't among them: etcd-manager doesn't start it. Is the volume's k8s.io/etcd tag right?", nodes.join(", ")),
        );
    }
    if state.quarantined {
        report.warning("The snapshot was taken during a restore or an upgrade by etcd-manager, while clients were kept away.");
    }
}

/// What etcd-manager may call this member's node.
pub(super) fn node_names(context: &MemberContext) -> Vec<String> {
    let MemberContext {
        etcd_cluster,
        member,
        ..
    } = context;
    let mut names = vec![
        format!("etcd-{etcd_cluster}-{member}"),
        format!("{etcd_cluster}-{member}"),
    ];
    if etcd_cluster == "main" {
        names.push(format!("etcd-{member}"));
    }
    names
}

fn judge_data(data: &Data, report: &mut MemberReport) {
    if let Err(error) = &data.database {
        let advice = "Use another restore point for this member, or let it rejoin the others with an empty volume.";
        fail(error, advice, report);
    }
    if let Err(error) = &data.log {
        let saved = data.database.as_ref().map_or_else(
            |_| "Use another restore point.".to_owned(),
            |found| format!("Its database is sound at revision {}; `etcdutl snapshot restore --skip-hash-check {}/member/snap/db` saves it.", found.contents.revision, data.path),
        );
        fail(error, &saved, report);
    }
    match &data.start {
        Some(Err(error)) => fail(error, "Use another restore point.", report),
        Some(Ok(chosen)) => {
            for name in &chosen.broken {
                report.warning(format!(
                    "The raft snapshot {name} is broken; etcd renames it and uses an older one."
                ));
            }
        }
        None => {}
    }
    if let Ok(found) = &data.database
        && let Some(warning) = &found.meta_warning
    {
        report.warning(format!("{}.", capitalized(warning)));
    }
}

/// Whether the data is of an etcd whose rules this reader knows. By the rules of another one nothing that
/// it holds, and nothing that it lacks, is damage.
fn judge_versions(member: &Member, layout: &Layout, report: &mut MemberReport) -> bool {
    let mut is_known = true;
    let mut unknown = |problem: String| {
        report.problem(Verdict::Unsupported, problem);
        is_known = false;
    };
    if let (Some(state), Current::Named(_)) = (layout.state(), layout.current())
        && !Version::parse(&state.etcd_version).is_some_and(Version::is_known)
    {
        unknown(format!(
            "/state asks for etcd {:?}, which this reader doesn't know.",
            state.etcd_version
        ));
    }
    let database = member
        .data
        .as_ref()
        .and_then(|data| data.database.as_ref().ok());
    for (what, version) in database.iter().flat_map(|found| versions(&found.contents)) {
        if !version.is_known() {
            unknown(format!(
                "The database's {what} is {version}, which this reader doesn't know."
            ));
        }
    }
    is_known
}

/// What the database says of the etcd that wrote it.
fn versions(contents: &Contents) -> impl Iterator<Item = (&'static str, Version)> {
    let texts = [
        ("schema", &contents.meta.storage_version),
        ("cluster version", &contents.cluster_version),
    ];
    texts
        .into_iter()
        .filter_map(|(what, text)| Some((what, Version::parse(text.as_ref()?)?)))
}

/// An older etcd doesn't open what a newer one wrote.
fn judge_age(layout: &Layout, contents: &Contents, report: &mut MemberReport) {
    let Some(starts) = layout
        .state()
        .and_then(|state| Version::parse(&state.etcd_version))
    else {
        return;
    };
    for (what, version) in versions(contents).filter(|(_, version)| *version > starts) {
        report.problem(
            Verdict::Damaged,
            format!("The database's {what} is {version}, and /state asks for etcd {starts}, which doesn't start with it. Set the cluster's etcd version to {version} before restoring."),
        );
    }
}

/// What etcd checks between log, snapshot and database.
fn judge_start(start: &Start, report: &mut MemberReport) {
    let Start {
        log,
        snapshot,
        contents,
    } = start;
    if snapshot.index == 0 && log.first_index > 0 {
        report.problem(
            Verdict::Damaged,
            format!("The write-ahead log begins at index {}, and no raft snapshot that it records can be read.{}", log.first_index, saved_by(contents)),
        );
    } else if log.first_index > snapshot.index {
        report.problem(
            Verdict::Damaged,
            format!(
                "The write-ahead log begins at index {}, after the raft snapshot at index {}.{}",
                log.first_index,
                snapshot.index,
                saved_by(contents)
            ),
        );
    } else if log.entries.has_gap_after(snapshot.index) {
        report.problem(
            Verdict::Damaged,
            format!(
                "The write-ahead log lacks entries after the raft snapshot at index {}.{}",
                snapshot.index,
                saved_by(contents)
            ),
        );
    }
    let (_, last) = start.last();
    let commit = log.hard_state.commit;
    if commit > last {
        report.problem(
            Verdict::Damaged,
            format!("The write-ahead log ends at index {last}, before the index {commit} that it says is committed: etcd panics.{}", saved_by(contents)),
        );
    }
    if contents.members_removed.contains(&log.node_id) {
        report.problem(Verdict::Damaged, "The cluster has removed this member: etcd stops at once. Let it rejoin with an empty volume.");
    }
}

/// What the other members could make good.
fn judge_alone(start: &Start, report: &mut MemberReport) {
    let (_, last) = start.last();
    let consistent_index = start.contents.meta.consistent_index;
    if consistent_index > last {
        report.problem(
            Verdict::Degraded,
            format!("The database holds index {consistent_index}, and the log ends at {last}: the member serves only beside a leader with a longer log."),
        );
    }
}

fn judge_alarms(contents: &Contents, report: &mut MemberReport) {
    for alarm in &contents.alarms {
        let problem = match alarm {
            Alarm::NoSpace => {
                "The alarm NOSPACE is raised: etcd starts, and refuses all writes until the database is defragmented or compacted below its quota, and the alarm disarmed (`etcdctl defrag`, `etcdctl alarm disarm`)."
            }
            Alarm::Corrupt => {
                "The alarm CORRUPT is raised: etcd found that members differ, and serves nothing. Choose a restore point from before it."
            }
        };
        report.problem(Verdict::Degraded, problem);
    }
}

pub(super) fn alarm_name(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoSpace => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    }
}

fn trashcan(layout: &Layout) -> String {
    let holds: Vec<_> = layout
        .trashcan
        .iter()
        .chain(
            layout
                .directories
                .iter()
                .filter(|_| layout.state != StateFile::Absent),
        )
        .filter_map(|directory| {
            let database = directory.database.as_ref()?;
            Some(format!(
                "{} (a database of {} MiB, written {})",
                directory.path,
                database.size_bytes >> 20,
                time(Some(database.modified_seconds))
            ))
        })
        .collect();
    if holds.is_empty() {
        String::new()
    } else {
        format!(" The volume also holds {}.", holds.join(", "))
    }
}

/// What can be done where the database is sound and the log is not.
fn saved_by(contents: &Contents) -> String {
    format!(
        " The database is sound at revision {}; `etcdutl snapshot restore --skip-hash-check` saves it.",
        contents.revision
    )
}

fn time(seconds: Option<i64>) -> String {
    seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "at an unknown time".to_owned(), |time| time.to_string())
}

/// Notes what couldn't be read. Only of damage it is known what to do.
fn fail(error: &ReadError, advice: &str, report: &mut MemberReport) {
    let error_text = error.to_string();
    // Some end with a full stop already.
    let error_text = error_text.trim_end_matches('.');
    let what = capitalized(error_text);
    let problem = match error {
        ReadError::Damaged(_) => format!("{what}. {advice}"),
        ReadError::Unsupported(_) => format!("{what}. This can't be verified."),
        ReadError::Unreadable(_) => {
            format!("It couldn't be read to its end, so nothing is said of it: {error_text}.")
        }
    };
    report.problem(Verdict::of(error), problem);
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
