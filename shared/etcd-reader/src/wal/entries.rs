//! The entries of the log, of each of which only the term, a digest and its growth are kept.
//!
//! Invariants: the entries kept are neighbours without a gap, as raft reads them; the oldest are given
//! up first where they are too many.
//!
//! Source: etcd, `server/storage/wal/wal.go` (`ReadAll`: an entry replaces those from its index on).

use std::collections::VecDeque;

use super::record::LogEntry;
use super::request::Growth;

/// Entries kept: 8 MiB.
const ENTRIES_MAX: usize = 1024 * 1024;
/// The digest's upper bits; below are two of the growth.
const GROWTH_BITS: u32 = 2;
const GROWTH_MASK: u64 = (1 << GROWTH_BITS) - 1;
const PERHAPS: u64 = 1;
const ONE: u64 = 2;
const ALARM: u64 = 3;

/// The newest entries of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    /// The index of the first entry of the run without a gap; some of it may have been given up.
    run_from: u64,
    /// The index of the first entry kept.
    first: u64,
    kept: VecDeque<u64>,
    /// Where the term changed: the first index of each term.
    terms: VecDeque<(u64, u64)>,
}

/// What comparing two members' logs shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogComparison {
    /// Nothing contradicts, as far as they overlap.
    Agree,
    /// Both hold this index, with entries that can't both be right.
    Differ(u64),
}

/// By how much the entries of a range move the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GrowthRange {
    pub(crate) at_least: u64,
    pub(crate) at_most: u64,
}

impl Entries {
    pub(super) fn add(&mut self, entry: &LogEntry) {
        let index = entry.index;
        if self.kept.is_empty() || index < self.first || index > self.next() {
            self.run_from = index;
            self.first = index;
            self.kept.clear();
            self.terms.clear();
        } else {
            // Both fit: the entry lies inside what is kept, or right behind it.
            self.kept.truncate((index - self.first) as usize);
            while self.terms.back().is_some_and(|(from, _)| *from >= index) {
                self.terms.pop_back();
            }
        }
        if self
            .terms
            .back()
            .is_none_or(|(_, term)| *term != entry.term)
        {
            self.terms.push_back((index, entry.term));
        }
        self.kept.push_back(summary(entry));
        if self.kept.len() > ENTRIES_MAX {
            self.kept.pop_front();
            self.first += 1;
            // A term that ends before the first entry kept is nobody's.
            if self
                .terms
                .get(1)
                .is_some_and(|(from, _)| *from <= self.first)
            {
                self.terms.pop_front();
            }
        }
    }

    fn next(&self) -> u64 {
        self.first.saturating_add(self.kept.len() as u64)
    }

    /// The last entry's term and index.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        let (_, term) = self.terms.back()?;
        Some((*term, self.next() - 1))
    }

    /// Whether entries are missing between a snapshot and the first entry of the run.
    pub(crate) fn has_gap_after(&self, snapshot_index: u64) -> bool {
        !self.kept.is_empty() && self.run_from > snapshot_index.saturating_add(1)
    }

    fn term(&self, index: u64) -> Option<u64> {
        let after = self.terms.partition_point(|(from, _)| *from <= index);
        Some(self.terms.get(after.checked_sub(1)?)?.1)
    }

    fn summary(&self, index: u64) -> Option<u64> {
        self.kept
            .get(usize::try_from(index.checked_sub(self.first)?).ok()?)
            .copied()
    }

    /// By how much the entries after an index move the revision.
    pub(crate) fn growth_after(&self, index: u64) -> GrowthRange {
        if self.kept.is_empty() {
            return GrowthRange::default();
        }
        let from = index.saturating_add(1);
        let mut growth = self.growth(from, self.next());
        // Those that were given up may have moved it.
        growth.at_most += self.first.saturating_sub(from.max(self.run_from));
        growth
    }

    /// By how much the entries after an index and up to another one move the revision; none where one of them
    /// isn't kept, or an alarm among them may have had others refused.
    pub(crate) fn growth_between(&self, after: u64, up_to: u64) -> Option<GrowthRange> {
        let from = after.saturating_add(1);
        let end = up_to.saturating_add(1);
        let kept = from >= self.first && end <= self.next();
        let alarm = || {
            (from..end).any(|index| {
                self.summary(index)
                    .is_some_and(|summary| summary & GROWTH_MASK == ALARM)
            })
        };
        (kept && !alarm()).then(|| self.growth(from, end))
    }

    fn growth(&self, from: u64, end: u64) -> GrowthRange {
        let mut growth = GrowthRange::default();
        for index in from.max(self.first)..end.min(self.next()) {
            match self.summary(index).unwrap_or(0) & GROWTH_MASK {
                PERHAPS => growth.at_most += 1,
                ONE => {
                    growth.at_least += 1;
                    growth.at_most += 1;
                }
                _ => {}
            }
        }
        growth
    }

    /// Compares two logs where they overlap. raft has members agree on what is committed; above that,
    /// an entry of another term is one that never was, and will be replaced. But entries of one term and
    /// index were made by one leader, and are the same everywhere.
    pub(crate) fn compare(
        &self,
        committed: u64,
        other: &Self,
        other_committed: u64,
    ) -> LogComparison {
        let committed = committed.min(other_committed);
        let from = self.first.max(other.first);
        let to = self.next().min(other.next());
        for index in from..to {
            let same_term = self.term(index) == other.term(index);
            let same_data = self.summary(index) == other.summary(index);
            if (same_term && !same_data) || (!same_term && index <= committed) {
                return LogComparison::Differ(index);
            }
        }
        LogComparison::Agree
    }
}

fn summary(entry: &LogEntry) -> u64 {
    let growth = match entry.growth() {
        Growth::None => 0,
        Growth::Perhaps => PERHAPS,
        Growth::One => ONE,
        Growth::Alarm => ALARM,
    };
    (u64::from(entry.digest()) << GROWTH_BITS) | growth
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(term: u64, index: u64, data: &[u8]) -> Vec<u8> {
        let varint = |mut value: u64| {
            let mut bytes = Vec::new();
            while value > 127 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        [
            &[0x10][..],
            &varint(term),
            &[0x18],
            &varint(index),
            &[0x22],
            &varint(data.len() as u64),
            data,
        ]
        .concat()
    }

    fn log(entries: impl IntoIterator<Item = (u64, u64)>) -> Entries {
        let mut log = Entries::default();
        for (term, index) in entries {
            add(&mut log, term, index, format!("{term}/{index}").as_bytes());
        }
        log
    }

    fn add(log: &mut Entries, term: u64, index: u64, data: &[u8]) {
        log.add(&LogEntry::decode(&message(term, index, data)).unwrap());
    }

    #[test]
    fn an_entry_replaces_those_from_its_index_on() {
        let entries = log([(1, 1), (1, 2), (1, 3), (2, 2)]);
        assert_eq!(entries.last(), Some((2, 2)));
        assert_eq!(
            entries.compare(2, &log([(1, 1), (2, 2)]), 2),
            LogComparison::Agree
        );
    }

    #[test]
    fn after_a_gap_only_what_follows_counts() {
        let entries = log([(1, 1), (1, 2), (1, 50), (1, 51)]);
        assert!(entries.has_gap_after(48) && !entries.has_gap_after(49));
        assert_eq!(entries.last(), Some((1, 51)));
    }

    #[test]
    fn what_is_committed_must_agree_and_what_is_not_may_be_of_other_terms() {
        let one = log([(1, 1), (1, 2), (1, 3)]);
        let other = log([(1, 1), (1, 2), (2, 3)]);
        assert_eq!(one.compare(2, &other, 3), LogComparison::Agree);
        assert_eq!(one.compare(3, &other, 3), LogComparison::Differ(3));
    }

    #[test]
    fn entries_of_one_term_and_index_are_the_same_even_uncommitted() {
        let one = log([(1, 1), (1, 2)]);
        let mut other = log([(1, 1)]);
        add(&mut other, 1, 2, b"else");
        assert_eq!(one.compare(0, &other, 0), LogComparison::Differ(2));
    }

    #[test]
    fn growth_is_counted_after_an_index() {
        let mut entries = Entries::default();
        let put = b"\x22\x03\x0a\x01k";
        let delete = b"\x2a\x03\x0a\x01k";
        for (index, data) in [(1, &put[..]), (2, put), (3, delete), (4, b""), (5, put)] {
            add(&mut entries, 1, index, data);
        }
        assert_eq!(
            entries.growth_after(1),
            GrowthRange {
                at_least: 2,
                at_most: 3
            }
        );
        assert_eq!(
            entries.growth_between(1, 3),
            Some(GrowthRange {
                at_least: 1,
                at_most: 2
            })
        );
        assert_eq!(entries.growth_between(1, 6), None);
        add(&mut entries, 1, 6, b"\x52\x00");
        assert_eq!(entries.growth_between(1, 6), None);
        assert_eq!(entries.growth_after(5), GrowthRange::default());
        assert_eq!(entries.growth_after(9), GrowthRange::default());
    }

    #[test]
    fn the_oldest_entries_are_given_up_and_their_growth_stays_possible() {
        let mut entries = Entries::default();
        for index in 1..=ENTRIES_MAX as u64 + 10 {
            add(&mut entries, 1, index, b"");
        }
        assert_eq!(entries.kept.len(), ENTRIES_MAX);
        assert_eq!(entries.terms.len(), 1);
        assert!(!entries.has_gap_after(0));
        assert_eq!(
            entries.growth_after(4),
            GrowthRange {
                at_least: 0,
                at_most: 6
            }
        );
    }

    #[test]
    fn terms_are_given_up_with_their_entries() {
        let mut entries = Entries::default();
        let end = ENTRIES_MAX as u64 + 10;
        for index in 1..=end {
            // Two entries a term.
            add(&mut entries, index / 2 + 1, index, b"");
        }
        assert!(entries.terms.len() <= ENTRIES_MAX / 2 + 1);
        for index in [entries.first, entries.first + 1, end] {
            assert_eq!(entries.term(index), Some(index / 2 + 1));
        }
        assert_eq!(entries.term(entries.first - 2), None);
    }
}
