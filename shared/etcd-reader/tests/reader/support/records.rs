//! A second, simple reader of a sound log's segments, and a writer, to make logs of any shape.

// Not every test looks at all of it.
#![allow(dead_code)]

use std::ops::Range;

pub const ENTRY: u8 = 2;
pub const STATE: u8 = 3;
pub const CRC: u8 = 4;

/// A record in a segment.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where its frame begins.
    pub at: usize,
    pub kind: u8,
    /// Where its data lies.
    pub data: Range<usize>,
    /// Where the frame ends, padding included.
    pub end: usize,
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return value;
        }
    }
    unreachable!()
}

/// Reads a segment up to its zeros.
pub fn records(segment: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = 0;
    while at + 8 <= segment.len() && segment[at..at + 8] != [0; 8] {
        let length = u64::from_le_bytes(segment[at..at + 8].try_into().unwrap());
        let padding = if length >> 63 == 1 {
            length >> 56 & 7
        } else {
            0
        } as usize;
        let length = (length & 0x00ff_ffff_ffff_ffff) as usize;
        let end = at + 8 + length + padding;
        if end > segment.len() {
            break;
        }
        let (mut field, mut kind, mut data) = (at + 8, 0, 0..0);
        while field < at + 8 + length {
            match varint(segment, &mut field) {
                0x08 => kind = varint(segment, &mut field) as u8,
                0x10 => drop(varint(segment, &mut field)),
                0x1a => {
                    let bytes = varint(segment, &mut field) as usize;
                    data = field..field + bytes;
                    field += bytes;
                }
                tag => panic!("unexpected field {tag}"),
            }
        }
        records.push(Record {
            at,
            kind,
            data,
            end,
        });
        at = end;
    }
    records
}

/// Writes segments as etcd does.
pub struct Writer {
    pub segment: Vec<u8>,
    crc: u32,
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value > 127 {
        to.push(value as u8 | 128);
        value >>= 7;
    }
    to.push(value as u8);
}

impl Writer {
    pub fn new() -> Self {
        let mut writer = Self {
            segment: Vec::new(),
            crc: 0,
        };
        writer.frame(CRC, &[]);
        writer
    }

    pub fn add(&mut self, kind: u8, data: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, data);
        self.frame(kind, data);
    }

    /// Ends the segment, and begins another one.
    pub fn cut(&mut self) -> Vec<u8> {
        let segment = std::mem::take(&mut self.segment);
        self.frame(CRC, &[]);
        segment
    }

    fn frame(&mut self, kind: u8, data: &[u8]) {
        let mut record = vec![0x08, kind, 0x10];
        put_varint(&mut record, u64::from(self.crc));
        if !data.is_empty() {
            record.push(0x1a);
            put_varint(&mut record, data.len() as u64);
            record.extend_from_slice(data);
        }
        let padding = (8 - record.len() % 8) % 8;
        let mut length = record.len() as u64;
        if padding > 0 {
            length |= (0x80 | padding as u64) << 56;
        }
        self.segment.extend_from_slice(&length.to_le_bytes());
        self.segment.extend_from_slice(&record);
        self.segment.resize(self.segment.len() + padding, 0);
    }
}

/// An entry's index.
pub fn entry_index(data: &[u8]) -> u64 {
    let mut at = 0;
    while at < data.len() {
        match varint(data, &mut at) {
            0x18 => return varint(data, &mut at),
            0x08 | 0x10 => drop(varint(data, &mut at)),
            tag => panic!("unexpected field {tag}"),
        }
    }
    panic!("no index")
}
