//! Which runs verify reads by itself, for verify, and for the audit, which misses their verdicts.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::RunSnapshots;
use crate::ids::EtcdClusterName;
use crate::schedule::Run;
use crate::settings::VerifyMode;
use crate::verdict::Verdict;

/// Why a run isn't verified by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It has its verdict.
    Verified,
    /// Another run of its day was found sound, and one a day is enough.
    OfThatDay,
    /// Nothing is verified by itself.
    Off,
}

impl<'a> RunSnapshots<'a> {
    /// The worst verdict on its etcd clusters; `None` where any has none.
    pub fn verdict(&self) -> Option<Verdict> {
        Verdict::worst(self.snapshots.values().copied())
    }

    /// Whether every one of its etcd clusters was found to start.
    pub fn is_known_sound(&self) -> bool {
        self.verdict()
            .is_some_and(|verdict| verdict <= Verdict::Degraded)
    }

    /// The etcd clusters that were found damaged. A verdict is the etcd cluster's, and one of a member that is
    /// so is enough, whatever is known of others.
    pub fn damaged(&self) -> BTreeSet<&'a EtcdClusterName> {
        let snapshots = self.snapshots.iter();
        snapshots
            .filter(|(_, snapshot)| Verdict::of(snapshot) == Some(Verdict::Damaged))
            .map(|(key, _)| &key.etcd_cluster)
            .collect()
    }
}

/// Why one of a cluster's runs isn't verified by itself; `None` where it is to be.
pub fn skip_reason(
    run: &RunSnapshots,
    runs: &[RunSnapshots],
    mode: VerifyMode,
) -> Option<SkipReason> {
    if run.verdict().is_some() {
        return Some(SkipReason::Verified);
    }
    match mode {
        VerifyMode::All => None,
        VerifyMode::Off => Some(SkipReason::Off),
        VerifyMode::Daily => {
            let of_day = runs.iter().filter(|other| day(other.run) == day(run.run));
            let verdicts = of_day.filter_map(|other| Some((other.run, other.verdict()?)));
            let newest = verdicts.max_by_key(|(run, _)| *run);
            // After a verdict of damaged, or none that is certain, the next run is read as well: nothing else
            // tells whether it is the same.
            let is_sound = newest.is_some_and(|(_, verdict)| verdict <= Verdict::Degraded);
            is_sound.then_some(SkipReason::OfThatDay)
        }
    }
}

fn day(run: Run) -> Date {
    TimeZone::UTC.to_datetime(run.at()).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tags;
    use crate::ids::MemberKey;
    use crate::schedule::Schedule;
    use crate::settings::Settings;
    use crate::snapshot::{Snapshot, SnapshotState};
    use crate::verdict::VERIFIED;

    fn schedule() -> Schedule {
        let hourly = |name: &str| (name == "INTERVAL_HOURS").then(|| "1".to_owned());
        Settings::from_variables(&hourly).unwrap().schedule
    }

    fn snapshot(started: &str, verdict: &str) -> Snapshot {
        let tags = [(VERIFIED.to_owned(), verdict.to_owned())];
        Snapshot {
            id: "snap-0a".into(),
            volume_id: "vol-0a".into(),
            state: SnapshotState::Completed,
            state_message: None,
            started: started.parse().unwrap(),
            completed_after_seconds: None,
            size_gib: 20,
            encrypted: true,
            kms_key_id: None,
            archived: false,
            tags: tags
                .into_iter()
                .filter(|(_, verdict)| !verdict.is_empty())
                .collect::<Tags>(),
        }
    }

    /// Why the newest of some runs, given newest first with their verdicts, isn't verified by itself.
    fn of_newest(runs: &[(&str, &str)], mode: VerifyMode) -> Option<SkipReason> {
        let key: MemberKey = "main/a".parse().unwrap();
        let snapshots: Vec<_> = runs
            .iter()
            .map(|(at, verdict)| snapshot(at, verdict))
            .collect();
        let runs = snapshots.iter().map(|snapshot| RunSnapshots {
            snapshots: [(&key, snapshot)].into(),
            ..RunSnapshots::new(schedule().run_of(snapshot.started))
        });
        let runs: Vec<_> = runs.collect();
        skip_reason(&runs[0], &runs, mode)
    }

    #[test]
    fn a_day_is_done_when_the_newest_that_was_read_of_it_is_sound() {
        let (early, late) = ("2026-11-22T01:02:00Z", "2026-11-22T05:02:00Z");
        let (latest, yesterday) = ("2026-11-22T09:02:00Z", "2026-11-21T09:02:00Z");
        let done = Some(SkipReason::OfThatDay);
        for (of_early, of_late, expected) in [
            ("restorable", "", done),
            ("degraded", "", done),
            ("damaged", "", None),
            ("unsupported", "", None),
            ("damaged", "restorable", done),
            ("restorable", "damaged", None),
            ("", "", None),
        ] {
            let runs = [(latest, ""), (late, of_late), (early, of_early)];
            let found = of_newest(&runs, VerifyMode::Daily);
            assert_eq!(found, expected, "{of_early:?}, {of_late:?}");
            assert_eq!(of_newest(&runs, VerifyMode::All), None);
            assert_eq!(of_newest(&runs, VerifyMode::Off), Some(SkipReason::Off));
        }
        let yesterdays = [(latest, ""), (yesterday, "restorable")];
        assert_eq!(of_newest(&yesterdays, VerifyMode::Daily), None);
        // Its own verdict ends it, whatever it is.
        let damaged = [(latest, "damaged")];
        assert_eq!(
            of_newest(&damaged, VerifyMode::Daily),
            Some(SkipReason::Verified)
        );
    }
}
