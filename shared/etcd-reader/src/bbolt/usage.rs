//! Which pages were reached: one bit each.

use crate::ReadError;

/// Which pages were reached.
pub(crate) struct Usage {
    reached: Vec<u64>,
    /// How many they are.
    pub(super) pages: u64,
}

impl Usage {
    pub(super) fn new(pages: usize) -> Self {
        Self {
            reached: vec![0; pages.div_ceil(64)],
            pages: 0,
        }
    }

    /// Marks a page as reached, which it may be only once.
    pub(super) fn mark(&mut self, page: u64) -> Result<(), ReadError> {
        let word = usize::try_from(page / 64)
            .ok()
            .and_then(|index| self.reached.get_mut(index));
        let Some(word) = word else {
            return Err(ReadError::Damaged(format!(
                "page {page} of the database lies beyond its end"
            )));
        };
        let bit = 1 << (page % 64);
        if *word & bit != 0 {
            return Err(ReadError::Damaged(format!(
                "page {page} of the database is reached twice"
            )));
        }
        *word |= bit;
        self.pages += 1;
        Ok(())
    }

    pub(super) fn is_reached(&self, page: u64) -> bool {
        usize::try_from(page / 64)
            .ok()
            .and_then(|index| self.reached.get(index))
            .is_some_and(|word| word & (1 << (page % 64)) != 0)
    }
}
