//! The labels above the columns, in two lines: months over days, or days over hours where there are
//! several runs a day.

use etcd_backup_core::schedule::Run;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A label over several columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it says; empty where the columns are too few for it.
    pub label: String,
    /// How many columns it covers.
    pub columns: usize,
}

/// The upper line.
pub fn groups(columns: &[Run], interval_hours: i32) -> Vec<Group> {
    let format = if is_daily(interval_hours) {
        "%b"
    } else {
        "%-d %b"
    };
    let mut groups: Vec<Group> = Vec::new();
    for run in columns {
        let label = utc(*run).strftime(format).to_string();
        match groups.last_mut() {
            Some(group) if group.label == label => group.columns += 1,
            _ => groups.push(Group { label, columns: 1 }),
        }
    }
    // A label wider than its columns would push them apart; the newest is always told.
    let last = groups.len().saturating_sub(1);
    for group in &mut groups[..last] {
        if group.columns < 2 {
            group.label.clear();
        }
    }
    groups
}

/// The lower line: a column's own label.
pub fn label(run: Run, interval_hours: i32) -> String {
    let format = if is_daily(interval_hours) {
        "%-d"
    } else {
        "%H"
    };
    utc(run).strftime(format).to_string()
}

fn is_daily(interval_hours: i32) -> bool {
    interval_hours >= 24
}

fn utc(run: Run) -> DateTime {
    TimeZone::UTC.to_datetime(run.at())
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::schedule::Schedule;

    use super::*;

    fn heading(newest: &str, count: usize, interval_hours: i32) -> String {
        let schedule = Schedule {
            interval_hours,
            start_time: "06:00".parse().unwrap(),
        };
        let newest = schedule.run_of(newest.parse().unwrap());
        let backwards = std::iter::successors(Some(newest), |run| Some(schedule.before(*run)));
        let mut columns: Vec<Run> = backwards.take(count).collect();
        columns.reverse();
        let groups = groups(&columns, interval_hours);
        let upper: Vec<String> = groups
            .iter()
            .map(|group| format!("{}*{}", group.label, group.columns))
            .collect();
        let lower: Vec<String> = columns
            .iter()
            .map(|run| label(*run, interval_hours))
            .collect();
        format!("{} | {}", upper.join(" "), lower.join(" "))
    }

    #[test]
    fn days_stand_under_months() {
        insta::assert_snapshot!(heading("2026-12-02T07:00:00Z", 5, 24), @"Nov*3 Dec*2 | 28 29 30 1 2");
    }

    #[test]
    fn hours_stand_under_days() {
        insta::assert_snapshot!(heading("2026-12-01T12:00:00Z", 7, 4), @"30 Nov*4 1 Dec*3 | 10 14 18 22 02 06 10");
    }

    #[test]
    fn a_label_without_room_is_left_out_but_never_the_newest() {
        insta::assert_snapshot!(heading("2026-12-01T07:00:00Z", 2, 24), @"*1 Dec*1 | 30 1");
        insta::assert_snapshot!(heading("2026-12-01T07:00:00Z", 1, 24), @"Dec*1 | 1");
    }
}
