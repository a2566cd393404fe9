//! Which runs verify reads by itself, for verify, and for the audit, which misses their verdicts.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::RunSnapshots;
use crate::schedule::Run;
use crate::settings::VerifyMode;
use crate::verdict::Verdict;

/// Why a run isn't verified by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unneeded {
    /// It has its verdict.
    Verified,
    /// Another run of its day has one, and one a day is enough.
    OfThatDay,
    /// Nothing is verified by itself.
    Off,
}

impl RunSnapshots<'_> {
    /// The worst verdict on its etcd clusters; `None` where any has none.
    pub fn verdict(&self) -> Option<Verdict> {
        Verdict::worst(self.snapshots.values().copied())
    }
}

/// Why one of a cluster's runs isn't verified by itself; `None` where it is to be.
pub fn unneeded(run: &RunSnapshots, runs: &[RunSnapshots], mode: VerifyMode) -> Option<Unneeded> {
    if run.verdict().is_some() {
        return Some(Unneeded::Verified);
    }
    match mode {
        VerifyMode::All => None,
        VerifyMode::Off => Some(Unneeded::Off),
        VerifyMode::Daily => {
            let mut of_day = runs.iter().filter(|other| day(other.run) == day(run.run));
            let is_any_verified = of_day.any(|other| other.verdict().is_some());
            is_any_verified.then_some(Unneeded::OfThatDay)
        }
    }
}

fn day(run: Run) -> Date {
    TimeZone::UTC.to_datetime(run.at()).date()
}
