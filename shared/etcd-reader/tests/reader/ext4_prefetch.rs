//! What the filesystem reader asks its source for: most of it announced, so that it can be fetched in
//! parallel, and hardly anything twice.

use crate::images;

use std::collections::HashSet;

use etcd_reader::ext4::Ext4;
use etcd_reader::files::{Entry, Files};
use images::{Call, MemoryVolume};

/// What was asked of a source.
#[derive(Debug, Default)]
struct Asked {
    /// Blocks that were read without having been named before: each costs the time of a call.
    unannounced: usize,
    /// Blocks that were read again.
    again: usize,
    /// Blocks that were named, not read and not taken back either.
    in_vain: usize,
    /// Blocks that were taken back before they were read.
    taken_back: usize,
    /// All blocks that were read.
    blocks: usize,
}

impl Asked {
    fn of(calls: &[Call]) -> Self {
        let (mut announced, mut read) = (HashSet::new(), HashSet::new());
        let mut asked = Self::default();
        for call in calls {
            match call {
                Call::Prefetch(index) => {
                    announced.insert(*index);
                }
                Call::Forget(index) => {
                    asked.taken_back += usize::from(announced.remove(index));
                }
                Call::Block(index) => {
                    asked.unannounced += usize::from(!announced.contains(index));
                    asked.again += usize::from(!read.insert(*index));
                }
            }
        }
        asked.in_vain = announced.difference(&read).count();
        asked.blocks = read.len();
        asked
    }
}

/// Reads the database and the log of an etcd member as its readers do: announced as a whole, then
/// from the beginning to the end.
fn read_member(volume: &MemoryVolume, member: &str) {
    let ext4 = Ext4::open(volume).unwrap();
    let files = |path: &str| -> Vec<Entry> {
        let directory = ext4.find(&format!("{member}/{path}")).unwrap().unwrap();
        ext4.list(&directory).unwrap()
    };
    let mut buffer = vec![0; 64 * 1024];
    for file in files("snap").iter().chain(&files("wal")) {
        ext4.prefetch(file, std::slice::from_ref(&(0..file.size_bytes)));
        for offset in (0..file.size_bytes).step_by(buffer.len()) {
            ext4.read_at(file, offset, &mut buffer).unwrap();
        }
    }
}

#[test]
fn nearly_all_reads_are_announced() {
    let expected = std::fs::read_to_string(images::fixtures().join("etcd-sets.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    let mut volumes = 0;
    for set in images::ETCD_SETS {
        for (member, volume) in images::volumes(set) {
            let directory = &expected[set]["members"][&member]["data_dir"];
            read_member(&volume, &format!("{}/member", directory.as_str().unwrap()));
            let asked = Asked::of(&volume.take_calls());
            println!("{set} {member}: {asked:?}");
            // The journal's place is known only from the inode before it; what is far from the rest
            // may be next. All else is known in time.
            assert!(asked.unannounced <= 3, "{set} {member}: {asked:?}");
            // Few blocks are kept, as six members are read at once.
            assert!(asked.again <= 5, "{set} {member}: {asked:?}");
            // As much of the log as is asked for before its end is known is taken back then. What is
            // fetched beside it, while it comes, may be a directory's that the log changes.
            assert!(asked.taken_back <= 32, "{set} {member}: {asked:?}");
            assert!(asked.in_vain <= 2, "{set} {member}: {asked:?}");
            volumes += 1;
        }
    }
    assert_eq!(volumes, 16);
}
