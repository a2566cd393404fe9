//! When a verdict is final, and what is said where it can't be written down.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_backup_core::aws::AwsError;
use etcd_backup_core::discovery::Identity;
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::verdict::{self, Verdict};
use jiff::Timestamp;
use verify::collect::members::{ReadMember, Target};
use verify::collect::snapshot_volume::{GaveUp, Traffic};
use verify::decide::assessment::Assessment;
use verify::decide::choice::{Chosen, alone, by_hand};
use verify::decide::earlier::Earlier;
use verify::decide::tags;
use verify::show::metrics;

use crate::world::{RUN, Volume, cluster, id, key, name, run, settings};

fn chosen(snapshots: &[Snapshot]) -> Chosen {
    let members = snapshots.iter().zip(["a", "b", "c"]);
    Chosen {
        cluster: Some(name()),
        run: Some(settings().schedule.run_of(RUN.parse().unwrap())),
        targets: members
            .map(|(snapshot, member)| Target {
                key: Some(key(member)),
                snapshot: snapshot.clone(),
            })
            .collect(),
        earlier: BTreeMap::new(),
        whole: ["main".into()].into(),
        is_alone: false,
    }
}

/// Members of which some are blank, and the others couldn't be read.
fn read(blank: &[&str], gave_up: GaveUp) -> Vec<ReadMember> {
    let member = |member: &str| {
        let is_readable = blank.contains(&member);
        ReadMember {
            key: Some(key(member)),
            snapshot_id: id(member),
            member: Volume { is_readable }.member(member),
            traffic: Traffic::default(),
            gave_up: (!is_readable).then_some(gave_up),
        }
    };
    ["a", "b", "c"].map(member).into()
}

#[test]
fn damage_is_final_only_where_no_quorum_is_left_whatever_the_others_are() {
    let cases: [(&[&str], _, _, _); 6] = [
        (&["a", "b", "c"], GaveUp::ThisTime, Verdict::Damaged, true),
        (&["a", "b"], GaveUp::ThisTime, Verdict::Damaged, true),
        (&["a"], GaveUp::ThisTime, Verdict::Unsupported, false),
        (&[], GaveUp::ThisTime, Verdict::Unsupported, false),
        (&["a"], GaveUp::ForGood, Verdict::Unsupported, true),
        (&["a", "b"], GaveUp::ForGood, Verdict::Damaged, true),
    ];
    for (blank, gave_up, verdict, stands) in cases {
        let assessment = Assessment::new(&chosen(&run()), read(blank, gave_up));
        let main = &assessment.etcd_clusters[0];
        assert_eq!(
            (main.verdict, main.stands),
            (verdict, stands),
            "{blank:?} {gave_up:?}"
        );
        assert_eq!(main.is_unfinished, !stands);
        // Only what stands is a restore point that was verified.
        let line = metrics::line(&assessment, Timestamp::UNIX_EPOCH, Duration::ZERO);
        let line = line.unwrap().to_string();
        assert_eq!(line.contains("RestorePointsVerified"), stands, "{line}");
        assert!(line.contains("BlocksRead"), "{line}");
    }
}

#[test]
fn a_member_is_judged_by_itself_only_where_its_snapshot_alone_is_asked_for() {
    let snapshots = run();
    let (first, there) = (&snapshots[0], cluster(&snapshots));
    let schedule = settings().schedule;
    let found = BTreeMap::from([(first.id.clone(), first.clone())]);
    let named = BTreeMap::from([(key("a"), first.id.clone())]);
    let named = by_hand(&name(), &there, &schedule, &found, &named).unwrap();
    let identity = Identity::of(&first.tags).unwrap().unwrap();
    let by_itself = alone(first.clone(), Some(&identity), &there, &schedule);
    for (chosen, is_alone) in [(named, false), (by_itself, true)] {
        let members = read(&["a"], GaveUp::ThisTime).into_iter().take(1);
        let assessment = Assessment::new(&chosen, members.collect());
        assert_eq!(assessment.is_alone, is_alone);
        // A set has problems of its own, such as that there is no quorum; a member alone has none but its own.
        let main = &assessment.etcd_clusters[0].report;
        assert_eq!(main.problems.is_empty(), is_alone, "{main:#?}");
        assert!(!main.members[0].problems.is_empty(), "{main:#?}");
    }
}

/// Whether a verdict counts as written, the warnings, and whether it is a failure, where the snapshot of `c` is
/// as given and writing on it ended with an error code.
fn written(change: impl Fn(&mut Snapshot), code: Option<&str>) -> (bool, Vec<String>, bool) {
    let mut snapshots = run();
    change(&mut snapshots[2]);
    let chosen = chosen(&snapshots);
    let mut assessment = Assessment::new(&chosen, read(&["a", "b", "c"], GaveUp::ThisTime));
    let results = tags::of(&chosen, &assessment).into_iter().map(|of| {
        let is_last = of.snapshot_id == id("c");
        let error = code.filter(|_| is_last).map(|code| AwsError {
            operation: "ec2:CreateTags",
            code: Some(code.to_owned()),
            message: "no".to_owned(),
            request_id: None,
            certainly_refused: true,
        });
        (of, error.map_or(Ok(()), Err))
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results.len(), 3);
    let failed = tags::note(&mut assessment, &chosen, &results).is_err();
    let main = &assessment.etcd_clusters[0];
    (main.is_tagged, main.report.warnings.clone(), failed)
}

#[test]
fn a_verdict_counts_as_written_where_all_snapshots_carry_it() {
    let as_it_is = |_: &mut Snapshot| ();
    assert_eq!(written(as_it_is, None), (true, vec![], false));
    // Another time it may be written.
    for code in ["RequestLimitExceeded", "UnauthorizedOperation"] {
        assert_eq!(
            written(as_it_is, Some(code)),
            (false, vec![], true),
            "{code}"
        );
    }
    let full = |of: &mut Snapshot| {
        let more = 50 - of.tags.len();
        of.tags
            .extend((0..more).map(|at| (format!("tag-{at}"), String::new())));
    };
    let (tagged, warnings, failed) = written(full, None);
    assert!(
        !tagged && !failed && warnings[0].contains("snap-c has 50 tags"),
        "{warnings:?}"
    );
    let bare = |of: &mut Snapshot| {
        of.tags.remove("KubernetesCluster");
    };
    let (tagged, warnings, failed) = written(bare, Some("UnauthorizedOperation"));
    assert!(
        !tagged && !failed && warnings[0].contains("has no tag KubernetesCluster"),
        "{warnings:?}"
    );
    assert_eq!(
        written(bare, Some("RequestLimitExceeded")),
        (false, vec![], true)
    );
    // Where it may be written all the same, it is.
    assert_eq!(written(bare, None), (true, vec![], false));
}

/// A run's snapshots, on which these tags stood, with those that verify wrote: all members are blank, so that there
/// is nothing to say but the verdict. Of `a`, objects were counted and none was found, or they weren't counted.
fn tagged(there: &[(&str, &str)], is_counted: bool) -> Vec<Snapshot> {
    let mut snapshots = run();
    for of in &mut snapshots {
        let there = there.iter();
        of.tags
            .extend(there.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    }
    let chosen = chosen(&snapshots);
    let mut assessment = Assessment::new(&chosen, read(&["a", "b", "c"], GaveUp::ThisTime));
    let members = &mut assessment.etcd_clusters[0].report.members;
    members[0].objects = is_counted.then(BTreeMap::new);
    for written in tags::of(&chosen, &assessment) {
        let mut snapshots = snapshots.iter_mut();
        let of = snapshots.find(|of| of.id == written.snapshot_id).unwrap();
        of.tags.extend(written.tags);
    }
    snapshots
}

#[test]
fn nothing_of_an_earlier_verdict_stands_beside_a_later_one() {
    // On the snapshot itself, or on a volume from which they were copied.
    let of_earlier = [
        (verdict::VERIFIED, "restorable"),
        (verdict::VERIFIED_SNAPSHOT, "snap-0"),
        (verdict::START_FIRST, "1"),
        (verdict::VERIFIED_REVISION, "5543"),
        (verdict::CLUSTER_ID, "927826f66f2801c8"),
        (verdict::OBJECTS, "nodes=3 pods=412"),
    ];
    for is_counted in [false, true] {
        for of in tagged(&of_earlier, is_counted) {
            assert_eq!(Verdict::of(&of), Some(Verdict::Damaged), "{of:?}");
            assert_eq!(verdict::revision(&of), None, "{of:?}");
            assert!(!verdict::starts_first(&of), "{of:?}");
            for (key, value) in of_earlier {
                assert_ne!(of.tags[key], value, "{key}");
            }
        }
        // Where nothing stood, nothing empty is written.
        for of in tagged(&[], is_counted) {
            assert_eq!(Verdict::of(&of), Some(Verdict::Damaged), "{of:?}");
            assert!(of.tags.values().all(|value| !value.is_empty()), "{of:?}");
        }
    }
}

#[test]
fn an_empty_tag_of_an_earlier_verdict_is_not_compared() {
    let mut snapshots = run();
    let of = &mut snapshots[0];
    of.tags.extend([
        (verdict::VERIFIED.to_owned(), "restorable".to_owned()),
        (verdict::VERIFIED_REVISION.to_owned(), String::new()),
        (verdict::CLUSTER_ID.to_owned(), String::new()),
        (verdict::OBJECTS.to_owned(), String::new()),
    ]);
    let earlier = Earlier::of(snapshots.iter(), "2026-11-23T06:03:00Z".parse().unwrap());
    let earlier = earlier.unwrap();
    assert_eq!(
        (earlier.revision, earlier.cluster_id, earlier.objects),
        (None, None, BTreeMap::new())
    );
}
