//! Raft snapshots beside the database: which of them etcd takes, and which database that asks for.
//!
//! Up to etcd 3.6 the newest sound `*.snap` file that the log records too counts: a broken one is renamed
//! `.broken` and an older one used, and without any the log is read from its first entry on. From 3.7 on the
//! log's newest snapshot record counts, and no file is read.
//!
//! Source: etcd, `server/etcdserver/api/snap/snapshotter.go` (`loadMatching`, `Read`, `snapNames`),
//! `db.go` (`DBFilePath`), `snappb/snap.proto`; `server/storage/backend.go` (`RecoverSnapshotBackend`);
//! `server/etcdserver/api/v2store/store.go` (`Recovery`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::ReadError;
use crate::files::{Entry, EntryKind, Files};
use crate::protobuf::{Fields, Malformed};
use crate::wal::{ConfState, Log};

/// A snapshot holds who is a member, some KiB; with keys of etcd 2 in it more.
const SNAPSHOT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where raft starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// 0 where there is none, and the log is read from its first entry on.
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf_state: ConfState,
    /// The members that the v2 store knows, up to etcd 3.5 the truth; none where it wasn't read.
    pub(crate) v2_members: Option<BTreeSet<u64>>,
}

/// The snapshot that counts, and what was seen on the way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) snapshot: Snapshot,
    /// Newer files that etcd will rename `.broken`.
    pub(crate) broken: Vec<String>,
}

/// Says that the newest snapshot will be read soon. A directory that can't be listed is found out about later.
pub(crate) fn prefetch_newest(files: &dyn Files, directory: &Entry) {
    if let Some(newest) = candidates(files, directory)
        .ok()
        .as_deref()
        .and_then(<[_]>::first)
    {
        let all = 0..newest.size_bytes;
        files.prefetch(newest, std::slice::from_ref(&all));
    }
}

/// The snapshot files, newest first.
fn candidates(files: &dyn Files, directory: &Entry) -> Result<Vec<Entry>, ReadError> {
    let mut candidates = files.list(directory)?;
    candidates.retain(|entry| entry.kind == EntryKind::File && entry.name.ends_with(".snap"));
    candidates.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(candidates)
}

/// The snapshot that etcd up to 3.6 takes.
pub(crate) fn choose_from_files(
    files: &dyn Files,
    directory: &Entry,
    log: &Log,
) -> Result<Chosen, ReadError> {
    let mut chosen = Chosen::default();
    for candidate in candidates(files, directory)? {
        if candidate.size_bytes > SNAPSHOT_BYTES_MAX {
            return Err(ReadError::Unsupported(format!(
                "the raft snapshot {} is larger than this reader takes",
                candidate.name
            )));
        }
        let mut bytes = vec![0; usize::try_from(candidate.size_bytes).unwrap_or(0)];
        let read = files.read_at(&candidate, 0, &mut bytes)?;
        bytes.truncate(read);
        let Ok(snapshot) = decode(&bytes) else {
            chosen.broken.push(candidate.name);
            continue;
        };
        if log
            .valid_snapshots()
            .any(|record| record.index == snapshot.index && record.term == snapshot.term)
        {
            chosen.snapshot = snapshot;
            break;
        }
    }
    Ok(chosen)
}

/// The snapshot that etcd from 3.7 on takes.
pub(crate) fn choose_from_log(log: &Log) -> Chosen {
    let snapshot = log.valid_snapshots().next_back().map(|record| Snapshot {
        index: record.index,
        term: record.term,
        conf_state: record.conf_state.clone().unwrap_or_default(),
        v2_members: None,
    });
    Chosen {
        snapshot: snapshot.unwrap_or_default(),
        broken: Vec::new(),
    }
}

/// The name of the database that a leader sent with a snapshot.
pub(crate) fn database_name(index: u64) -> String {
    format!("{index:016x}.snap.db")
}

/// `snappb.Snapshot`: a checksum and a `raftpb.Snapshot`.
fn decode(file: &[u8]) -> Result<Snapshot, Malformed> {
    let (mut crc, mut data) = (0, &[][..]);
    for field in Fields::new(file) {
        match field? {
            (1, value) => crc = value.varint()? as u32,
            (2, value) => data = value.bytes()?,
            _ => {}
        }
    }
    if data.is_empty() || crc == 0 || crc != crc32c::crc32c(data) {
        return Err(Malformed);
    }
    let (mut snapshot, mut store) = (Snapshot::default(), &[][..]);
    for field in Fields::new(data) {
        match field? {
            (1, value) => store = value.bytes()?,
            (2, value) => decode_metadata(value.bytes()?, &mut snapshot)?,
            _ => {}
        }
    }
    snapshot.v2_members = decode_v2_store(store);
    Ok(snapshot)
}

fn decode_metadata(message: &[u8], to: &mut Snapshot) -> Result<(), Malformed> {
    for field in Fields::new(message) {
        match field? {
            (1, value) => to.conf_state = ConfState::decode(value.bytes()?)?,
            (2, value) => to.index = value.varint()?,
            (3, value) => to.term = value.varint()?,
            _ => {}
        }
    }
    Ok(())
}

/// The ids under `/0/members` of the v2 store, which is a tree of nodes in JSON.
fn decode_v2_store(store: &[u8]) -> Option<BTreeSet<u64>> {
    let store: Value = serde_json::from_slice(store).ok()?;
    let members = store
        .pointer("/Root/Children/0/Children/members/Children")?
        .as_object()?;
    members
        .keys()
        .map(|id| u64::from_str_radix(id, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn file(index: u8) -> Vec<u8> {
        let store =
            br#"{"Root":{"Children":{"0":{"Children":{"members":{"Children":{"ff":{}}}}}}}}"#;
        let metadata = [field(1, b"\x08\xff\x01"), vec![0x10, index, 0x18, 2]].concat();
        let data = [field(1, store), field(2, &metadata)].concat();
        let mut crc = u64::from(crc32c::crc32c(&data));
        let mut file = vec![0x08];
        while crc > 127 {
            file.push(crc as u8 | 0x80);
            crc >>= 7;
        }
        file.push(crc as u8);
        [file, field(2, &data)].concat()
    }

    #[test]
    fn a_snapshot_is_read() {
        let snapshot = decode(&file(9)).unwrap();
        assert_eq!((snapshot.index, snapshot.term), (9, 2));
        assert_eq!(snapshot.conf_state.voters, [255].into());
        assert_eq!(snapshot.v2_members, Some([255].into()));
    }

    #[test]
    fn a_flipped_bit_or_a_cut_breaks_it() {
        let sound = file(9);
        for at in 0..sound.len() {
            assert!(decode(&sound[..at]).is_err());
            let mut flipped = sound.clone();
            flipped[at] ^= 4;
            assert_ne!(decode(&flipped).as_ref(), decode(&sound).as_ref());
        }
    }
}
