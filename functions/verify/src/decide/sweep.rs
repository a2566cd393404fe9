//! Who comes when in a sweep, and how long each may take.

use std::time::Duration;

use jiff::Timestamp;

/// The least that one cluster gets, where there is so much: less is enough for few.
const SHARE_MIN: Duration = Duration::from_secs(180);
const HOUR_SECONDS: i64 = 3600;

/// Another one first each hour, so that those that take all the time leave some to the others.
pub fn in_turn<T>(mut clusters: Vec<T>, now: Timestamp) -> Vec<T> {
    if let Ok(count @ 1..) = i64::try_from(clusters.len()) {
        let first = (now.as_second() / HOUR_SECONDS).rem_euclid(count);
        clusters.rotate_left(usize::try_from(first).unwrap_or(0));
    }
    clusters
}

/// How much of the time that is left the next one may take, of so many that are still to come.
pub fn share(left: Duration, clusters: usize) -> Duration {
    let parts = u32::try_from(clusters).unwrap_or(u32::MAX).max(1);
    (left / parts).max(SHARE_MIN).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cluster_comes_first_in_one_of_as_many_hours() {
        let hour = |hour: i64| Timestamp::from_second(1_795_634_600 + hour * HOUR_SECONDS).unwrap();
        let first = |at| in_turn(vec!["a", "b", "c"], at)[0];
        let mut seen: Vec<_> = (0..3).map(|at| first(hour(at))).collect();
        seen.sort_unstable();
        assert_eq!(seen, ["a", "b", "c"]);
        assert_eq!(first(hour(0)), first(hour(3)));
        assert_eq!(in_turn(Vec::<u8>::new(), hour(0)), [0; 0]);
    }

    #[test]
    fn a_cluster_gets_its_part_but_never_too_little_to_read_one() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        for (left, clusters, expected) in [
            (minutes(14), 1, minutes(14)),
            (minutes(14), 2, minutes(7)),
            (minutes(14), 20, minutes(3)),
            (minutes(2), 20, minutes(2)),
            (minutes(0), 3, minutes(0)),
        ] {
            assert_eq!(share(left, clusters), expected, "{left:?} {clusters}");
        }
    }
}
