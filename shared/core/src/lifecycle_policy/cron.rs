//! Cron expressions of schedules, as far as this project's own schedules could be written so.
//!
//! Source: EventBridge user guide, "Cron expressions reference", which DLM's API reference names.

use std::collections::BTreeSet;

use crate::schedule::Schedule;

const HOURS_A_DAY: u32 = 24;

/// Whether an expression means every day exactly the runs of a schedule. `false` also for what isn't
/// understood here: such a schedule is not this project's.
pub fn runs_as(expression: &str, schedule: &Schedule) -> bool {
    minutes_of_day(expression).is_some_and(|minutes| minutes == schedule.minutes_of_day())
}

/// The minutes of each day at which it runs, where all days are alike.
fn minutes_of_day(expression: &str) -> Option<BTreeSet<u32>> {
    let fields = expression.trim().strip_prefix("cron(")?.strip_suffix(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [minutes, hours, day_of_month, month, day_of_week, year] = fields[..] else {
        return None;
    };
    let is_every_day = [day_of_month, day_of_week, month, year]
        .iter()
        .all(|field| ["*", "?"].contains(field));
    let (minutes, hours) = (values(minutes, 60)?, values(hours, HOURS_A_DAY)?);
    if !is_every_day {
        return None;
    }
    let of_hour = |hour: u32| minutes.iter().map(move |minute| hour * 60 + minute);
    Some(hours.into_iter().flat_map(of_hour).collect())
}

/// The values that a field names of those below `end`.
fn values(field: &str, end: u32) -> Option<BTreeSet<u32>> {
    let mut values = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (0, end - 1),
            (_, Some((first, last))) => (number(first)?, number(last)?),
            // A single value with a step means from there to the end.
            (_, None) if step.is_some() => (number(range)?, end - 1),
            (_, None) => (number(range)?, number(range)?),
        };
        if first > last || last >= end {
            return None;
        }
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        values.extend((first..=last).step_by(step));
    }
    Some(values)
}

fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(interval_hours: i32, start_time: &str) -> Schedule {
        Schedule {
            interval_hours,
            start_time: start_time.parse().unwrap(),
        }
    }

    #[test]
    fn an_expression_is_the_schedule_that_has_the_same_runs() {
        for (expression, interval_hours, start_time) in [
            ("cron(0 6 * * ? *)", 24, "06:00"),
            ("cron(0 6 ? * * *)", 24, "06:00"),
            ("cron(00 06 ? * * *)", 24, "06:00"),
            ("cron(30 6/12 * * ? *)", 12, "06:30"),
            ("cron(30 6,18 * * ? *)", 12, "18:30"),
            ("cron(15 */6 * * ? *)", 6, "12:15"),
            ("cron(15 1/6 * * ? *)", 6, "13:15"),
            ("cron(0 0-23 * * ? *)", 1, "06:00"),
            ("cron(0 * * * ? *)", 1, "00:00"),
            ("cron(5 0-22/2 * * ? *)", 2, "04:05"),
        ] {
            let schedule = schedule(interval_hours, start_time);
            assert!(runs_as(expression, &schedule), "{expression}");
        }
    }

    #[test]
    fn every_other_expression_is_no_schedule() {
        for expression in [
            "cron(0 7 * * ? *)",
            "cron(0 6,18 * * ? *)",
            "cron(0 6 ? * SUN *)",
            "cron(0 6 ? * 1-7 *)",
            "cron(0 6 1 * ? *)",
            "cron(0 6 * 1 ? *)",
            "cron(0 6 * * ? 2026)",
            "cron(0/30 6 * * ? *)",
            "cron(0 6 * * ?)",
            "cron(0 6-5 * * ? *)",
            "cron(0 6/0 * * ? *)",
            "cron(0 30 * * ? *)",
            "cron(0 +6 * * ? *)",
            "cron(0 6, * * ? *)",
            "cron()",
            "rate(1 day)",
            "",
        ] {
            assert!(!runs_as(expression, &schedule(24, "06:00")), "{expression}");
        }
    }
}
