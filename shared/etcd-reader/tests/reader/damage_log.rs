//! Write-ahead logs of real members, damaged in hundreds of ways: what etcd repairs is no damage, all else is.
//! Where records lie is said by a second, simple reader.

use crate::support;

use std::sync::OnceLock;

use etcd_reader::judge::Verdict;
use support::damage::{self, Case, Known};
use support::memory::MemoryFiles;
use support::records::{CRC, ENTRY, Record, STATE, Writer, entry_index, records};

const WAL: &str = "/0000000000000000-0000000000000000.wal";
const SECTOR_BYTES: usize = 512;

fn sets() -> &'static [Known<Vec<Record>>] {
    static SETS: OnceLock<Vec<Known<Vec<Record>>>> = OnceLock::new();
    SETS.get_or_init(|| {
        let names = [
            "etcd-3.5.30-b",
            "etcd-3.6.14-b",
            "etcd-3.7.1-a",
            "etcd-3.7.1-b",
        ];
        Known::load(&names, WAL, records)
    })
}

fn cases(kind: &str, seed: u64, run: impl FnMut(&mut Case<Vec<Record>>) -> bool) {
    damage::cases(kind, sets(), seed, run);
}

impl Case<'_, Vec<Record>> {
    fn zero(&mut self, from: usize, to: usize) {
        self.files.overwrite(self.path, from, &vec![0; to - from]);
    }

    /// The last entry's index before a record.
    fn last_index_before(&self, record: usize) -> Option<u64> {
        let entries = self.content[..record].iter().rev();
        entries
            .filter(|record| record.kind == ENTRY)
            .map(|record| entry_index(&self.bytes()[record.data.clone()]))
            .next()
    }

    /// Asserts that etcd would go on without a record and what follows. Its database may then be ahead of every
    /// log, its own among them: nobody can bring such a member forward.
    fn assert_ends_before(&self, record: usize, what: &str) {
        let report = self.known.set.with(self.at, self.files);
        let member = &report.members[self.at];
        assert_eq!(member.wal_last, self.last_index_before(record), "{what}");
        let longest = report
            .members
            .iter()
            .map(|member| member.wal_last)
            .max()
            .unwrap();
        let ahead = member.consistent_index > longest;
        let (alone, together) = if ahead {
            (Verdict::Damaged, Verdict::Degraded)
        } else {
            (Verdict::Restorable, Verdict::Restorable)
        };
        assert_eq!(
            (member.verdict, report.verdict),
            (alone, together),
            "{} {what}: {report:#?}",
            self.known.set.name
        );
    }

    /// A record in the second half of the log, so that what is before it is enough to start from.
    fn late_record(&mut self) -> usize {
        self.content.len() / 2 + self.chance.below(self.content.len() / 2)
    }
}

#[test]
fn a_tail_torn_at_a_sector_is_what_etcd_repairs() {
    cases("tails torn at a sector", 1, |case| {
        // From the start of a sector inside a record on, nothing was written.
        let index = case.late_record();
        let record = &case.content[index];
        let sector = record.end / SECTOR_BYTES * SECTOR_BYTES;
        if sector < record.data.start || sector >= record.end {
            return false;
        }
        case.zero(sector, case.bytes().len());
        case.assert_ends_before(index, &format!("torn at {sector}"));
        true
    });
}

#[test]
fn zeroed_sectors_in_the_midst_of_the_last_segment_lose_what_follows() {
    cases("zeroed sectors in the midst", 2, |case| {
        let index = case.late_record();
        let record = &case.content[index];
        let sector = (record.data.start / SECTOR_BYTES + 1) * SECTOR_BYTES;
        if sector + SECTOR_BYTES > record.end {
            return false;
        }
        case.zero(sector, sector + SECTOR_BYTES);
        case.assert_ends_before(index, &format!("sector {sector} zeroed"));
        true
    });
}

#[test]
fn a_tail_torn_inside_a_sector_is_damage() {
    cases("tails torn inside a sector", 3, |case| {
        let index = case.late_record();
        let record = &case.content[index];
        // The whole record lies in one sector, and its data's last bytes are lost.
        let from = record.data.start + record.data.len() / 2;
        let lost = case.bytes()[from..record.data.end]
            .iter()
            .any(|&byte| byte != 0);
        if record.at / SECTOR_BYTES != (record.end - 1) / SECTOR_BYTES
            || record.data.is_empty()
            || !lost
        {
            return false;
        }
        case.zero(from, case.bytes().len());
        case.assert_damaged(&format!("torn at {from}"));
        true
    });
}

#[test]
fn a_flipped_bit_in_a_records_data_is_damage() {
    cases("bits flipped in a record's data", 4, |case| {
        let record = case.chance.choose(case.content).clone();
        if record.data.is_empty() {
            return false;
        }
        let byte = record.data.start + case.chance.below(record.data.len());
        case.files
            .flip(case.path, byte, case.chance.below(8) as u32);
        case.assert_damaged(&format!("byte {byte} flipped"));
        true
    });
}

#[test]
fn a_zeroed_record_ends_the_log() {
    cases("zeroed records", 5, |case| {
        let index = case.late_record();
        let record = case.content[index].clone();
        case.zero(record.at, record.end);
        case.assert_ends_before(index, &format!("record at {} zeroed", record.at));
        true
    });
}

#[test]
fn a_log_that_lost_its_beginning_is_damage() {
    cases("zeroed beginnings", 6, |case| {
        let end = case.content[case.chance.below(case.content.len() / 2)].end;
        case.zero(0, end);
        case.assert_damaged(&format!("the first {end} bytes zeroed"));
        true
    });
}

#[test]
fn a_segment_that_is_cut_off_ends_there() {
    cases("truncated segments", 7, |case| {
        let index = case.late_record();
        let record = case.content[index].clone();
        let size = record.at + case.chance.below(record.end - record.at);
        case.files.truncate(case.path, size as u64);
        case.assert_ends_before(index, &format!("cut off at {size}"));
        true
    });
}

/// Writes a member's log anew, as several segments.
fn split(case: &mut Case<Vec<Record>>, segments: usize) -> Vec<String> {
    let bytes = case.bytes().to_vec();
    let cuts: Vec<_> = (1..segments)
        .map(|segment| case.content.len() * segment / segments)
        .collect();
    let directory = case.path.rsplit_once('/').unwrap().0.to_owned();
    let metadata = case
        .content
        .iter()
        .find(|record| record.kind == 1)
        .unwrap()
        .data
        .clone();
    let mut writer = Writer::new();
    let mut written: Vec<String> = Vec::new();
    let mut state: Option<Vec<u8>> = None;
    let (mut next, mut name_index) = (0, 0);
    let mut put = |files: &mut MemoryFiles, bytes: Vec<u8>, index: u64| {
        let path = format!("{directory}/{:016x}-{index:016x}.wal", written.len());
        files.put(&path, bytes);
        written.push(path);
    };
    case.files.remove(case.path);
    for (number, record) in case.content.iter().enumerate() {
        if cuts.contains(&number) {
            let segment = writer.cut();
            put(case.files, segment, name_index);
            name_index = next;
            writer.add(1, &bytes[metadata.clone()]);
            if let Some(state) = &state {
                writer.add(STATE, state);
            }
        }
        if record.kind == CRC {
            continue;
        }
        let data = &bytes[record.data.clone()];
        match record.kind {
            STATE => state = Some(data.to_vec()),
            ENTRY => next = entry_index(data) + 1,
            _ => {}
        }
        writer.add(record.kind, data);
    }
    let mut last = writer.segment;
    last.resize(last.len() + 4096, 0);
    put(case.files, last, name_index);
    written
}

#[test]
fn several_segments_are_read_like_one() {
    cases("sound logs of several segments", 8, |case| {
        let segments = 2 + case.chance.below(5);
        split(case, segments);
        let mut report = case.known.set.with(case.at, case.files);
        // The time is that of the files written here.
        report.members[case.at].written_at = case.known.set.report.members[case.at].written_at;
        let others_warn = report
            .members
            .iter()
            .flat_map(|member| &member.warnings)
            .any(|warning| warning.contains("older"));
        if !others_warn {
            assert_eq!(report, case.known.set.report);
        }
        true
    });
}

#[test]
fn any_damage_in_a_segment_before_the_last_is_damage() {
    cases("damage in a segment before the last", 9, |case| {
        let segments = 2 + case.chance.below(5);
        let paths = split(case, segments);
        let path = case.chance.choose(&paths[..paths.len() - 1]).clone();
        let length = case.files.contents(&path).bytes.len();
        let what = case.chance.below(4);
        match what {
            // A whole sector of zeros: torn, were it the last one.
            0 => {
                let sector = case.chance.below(length / SECTOR_BYTES) * SECTOR_BYTES;
                case.files.overwrite(&path, sector, &[0; SECTOR_BYTES]);
            }
            1 => {
                let record = case
                    .chance
                    .choose(&records(&case.files.contents(&path).bytes))
                    .clone();
                case.files
                    .overwrite(&path, record.at, &vec![0; record.end - record.at]);
            }
            2 => case.files.truncate(&path, case.chance.below(length) as u64),
            _ => case.files.remove(&path),
        }
        // The first segment may go where the raft snapshot is after it, as etcd itself removes old ones.
        if what == 3 && path == paths[0] {
            return false;
        }
        case.assert_damaged(&format!("{path} damaged: {what}"));
        true
    });
}

#[test]
fn a_missing_log_is_damage() {
    for known in sets() {
        for (at, (path, _)) in known.files.iter().enumerate() {
            for gone in [path.as_str(), path.rsplit_once('/').unwrap().0] {
                let mut files = known.set.files[at].clone();
                files.remove(gone);
                let member = known.set.assert_one_damaged(at, &files, "no log");
                assert!(
                    member.problems[0].contains("etcdutl snapshot restore"),
                    "{member:?}"
                );
            }
        }
    }
}
