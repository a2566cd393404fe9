//! Volumes as the Linux kernel reads them after it has recovered the journal.
//!
//! `fixtures/kernel.txt` has what it read, one line for each volume. `tests/ext4_beside_kernel.rs` makes
//! that file anew.

use crate::images;
use crate::listing;

use std::collections::BTreeMap;
use std::fs;

use etcd_reader::ReadError;
use etcd_reader::ext4::Ext4;
use images::MemoryVolume;

const SETS: [&str; 2] = ["etcd-crash", "ext4-images"];

/// What the names of images begin with that the reader refuses for a feature; and that the kernel
/// refuses too.
const REFUSED: &str = "refused-";
pub const DAMAGED: &str = "damaged-";

/// All committed volumes by `SET/MEMBER` that can be read, one set at a time.
pub fn for_each_volume(mut visit: impl FnMut(String, MemoryVolume)) {
    for set in images::ETCD_SETS.iter().chain(&SETS) {
        for (member, volume) in images::volumes(set) {
            if !member.starts_with(REFUSED) && !member.starts_with(DAMAGED) {
                visit(format!("{set}/{member}"), volume);
            }
        }
    }
}

/// What the reader says of those images that it refuses.
pub fn refusals(prefix: &str) -> Vec<(MemoryVolume, ReadError)> {
    let mut volumes = images::volumes("ext4-images");
    volumes.retain(|name, _| name.starts_with(prefix));
    let refuse = |volume: MemoryVolume| (volume.clone(), our_listing(volume).unwrap_err());
    volumes.into_values().map(refuse).collect()
}

#[test]
fn the_kernel_agrees() {
    let recorded = fs::read_to_string(images::fixtures().join("kernel.txt")).unwrap();
    let mut recorded: BTreeMap<&str, &str> = recorded
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let mut volumes = 0;
    for_each_volume(|name, volume| {
        let lines = our_listing(volume).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = recorded
            .remove(name.as_str())
            .unwrap_or_else(|| panic!("{name} is new"));
        assert_eq!(listing::digest(&lines), expected, "{name}: {lines:#?}");
        volumes += 1;
    });
    println!("{volumes} volumes");
    assert!(recorded.is_empty(), "{recorded:?} are gone");
}

/// What a volume reads as, line by line.
pub fn our_listing(volume: MemoryVolume) -> Result<Vec<String>, ReadError> {
    listing::listing(&Ext4::open(volume)?)
}

#[test]
fn unknown_features_are_unsupported() {
    let errors: Vec<ReadError> = refusals(REFUSED)
        .into_iter()
        .map(|(_, error)| error)
        .collect();
    let unsupported = |what: &str| ReadError::Unsupported(what.to_owned());
    assert_eq!(
        errors,
        [
            unsupported(
                "The filesystem has the feature fast_commit, whose journal this reader doesn't support."
            ),
            unsupported(
                "Inode 12 uses the feature inline_data, which this reader doesn't support."
            ),
        ]
    );
}

#[test]
fn what_the_kernel_refuses_is_damaged() {
    let errors: Vec<ReadError> = refusals(DAMAGED)
        .into_iter()
        .map(|(_, error)| error)
        .collect();
    let wrong = "The filesystem's journal is damaged: transaction 5 has a wrong checksum.";
    assert_eq!(errors, vec![ReadError::Damaged(wrong.to_owned()); 2]);
}
