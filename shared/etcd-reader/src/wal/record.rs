//! Records of the log, and what they hold.
//!
//! Source: etcd, `server/storage/wal/walpb/record.proto`, `wal.go` (record types),
//! `api/etcdserverpb/etcdserver.proto` (`Metadata`); raft, `raftpb/raft.proto`.

use super::membership::{ConfChange, ConfChangeEntry, ConfState};
use super::request;
use crate::protobuf::{Fields, Malformed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    Metadata,
    Entry,
    State,
    Crc,
    Snapshot,
    Unknown,
}

/// `walpb.Record`.
pub(super) struct Record<'a> {
    pub(super) kind: RecordKind,
    pub(super) crc: u32,
    pub(super) data: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut kind, mut crc, mut data) = (0, 0, &[][..]);
        for field in Fields::new(message) {
            match field? {
                (1, value) => kind = value.varint()?,
                (2, value) => crc = value.varint()?,
                (3, value) => data = value.bytes()?,
                _ => {}
            }
        }
        let kind = match kind {
            1 => RecordKind::Metadata,
            2 => RecordKind::Entry,
            3 => RecordKind::State,
            4 => RecordKind::Crc,
            5 => RecordKind::Snapshot,
            _ => RecordKind::Unknown,
        };
        // The field is of 32 bits; protobuf cuts what is longer.
        Ok(Self {
            kind,
            crc: crc as u32,
            data,
        })
    }
}

/// `etcdserverpb.Metadata`.
pub(super) struct Metadata {
    pub(super) node_id: u64,
    pub(super) cluster_id: u64,
}

impl Metadata {
    pub(super) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut metadata = Self {
            node_id: 0,
            cluster_id: 0,
        };
        for field in Fields::new(message) {
            match field? {
                (1, value) => metadata.node_id = value.varint()?,
                (2, value) => metadata.cluster_id = value.varint()?,
                _ => {}
            }
        }
        Ok(metadata)
    }
}

/// `raftpb.HardState`, less the vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HardState {
    pub(crate) term: u64,
    /// The index up to which the member knew that entries are committed. raft doesn't sync it alone, so
    /// it may lag behind what the database holds.
    pub(crate) commit: u64,
}

impl HardState {
    pub(super) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut state = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => state.term = value.varint()?,
                (2, value) => drop(value.varint()?),
                (3, value) => state.commit = value.varint()?,
                _ => {}
            }
        }
        Ok(state)
    }
}

/// `walpb.Snapshot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotRecord {
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// From etcd 3.5 on.
    pub(crate) conf_state: Option<ConfState>,
}

impl SnapshotRecord {
    pub(super) fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut snapshot = Self::default();
        for field in Fields::new(message) {
            match field? {
                (1, value) => snapshot.index = value.varint()?,
                (2, value) => snapshot.term = value.varint()?,
                (3, value) => snapshot.conf_state = Some(ConfState::decode(value.bytes()?)?),
                _ => {}
            }
        }
        Ok(snapshot)
    }
}

/// `raftpb.Entry`.
pub(super) struct LogEntry<'a> {
    kind: u64,
    pub(super) term: u64,
    pub(super) index: u64,
    data: &'a [u8],
}

const NORMAL: u64 = 0;
const CONF_CHANGE: u64 = 1;
const CONF_CHANGE_V2: u64 = 2;

impl<'a> LogEntry<'a> {
    pub(super) fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut entry = Self {
            kind: NORMAL,
            term: 0,
            index: 0,
            data: &[],
        };
        for field in Fields::new(message) {
            match field? {
                (1, value) => entry.kind = value.varint()?,
                (2, value) => entry.term = value.varint()?,
                (3, value) => entry.index = value.varint()?,
                (4, value) => entry.data = value.bytes()?,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// How etcd's revision grows when the entry is applied.
    pub(super) fn growth(&self) -> request::Growth {
        if self.kind == NORMAL {
            request::growth(self.data)
        } else {
            request::Growth::None
        }
    }

    pub(super) fn conf_change(&self) -> Result<Option<ConfChangeEntry>, Malformed> {
        let changes = match self.kind {
            CONF_CHANGE => vec![ConfChange::decode(self.data)?],
            CONF_CHANGE_V2 => ConfChange::decode_v2(self.data)?,
            _ => return Ok(None),
        };
        Ok(Some(ConfChangeEntry {
            index: self.index,
            changes,
        }))
    }

    /// A digest of what raft has members agree on, the term aside.
    pub(super) fn digest(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.kind.to_le_bytes()), self.data)
    }
}
