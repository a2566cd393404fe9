//! etcd's write-ahead log: what raft may need of it when the member starts.
//!
//! Purpose: read all segments as etcd does, so that what etcd would stop at is an error here, and what
//! it repairs (the torn end of the last segment) is none.
//!
//! Invariants: at most one record and one buffer of a segment are in memory, and eight bytes for each of
//! the last million entries.
//!
//! Source: etcd, `server/storage/wal`: `wal.go` (`ReadAll`, `ValidSnapshotEntries`, `selectWALFiles`),
//! `decoder.go`, `repair.go`, `walpb/record.proto`; `server/etcdserver/storage.go` (`readWAL`).

mod entries;
mod frame;
mod membership;
mod record;
mod request;

use crate::ReadError;
use crate::files::{Entry, EntryKind, Files};

pub(crate) use entries::{Entries, LogComparison};
pub(crate) use membership::ConfState;
pub(crate) use record::HardState;

use frame::{Frame, Segment};
use membership::ConfChangeEntry;
use record::{LogEntry, Metadata, Record, RecordKind, SnapshotRecord};

/// etcd cuts segments at 64 MB and one record.
const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// etcd keeps five unless told otherwise.
const SEGMENTS_MAX: usize = 10_000;
/// Snapshots are few: one each 10,000 entries.
const SNAPSHOTS_MAX: usize = 100_000;
/// So are entries that change the members.
const CONF_CHANGES_MAX: usize = 10_000;

/// What the log says.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) node_id: u64,
    pub(crate) cluster_id: u64,
    pub(crate) hard_state: HardState,
    /// The index in the first segment's name: the log reaches back to there.
    pub(crate) first_index: u64,
    /// Raft snapshots that the log records, oldest first.
    pub(crate) snapshots: Vec<SnapshotRecord>,
    pub(crate) entries: Entries,
    pub(crate) conf_changes: Vec<ConfChangeEntry>,
    /// The newest time at which a segment was written.
    pub(crate) written_seconds: i64,
}

impl Log {
    /// The snapshots of which etcd knows that they are committed.
    pub(crate) fn valid_snapshots(&self) -> impl DoubleEndedIterator<Item = &SnapshotRecord> {
        self.snapshots
            .iter()
            .filter(|snapshot| snapshot.index <= self.hard_state.commit)
    }
}

/// A segment's sequence number and the index of its first entry, out of its name.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
    let number = |digits: &str| {
        if digits.len() == 16 {
            u64::from_str_radix(digits, 16).ok()
        } else {
            None
        }
    };
    Some((number(sequence)?, number(index)?))
}

/// The segments of a log, in their order.
pub(crate) struct Segments<'a> {
    files: &'a dyn Files,
    /// Each with its sequence number and the index of its first entry. There is one at least.
    segments: Vec<((u64, u64), Entry)>,
}

/// Finds all segments of a directory, and has the beginning of the first on its way.
pub(crate) fn open<'a>(files: &'a dyn Files, directory: &Entry) -> Result<Segments<'a>, ReadError> {
    let mut segments: Vec<_> = files
        .list(directory)?
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::File)
        .filter_map(|entry| Some((parse_name(&entry.name)?, entry)))
        .collect();
    segments.sort_by_key(|(name, _)| *name);
    if segments.is_empty() {
        return Err(ReadError::Damaged(
            "the write-ahead log has no segment".to_owned(),
        ));
    }
    if segments.len() > SEGMENTS_MAX
        || segments
            .iter()
            .any(|(_, entry)| entry.size_bytes > SEGMENT_BYTES_MAX)
    {
        return Err(ReadError::Unsupported(
            "the write-ahead log has more or larger segments than this reader takes".to_owned(),
        ));
    }
    if let Some((_, first)) = segments.first() {
        frame::prefetch_beginning(files, first);
    }
    Ok(Segments { files, segments })
}

impl Segments<'_> {
    /// Reads them all.
    pub(crate) fn read(&self) -> Result<Log, ReadError> {
        let mut reader = Reader::default();
        let mut expected = None;
        for (number, ((sequence, _), entry)) in self.segments.iter().enumerate() {
            if expected.is_some_and(|expected| expected != *sequence) {
                return Err(ReadError::Damaged(format!(
                    "the write-ahead log lacks the segment before {}",
                    entry.name
                )));
            }
            let next = self.segments.get(number + 1).map(|(_, next)| next);
            reader.read_segment(self.files, entry, next)?;
            expected = sequence.checked_add(1);
        }
        let first_index = self.segments.first().map_or(0, |((_, index), _)| *index);
        let written_seconds = self
            .segments
            .iter()
            .map(|(_, entry)| entry.modified_seconds);
        reader.finish(first_index, written_seconds.max().unwrap_or(0))
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    crc: u32,
    metadata: Option<Vec<u8>>,
    hard_state: HardState,
    snapshots: Vec<SnapshotRecord>,
    entries: Entries,
    conf_changes: Vec<ConfChangeEntry>,
}

impl Reader {
    /// Reads a segment up to its end, which may be torn in the last one alone.
    fn read_segment(
        &mut self,
        files: &dyn Files,
        entry: &Entry,
        next: Option<&Entry>,
    ) -> Result<(), ReadError> {
        let is_last = next.is_none();
        let damaged = |at: u64, what: &str| {
            ReadError::Damaged(format!(
                "the write-ahead log's segment {} {what} at byte {at}",
                entry.name
            ))
        };
        let mut segment = Segment::new(files, entry, next);
        loop {
            let at = segment.position();
            let frame = match segment.next()? {
                Frame::End => return Ok(()),
                Frame::Torn if is_last => return Ok(()),
                Frame::Torn => return Err(damaged(at, "is cut off")),
                Frame::Record(frame) => frame,
            };
            let torn = is_last && frame.has_zero_sector();
            let Ok(record) = Record::decode(frame.bytes()) else {
                if torn {
                    return Ok(());
                }
                return Err(damaged(at, "has a record that can't be decoded"));
            };
            if record.kind == RecordKind::Crc {
                // A chain that begins has nothing to be compared with.
                if self.crc != 0 && self.crc != record.crc {
                    return Err(damaged(at, "doesn't follow on the one before it"));
                }
                self.crc = record.crc;
                continue;
            }
            let crc = crc32c::crc32c_append(self.crc, record.data);
            if crc != record.crc {
                if torn {
                    return Ok(());
                }
                return Err(damaged(at, "has a record with a wrong checksum"));
            }
            self.crc = crc;
            self.take(&record).map_err(|what| damaged(at, what))?;
        }
    }

    fn take(&mut self, record: &Record) -> Result<(), &'static str> {
        match record.kind {
            RecordKind::Metadata => {
                if self
                    .metadata
                    .as_deref()
                    .is_some_and(|metadata| metadata != record.data)
                {
                    return Err("belongs to another member");
                }
                self.metadata = Some(record.data.to_vec());
            }
            RecordKind::Entry => {
                let entry = LogEntry::decode(record.data)
                    .map_err(|_| "has an entry that can't be decoded")?;
                while self
                    .conf_changes
                    .last()
                    .is_some_and(|change| change.index >= entry.index)
                {
                    self.conf_changes.pop();
                }
                if let Some(change) = entry
                    .conf_change()
                    .map_err(|_| "has a change of members that can't be decoded")?
                {
                    self.conf_changes.push(change);
                }
                self.entries.add(&entry);
            }
            RecordKind::State => {
                self.hard_state = HardState::decode(record.data)
                    .map_err(|_| "has a state that can't be decoded")?
            }
            RecordKind::Snapshot => {
                let snapshot = SnapshotRecord::decode(record.data)
                    .map_err(|_| "has a snapshot record that can't be decoded")?;
                self.snapshots.push(snapshot);
            }
            RecordKind::Crc => {}
            RecordKind::Unknown => return Err("has a record of an unknown kind"),
        }
        if self.snapshots.len() > SNAPSHOTS_MAX || self.conf_changes.len() > CONF_CHANGES_MAX {
            return Err("has more snapshots or changes of members than any log has");
        }
        Ok(())
    }

    fn finish(self, first_index: u64, written_seconds: i64) -> Result<Log, ReadError> {
        let Some(metadata) = self.metadata else {
            return Err(ReadError::Damaged(
                "the write-ahead log doesn't say whose it is".to_owned(),
            ));
        };
        let Metadata {
            node_id,
            cluster_id,
        } = Metadata::decode(&metadata).map_err(|_| {
            ReadError::Damaged("the write-ahead log's metadata can't be decoded".to_owned())
        })?;
        Ok(Log {
            node_id,
            cluster_id,
            hard_state: self.hard_state,
            first_index,
            snapshots: self.snapshots,
            entries: self.entries,
            conf_changes: self.conf_changes,
            written_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_told_by_their_names() {
        assert_eq!(
            parse_name("0000000000000001-00000000000000ff.wal"),
            Some((1, 255))
        );
        for other in [
            "0.tmp",
            "1-2.wal",
            "0000000000000001-00000000000000ff.wal.broken",
            "0000000000000001.wal",
        ] {
            assert_eq!(parse_name(other), None);
        }
    }
}
