//! Restore points of fleets made at random: whatever snapshots there are, a complete run has one
//! usable snapshot of each member, and nothing else is complete.

use std::collections::{BTreeMap, BTreeSet};

use etcd_backup_core::Tags;
use etcd_backup_core::fleet::Fleet;
use etcd_backup_core::provenance::Makers;
use etcd_backup_core::restore_point::{History, RunSnapshots};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{Snapshot, SnapshotState};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const CLUSTER: &str = "k8s.mycompany.tld";
const MEMBERS: [(&str, &str); 4] = [
    ("main", "a"),
    ("main", "b"),
    ("events", "a"),
    ("events", "b"),
];

/// One snapshot: of which member, in which run, how many seconds after it, in which state.
type Taken = (usize, i64, i64, SnapshotState);

fn taken() -> impl Strategy<Value = Vec<Taken>> {
    let state = prop_oneof![
        5 => Just(SnapshotState::Completed),
        1 => Just(SnapshotState::Pending),
        1 => Just(SnapshotState::Error),
    ];
    proptest::collection::vec((0..MEMBERS.len(), 0..5_i64, 0..86_400_i64, state), 0..40)
}

fn snapshot(index: usize, (member, run, second, state): Taken) -> Snapshot {
    let (etcd_cluster, member) = MEMBERS[member];
    let first: Timestamp = "2026-11-20T06:00:00Z".parse().unwrap();
    let tags = [
        ("KubernetesCluster".to_owned(), CLUSTER.to_owned()),
        (
            format!("k8s.io/etcd/{etcd_cluster}"),
            format!("{member}/a,b"),
        ),
        ("SnapshotCreator".to_owned(), "DLM".to_owned()),
    ];
    Snapshot {
        id: format!("snap-{index}").as_str().into(),
        volume_id: format!("vol-{etcd_cluster}-{member}").as_str().into(),
        state,
        state_message: None,
        started: first + SignedDuration::from_hours(24 * run) + SignedDuration::from_secs(second),
        completed_after_seconds: None,
        size_gib: 20,
        encrypted: false,
        kms_key_id: None,
        archived: false,
        tags: Tags::from(tags),
    }
}

fn with_runs<T>(taken: &[Taken], read: impl Fn(Vec<RunSnapshots>) -> T) -> T {
    let settings = Settings::from_variables(&|_| None).unwrap();
    let snapshots = taken
        .iter()
        .enumerate()
        .map(|(index, taken)| snapshot(index, *taken))
        .collect();
    let makers = Makers::new([], &[], &settings);
    let fleet = Fleet::new(Vec::new(), snapshots, &makers);
    let etcd_clusters: BTreeSet<_> = ["main", "events"].map(Into::into).into();
    let cluster = fleet.clusters.get(&CLUSTER.into());
    let runs = cluster.map(|cluster| {
        let history = History::new(cluster, Vec::new(), &settings.schedule);
        history.runs(&etcd_clusters)
    });
    read(runs.unwrap_or_default())
}

proptest! {
    #[test]
    fn a_run_is_complete_when_every_member_has_a_completed_snapshot(taken in taken()) {
        let mut usable: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
        let mut seen_of: BTreeSet<&str> = BTreeSet::new();
        for (member, run, _, state) in &taken {
            let of_run = usable.entry(*run).or_default();
            if *state == SnapshotState::Completed {
                of_run.insert(*member);
            }
            seen_of.insert(MEMBERS[*member].0);
        }
        // An etcd cluster of which nothing is known at all has no members to be missed.
        let needed = MEMBERS.iter().filter(|(etcd_cluster, _)| seen_of.contains(etcd_cluster));
        let needed = needed.count();
        let complete = with_runs(&taken, |runs| -> Vec<bool> {
            runs.iter().rev().map(RunSnapshots::is_complete).collect()
        });
        let expected: Vec<bool> = usable.values().map(|of_run| of_run.len() == needed).collect();
        prop_assert_eq!(complete, expected, "each run that left anything is told once");
    }

    #[test]
    fn a_run_holds_its_own_snapshots_newest_run_first(taken in taken()) {
        let settings = Settings::from_variables(&|_| None).unwrap();
        with_runs(&taken, |runs| {
            for pair in runs.windows(2) {
                prop_assert!(pair[0].run > pair[1].run);
            }
            for run in &runs {
                for snapshot in run.snapshots.values() {
                    prop_assert_eq!(settings.schedule.run_of(snapshot.started), run.run);
                }
                let (earliest, latest) = (run.earliest().unwrap(), run.latest().unwrap());
                prop_assert_eq!(run.skew_seconds(), latest.duration_since(earliest).as_secs());
                let lacks = |key| run.snapshots.get(key).is_none_or(|snapshot| !snapshot.is_usable());
                prop_assert!(run.missing.iter().all(lacks));
            }
            Ok(())
        })?;
    }

    #[test]
    fn more_snapshots_never_make_a_complete_run_incomplete(taken in taken(), more in taken()) {
        let complete = |taken: &[Taken]| -> BTreeSet<_> {
            with_runs(taken, |runs| {
                runs.into_iter().filter(RunSnapshots::is_complete).map(|run| run.run).collect()
            })
        };
        let before = complete(&taken);
        let known: BTreeSet<_> = taken.iter().map(|(member, ..)| MEMBERS[*member].0).collect();
        let of_known = more.into_iter().filter(|(member, ..)| known.contains(MEMBERS[*member].0));
        let after = complete(&taken.iter().copied().chain(of_known).collect::<Vec<_>>());
        prop_assert!(before.is_subset(&after));
    }
}
