//! Volumes as the Linux kernel reads them after it has recovered the journal.
//!
//! `fixtures/kernel.txt` has what it read, one line for each volume. The ignored test makes that file
//! anew: `cargo test -p etcd-reader --test reader -- --ignored ext4_kernel` as root, on Linux.

use crate::images;
use crate::listing;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use etcd_reader::ReadError;
use etcd_reader::ext4::Ext4;
use images::MemoryVolume;

const SETS: [&str; 2] = ["etcd-crash", "ext4-images"];

/// What the names of images begin with that the reader refuses for a feature; and that the kernel
/// refuses too.
const REFUSED: &str = "refused-";
const DAMAGED: &str = "damaged-";

/// All committed volumes by `SET/MEMBER` that can be read, one set at a time.
fn for_each_volume(mut visit: impl FnMut(String, MemoryVolume)) {
    for set in images::ETCD_SETS.iter().chain(&SETS) {
        for (member, volume) in images::volumes(set) {
            if !member.starts_with(REFUSED) && !member.starts_with(DAMAGED) {
                visit(format!("{set}/{member}"), volume);
            }
        }
    }
}

/// What the reader says of those images that it refuses.
fn refusals(prefix: &str) -> Vec<(MemoryVolume, ReadError)> {
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
fn our_listing(volume: MemoryVolume) -> Result<Vec<String>, ReadError> {
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

/// What the kernel reads, which may be nothing.
fn kernel_listing(image: &Path) -> Option<Vec<String>> {
    let mountpoint = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        if !output.status.success() {
            println!(
                "{program}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        output.status.success()
    };
    let [image, at] = [image, mountpoint.path()].map(|path| path.to_str().unwrap());
    if !run("mount", &["-t", "ext4", "-o", "loop,noatime", image, at]) {
        return None;
    }
    let lines = listing::listing_of_directory(mountpoint.path());
    assert!(run("umount", &[at]));
    lines
        .inspect_err(|error| println!("{}: {error}", image))
        .ok()
}

#[test]
#[ignore = "needs root and loop devices"]
fn record_what_the_kernel_reads() {
    let mut recorded = String::new();
    for_each_volume(|name, volume| {
        let copy = tempfile::NamedTempFile::new().unwrap();
        volume.write_to(copy.path());
        let lines = kernel_listing(copy.path()).unwrap_or_else(|| panic!("{name} doesn't mount"));
        let ours = our_listing(volume).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(ours, lines, "{name}");
        recorded += &format!("{name} {}\n", listing::digest(&lines));
    });
    for (volume, error) in refusals(DAMAGED) {
        let copy = tempfile::NamedTempFile::new().unwrap();
        volume.write_to(copy.path());
        assert_eq!(kernel_listing(copy.path()), None, "{error}");
    }
    fs::write(images::fixtures().join("kernel.txt"), recorded).unwrap();
}

/// Compares with the kernel about each image of a directory. Where the kernel refuses one, so must
/// the reader, and nowhere else.
#[test]
#[ignore = "needs root, loop devices, and a directory of images in EXT4_IMAGES"]
fn the_kernel_agrees_about_more_images() {
    let directory = std::env::var("EXT4_IMAGES").expect("EXT4_IMAGES");
    let (mut agreed, mut refused, mut disagreed) = (0, 0, 0);
    for image in fs::read_dir(directory).unwrap() {
        let image = image.unwrap().path();
        let name = image.display();
        let volume = MemoryVolume::read_from(fs::File::open(&image).unwrap());
        let copy = tempfile::NamedTempFile::new().unwrap();
        volume.write_to(copy.path());
        match (kernel_listing(copy.path()), our_listing(volume)) {
            (Some(lines), Ok(ours)) if lines == ours => agreed += 1,
            (None, Err(error)) => {
                println!("{name}: {error}");
                refused += 1;
            }
            (kernel, ours) => {
                println!("{name}: kernel {kernel:#?}, ours {ours:#?}");
                disagreed += 1;
            }
        }
    }
    println!("{agreed} images read alike, {refused} refused alike, {disagreed} not alike");
    assert!(agreed > 0 && disagreed == 0);
}
