//! The pages of one level of a tree, remembered with the bounds of their keys before they are read.
//!
//! Source: bbolt, `tx_check.go` (`verifyKeyOrder`).

use super::page::Elements;
use super::walk::damaged;
use crate::ReadError;

/// Pages of a level that are remembered before they are read.
const LEVEL_PAGES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of keys that are remembered for them.
const LEVEL_KEY_BYTES_MAX: usize = 48 * 1024 * 1024;

/// A page to be read, and where the keys are between which all of its keys must lie.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    pub(super) page: u64,
    pub(super) lower: u32,
    pub(super) upper: u32,
}

/// Where no bound is.
pub(super) const UNBOUNDED: u32 = u32::MAX;

/// Pages to be read, with their bounds.
#[derive(Default)]
pub(super) struct Level {
    pub(super) pages: Vec<Pending>,
    keys: Vec<u8>,
}

impl Level {
    pub(super) fn of(pages: Vec<Pending>) -> Self {
        Self {
            pages,
            keys: Vec::new(),
        }
    }

    fn add_key(&mut self, key: &[u8]) -> u32 {
        let at = self.keys.len();
        // The callers keep both within what the types hold: see KEY_BYTES_MAX and LEVEL_KEY_BYTES_MAX.
        self.keys
            .extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.keys.extend_from_slice(key);
        u32::try_from(at).unwrap_or(UNBOUNDED)
    }

    pub(super) fn key(&self, at: u32) -> Option<&[u8]> {
        if at == UNBOUNDED {
            return None;
        }
        let rest = self.keys.get(at as usize..)?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_le_bytes(*length)))
    }

    /// Whether it is to be read before more is remembered.
    pub(super) fn is_full(&self) -> bool {
        self.pages.len() >= LEVEL_PAGES_MAX || self.keys.len() >= LEVEL_KEY_BYTES_MAX
    }

    /// Adds a branch page's children: each ends where the next begins, the last where the page itself does.
    pub(super) fn add_children(&mut self, elements: &Elements, upper: Option<&[u8]>) {
        let first = self.pages.len();
        for element in elements.branches() {
            let lower = self.add_key(element.key);
            if let Some(previous) = self.pages.get_mut(first..).and_then(<[_]>::last_mut) {
                previous.upper = lower;
            }
            self.pages.push(Pending {
                page: element.page,
                lower,
                upper: UNBOUNDED,
            });
        }
        if let Some(upper) = upper {
            let upper = self.add_key(upper);
            if let Some(last) = self.pages.last_mut() {
                last.upper = upper;
            }
        }
    }
}

/// Checks the order of a page's keys, and that they lie where the branch above has them.
pub(super) fn check_order<'a>(
    page: u64,
    keys: impl Iterator<Item = &'a [u8]>,
    lower: Option<&[u8]>,
    upper: Option<&[u8]>,
) -> Result<(), ReadError> {
    let mut previous: Option<&[u8]> = None;
    for key in keys {
        let ordered = match previous {
            Some(previous) => previous < key,
            None => lower.is_none_or(|lower| lower <= key),
        };
        if !ordered {
            return Err(damaged(page, "has keys out of order"));
        }
        previous = Some(key);
    }
    if let (Some(last), Some(upper)) = (previous, upper)
        && last >= upper
    {
        return Err(damaged(page, "has keys that belong to the page after it"));
    }
    Ok(())
}
