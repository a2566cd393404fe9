//! Collects what a member's volume holds. It decides nothing: [`crate::judge`] does.

use jiff::Timestamp;

use crate::ReadError;
use crate::bbolt::Database;
use crate::block::BlockSource;
use crate::both::both;
use crate::ext4::{Ext4, VolumeFacts};
use crate::files::{Entry, Files};
use crate::layout::{self, Current, DataDirectory, Layout};
use crate::mvcc::{self, Contents};
use crate::snap::{self, Chosen};
use crate::version::Version;
use crate::wal::{self, Log};

/// Bytes of the database that are asked for before its meta pages tell more.
const FIRST_BYTES: u64 = 1024 * 1024;

/// What is known of a member before its volume is read.
#[derive(Clone, Debug, Default)]
pub struct MemberContext {
    /// `main`, `events`, …: as in the tag `k8s.io/etcd/<etcd cluster>`.
    pub etcd_cluster: String,
    /// The member's name in that tag: `a`.
    pub member: String,
    /// The volume that the snapshot was taken of: `vol-0a`.
    pub volume_id: Option<String>,
    /// When the snapshot was taken.
    pub snapshot_started_at: Option<Timestamp>,
    /// Whether to tell by what Secrets are encrypted.
    pub count_secrets_encryption: bool,
}

/// What a member's volume holds.
#[derive(Clone, Debug)]
pub struct Member {
    pub(crate) context: MemberContext,
    /// What the filesystem says of itself; none where files were given.
    pub(crate) volume: Option<VolumeFacts>,
    pub(crate) layout: Result<Layout, ReadError>,
    /// None where no data directory is the current one.
    pub(crate) data: Option<Data>,
    /// Revisions of the data directories, where it isn't known which is the current one.
    pub(crate) revisions: Vec<(String, Result<u64, ReadError>)>,
}

/// What the current data directory holds.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) path: String,
    pub(crate) database_written_seconds: Option<i64>,
    pub(crate) log: Result<Log, ReadError>,
    /// Where raft starts from; none without a log.
    pub(crate) start: Option<Result<Chosen, ReadError>>,
    pub(crate) database: Result<DatabaseFound, ReadError>,
}

/// The database with which etcd would start.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseFound {
    pub(crate) contents: Contents,
    pub(crate) meta_warning: Option<String>,
}

impl Member {
    /// Whether the source failed where something was to be read that counts.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        let of_data = self.data.as_ref().is_some_and(|data| {
            is_unreadable(&data.log)
                || is_unreadable(&data.database)
                || data.start.as_ref().is_some_and(is_unreadable)
        });
        let mut revisions = self.revisions.iter();
        of_data
            || is_unreadable(&self.layout)
            || revisions.any(|(_, revision)| is_unreadable(revision))
    }
}

fn is_unreadable<T>(read: &Result<T, ReadError>) -> bool {
    matches!(read, Err(ReadError::Unreadable(_)))
}

/// Reads a member's volume, block by block.
pub fn read_volume<S: BlockSource>(source: S, context: &MemberContext) -> Member {
    match Ext4::open(source) {
        Ok(volume) => Member {
            volume: Some(volume.facts().clone()),
            ..read(&volume, context)
        },
        Err(error) => Member {
            context: context.clone(),
            volume: None,
            layout: Err(error),
            data: None,
            revisions: Vec::new(),
        },
    }
}

/// Reads a member's files.
pub fn read(files: &dyn Files, context: &MemberContext) -> Member {
    let layout = layout::read(files);
    let mut member = Member {
        context: context.clone(),
        volume: None,
        layout,
        data: None,
        revisions: Vec::new(),
    };
    let Ok(layout) = &member.layout else {
        return member;
    };
    match layout.current() {
        Current::Named(directory) | Current::Only(directory) | Current::Unmanaged(directory) => {
            let version = layout
                .state()
                .and_then(|state| Version::parse(&state.etcd_version));
            member.data = Some(read_data(files, directory, version, context));
        }
        Current::Ambiguous => {
            let with_database = layout.directories.iter().filter_map(|directory| {
                Some((directory.path.clone(), directory.database.as_ref()?))
            });
            let revision = |database| {
                Database::open(files, database).and_then(|database| mvcc::revision(&database))
            };
            member.revisions = with_database
                .map(|(path, database)| (path, revision(database)))
                .collect();
        }
        Current::Missing(_) | Current::NoCluster | Current::Nothing | Current::Etcd2(_) => {}
    }
    member
}

fn read_data(
    files: &dyn Files,
    directory: &DataDirectory,
    version: Option<Version>,
    context: &MemberContext,
) -> Data {
    if let Some(database) = &directory.database {
        let beginning = 0..FIRST_BYTES.min(database.size_bytes);
        files.prefetch(database, std::slice::from_ref(&beginning));
    }
    if let Some(snap) = &directory.snap {
        snap::prefetch_newest(files, snap);
    }
    let segments = match &directory.wal {
        Some(wal) => wal::open(files, wal),
        None => Err(ReadError::Damaged(
            "the write-ahead log is missing".to_owned(),
        )),
    };
    let ((log, start), database) = both(
        || {
            let log = segments.and_then(|segments| segments.read());
            let start = log.as_ref().ok();
            let start = start.map(|log| choose_start(files, directory, version, log));
            (log, start)
        },
        || match &directory.database {
            Some(database) => read_database(files, database, context),
            None => Err(ReadError::Damaged(
                "the database file is missing".to_owned(),
            )),
        },
    );
    let snapshot_index = start
        .as_ref()
        .and_then(|start| start.as_ref().ok())
        .map_or(0, |chosen| chosen.snapshot.index);
    let database = database
        .and_then(|database| current_database(files, directory, database, snapshot_index, context));
    Data {
        path: directory.path.clone(),
        database_written_seconds: directory.written_seconds(),
        log,
        start,
        database,
    }
}

/// Where raft starts from.
fn choose_start(
    files: &dyn Files,
    directory: &DataDirectory,
    version: Option<Version>,
    log: &Log,
) -> Result<Chosen, ReadError> {
    match &directory.snap {
        _ if version.is_some_and(|version| version >= Version::SNAPSHOTS_IN_LOG) => {
            Ok(snap::choose_from_log(log))
        }
        Some(snap) => snap::choose_from_files(files, snap, log).map(|chosen| {
            // Without /state nobody knows which etcd it was; one that keeps no files left them in the log alone.
            if version.is_none() && chosen.snapshot.index == 0 {
                snap::choose_from_log(log)
            } else {
                chosen
            }
        }),
        None => Ok(Chosen::default()),
    }
}

fn read_database(
    files: &dyn Files,
    entry: &Entry,
    context: &MemberContext,
) -> Result<DatabaseFound, ReadError> {
    let database = Database::open(files, entry)?;
    let contents = mvcc::contents(&database, context.count_secrets_encryption)?;
    Ok(DatabaseFound {
        contents,
        meta_warning: database.meta_warning,
    })
}

/// The database with which etcd would start: where this one is behind the raft snapshot, the one that it would put
/// in its place.
fn current_database(
    files: &dyn Files,
    directory: &DataDirectory,
    database: DatabaseFound,
    snapshot_index: u64,
    context: &MemberContext,
) -> Result<DatabaseFound, ReadError> {
    let consistent_index = database.contents.meta.consistent_index;
    if consistent_index >= snapshot_index {
        return Ok(database);
    }
    let name = snap::database_name(snapshot_index);
    let Some(sent) = files.find(&format!("{}/member/snap/{name}", directory.path))? else {
        return Err(ReadError::Damaged(format!(
            "the database (index {consistent_index}) is behind the raft snapshot (index {snapshot_index}), and {name}, which should take its place, is missing"
        )));
    };
    let sent = read_database(files, &sent, context)?;
    let consistent_index = sent.contents.meta.consistent_index;
    if consistent_index != 0 && consistent_index < snapshot_index {
        return Err(ReadError::Damaged(format!(
            "the database {name} (index {consistent_index}) is behind the raft snapshot it belongs to"
        )));
    }
    Ok(sent)
}
