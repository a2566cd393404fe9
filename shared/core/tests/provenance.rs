//! Who made a snapshot: a clean one with one thing changed, and random accounts in which strangers'
//! backups carry whatever ours do.

mod world;

use etcd_backup_core::fleet::{Fleet, snapshot_filters};
use etcd_backup_core::provenance::{Maker, Makers};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::snapshot::{DLM_POLICY_ID, DLM_SCHEDULE_NAME, Snapshot};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use world::{OUR_POLICY, OUR_SCHEDULE, at, discovery_tags, policy, policy_ids, settings};

const ANOTHER: &str = "policy-of-another-team";
const OTHER_SCHEDULE: &str = "Weekly";
const BACKUP: &str = "aws:backup:source-resource";
/// The time of a run of ours.
const RUN: &str = "2026-11-22T06:00:00Z";

fn makers(settings: &Settings) -> Makers {
    let existing = policy_ids(&[OUR_POLICY, ANOTHER]);
    let ours = policy(OUR_POLICY, &[OTHER_SCHEDULE, OUR_SCHEDULE]);
    Makers::new(&existing, &[ours], settings)
}

/// Our snapshot after some tags were set (or, without a value, taken off), started so many minutes
/// after the run.
fn snapshot(changes: &[(&str, Option<&str>)], minutes: i64) -> Snapshot {
    let started = at(RUN) + SignedDuration::from_mins(minutes);
    let mut snapshot = world::snapshot("snap-1", "vol-1", &discovery_tags("main/a", "a"), started);
    for (key, value) in changes {
        match value {
            Some(value) => snapshot.tags.insert((*key).to_owned(), (*value).to_owned()),
            None => snapshot.tags.remove(key),
        };
    }
    snapshot
}

fn maker(changes: &[(&str, Option<&str>)], minutes: i64) -> Maker {
    makers(&settings(&[])).maker(&snapshot(changes, minutes))
}

#[test]
fn what_our_schedule_made_is_ours_with_or_without_the_tags_that_it_adds() {
    assert_eq!(maker(&[], 4), Maker::OurSchedule);
    assert_eq!(maker(&[], 23 * 60), Maker::OurSchedule);
    assert_eq!(maker(&[("SnapshotCreator", None)], 4), Maker::OurSchedule);
}

#[test]
fn what_another_existing_policy_made_is_a_stranger_whatever_it_carries() {
    let by_another = (DLM_POLICY_ID, Some(ANOTHER));
    assert_eq!(maker(&[by_another], 4), Maker::Stranger);
    let other_schedule = (DLM_SCHEDULE_NAME, Some("Hourly"));
    assert_eq!(maker(&[by_another, other_schedule], 4), Maker::Stranger);
}

#[test]
fn a_policy_that_is_gone_is_ours_by_schedule_or_by_all_tags_added() {
    let by_gone = (DLM_POLICY_ID, Some("policy-gone"));
    let renamed = (DLM_SCHEDULE_NAME, Some("Hourly"));
    let untagged = ("SnapshotCreator", None);
    assert_eq!(maker(&[by_gone, untagged], 4), Maker::FormerPolicy);
    assert_eq!(maker(&[by_gone, renamed], 4), Maker::FormerPolicy);
    assert_eq!(maker(&[by_gone, renamed, untagged], 4), Maker::Stranger);
}

#[test]
fn another_schedule_of_our_policy_counts_only_close_to_a_run_of_ours() {
    let other = (DLM_SCHEDULE_NAME, Some(OTHER_SCHEDULE));
    assert_eq!(maker(&[other], 0), Maker::ScheduleBesideOurs);
    assert_eq!(maker(&[other], 90), Maker::ScheduleBesideOurs);
    assert_eq!(maker(&[other], 91), Maker::Stranger);
    assert_eq!(maker(&[other], -1), Maker::Stranger);
}

#[test]
fn a_schedule_that_our_policy_no_longer_has_was_ours_though_it_added_no_tag() {
    let settings = settings(&[("TAGS_TO_ADD", "")]);
    let renamed = [
        (DLM_SCHEDULE_NAME, Some("Daily")),
        ("SnapshotCreator", None),
    ];
    let snapshot = snapshot(&renamed, 7 * 60);
    assert_eq!(makers(&settings).maker(&snapshot), Maker::FormerSchedule);
    // And it is listed: the filter doesn't ask for names of schedules, nor for tags added alone.
    let [filter] = &snapshot_filters(&settings)[..] else {
        panic!("more filters than one are joined by and");
    };
    assert!(
        filter
            .values
            .iter()
            .any(|key| snapshot.tags.contains_key(key))
    );
}

#[test]
fn without_a_policys_id_all_tags_added_are_needed_and_no_trace_of_aws_backup() {
    let by_hand = (DLM_POLICY_ID, None);
    let unscheduled = (DLM_SCHEDULE_NAME, None);
    assert_eq!(maker(&[by_hand, unscheduled], 4), Maker::Unnamed);
    assert_eq!(
        maker(&[by_hand, unscheduled, ("SnapshotCreator", None)], 4),
        Maker::Stranger
    );
    let arn = Some("arn:aws:ec2:eu-west-2:123456789012:volume/vol-1");
    assert_eq!(
        maker(&[by_hand, unscheduled, (BACKUP, arn)], 4),
        Maker::Stranger
    );
    let adds_nothing = makers(&settings(&[("TAGS_TO_ADD", "")]));
    let snapshot = snapshot(&[by_hand, unscheduled], 4);
    assert_eq!(adds_nothing.maker(&snapshot), Maker::Stranger);
}

#[test]
fn a_copy_is_nobodys_backup() {
    let mut copy = snapshot(&[], 4);
    let makers = makers(&settings(&[]));
    assert!(makers.manage(&copy));
    copy.volume_id = "vol-ffffffff".into();
    assert!(!makers.manage(&copy));
}

#[test]
fn a_snapshot_whose_tags_name_a_cluster_that_no_volume_knows_goes_with_its_volume() {
    let volume = world::volume(
        "vol-1",
        discovery_tags("main/a", "a"),
        "2026-10-01T00:00:00Z",
    );
    let makers = makers(&settings(&[]));
    let members = |cluster: &str, volumes: Vec<_>| {
        let renamed = [
            ("KubernetesCluster", Some(cluster)),
            ("kubernetes.io/cluster/k8s.mycompany.tld", None),
        ];
        let fleet = Fleet::new(volumes, vec![snapshot(&renamed, 4)], &makers);
        let names = fleet.clusters.iter().filter(|(_, cluster)| {
            let mut members = cluster.members.values();
            members.any(|member| !member.snapshots.is_empty())
        });
        names.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(members("typo.tld", vec![volume.clone()]), [world::CLUSTER]);
    // Gone with its cluster, its own tags are all that is left.
    assert_eq!(members("typo.tld", Vec::new()), ["typo.tld"]);
    // Another cluster's history goes on whichever volume it came from.
    let mut other = world::volume("vol-2", volume.tags.clone(), "2026-10-01T00:00:00Z");
    other
        .tags
        .insert("KubernetesCluster".into(), "other.tld".into());
    assert_eq!(members("other.tld", vec![volume, other]), ["other.tld"]);
}

/// What somebody's backup carries beside the volume's tags.
#[derive(Clone, Debug)]
struct Taken {
    policy: Option<&'static str>,
    schedule: Option<&'static str>,
    adds_ours: bool,
    by_aws_backup: bool,
    minutes: i64,
}

fn taken(
    policies: &'static [Option<&'static str>],
    by_aws_backup: impl Strategy<Value = bool>,
) -> impl Strategy<Value = Taken> {
    let schedules = &[
        None,
        Some(OUR_SCHEDULE),
        Some(OTHER_SCHEDULE),
        Some("Daily"),
    ][..];
    (
        proptest::sample::select(policies),
        proptest::sample::select(schedules),
        any::<bool>(),
        by_aws_backup,
        0..10_000_i64,
    )
        .prop_map(
            |(policy, schedule, adds_ours, by_aws_backup, minutes)| Taken {
                policy,
                schedule,
                adds_ours,
                by_aws_backup,
                minutes,
            },
        )
}

fn strange() -> impl Strategy<Value = Taken> {
    let by_another_policy = taken(&[Some(ANOTHER)], any::<bool>());
    let by_aws_backup = taken(&[None], Just(true));
    prop_oneof![by_another_policy, by_aws_backup]
}

/// What our policy makes, whatever its schedule was called then; not what its other schedule does.
fn ours() -> impl Strategy<Value = Taken> {
    let by_us = taken(&[Some(OUR_POLICY)], Just(false));
    by_us.prop_filter("by our schedule", |taken| {
        taken.schedule != Some(OTHER_SCHEDULE)
    })
}

impl Taken {
    fn snapshot(&self, id: String) -> Snapshot {
        let mut changes = vec![
            (DLM_POLICY_ID, self.policy),
            (DLM_SCHEDULE_NAME, self.schedule),
        ];
        if !self.adds_ours {
            changes.push(("SnapshotCreator", None));
        }
        if self.by_aws_backup {
            changes.push((
                BACKUP,
                Some("arn:aws:ec2:eu-west-2:123456789012:volume/vol-1"),
            ));
        }
        Snapshot {
            id: id.into(),
            ..snapshot(&changes, self.minutes)
        }
    }
}

proptest! {
    #[test]
    fn nothing_strange_is_ever_managed_and_ours_always_is(
        strange in proptest::collection::vec(strange(), 0..20),
        ours in proptest::collection::vec(ours(), 0..20),
        tags_to_add in proptest::sample::select(&["", "SnapshotCreator=DLM", "SnapshotCreator=DLM,team=etcd"][..]),
        has_volume in any::<bool>(),
    ) {
        let settings = settings(&[("TAGS_TO_ADD", tags_to_add)]);
        let of = |prefix: &str, taken: &[Taken]| -> Vec<Snapshot> {
            let each = taken.iter().enumerate();
            each.map(|(index, taken)| taken.snapshot(format!("{prefix}-{index}"))).collect()
        };
        let all = [of("strange", &strange), of("ours", &ours)].concat();
        let volume = world::volume("vol-1", discovery_tags("main/a", "a"), "2026-10-01T00:00:00Z");
        let fleet = Fleet::new(has_volume.then_some(volume).into_iter().collect(), all, &makers(&settings));
        let members = fleet.clusters.values().flat_map(|cluster| cluster.members.values());
        let managed: Vec<_> = members.flat_map(|member| &member.snapshots).collect();
        prop_assert_eq!(managed.len(), ours.len());
        for of_member in &managed {
            prop_assert!(of_member.snapshot.id.as_str().starts_with("ours"));
        }
        let starts: Vec<Timestamp> = managed.iter().map(|of| of.snapshot.started).collect();
        prop_assert!(starts.is_sorted());
    }
}
