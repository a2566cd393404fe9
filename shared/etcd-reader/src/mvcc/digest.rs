//! A digest of what each revision holds, by which members are compared.
//!
//! bbolt's pages have no checksums, so a bit that flipped in a value is seen only where members differ.
//! Revisions come in any order, and members hold different ranges of them: so each revision has a digest,
//! digests are added up (the order plays no part), and what both of two members hold is compared. Above
//! a member's last compaction it holds every revision; at and below, a compaction under way may have
//! deleted some and not others, so nothing there is compared.
//!
//! Memory is bounded: where the revisions are too many for a sum of their own, neighbours share one.

use super::key_value::Revision;

/// Sums kept: 8 MiB.
const SUMS_MAX: usize = 1024 * 1024;

/// Digests of the revisions above a member's last compaction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RevisionDigests {
    /// Revisions above this are digested.
    after: u64,
    /// The newest revision seen.
    last: u64,
    /// A sum is of 2^shift neighbouring revisions.
    shift: u32,
    /// Of which the first sum is: that of the revisions from `base << shift` on.
    base: u64,
    sums: Vec<u64>,
}

impl std::fmt::Debug for RevisionDigests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            formatter,
            "RevisionDigests({}..={})",
            self.after.saturating_add(1),
            self.last
        )
    }
}

/// What comparing two members shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// They have no revision in common that could be compared.
    Nothing,
    Same,
    /// They differ at this revision, or at one of the few after it that share its sum.
    Different(u64),
}

impl RevisionDigests {
    pub(super) fn new(after: u64) -> Self {
        Self {
            after,
            last: after,
            shift: 0,
            base: after.saturating_add(1),
            sums: Vec::new(),
        }
    }

    /// Takes an entry of the bucket `key` as it is stored, which is the same on all members: etcd's own check
    /// for corruption hashes it likewise (`server/storage/mvcc/hash.go`).
    pub(super) fn add(&mut self, revision: Revision, name: &[u8], value: &[u8]) {
        self.add_digest(revision.main, digest(name, value));
    }

    fn add_digest(&mut self, revision: u64, digest: u64) {
        if revision <= self.after {
            return;
        }
        self.last = self.last.max(revision);
        let mut index = self.index(revision);
        while index >= SUMS_MAX as u64 {
            self.halve();
            index = self.index(revision);
        }
        // Below SUMS_MAX, so it fits.
        let index = index as usize;
        if index >= self.sums.len() {
            self.sums.resize(index + 1, 0);
        }
        self.sums[index] = self.sums[index].wrapping_add(digest);
    }

    fn index(&self, revision: u64) -> u64 {
        (revision >> self.shift) - self.base
    }

    /// Lets two neighbours share a sum.
    fn halve(&mut self) {
        let base = self.base >> 1;
        let mut sums = vec![0u64; self.sums.len() / 2 + 1];
        for (index, sum) in (0u64..).zip(&self.sums) {
            let to = ((self.base + index) >> 1) - base;
            sums[to as usize] = sums[to as usize].wrapping_add(*sum);
        }
        self.sums = sums;
        self.base = base;
        self.shift += 1;
    }

    /// The sum of 2^shift revisions from one on.
    fn sum(&self, first: u64, shift: u32) -> u64 {
        let ones = 1u64 << (shift - self.shift);
        let first = (first >> self.shift).saturating_sub(self.base);
        (first..first.saturating_add(ones))
            .filter_map(|index| self.sums.get(usize::try_from(index).ok()?))
            .fold(0, |total, sum| total.wrapping_add(*sum))
    }

    /// Compares all that two members both hold.
    pub(crate) fn compare(&self, other: &Self) -> Comparison {
        let shift = self.shift.max(other.shift);
        let first = self.after.max(other.after).saturating_add(1);
        let last = self.last.min(other.last);
        // Only sums all of whose revisions both members hold.
        let mut at = first.div_ceil(1 << shift) << shift;
        let mut comparison = Comparison::Nothing;
        while at
            .checked_add((1 << shift) - 1)
            .is_some_and(|end| end <= last)
        {
            if self.sum(at, shift) != other.sum(at, shift) {
                return Comparison::Different(at);
            }
            comparison = Comparison::Same;
            at += 1 << shift;
        }
        comparison
    }
}

/// CRC-32C finds every flipped bit; it is spread over 64 bits so that sums of many don't cancel out.
fn digest(name: &[u8], value: &[u8]) -> u64 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(name), value);
    mix((value.len() as u64) << 32 ^ u64::from(crc))
}

/// The finalizer of splitmix64, a bijection.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(after: u64, revisions: impl IntoIterator<Item = u64>) -> RevisionDigests {
        let mut digests = RevisionDigests::new(after);
        for revision in revisions {
            digests.add_digest(revision, mix(revision));
        }
        digests
    }

    #[test]
    fn what_both_hold_is_compared_in_any_order() {
        let one = digests(10, (1..=100).rev());
        let other = digests(50, 1..=90);
        assert_eq!(one.compare(&other), Comparison::Same);
        assert_eq!(other.compare(&one), Comparison::Same);
    }

    #[test]
    fn a_difference_is_found_at_its_revision() {
        let mut other = digests(50, 1..=90);
        other.add_digest(77, 1);
        assert_eq!(
            digests(10, 1..=100).compare(&other),
            Comparison::Different(77)
        );
    }

    #[test]
    fn what_only_one_holds_is_not_compared() {
        let mut one = digests(10, 1..=100);
        one.add_digest(30, 1);
        one.add_digest(95, 1);
        assert_eq!(one.compare(&digests(50, 1..=90)), Comparison::Same);
    }

    #[test]
    fn compaction_above_the_others_revision_leaves_nothing_to_compare() {
        assert_eq!(
            digests(100, 1..=200).compare(&digests(0, 1..=90)),
            Comparison::Nothing
        );
    }

    #[test]
    fn millions_of_revisions_share_sums_and_still_show_a_difference() {
        let many = 3 * SUMS_MAX as u64 + 5;
        let one = digests(3, (1..=many).rev());
        let few = digests(many - 1000, 1..=many);
        assert!(one.sums.len() <= SUMS_MAX && one.shift > few.shift);
        assert_eq!(one.compare(&few), Comparison::Same);
        let mut other = digests(7, 1..=many);
        assert_eq!(one.compare(&other), Comparison::Same);
        other.add_digest(many - 500, 1);
        let Comparison::Different(at) = one.compare(&other) else {
            panic!("not found")
        };
        assert!((at..at + (1 << one.shift)).contains(&(many - 500)));
    }

    #[test]
    fn a_revision_out_of_all_bounds_costs_no_memory() {
        let digests = digests(0, [1, i64::MAX as u64]);
        assert!(digests.sums.len() <= SUMS_MAX);
        assert_eq!(digests.compare(&digests.clone()), Comparison::Same);
    }

    #[test]
    fn a_flipped_bit_changes_the_digest() {
        assert_ne!(digest(b"1", b"value"), digest(b"1", b"valuf"));
        assert_ne!(digest(b"1", b"value"), digest(b"3", b"value"));
        assert_ne!(digest(b"1", b"value"), digest(b"1v", b"alue"));
    }
}
