//! Databases of real members, damaged in hundreds of ways, each judged as it must be. What is in use and what
//! isn't is said by a second, simple reader.

use crate::support;

use std::sync::OnceLock;

use etcd_reader::judge::Verdict;
use support::damage::{self, Case, Known};
use support::pages::{InUse, PAGE_BYTES, in_use};

const DB: &str = "/member/snap/db";

fn sets() -> &'static [Known<InUse>] {
    static SETS: OnceLock<Vec<Known<InUse>>> = OnceLock::new();
    SETS.get_or_init(|| {
        let names = [
            "etcd-3.5.30-b",
            "etcd-3.6.14-b",
            "etcd-3.7.1-b",
            "quiet-single",
        ];
        Known::load(&names, DB, in_use)
    })
}

fn cases(kind: &str, seed: u64, run: impl FnMut(&mut Case<InUse>) -> bool) {
    damage::cases(kind, sets(), seed, run);
}

impl Case<'_, InUse> {
    fn swap(&mut self, one: usize, other: usize, length: usize) {
        let (first, second) = (
            self.bytes()[one..one + length].to_vec(),
            self.bytes()[other..other + length].to_vec(),
        );
        self.files.overwrite(self.path, one, &second);
        self.files.overwrite(self.path, other, &first);
    }
}

#[test]
fn the_second_reader_sees_what_the_reports_say() {
    for known in sets() {
        for (member, (_, in_use)) in known.set.report.members.iter().zip(&known.files) {
            assert_eq!(member.key_entries, Some(in_use.values.len() as u64));
            let pages: usize = 2 + in_use.pages.iter().map(|page| page.pages).sum::<usize>();
            assert_eq!(member.db_in_use, Some((pages * PAGE_BYTES) as u64));
        }
    }
}

#[test]
fn a_zeroed_page_in_use_is_damage() {
    cases("zeroed pages", 1, |case| {
        let page = case.chance.choose(&case.content.pages).id;
        case.files
            .overwrite(case.path, page * PAGE_BYTES, &[0; PAGE_BYTES]);
        case.assert_damaged(&format!("page {page} zeroed"));
        true
    });
}

#[test]
fn a_page_that_is_not_in_use_may_hold_anything() {
    cases("pages not in use, overwritten", 2, |case| {
        let pages = case.bytes().len() / PAGE_BYTES;
        let page = case.chance.below(pages);
        if page < 2
            || case
                .content
                .pages
                .iter()
                .any(|used| (used.id..used.id + used.pages).contains(&page))
        {
            return false;
        }
        let anything: Vec<_> = (0..PAGE_BYTES).map(|_| case.chance.next() as u8).collect();
        case.files
            .overwrite(case.path, page * PAGE_BYTES, &anything);
        assert_eq!(
            case.known.set.with(case.at, case.files),
            case.known.set.report
        );
        true
    });
}

#[test]
fn swapped_pages_are_damage() {
    cases("swapped pages", 3, |case| {
        let (one, other) = (
            case.chance.choose(&case.content.pages).id,
            case.chance.choose(&case.content.pages).id,
        );
        if one == other {
            return false;
        }
        case.swap(one * PAGE_BYTES, other * PAGE_BYTES, PAGE_BYTES);
        case.assert_damaged(&format!("pages {one} and {other} swapped"));
        true
    });
}

#[test]
fn leaf_pages_that_stand_for_each_other_are_damage() {
    cases("swapped contents of leaf pages", 4, |case| {
        let leaves: Vec<_> = case
            .content
            .pages
            .iter()
            .filter(|page| page.leaf && page.pages == 1 && page.elements > 0)
            .collect();
        let (one, other) = (
            case.chance.choose(&leaves).id,
            case.chance.choose(&leaves).id,
        );
        if one == other {
            return false;
        }
        // As after a write that went astray: the ids in the pages' headers are right.
        case.swap(one * PAGE_BYTES + 8, other * PAGE_BYTES + 8, PAGE_BYTES - 8);
        case.assert_damaged(&format!("contents of pages {one} and {other} swapped"));
        true
    });
}

#[test]
fn a_database_that_is_cut_off_inside_what_is_in_use_is_damage() {
    cases("truncated databases", 5, |case| {
        let end = case
            .content
            .pages
            .iter()
            .map(|page| page.id + page.pages)
            .max()
            .unwrap()
            * PAGE_BYTES;
        let size = case.chance.below(end) as u64;
        case.files.truncate(case.path, size);
        case.assert_damaged(&format!("cut off at {size}"));
        true
    });
}

#[test]
fn a_flipped_bit_in_a_pages_id_or_kind_is_damage() {
    cases("bits flipped in a page's id or kind", 6, |case| {
        let page = case.chance.choose(&case.content.pages).id;
        let byte = case.chance.below(10);
        case.files.flip(
            case.path,
            page * PAGE_BYTES + byte,
            case.chance.below(8) as u32,
        );
        case.assert_damaged(&format!("page {page} byte {byte} flipped"));
        true
    });
}

#[test]
fn a_flipped_bit_in_one_meta_page_is_a_warning_and_in_both_damage() {
    cases("bits flipped in one meta page, then in both", 7, |case| {
        // The header of a meta page is not looked at.
        let first = case.chance.below(2);
        for page in [first, 1 - first] {
            let byte = page * PAGE_BYTES + 16 + case.chance.below(64);
            case.files
                .flip(case.path, byte, case.chance.below(8) as u32);
            if page == first {
                let member = case.known.set.with(case.at, case.files).members[case.at].clone();
                // The older meta page may be of before the raft snapshot, for which etcd then misses a database.
                let behind = member
                    .problems
                    .iter()
                    .any(|problem| problem.contains("is behind the raft snapshot"));
                let expected = if behind {
                    Verdict::Damaged
                } else {
                    Verdict::Restorable
                };
                assert_eq!(member.verdict, expected, "{member:#?}");
                assert!(
                    behind || member.warnings[0].contains("meta page"),
                    "{member:#?}"
                );
            }
        }
        case.assert_damaged("both meta pages");
        true
    });
}

#[test]
fn a_flipped_bit_in_a_revision_that_others_hold_too_is_damage() {
    cases("bits flipped in revisions that others hold", 8, |case| {
        if case.known.files.len() == 1 {
            return false;
        }
        // Of three members, all must hold the revision, so that it shows who is alone.
        let cut = case
            .known
            .files
            .iter()
            .map(|(_, other)| other.compaction)
            .max()
            .unwrap();
        let least = case
            .known
            .set
            .report
            .members
            .iter()
            .map(|member| member.revision.unwrap())
            .min()
            .unwrap();
        let held: Vec<_> = case
            .content
            .values
            .iter()
            .filter(|value| value.revision > cut && value.revision <= least)
            .collect();
        if held.is_empty() {
            return false;
        }
        let value = case.chance.choose(&held);
        let byte = value.bytes.start + case.chance.below(value.bytes.len());
        case.files
            .flip(case.path, byte, case.chance.below(8) as u32);
        case.assert_damaged(&format!(
            "revision {} flipped at byte {byte}",
            value.revision
        ));
        true
    });
}

#[test]
fn an_index_that_is_ahead_of_the_data_is_damage() {
    cases("indexes ahead of the data", 11, |case| {
        if case.known.files.len() == 1 {
            return false;
        }
        // As crashes of etcd 3.5.0 to 3.5.2 left it: what lies between is never applied.
        let at = case.content.consistent_index.start;
        let index = u64::from_be_bytes(case.bytes()[at..at + 8].try_into().unwrap());
        let by = 60 + case.chance.below(200) as u64;
        let wrong = index + by;
        case.files.overwrite(case.path, at, &wrong.to_be_bytes());
        let report = case.known.set.with(case.at, case.files);
        // Where only one other shows it, nobody can tell which of both is wrong.
        let verdicts = (report.members[case.at].verdict, report.verdict);
        assert!(
            verdicts.0 == Verdict::Damaged && verdicts.1 >= Verdict::Degraded,
            "index {wrong} instead of {index}: {report:#?}"
        );
        true
    });
}

#[test]
fn an_element_that_points_elsewhere_is_damage() {
    cases("elements that point elsewhere", 9, |case| {
        let filled: Vec<_> = case
            .content
            .pages
            .iter()
            .filter(|page| page.elements > 1)
            .collect();
        let page = case.chance.choose(&filled);
        let element = page.id * PAGE_BYTES + 16 + 16 * case.chance.below(page.elements);
        // A position or a length of gigabytes.
        let byte = element
            + if page.leaf {
                *case.chance.choose(&[7, 11, 15])
            } else {
                *case.chance.choose(&[3, 7])
            };
        case.files
            .flip(case.path, byte, 4 + case.chance.below(4) as u32);
        case.assert_damaged(&format!("page {} byte {byte} flipped", page.id));
        true
    });
}

#[test]
fn a_branch_that_leads_to_another_page_is_damage() {
    cases("branches that lead to another page", 10, |case| {
        let is_leaf = |id: u64| {
            case.content
                .pages
                .iter()
                .any(|page| page.id as u64 == id && page.leaf)
        };
        let leads_to =
            |child: usize| u64::from_le_bytes(case.bytes()[child..child + 8].try_into().unwrap());
        // A branch that leads past a branch to one of its leaves would be a sound tree that lacks data.
        let branches = case.content.pages.iter().filter(|page| !page.leaf);
        let children = branches.flat_map(|page| {
            (0..page.elements).map(|element| page.id * PAGE_BYTES + 16 + 16 * element + 8)
        });
        let children: Vec<_> = children.filter(|child| is_leaf(leads_to(*child))).collect();
        let child = *case.chance.choose(&children);
        let to = case.chance.choose(&case.content.pages).id as u64;
        if to == u64::from_le_bytes(case.bytes()[child..child + 8].try_into().unwrap()) {
            return false;
        }
        case.files.overwrite(case.path, child, &to.to_le_bytes());
        case.assert_damaged(&format!("byte {child} leads to page {to}"));
        true
    });
}

#[test]
fn a_missing_database_is_damage() {
    for known in sets() {
        for (at, (path, _)) in known.files.iter().enumerate() {
            let mut files = known.set.files[at].clone();
            files.remove(path);
            known.set.assert_one_damaged(at, &files, "no database");
        }
    }
}
