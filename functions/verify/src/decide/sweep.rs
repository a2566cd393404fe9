//! Who comes when in a sweep, how long each may take, and what is made of what became of them.

use std::time::Duration;

use etcd_backup_core::diagnostic::Diagnostic;
use etcd_backup_core::ids::ClusterName;
use jiff::Timestamp;

use super::assessment::Assessment;

/// The least that one cluster gets, where there is so much: less is enough for few.
const SHARE_MIN: Duration = Duration::from_secs(180);
const HOUR_SECONDS: i64 = 3600;

/// What became of one cluster.
#[derive(Debug)]
pub enum Outcome {
    /// Meanwhile an event has had it verified.
    Settled,
    /// Its restore point was read.
    Read(Assessment),
    /// No time was left for it.
    NotReached,
    /// It couldn't be looked at, or its verdict couldn't be written down.
    Failed(Diagnostic),
}

/// What became of all.
#[derive(Debug, Default)]
pub struct Swept {
    /// The clusters that have their verdict, by name.
    pub verified: Vec<ClusterName>,
    /// The clusters that have none, by name.
    pub left: Vec<ClusterName>,
    /// What was found, also where it is no verdict yet.
    pub assessments: Vec<Assessment>,
    /// What failed.
    pub failures: Vec<(ClusterName, Diagnostic)>,
}

/// Sums up what became of each cluster.
///
/// # Errors
///
/// The first failure, where every cluster that was tried failed: then there is nothing else to report.
pub fn sum_up(outcomes: Vec<(ClusterName, Outcome)>) -> Result<Swept, Diagnostic> {
    let mut swept = Swept::default();
    let mut all_failed = true;
    for (name, outcome) in outcomes {
        all_failed &= matches!(outcome, Outcome::Failed(_) | Outcome::NotReached);
        match outcome {
            Outcome::Settled => {}
            Outcome::Read(assessment) => {
                let names = if assessment.is_unfinished() {
                    &mut swept.left
                } else {
                    &mut swept.verified
                };
                names.push(name);
                swept.assessments.push(assessment);
            }
            Outcome::NotReached => swept.left.push(name),
            Outcome::Failed(error) => {
                swept.left.push(name.clone());
                swept.failures.push((name, error));
            }
        }
    }
    swept.verified.sort();
    swept.left.sort();
    if all_failed && !swept.failures.is_empty() {
        let left: Vec<_> = swept.left.iter().map(ClusterName::as_str).collect();
        let more = format!("no verdict could be given on {}", left.join(", "));
        let (_, error) = swept.failures.swap_remove(0);
        return Err(error.with(&more));
    }
    Ok(swept)
}

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
    use etcd_backup_core::diagnostic::ErrorType;
    use etcd_backup_core::verdict::Verdict;

    use super::*;

    fn failed(message: &str) -> Outcome {
        Outcome::Failed(Diagnostic::new(ErrorType::AwsError, message))
    }

    fn read() -> Outcome {
        Outcome::Read(Assessment {
            cluster: None,
            run: None,
            is_alone: false,
            verdict: Verdict::Restorable,
            etcd_clusters: Vec::new(),
        })
    }

    fn summed_up(outcomes: Vec<Outcome>) -> Result<Swept, Diagnostic> {
        let names = ["c", "a", "b"].map(ClusterName::from);
        sum_up(names.into_iter().zip(outcomes).collect())
    }

    #[test]
    fn a_cluster_that_fails_does_not_stop_the_sweep() {
        let names =
            |names: &[ClusterName]| names.iter().map(ClusterName::as_str).collect::<String>();
        for (outcomes, verified, left, failures) in [
            (vec![read(), read()], "ac", "", 0),
            (vec![failed("no"), read()], "a", "c", 1),
            (vec![read(), failed("no")], "c", "a", 1),
            (vec![failed("no"), read(), failed("no")], "a", "bc", 2),
            (vec![failed("no"), Outcome::Settled], "", "c", 1),
            (
                vec![read(), failed("no"), Outcome::NotReached],
                "c",
                "ab",
                1,
            ),
            (vec![Outcome::NotReached], "", "c", 0),
            (vec![], "", "", 0),
        ] {
            let what = format!("{outcomes:?}");
            let swept = summed_up(outcomes).unwrap();
            assert_eq!(names(&swept.verified), verified, "{what}");
            assert_eq!(names(&swept.left), left, "{what}");
            assert_eq!(swept.failures.len(), failures, "{what}");
        }
    }

    #[test]
    fn a_sweep_fails_where_every_cluster_that_it_tried_does() {
        for (outcomes, left) in [
            (vec![failed("no")], "c"),
            (vec![failed("no"), failed("neither")], "a, c"),
            (vec![failed("no"), Outcome::NotReached], "a, c"),
        ] {
            let error = summed_up(outcomes).unwrap_err();
            assert_eq!(
                error.message,
                format!("no; no verdict could be given on {left}")
            );
        }
    }

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
    fn a_cluster_gets_its_share_of_the_time_and_at_least_enough_for_one() {
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
