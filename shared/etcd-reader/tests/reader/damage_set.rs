//! Sets of real members that don't belong together, or whose volumes lost their layout.

use crate::support;

use std::collections::HashMap;
use std::sync::OnceLock;

use etcd_reader::judge::{SetReport, Verdict, judge_set};
use etcd_reader::member::{Member, MemberContext, read};
use support::damage::{CASES, tell};
use support::memory::MemoryFiles;
use support::sets::{Chance, Set, context};

const DAY_SECONDS: i64 = 24 * 3600;
const THREES: [&str; 5] = [
    "etcd-3.5.30-b",
    "etcd-3.6.14-b",
    "etcd-3.7.1-a",
    "etcd-3.7.1-b",
    "two-data-directories",
];

fn sets() -> &'static HashMap<&'static str, Set> {
    static SETS: OnceLock<HashMap<&'static str, Set>> = OnceLock::new();
    SETS.get_or_init(|| {
        THREES
            .into_iter()
            .map(|name| (name, Set::load(name)))
            .collect()
    })
}

fn cases(kind: &str, seed: u64, mut run: impl FnMut(&mut Chance, &Set, usize)) {
    for number in 0..CASES {
        let mut chance = Chance((seed << 32) | number);
        let set = &sets()[*chance.choose(&THREES)];
        let at = chance.below(3);
        run(&mut chance, set, at);
    }
    tell(kind, CASES);
}

fn assert_verdicts(report: &SetReport, together: Verdict, members: [Verdict; 3], what: &str) {
    let verdicts: Vec<_> = report.members.iter().map(|member| member.verdict).collect();
    assert_eq!(
        (report.verdict, &verdicts[..]),
        (together, &members[..]),
        "{what}: {report:#?}"
    );
}

/// Damaged at one place, sound elsewhere.
fn one_damaged(at: usize) -> [Verdict; 3] {
    let mut verdicts = [Verdict::Restorable; 3];
    verdicts[at] = Verdict::Damaged;
    verdicts
}

/// Writes another token into /state, in place of the one there.
fn name_another_directory(files: &mut MemoryFiles, token: &str, other: &str) {
    let state = &files.contents("/state").bytes;
    let length = files.contents("/state").size_bytes as usize;
    let at = state
        .windows(token.len())
        .position(|bytes| bytes == token.as_bytes())
        .unwrap();
    assert_eq!(
        (token.len(), state[at - 1] as usize),
        (other.len(), token.len())
    );
    let mut state = state[..length].to_vec();
    state[at..at + other.len()].copy_from_slice(other.as_bytes());
    files.put("/state", state);
}

#[test]
fn a_member_of_another_cluster_is_left_out() {
    cases("a member of another cluster", 1, |chance, set, at| {
        let strangers: Vec<_> = THREES
            .iter()
            .filter(|name| sets()[**name].report.cluster_id != set.report.cluster_id)
            .collect();
        let stranger = &sets()[**chance.choose(&strangers)];
        let mut members = set.members.clone();
        let files = &stranger.files[chance.below(3)];
        members[at] = read(files, &context(["a", "b", "c"][at]));
        let report = judge_set(&members);
        assert_verdicts(&report, Verdict::Degraded, one_damaged(at), &set.name);
        assert_eq!(report.cluster_id, set.report.cluster_id);
        assert!(report.members[at].problems[0].contains("different generations"));
    });
}

#[test]
fn members_of_three_clusters_make_none() {
    cases("members of three clusters", 2, |chance, _, _| {
        let (one, two, three) = (
            &sets()["etcd-3.5.30-b"],
            &sets()["etcd-3.6.14-b"],
            &sets()[*chance.choose(&["etcd-3.7.1-a", "etcd-3.7.1-b"])],
        );
        let mut from = [one, two, three];
        from.swap(chance.below(3), chance.below(3));
        let members: Vec<_> = from
            .iter()
            .enumerate()
            .map(|(at, set)| read(&set.files[at], &context(["a", "b", "c"][at])))
            .collect();
        assert_verdicts(
            &judge_set(&members),
            Verdict::Damaged,
            [Verdict::Damaged; 3],
            "three clusters",
        );
    });
}

#[test]
fn a_members_data_on_anothers_volume_is_told_from_its_own() {
    cases("a duplicated member", 3, |chance, set, at| {
        let owner = (at + 1 + chance.below(2)) % 3;
        let report = set.with(at, &set.files[owner]);
        assert_verdicts(&report, Verdict::Degraded, one_damaged(at), &set.name);
        assert!(report.members[at].problems[0].contains("the data of one member"));
    });
}

#[test]
fn a_member_that_is_days_older_is_a_warning() {
    cases("a member that is days older", 4, |chance, _, at| {
        // The same cluster some seconds apart, which are told to be days.
        let (older, newer) = (&sets()["etcd-3.7.1-a"], &sets()["etcd-3.7.1-b"]);
        let days = 1 + chance.below(30) as i64;
        let mut files = older.files[at].clone();
        files.shift_times(-days * DAY_SECONDS);
        let report = newer.with(at, &files);
        assert_verdicts(
            &report,
            Verdict::Restorable,
            [Verdict::Restorable; 3],
            "days older",
        );
        assert!(
            report.members[at]
                .warnings
                .iter()
                .any(|warning| warning.contains("older than the newest")),
            "{report:#?}"
        );
        // Whoever is the newest then goes first.
        let newest = report
            .members
            .iter()
            .max_by_key(|member| member.wal_last)
            .unwrap();
        assert_eq!(report.start_first.first(), Some(&newest.member));
    });
}

#[test]
fn a_quorum_that_is_older_lowers_the_revision_that_may_be_reached() {
    let (older, newer) = (&sets()["etcd-3.7.1-a"], &sets()["etcd-3.7.1-b"]);
    for newest in 0..3 {
        let mut members: Vec<Member> = older.members.clone();
        members[newest] = newer.members[newest].clone();
        let report = judge_set(&members);
        assert_verdicts(
            &report,
            Verdict::Restorable,
            [Verdict::Restorable; 3],
            "older quorum",
        );
        assert_eq!(report.start_first[0], report.members[newest].member);
        assert!(report.revision.unwrap().at_least <= older.report.revision.unwrap().at_most);
        assert!(report.revision.unwrap().at_most >= report.members[newest].revision.unwrap());
    }
}

#[test]
fn a_stale_data_directory_made_current_is_of_another_generation() {
    let set = &sets()["two-data-directories"];
    let token = set.report.members[0].cluster_token.clone().unwrap();
    let stale = set.report.members[0].other_data_dirs[0]
        .rsplit_once('/')
        .unwrap()
        .1
        .to_owned();
    cases("a stale data directory made current", 5, |chance, _, at| {
        let mut members = set.members.clone();
        let mut wrong = vec![at];
        if chance.below(2) == 1 {
            wrong.push((at + 1) % 3);
        }
        for &at in &wrong {
            let mut files = set.files[at].clone();
            name_another_directory(&mut files, &token, &stale);
            members[at] = read(&files, &context(["a", "b", "c"][at]));
        }
        let report = judge_set(&members);
        // Whoever are two of three are the cluster; which of both is wanted, only a person knows.
        let odd = if wrong.len() == 1 {
            at
        } else {
            3 - wrong.iter().sum::<usize>()
        };
        assert_verdicts(
            &report,
            Verdict::Degraded,
            one_damaged(odd),
            "stale directory",
        );
        assert!(report.members[odd].problems[0].contains("different generations"));
    });
}

#[test]
fn a_directory_that_is_named_and_missing_is_damage() {
    cases("a named directory that is missing", 6, |chance, set, at| {
        let mut files = set.files[at].clone();
        let token = set.report.members[at].cluster_token.clone().unwrap();
        let mut other = token.clone().into_bytes();
        let byte = chance.below(other.len());
        other[byte] = if other[byte] == b'x' { b'y' } else { b'x' };
        name_another_directory(&mut files, &token, std::str::from_utf8(&other).unwrap());
        let member = set.assert_one_damaged(at, &files, "missing directory");
        assert!(member.problems[0].contains("isn't there"));
    });
}

#[test]
fn a_lost_state_leaves_a_member_degraded_where_its_data_is_told() {
    cases("a lost or torn /state", 7, |chance, set, at| {
        let whole = set.files[at].contents("/state");
        let length = whole.size_bytes as usize;
        let mut files = set.files[at].clone();
        let zeros = vec![0; length];
        let mut torn = whole.bytes[..length].to_vec();
        // The cluster is the first field, so it is cut off inside.
        torn.truncate(4 + chance.below(length - 20));
        match chance.below(3) {
            0 => files.put("/state", zeros),
            1 => files.put("/state", torn),
            _ => files.remove("/state"),
        }
        let report = set.with(at, &files);
        let several = set.name == "two-data-directories";
        let alone = if several {
            Verdict::Unsupported
        } else {
            Verdict::Degraded
        };
        assert_eq!(
            (report.verdict, report.members[at].verdict),
            (Verdict::Degraded, alone),
            "{report:#?}"
        );
        if several {
            let problem = &report.members[at].problems[0];
            assert!(
                problem.contains("there are several") && problem.matches("revision ").count() == 2,
                "{problem}"
            );
        }
    });
}

#[test]
fn an_empty_state_is_one_that_knows_no_cluster() {
    for set in sets().values() {
        let mut files = set.files[0].clone();
        files.put("/state", Vec::new());
        let member = set.assert_one_damaged(0, &files, "empty state");
        assert!(
            member.problems[0].contains("knows no cluster")
                && member.problems[0].contains("also holds /data/"),
            "{member:?}"
        );
    }
}

#[test]
fn a_member_that_the_state_does_not_name_is_damage() {
    let set = &sets()["etcd-3.6.14-b"];
    for (etcd_cluster, member) in [("main", "d"), ("events", "a"), ("main", "etcd-a")] {
        let context = MemberContext {
            etcd_cluster: etcd_cluster.to_owned(),
            member: member.to_owned(),
            ..MemberContext::default()
        };
        let report = etcd_reader::judge::judge_member(&read(&set.files[0], &context));
        assert_eq!(report.verdict, Verdict::Damaged);
        assert!(
            report.problems[0].contains("isn't among them"),
            "{report:?}"
        );
    }
}

/// Has /state ask for another version, in place of the one there.
fn ask_for_version(files: &mut MemoryFiles, there: &str, version: &str) {
    let contents = files.contents("/state");
    let mut state = contents.bytes[..contents.size_bytes as usize].to_vec();
    let is_there = |bytes: &[u8]| bytes == there.as_bytes();
    let at = state.windows(there.len()).position(is_there).unwrap();
    state[at..at + version.len()].copy_from_slice(version.as_bytes());
    files.put("/state", state);
}

#[test]
fn an_etcd_that_is_older_than_the_data_does_not_start() {
    let set = &sets()["etcd-3.7.1-b"];
    let write = |version: &str| {
        let mut files = set.files[0].clone();
        ask_for_version(&mut files, "3.7.1", version);
        set.with(0, &files).members[0].clone()
    };
    let older = write("3.6.9");
    assert_eq!(older.verdict, Verdict::Damaged);
    assert!(older.problems[0].contains("asks for etcd 3.6"), "{older:?}");
    for unknown in ["3.8.0", "4.0.1", "x.y.z"] {
        assert_eq!(write(unknown).verdict, Verdict::Unsupported, "{unknown}");
    }
}

/// What is done to a member's files.
type Loss<'a> = &'a dyn Fn(&mut MemoryFiles);

#[test]
fn data_of_an_etcd_that_is_not_known_is_never_called_damaged() {
    let set = &sets()["etcd-3.7.1-b"];
    let lost = |lose: &dyn Fn(&mut MemoryFiles), version: &str| {
        let members = set.files.iter().zip(["a", "b", "c"]);
        let members = members.into_iter().map(|(files, name)| {
            let mut files = files.clone();
            ask_for_version(&mut files, "3.7.1", version);
            lose(&mut files);
            read(&files, &context(name))
        });
        judge_set(&members.collect::<Vec<_>>())
    };
    let database = |files: &MemoryFiles| files.path("/member/snap/db");
    let log = |files: &MemoryFiles| {
        let mut paths = files.paths().filter(|path| path.ends_with(".wal"));
        paths.next().unwrap().clone()
    };
    let kinds: [(&str, Loss); 5] = [
        ("nothing lost", &|_| ()),
        ("no database", &|files| files.remove(&database(files))),
        ("another database", &|files| {
            files.truncate(&database(files), 8192);
        }),
        ("no log", &|files| {
            let path = log(files);
            files.remove(path.rsplit_once('/').unwrap().0);
        }),
        ("a record of another kind", &|files| {
            let path = log(files);
            files.overwrite(&path, 9, &[6]);
        }),
    ];
    for (what, lose) in kinds {
        // etcd 2 has no database at all.
        for version in ["3.8.0", "2.2.1"] {
            let report = lost(lose, version);
            assert_verdicts(
                &report,
                Verdict::Unsupported,
                [Verdict::Unsupported; 3],
                what,
            );
            assert!(
                report.members[0].problems[0].contains("doesn't know"),
                "{report:#?}"
            );
        }
        let known = lost(lose, "3.7.1");
        assert_eq!(
            known.verdict == Verdict::Damaged,
            what != "nothing lost",
            "{what}: {known:#?}"
        );
    }
}

#[test]
fn two_members_of_three_are_a_quorum_and_one_is_not() {
    for set in sets().values() {
        let two = judge_set(&set.members[..2]);
        assert_eq!(
            (two.verdict, two.quorum, two.voting_members),
            (Verdict::Degraded, Some(2), Some(3)),
            "{two:#?}"
        );
        assert!(
            two.problems[0].ends_with(" 1 of the 3 was not given."),
            "{two:#?}"
        );
        let one = judge_set(&set.members[..1]);
        assert_eq!(
            (one.verdict, one.quorum, one.voting_members),
            (Verdict::Damaged, Some(2), Some(3)),
            "{one:#?}"
        );
        assert!(
            one.problems[0].contains(" 2 of the 3 were not given."),
            "{one:#?}"
        );
        let saved = format!(
            "member a is sound at revision {}",
            one.members[0].revision.unwrap()
        );
        assert!(
            one.problems[0].contains(&saved) && one.problems[0].contains("--skip-hash-check"),
            "{one:#?}"
        );
        assert_eq!(judge_set(&[]).verdict, Verdict::Damaged);
    }
}

#[test]
fn protokubes_layout_is_known() {
    let set = &sets()["etcd-3.5.30-b"];
    let members: Vec<_> = set
        .files
        .iter()
        .zip(["a", "b", "c"])
        .map(|(files, name)| {
            let mut moved = MemoryFiles::default();
            for path in files.paths() {
                if let Some((_, rest)) = path.split_once("/member/")
                    && (rest.contains('.') || rest.ends_with("db"))
                {
                    moved.put(
                        &format!("/var/etcd/data/member/{rest}"),
                        files.contents(path).bytes.to_vec(),
                    );
                }
            }
            read(&moved, &context(name))
        })
        .collect();
    let report = judge_set(&members);
    assert_eq!(report.verdict, Verdict::Restorable, "{report:#?}");
    assert_eq!(
        report.members[0].data_dir.as_deref(),
        Some("/var/etcd/data")
    );
    assert_eq!(report.revision, set.report.revision);
}

#[test]
fn a_blank_volume_and_one_of_etcd_2_are_told_apart() {
    let blank = etcd_reader::judge::judge_member(&read(&MemoryFiles::default(), &context("a")));
    assert_eq!(blank.verdict, Verdict::Damaged);
    assert!(blank.problems[0].contains("no etcd data"));
    let mut old = MemoryFiles::default();
    old.put(
        "/var/etcd/data/member/snap/0000000000000002-0000000000002711.snap",
        vec![1],
    );
    old.put(
        "/var/etcd/data/member/wal/0000000000000000-0000000000000000.wal",
        vec![1],
    );
    let old = etcd_reader::judge::judge_member(&read(&old, &context("a")));
    assert_eq!(old.verdict, Verdict::Unsupported);
    assert!(old.problems[0].contains("etcd 2"));
}

#[test]
fn so_many_data_directories_as_nobody_has_are_not_looked_through() {
    let set = &sets()["etcd-3.6.14-b"];
    for (parent, verdict) in [
        ("/data", Verdict::Unsupported),
        ("/data-trashcan", Verdict::Restorable),
    ] {
        let mut files = set.files[0].clone();
        for number in 0..101 {
            files.put(&format!("{parent}/other-{number}/member/note"), vec![1]);
        }
        let report = &set.with(0, &files).members[0];
        assert_eq!(report.verdict, verdict, "{parent} {report:#?}");
    }
}
