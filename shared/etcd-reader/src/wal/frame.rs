//! Frames of a segment, and which ends of it etcd takes for torn.
//!
//! A frame is 8 bytes of length, little endian, whose top byte says how much padding follows, and the
//! record. What was only preallocated is zeros, a length of 0: the segment's end.
//!
//! Source: etcd, `server/storage/wal/decoder.go` (`decodeRecord`, `isTornEntry`), `encoder.go`.

use crate::ReadError;
use crate::files::{Entry, Files};

const LENGTH_BYTES: usize = 8;
/// Storage writes sectors of this size whole, so what a crash tore has a sector of zeros.
const SECTOR_BYTES: u64 = 512;
/// How much is hinted at a time, when no more than half of it is ahead of the reading.
const READ_AHEAD_BYTES: u64 = 24 * 1024 * 1024;
/// How much of a segment is hinted before it is read, when all of the one before it was.
const FIRST_BYTES: u64 = 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;
/// Larger records are none that etcd wrote: its requests are limited to 1.5 MiB unless told otherwise.
const RECORD_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What comes next in a segment.
pub(super) enum Frame {
    /// The end, or space that was only preallocated.
    End,
    /// A length that says more than the segment has.
    Torn,
    Record(RecordFrame),
}

/// A record with its padding.
pub(super) struct RecordFrame {
    data: Vec<u8>,
    record_bytes: usize,
    /// Where in the segment the data begins.
    offset: u64,
}

impl RecordFrame {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.data[..self.record_bytes]
    }

    /// Whether the part of it in any one sector is all zeros, padding included, as etcd looks at it.
    pub(super) fn has_zero_sector(&self) -> bool {
        let first = (SECTOR_BYTES - self.offset % SECTOR_BYTES) as usize;
        let (first, rest) = self.data.split_at(first.min(self.data.len()));
        let zero = |part: &[u8]| !part.is_empty() && part.iter().all(|&byte| byte == 0);
        zero(first) || rest.chunks(SECTOR_BYTES as usize).any(zero)
    }
}

/// Has the beginning of a segment on its way.
pub(super) fn prefetch_beginning(files: &dyn Files, segment: &Entry) {
    let beginning = 0..segment.size_bytes.min(FIRST_BYTES);
    files.prefetch(segment, std::slice::from_ref(&beginning));
}

/// A segment, read from its beginning on.
pub(super) struct Segment<'a> {
    files: &'a dyn Files,
    entry: &'a Entry,
    /// The one that follows, until its beginning is hinted.
    next: Option<&'a Entry>,
    buffer: Vec<u8>,
    /// Where in the segment the buffer begins.
    buffer_at: u64,
    position: u64,
    hinted: u64,
}

impl<'a> Segment<'a> {
    pub(super) fn new(files: &'a dyn Files, entry: &'a Entry, next: Option<&'a Entry>) -> Self {
        Self {
            files,
            entry,
            next,
            buffer: Vec::new(),
            buffer_at: 0,
            position: 0,
            hinted: 0,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn next(&mut self) -> Result<Frame, ReadError> {
        let left = self.entry.size_bytes.saturating_sub(self.position);
        if left == 0 {
            return Ok(Frame::End);
        }
        let Some(length) = self.take(LENGTH_BYTES)? else {
            return Ok(Frame::Torn);
        };
        let length = u64::from_le_bytes(*length.first_chunk().unwrap_or(&[0; LENGTH_BYTES]));
        if length == 0 {
            return Ok(Frame::End);
        }
        let record_bytes = length & 0x00ff_ffff_ffff_ffff;
        let padding = if length >> 63 == 1 {
            length >> 56 & 7
        } else {
            0
        };
        // As etcd does, the length's own 8 bytes aside: reading then tells.
        if record_bytes + padding > left - LENGTH_BYTES as u64 {
            return Ok(Frame::Torn);
        }
        if record_bytes > RECORD_BYTES_MAX {
            return Err(ReadError::Unsupported(format!(
                "the write-ahead log has a record of {record_bytes} bytes, more than this reader takes"
            )));
        }
        let offset = self.position;
        let record_bytes = record_bytes as usize;
        let Some(data) = self.take(record_bytes + padding as usize)? else {
            return Ok(Frame::Torn);
        };
        Ok(Frame::Record(RecordFrame {
            data,
            record_bytes,
            offset,
        }))
    }

    /// Takes some bytes; none where the segment ends before.
    fn take(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, ReadError> {
        let mut taken = Vec::with_capacity(bytes);
        while taken.len() < bytes {
            let from = (self.position - self.buffer_at) as usize;
            if from >= self.buffer.len() {
                if !self.fill()? {
                    return Ok(None);
                }
                continue;
            }
            let part = &self.buffer[from..self.buffer.len().min(from + bytes - taken.len())];
            taken.extend_from_slice(part);
            self.position += part.len() as u64;
        }
        Ok(Some(taken))
    }

    fn fill(&mut self) -> Result<bool, ReadError> {
        // The beginning was hinted before.
        self.hinted = self.hinted.max(FIRST_BYTES);
        let wanted = self.position + READ_AHEAD_BYTES / 2;
        if wanted > self.hinted && self.hinted < self.entry.size_bytes {
            let end = (self.hinted + READ_AHEAD_BYTES).min(self.entry.size_bytes);
            self.files
                .prefetch(self.entry, std::slice::from_ref(&(self.hinted..end)));
            self.hinted = end;
        }
        if self.hinted >= self.entry.size_bytes
            && let Some(next) = self.next.take()
        {
            prefetch_beginning(self.files, next);
        }
        self.buffer.resize(BUFFER_BYTES, 0);
        self.buffer_at = self.position;
        let read = self
            .files
            .read_at(self.entry, self.position, &mut self.buffer)?;
        self.buffer.truncate(read);
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: Vec<u8>, offset: u64) -> RecordFrame {
        RecordFrame {
            record_bytes: data.len(),
            data,
            offset,
        }
    }

    #[test]
    fn a_whole_sector_of_zeros_is_torn_and_less_is_not() {
        let mut data = vec![1; 2000];
        data[512 - 100..1024 - 100].fill(0);
        assert!(frame(data.clone(), 100).has_zero_sector());
        assert!(!frame(data.clone(), 99).has_zero_sector());
        data[600] = 1;
        assert!(!frame(data, 100).has_zero_sector());
    }

    #[test]
    fn the_part_of_a_record_in_its_first_or_last_sector_counts_too() {
        let mut data = vec![1; 600];
        data[512..].fill(0);
        assert!(frame(data, 0).has_zero_sector());
        let mut data = vec![1; 600];
        data[..12].fill(0);
        assert!(frame(data, 500).has_zero_sector());
    }
}
