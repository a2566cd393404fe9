//! Raft snapshots of real members, broken, missing, or ahead of the database: etcd gets over most of it.

use crate::support;

use etcd_reader::judge::Verdict;
use support::memory::MemoryFiles;
use support::sets::{Chance, Set};

fn snapshots(files: &MemoryFiles) -> Vec<String> {
    let mut paths: Vec<_> = files
        .paths()
        .filter(|path| path.ends_with(".snap"))
        .cloned()
        .collect();
    paths.sort();
    paths
}

#[test]
fn a_broken_newest_snapshot_is_a_warning_where_etcd_reads_it() {
    for (name, read) in [
        ("etcd-3.5.30-b", true),
        ("etcd-3.6.14-b", true),
        ("etcd-3.7.1-b", false),
    ] {
        let set = Set::load(name);
        for at in 0..3 {
            let mut files = set.files[at].clone();
            let newest = snapshots(&files).pop().unwrap();
            let mut chance = Chance(at as u64);
            let byte = chance.below(files.contents(&newest).size_bytes as usize);
            files.flip(&newest, byte, chance.below(8) as u32);
            let report = set.with(at, &files);
            assert_eq!(report.verdict, Verdict::Restorable, "{name} {report:#?}");
            let warned = report.members[at]
                .warnings
                .iter()
                .any(|warning| warning.contains("is broken"));
            assert_eq!(warned, read, "{name} {report:#?}");
            assert_eq!(report.revision, set.report.revision);
        }
    }
}

#[test]
fn no_snapshot_is_needed_where_the_log_is_there_from_its_beginning() {
    for name in ["etcd-3.5.30-b", "etcd-3.6.14-b", "etcd-3.7.1-b"] {
        let set = Set::load(name);
        for at in 0..3 {
            let mut files = set.files[at].clone();
            for path in snapshots(&files) {
                files.remove(&path);
            }
            assert_eq!(set.with(at, &files), set.report, "{name}");
        }
    }
}

#[test]
fn a_log_that_begins_later_needs_its_snapshot() {
    let set = Set::load("etcd-3.5.30-b");
    let mut files = set.files[0].clone();
    let log = files.path("/0000000000000000-0000000000000000.wal");
    let bytes = files.contents(&log).bytes.to_vec();
    files.remove(&log);
    // As if etcd had removed the segments before, but for the contents, which reach further back.
    files.put(
        &log.replace("-0000000000000000.wal", "-0000000000002000.wal"),
        bytes,
    );
    assert_eq!(set.with(0, &files).members[0].verdict, Verdict::Restorable);
    for path in snapshots(&files) {
        files.remove(&path);
    }
    let member = set.assert_one_damaged(0, &files, "no snapshot");
    let problem = &member.problems[0];
    assert!(
        problem.contains("begins at index 8192") && problem.contains("--skip-hash-check"),
        "{problem}"
    );
}

#[test]
fn a_database_behind_the_snapshot_needs_the_one_that_the_leader_sent() {
    // The same cluster, some seconds apart.
    let (older, newer) = (Set::load("etcd-3.7.1-a"), Set::load("etcd-3.7.1-b"));
    for at in 0..3 {
        let mut files = newer.files[at].clone();
        let path = files.path("/member/snap/db");
        let sent = files.contents(&path).bytes.to_vec();
        let behind = older.files[at].contents(&path).bytes.to_vec();
        files.put(&path, behind);
        let member = newer.assert_one_damaged(at, &files, "behind the snapshot");
        let problem = &member.problems[0];
        let (_, index) = problem.split_once("raft snapshot (index ").unwrap();
        let index: u64 = index.split(')').next().unwrap().parse().unwrap();
        assert!(
            problem.contains(&format!("{index:016x}.snap.db")),
            "{problem}"
        );
        files.put(
            &path.replace("/db", &format!("/{index:016x}.snap.db")),
            sent,
        );
        let report = newer.with(at, &files);
        assert_eq!(report.verdict, Verdict::Restorable, "{report:#?}");
        assert_eq!(
            report.members[at].revision,
            newer.report.members[at].revision
        );
        files.remove(&path);
        newer.assert_one_damaged(at, &files, "no database beside the one sent");
    }
}
