//! The journal's less usual states: a last transaction without its end, a commit block that was cut
//! off, what an older log left behind, and a log that nobody asks for.

use crate::images;
use crate::listing;

use etcd_reader::ReadError;
use etcd_reader::ext4::{Ext4, VolumeFacts};
use etcd_reader::files::Files;
use images::{MemoryVolume, Superblock};

const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];
const COMMIT: u32 = 2;

/// A volume whose journal is taken apart.
struct Journal {
    volume: MemoryVolume,
    block_bytes: usize,
    /// Where the blocks of the journal are that have the journal's header: kind, sequence, offset.
    headers: Vec<(u32, u32, u64)>,
}

impl Journal {
    /// The journal's blocks are found by their headers: the images' files have none that look so.
    fn of(image: &str) -> Self {
        let volume = images::ext4_image(image);
        let block_bytes = 1024 << Superblock::of(&volume).get32(0x18);
        let mut headers = Vec::new();
        for index in volume.written() {
            let start = index * 512 * 1024;
            for offset in (start..start + 512 * 1024).step_by(block_bytes) {
                let header = volume.bytes(offset, 12);
                if header[..4] == MAGIC {
                    let [kind, sequence] = [4, 8].map(|at| be32(&header, at));
                    if (1..=5).contains(&kind) {
                        headers.push((kind, sequence, offset));
                    }
                }
            }
        }
        Self {
            volume,
            block_bytes,
            headers,
        }
    }

    /// The last transaction that is complete, as the reader sees it.
    fn last_sequence(&self) -> u32 {
        let (_, _, superblock) = *self.headers.iter().find(|(kind, ..)| *kind == 4).unwrap();
        let first = be32(&self.volume.bytes(superblock + 0x18, 4), 0);
        let complete = Ext4::open(self.volume.clone())
            .unwrap()
            .facts()
            .recovered_transactions;
        first + u32::try_from(complete).unwrap() - 1
    }

    fn commit_of(&self, sequence: u32) -> u64 {
        let mut commits = self.headers.iter();
        let found = commits.find(|(kind, of, _)| *kind == COMMIT && *of == sequence);
        found
            .unwrap_or_else(|| panic!("no commit block of {sequence}"))
            .2
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn facts(volume: &MemoryVolume) -> VolumeFacts {
    Ext4::open(volume.clone()).unwrap().facts().clone()
}

fn lines(volume: &MemoryVolume) -> Vec<String> {
    listing::listing(&Ext4::open(volume.clone()).unwrap()).unwrap()
}

fn damage(volume: &MemoryVolume) -> String {
    match Ext4::open(volume.clone()) {
        Err(ReadError::Damaged(what)) => what,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was read"),
    }
}

/// What the script that wrote these journals put in them.
#[test]
fn written_transactions_are_recovered() {
    for image in [
        "v0-32bit", "v0-64bit", "v2-32bit", "v2-64bit", "v3-32bit", "v3-64bit",
    ] {
        let ext4 = Ext4::open(images::ext4_image(&format!("written-{image}"))).unwrap();
        let block = |path: &str, nth: usize| {
            let file = ext4.find(path).unwrap().unwrap();
            let mut bytes = vec![0; 1024];
            ext4.read_at(&file, nth as u64 * 1024, &mut bytes).unwrap();
            bytes
        };
        assert!(
            block("/one", 0).starts_with(b"....first transaction~"),
            "{image}"
        );
        let escaped = [&MAGIC[..], b"begins with the magic number~"].concat();
        assert!(block("/one", 1).starts_with(&escaped), "{image}: escaped");
        assert!(
            block("/one", 2).starts_with(b"eoneone"),
            "{image}: not committed"
        );
        for nth in 0..3 {
            let written = "two".repeat(2000).into_bytes();
            assert_eq!(
                block("/two", nth),
                written[nth * 1024..][..1024],
                "{image}: revoked"
            );
        }
        assert!(
            block("/three", 0).starts_with(b"....logged again"),
            "{image}: logged again"
        );
        assert_eq!(ext4.facts().label, "from-the-log", "{image}");
        assert_eq!(ext4.facts().recovered_transactions, 7, "{image}");
        // The superblock, two blocks of one file and one of another.
        assert_eq!(ext4.facts().recovered_blocks, 4, "{image}");
    }
}

#[test]
fn a_transaction_without_its_commit_block_is_left_out() {
    for image in [
        "1k",
        "4k",
        "32bit-without-checksums",
        "checksums-v1",
        "data-journal-4k",
    ] {
        let mut journal = Journal::of(image);
        let before = facts(&journal.volume);
        let commit = journal.commit_of(journal.last_sequence());
        journal.volume.write(commit, &vec![0; journal.block_bytes]);
        let after = facts(&journal.volume);
        assert_eq!(
            after.recovered_transactions,
            before.recovered_transactions - 1,
            "{image}"
        );
    }
}

#[test]
fn a_commit_block_that_was_cut_off_counts() {
    for image in ["1k", "2k", "4k"] {
        let mut journal = Journal::of(image);
        let before = lines(&journal.volume);
        let commit = journal.commit_of(journal.last_sequence());
        journal.volume.write(commit + 512, &[0xa5; 512]);
        assert_eq!(lines(&journal.volume), before, "{image}");
    }
}

#[test]
fn wrong_checksums_are_damage() {
    for image in ["1k", "4k", "checksums-v1"] {
        let mut journal = Journal::of(image);
        let last = journal.last_sequence();
        let commit = journal.commit_of(last);
        let checksum = journal.volume.bytes(commit + 0x10, 1);
        journal.volume.write(commit + 0x10, &[checksum[0] ^ 1]);
        let what = format!(
            "The filesystem's journal is damaged: transaction {last} has a wrong checksum."
        );
        assert_eq!(damage(&journal.volume), what, "{image}");
    }
}

/// Descriptor and revoke blocks end with a checksum of their own, which covers what they don't use.
#[test]
fn wrong_checksums_of_descriptors_are_damage() {
    let mut tried = [0; 2];
    for image in ["1k", "4k"] {
        let journal = Journal::of(image);
        let last = journal.last_sequence();
        for (kind, sequence, offset) in &journal.headers {
            let kinds = [1, 5];
            let Some(nth) = kinds.iter().position(|wanted| wanted == kind) else {
                continue;
            };
            if !(last.saturating_sub(5)..=last).contains(sequence) {
                continue;
            }
            let mut volume = journal.volume.clone();
            let unused = offset + journal.block_bytes as u64 - 8;
            let byte = volume.bytes(unused, 1)[0];
            volume.write(unused, &[byte ^ 1]);
            let what = format!(
                "The filesystem's journal is damaged: transaction {sequence} has a wrong checksum."
            );
            assert_eq!(damage(&volume), what, "{image}");
            tried[nth] += 1;
        }
    }
    println!(
        "{} descriptors, {} lists of revoked blocks",
        tried[0], tried[1]
    );
    assert!(tried[0] > 0 && tried[1] > 0, "{tried:?}");
}

/// The kernel passes over a logged block that a later transaction revokes, whatever it holds.
#[test]
fn a_logged_blocks_checksum_matters_where_it_is_recovered() {
    let journal = Journal::of("written-v3-64bit");
    let (_, _, superblock) = *journal
        .headers
        .iter()
        .find(|(kind, ..)| *kind == 4)
        .unwrap();
    let logged_by = |block: u64| {
        let mut volume = journal.volume.clone();
        volume.write(superblock + block * 1024 + 100, b"changed");
        volume
    };
    // The log's blocks in order: the superblock's transaction has three, then come a descriptor, two
    // logged blocks and a commit block; then the same for what is revoked.
    let what = damage(&logged_by(5));
    let expected = "The filesystem's journal is damaged: the checksum of its copy of block ";
    assert!(what.starts_with(expected), "{what}");
    assert_eq!(lines(&logged_by(9)), lines(&journal.volume));
}

/// The log's blocks are used again and again, and so are the numbers of transactions after a
/// filesystem was made anew. What has no right checksum and is older than what it follows is no damage.
#[test]
fn what_an_older_log_left_ends_the_log() {
    for image in ["1k", "4k"] {
        let mut journal = Journal::of(image);
        let before = facts(&journal.volume);
        let commit = journal.commit_of(journal.last_sequence());
        let old = 1_000_000_000_u64.to_be_bytes();
        journal.volume.write(commit + 0x30, &old);
        let after = facts(&journal.volume);
        assert_eq!(
            after.recovered_transactions,
            before.recovered_transactions - 1,
            "{image}"
        );
    }
}

#[test]
fn a_log_is_left_out_where_no_recovery_is_needed() {
    let volume = images::ext4_image("written-v3-64bit");
    assert!(!facts(&volume).ignored_journal);
    let mut unmounted = volume.clone();
    let mut superblock = Superblock::of(&unmounted);
    superblock.set32(0x60, superblock.get32(0x60) & !0x4);
    superblock.write_to(&mut unmounted);
    let facts = facts(&unmounted);
    assert_eq!(
        (facts.recovered_transactions, facts.recovered_blocks),
        (0, 0)
    );
    assert!(facts.ignored_journal);
    assert_eq!(facts.label, "");
}

#[test]
fn errors_that_the_kernel_noted_are_told() {
    let clean = images::ext4_image("clean");
    let before = facts(&clean);
    assert!(!before.has_errors && before.error_count == 0 && !before.ignored_journal);
    assert_eq!(before.recovered_transactions, 0);

    let mut volume = clean.clone();
    let mut superblock = Superblock::of(&volume);
    superblock.set32(0x38, superblock.get32(0x38) | 0x2_0000);
    superblock.set32(0x194, 7);
    superblock.write_to(&mut volume);
    let after = facts(&volume);
    assert!(after.has_errors);
    assert_eq!(after.error_count, 7);
}

#[test]
fn real_volumes_say_where_they_were_mounted() {
    let set = "etcd-3.5.30-b";
    let volumes = [
        "vol-e99a2a0382be5c3d9",
        "vol-ad2c2793c2624b94b",
        "vol-eb1b8829db783b420",
    ];
    for (volume, id) in images::volumes(set).into_values().zip(volumes) {
        let facts = facts(&volume);
        assert_eq!(facts.last_mounted, format!("/mnt/master-{id}"));
        assert!(
            !facts.has_errors && facts.recovered_transactions > 0,
            "{facts:?}"
        );
    }
}

/// A log that comes around to its start without an end can't be, and must not be read for ever.
#[test]
fn a_log_without_an_end_is_damage() {
    let mut journal = Journal::of("32bit-without-checksums");
    let (_, _, superblock) = *journal
        .headers
        .iter()
        .find(|(kind, ..)| *kind == 4)
        .unwrap();
    let sequence = journal.volume.bytes(superblock + 0x18, 4);
    let blocks = be32(&journal.volume.bytes(superblock + 0x10, 4), 0);
    // Revoke blocks without records, from the log's first block to its last.
    let block = [&MAGIC[..], &[0, 0, 0, 5], &sequence, &[0, 0, 0, 16]].concat();
    for nth in 1..u64::from(blocks) {
        journal
            .volume
            .write(superblock + nth * journal.block_bytes as u64, &block);
    }
    assert_eq!(
        damage(&journal.volume),
        "The filesystem's journal is damaged: its log has no end."
    );
}
