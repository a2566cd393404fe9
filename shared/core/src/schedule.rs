//! DLM schedules and their runs.
//!
//! Times are UTC, and every interval that DLM takes divides a day: runs form a fixed grid on which
//! neither daylight saving nor the length of a month plays a part.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long after its scheduled time a run is due: DLM starts creating within an hour
/// of it, and half an hour is left for EC2 to show what was made.
pub const DUE_AFTER: SignedDuration = SignedDuration::from_mins(90);

/// The shortest time for which a loss is reported, counted from the newest snapshot, whatever the interval: at
/// least one daily audit finds it. Two do only where the loss came soon after that snapshot.
const LOSS_WINDOW_MIN: SignedDuration = SignedDuration::from_hours(48);

/// The intervals, in hours, that DLM takes.
///
/// Source: DLM API reference, `CreateRule`.
pub const INTERVALS_HOURS: [i32; 8] = [1, 2, 3, 4, 6, 8, 12, 24];

/// A time of day in UTC, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTime {
    hour: u8,
    minute: u8,
}

impl FromStr for StartTime {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let two_digits = |part: &str| {
            if part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) {
                part.parse().map_err(|_| ())
            } else {
                Err(())
            }
        };
        let (hour, minute) = text.split_once(':').ok_or(())?;
        let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
        if hour < 24 && minute < 60 {
            Ok(Self { hour, minute })
        } else {
            Err(())
        }
    }
}

impl StartTime {
    /// Minutes since midnight.
    pub fn minute_of_day(self) -> u32 {
        u32::from(self.hour) * 60 + u32::from(self.minute)
    }
}

impl fmt::Display for StartTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// A scheduled time. Its snapshots are those of the schedule started from then until the next run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Run(Timestamp);

impl Run {
    /// A run as it was written down earlier, perhaps under another schedule.
    pub fn recorded(at: Timestamp) -> Self {
        Self(at)
    }

    /// The scheduled time.
    pub fn at(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Hours between runs; one of [`INTERVALS_HOURS`].
    pub interval_hours: i32,
    /// The time of day of one of the runs.
    pub start_time: StartTime,
}

impl Schedule {
    /// The time between two runs.
    pub fn interval(&self) -> SignedDuration {
        SignedDuration::from_hours(self.interval_hours.into())
    }

    /// How long after its newest snapshot something without volumes counts as lost, and no longer as
    /// given up: two intervals, and never less than two days.
    pub fn loss_window(&self) -> SignedDuration {
        LOSS_WINDOW_MIN.max(self.interval() * 2)
    }

    /// The latest run at or before a moment: the run that a snapshot started then belongs to.
    pub fn run_of(&self, moment: Timestamp) -> Run {
        let interval = self.interval().as_secs();
        let first = (i64::from(self.start_time.hour) * 60 + i64::from(self.start_time.minute)) * 60;
        // The division rounds down, so that a fraction of a second, and moments before 1970, fall into the
        // right run.
        let second = moment.as_nanosecond().div_euclid(1_000_000_000) as i64;
        let since_run = (second - first).rem_euclid(interval);
        Run(Timestamp::from_second(second - since_run).unwrap_or(Timestamp::MIN))
    }

    /// The minutes of the day, in UTC, at which runs are.
    pub fn minutes_of_day(&self) -> BTreeSet<u32> {
        const MINUTES_A_DAY: u32 = 24 * 60;
        let first = self.start_time.minute_of_day();
        let interval = self.interval_hours.unsigned_abs().max(1) * 60;
        let runs_a_day = MINUTES_A_DAY.div_ceil(interval);
        (0..runs_a_day)
            .map(|run| (first + run * interval) % MINUTES_A_DAY)
            .collect()
    }

    /// The run before another.
    pub fn before(&self, run: Run) -> Run {
        Run(run.0.saturating_sub(self.interval()).unwrap_or(run.0))
    }

    /// The run after another.
    pub fn after(&self, run: Run) -> Run {
        Run(run.0.saturating_add(self.interval()).unwrap_or(run.0))
    }

    /// The latest run that is at least [`DUE_AFTER`] past.
    pub fn due_run(&self, now: Timestamp) -> Run {
        self.run_of(now.saturating_sub(DUE_AFTER).unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn daily_at_six() -> Schedule {
        Schedule {
            interval_hours: 24,
            start_time: "06:00".parse().unwrap(),
        }
    }

    #[test]
    fn a_run_is_due_ninety_minutes_past() {
        let due = |now: &str| daily_at_six().due_run(now.parse().unwrap()).to_string();
        assert_eq!(due("2026-11-22T07:29:59.999Z"), "2026-11-21T06:00:00Z");
        assert_eq!(due("2026-11-22T07:30:00Z"), "2026-11-22T06:00:00Z");
        assert_eq!(due("2026-11-23T05:59:59Z"), "2026-11-22T06:00:00Z");
    }

    #[test]
    fn start_times_are_two_digits_each() {
        for wrong in [
            "6:00", "06:0", "24:00", "06:60", "0600", "+6:00", "06:00:00", "",
        ] {
            assert!(wrong.parse::<StartTime>().is_err(), "{wrong}");
        }
        assert_eq!("23:59".parse::<StartTime>().unwrap().to_string(), "23:59");
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_exactly_one_run(
            second in -10_000_000_000_i64..10_000_000_000,
            nanosecond in 0..1_000_000_000_i32,
            interval_hours in proptest::sample::select(&INTERVALS_HOURS[..]),
            hour in 0_u8..24,
            minute in 0_u8..60,
        ) {
            let schedule = Schedule { interval_hours, start_time: StartTime { hour, minute } };
            let moment = Timestamp::new(second, nanosecond).unwrap();
            let run = schedule.run_of(moment);
            prop_assert!(run.at() <= moment);
            prop_assert!(schedule.after(run).at() > moment);
            prop_assert_eq!(schedule.run_of(run.at()), run);
            prop_assert_eq!(schedule.before(schedule.after(run)), run);
            let of_day = run.at().as_second().rem_euclid(86_400);
            let first = (i64::from(hour) * 60 + i64::from(minute)) * 60;
            prop_assert_eq!((of_day - first).rem_euclid(i64::from(interval_hours) * 3_600), 0);
        }

        #[test]
        fn the_due_run_is_the_latest_that_is_due(second in 0..10_000_000_000_i64) {
            let schedule = daily_at_six();
            let now = Timestamp::from_second(second).unwrap();
            let due = schedule.due_run(now);
            prop_assert!(now.duration_since(due.at()) >= DUE_AFTER);
            prop_assert!(now.duration_since(schedule.after(due).at()) < DUE_AFTER);
        }
    }
}
