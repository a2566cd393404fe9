//! Sets of members whose files can be damaged.

use etcd_reader::judge::{MemberReport, SetReport, Verdict, judge_set};
use etcd_reader::member::{Member, MemberContext, read};

use super::memory::MemoryFiles;
use crate::images;

/// Seeded random numbers: splitmix64.
pub struct Chance(pub u64);

#[allow(dead_code)]
impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A set as it was found, whole.
#[allow(dead_code)]
pub struct Set {
    pub name: String,
    pub files: Vec<MemoryFiles>,
    pub members: Vec<Member>,
    pub report: SetReport,
}

pub fn context(member: &str) -> MemberContext {
    MemberContext {
        etcd_cluster: "main".to_owned(),
        member: member.to_owned(),
        ..MemberContext::default()
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];

#[allow(dead_code)]
impl Set {
    pub fn load(name: &str) -> Self {
        let files: Vec<_> = images::volumes(name)
            .into_values()
            .map(MemoryFiles::of)
            .collect();
        Self::new(name, files)
    }

    pub fn new(name: &str, files: Vec<MemoryFiles>) -> Self {
        let members: Vec<_> = files
            .iter()
            .zip(NAMES)
            .map(|(files, name)| read(files, &context(name)))
            .collect();
        let report = judge_set(&members);
        assert_eq!(report.verdict, Verdict::Restorable, "{name} {report:?}");
        Self {
            name: name.to_owned(),
            files,
            members,
            report,
        }
    }

    /// Judges the set with the files of one member replaced.
    pub fn with(&self, at: usize, files: &MemoryFiles) -> SetReport {
        let mut members = self.members.clone();
        members[at] = read(files, &context(NAMES[at]));
        judge_set(&members)
    }

    /// Asserts that one member is damaged, as its problems say, and that the others go on without it.
    pub fn assert_one_damaged(&self, at: usize, files: &MemoryFiles, what: &str) -> MemberReport {
        let report = self.with(at, files);
        let member = report.members[at].clone();
        assert_eq!(
            member.verdict,
            Verdict::Damaged,
            "{} {what}: {report:#?}",
            self.name
        );
        assert!(!member.problems.is_empty());
        let expected = if self.members.len() == 1 {
            Verdict::Damaged
        } else {
            Verdict::Degraded
        };
        assert_eq!(
            report.verdict, expected,
            "{} {what}: {report:#?}",
            self.name
        );
        let others = report
            .members
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        assert!(
            others
                .into_iter()
                .all(|(_, other)| other.verdict == Verdict::Restorable)
        );
        member
    }

    /// Asserts that nothing changes but what the function tells to pass over.
    pub fn assert_unchanged(&self, at: usize, files: &MemoryFiles, what: &str) {
        let report = self.with(at, files);
        assert_eq!(
            report.verdict,
            Verdict::Restorable,
            "{} {what}: {report:#?}",
            self.name
        );
    }
}
