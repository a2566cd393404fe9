//! The two meta pages, of which the newer valid one counts.
//!
//! Source: bbolt, `meta.go`, `db.go` (`getPageSize`, `mmap`).

use super::page::{HEADER_BYTES, u32_at, u64_at};
use crate::ReadError;
use crate::files::{Entry, Files};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const META_BYTES: usize = 64;
const CHECKSUM_AT: usize = 56;
/// Stands in place of a freelist's page where none is stored.
const NO_FREELIST: u64 = u64::MAX;
/// Page sizes that bbolt tries when the first meta page doesn't tell.
const PAGE_BYTES_MIN: u32 = 1024;
const PAGE_BYTES_MAX: u32 = PAGE_BYTES_MIN << 14;

/// A valid meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_bytes: u32,
    /// The root bucket's page.
    pub(crate) root: u64,
    /// The freelist's page, where one is stored.
    pub(crate) freelist: Option<u64>,
    /// Every page that was ever used has an id below.
    pub(crate) high_water: u64,
    pub(crate) transaction: u64,
}

/// What the meta pages say.
pub(super) struct Found {
    pub(super) meta: Meta,
    pub(super) warning: Option<String>,
}

/// Finds the meta page that counts, as bbolt does: the valid one of the later transaction.
pub(super) fn read(files: &dyn Files, file: &Entry) -> Result<Found, ReadError> {
    let first = at(files, file, 0)?;
    let second = if let Some(meta) = first {
        at(files, file, u64::from(meta.page_bytes))?
    } else {
        let mut second = None;
        let mut offset = PAGE_BYTES_MIN;
        while second.is_none() && offset <= PAGE_BYTES_MAX {
            second = at(files, file, u64::from(offset))?.filter(|meta| meta.page_bytes == offset);
            offset *= 2;
        }
        second
    };
    let warning = |which| {
        Some(format!(
            "the {which} of the database's two meta pages is bad; bbolt uses the other one"
        ))
    };
    match (first, second) {
        (Some(first), Some(second)) => {
            let meta = if second.transaction > first.transaction {
                second
            } else {
                first
            };
            Ok(Found {
                meta,
                warning: None,
            })
        }
        (Some(meta), None) => Ok(Found {
            meta,
            warning: warning("second"),
        }),
        (None, Some(meta)) => Ok(Found {
            meta,
            warning: warning("first"),
        }),
        (None, None) => Err(ReadError::Damaged(
            "neither of the database's two meta pages is valid".to_owned(),
        )),
    }
}

fn at(files: &dyn Files, file: &Entry, offset: u64) -> Result<Option<Meta>, ReadError> {
    let mut page = [0; HEADER_BYTES + META_BYTES];
    let read = files.read_at(file, offset, &mut page)?;
    Ok(if read == page.len() {
        decode(&page[HEADER_BYTES..])
    } else {
        None
    })
}

fn decode(meta: &[u8]) -> Option<Meta> {
    let page_bytes = u32_at(meta, 8)?;
    let valid = u32_at(meta, 0)? == MAGIC
        && u32_at(meta, 4)? == VERSION
        && u64_at(meta, CHECKSUM_AT)? == fnv_64a(&meta[..CHECKSUM_AT])
        && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes)
        && page_bytes.is_power_of_two();
    if !valid {
        return None;
    }
    Some(Meta {
        page_bytes,
        root: u64_at(meta, 16)?,
        freelist: Some(u64_at(meta, 32)?).filter(|&page| page != NO_FREELIST),
        high_water: u64_at(meta, 40)?,
        transaction: u64_at(meta, 48)?,
    })
}

fn fnv_64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
