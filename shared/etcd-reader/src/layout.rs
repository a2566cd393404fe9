//! Where on the volume etcd's data lies, and which of several data directories is the current one.
//!
//! Source: etcd-manager, `pkg/etcd/etcdserver.go` (`/state`, `/data/<token>`, `/data-trashcan/<token>`,
//! `/pki/<token>`, which holds private keys and is never read); protokube,
//! `protokube/pkg/protokube/etcd_manifest.go` (`/var/etcd/data`, `/var/etcd/data-events`).

use crate::ReadError;
use crate::files::{Entry, EntryKind, Files};
use crate::state::{STATE_BYTES_MAX, State};

/// Data directories on one volume. etcd-manager leaves one more at each restore; each costs look-ups.
const DIRECTORIES_MAX: usize = 100;

/// The directories of a data directory that etcd uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataDirectory {
    /// As `/data/<token>`.
    pub(crate) path: String,
    pub(crate) snap: Option<Entry>,
    pub(crate) wal: Option<Entry>,
    pub(crate) database: Option<Entry>,
}

/// What `/state` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateFile {
    Read(State),
    /// It is there, and can't be decoded.
    Torn,
    Absent,
    /// Something that etcd-manager never puts there.
    NoFile,
}

/// What lies on the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) state: StateFile,
    /// Directories under `/data`, or protokube's, by path.
    pub(crate) directories: Vec<DataDirectory>,
    /// Directories under `/data-trashcan`, by path.
    pub(crate) trashcan: Vec<DataDirectory>,
}

/// Which data directory etcd would be started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Current<'a> {
    /// The one that `/state` names.
    Named(&'a DataDirectory),
    /// The only one there is; etcd-manager would not start it by itself, as `/state` is lost.
    Only(&'a DataDirectory),
    /// The only one there is, of something else than etcd-manager.
    Unmanaged(&'a DataDirectory),
    /// `/state` names one that isn't there.
    Missing(String),
    /// `/state` was read, and knows no cluster.
    NoCluster,
    /// `/state` doesn't tell, and there is more than one.
    Ambiguous,
    /// There is no data of etcd.
    Nothing,
    /// There is data of etcd 2.
    Etcd2(&'a DataDirectory),
}

/// Reads `/state` and lists the data directories.
pub(crate) fn read(files: &dyn Files) -> Result<Layout, ReadError> {
    // Its contents come while the directories are read.
    let state = files.find("/state")?;
    if let Some(state) = &state {
        let whole = 0..state.size_bytes.min(STATE_BYTES_MAX);
        files.prefetch(state, std::slice::from_ref(&whole));
    }
    let names = directories_in(files, "/data")?;
    if names.len() > DIRECTORIES_MAX {
        return Err(ReadError::Unsupported(format!(
            "/data holds more than {DIRECTORIES_MAX} directories"
        )));
    }
    let mut directories = data_directories(files, "/data", &names)?;
    if state.is_none() && directories.is_empty() {
        for path in [
            "/var/etcd/data",
            "/var/etcd/data-events",
            "/var/etcd/data-cilium",
        ] {
            directories.extend(data_directory(files, path)?.filter(DataDirectory::is_used));
        }
    }
    // These are only told of.
    let mut names = directories_in(files, "/data-trashcan")?;
    names.truncate(DIRECTORIES_MAX);
    let trashcan = data_directories(files, "/data-trashcan", &names)?;
    Ok(Layout {
        state: read_state(files, state.as_ref())?,
        directories,
        trashcan,
    })
}

impl Layout {
    /// What etcd-manager said of the cluster, where it can be read.
    pub(crate) fn state(&self) -> Option<&State> {
        if let StateFile::Read(state) = &self.state {
            Some(state)
        } else {
            None
        }
    }

    pub(crate) fn current(&self) -> Current<'_> {
        if let StateFile::Read(state) = &self.state {
            let Some(cluster) = &state.cluster else {
                return Current::NoCluster;
            };
            let path = format!("/data/{}", cluster.token);
            return self
                .directories
                .iter()
                .find(|directory| directory.path == path)
                .map_or(Current::Missing(path), Current::Named);
        }
        let mut with_database = self
            .directories
            .iter()
            .filter(|directory| directory.database.is_some());
        match (with_database.next(), with_database.next()) {
            (Some(_), Some(_)) => Current::Ambiguous,
            (Some(only), None)
                if only.path.starts_with("/var/") || self.state == StateFile::NoFile =>
            {
                Current::Unmanaged(only)
            }
            (Some(only), None) => Current::Only(only),
            (None, _) => self
                .directories
                .iter()
                .find(|directory| directory.is_used())
                .map_or(Current::Nothing, Current::Etcd2),
        }
    }
}

impl DataDirectory {
    /// Whether etcd was ever started with it.
    pub(crate) fn is_used(&self) -> bool {
        self.snap.is_some() || self.wal.is_some()
    }

    /// When its database was written last.
    pub(crate) fn written_seconds(&self) -> Option<i64> {
        self.database
            .as_ref()
            .map(|database| database.modified_seconds)
    }
}

fn read_state(files: &dyn Files, entry: Option<&Entry>) -> Result<StateFile, ReadError> {
    let Some(entry) = entry else {
        return Ok(StateFile::Absent);
    };
    if entry.kind != EntryKind::File {
        return Ok(StateFile::NoFile);
    }
    if entry.size_bytes > STATE_BYTES_MAX {
        return Ok(StateFile::Torn);
    }
    let mut bytes = vec![0; usize::try_from(entry.size_bytes).unwrap_or(0)];
    let read = files.read_at(entry, 0, &mut bytes)?;
    let state = State::decode(bytes.get(..read).unwrap_or_default());
    // A cluster's token names its directory, so an empty one, or one that leads elsewhere, is no token.
    let named = |state: &State| {
        state.cluster.as_ref().is_none_or(|cluster| {
            !cluster.token.is_empty()
                && !cluster.token.contains('/')
                && !cluster.token.starts_with('.')
        })
    };
    Ok(state
        .ok()
        .filter(named)
        .map_or(StateFile::Torn, StateFile::Read))
}

/// The names of the directories in one, in their order.
fn directories_in(files: &dyn Files, path: &str) -> Result<Vec<String>, ReadError> {
    let Some(parent) = find(files, path, EntryKind::Directory)? else {
        return Ok(Vec::new());
    };
    let entries = files.list(&parent)?.into_iter();
    let directories = entries.filter(|entry| entry.kind == EntryKind::Directory);
    let mut names: Vec<_> = directories.map(|entry| entry.name).collect();
    names.sort();
    Ok(names)
}

fn data_directories(
    files: &dyn Files,
    path: &str,
    names: &[String],
) -> Result<Vec<DataDirectory>, ReadError> {
    let found = names
        .iter()
        .map(|name| data_directory(files, &format!("{path}/{name}")));
    found.filter_map(Result::transpose).collect()
}

fn data_directory(files: &dyn Files, path: &str) -> Result<Option<DataDirectory>, ReadError> {
    if find(files, path, EntryKind::Directory)?.is_none() {
        return Ok(None);
    }
    Ok(Some(DataDirectory {
        path: path.to_owned(),
        snap: find(files, &format!("{path}/member/snap"), EntryKind::Directory)?,
        wal: find(files, &format!("{path}/member/wal"), EntryKind::Directory)?,
        database: find(files, &format!("{path}/member/snap/db"), EntryKind::File)?,
    }))
}

fn find(files: &dyn Files, path: &str, kind: EntryKind) -> Result<Option<Entry>, ReadError> {
    Ok(files.find(path)?.filter(|entry| entry.kind == kind))
}
