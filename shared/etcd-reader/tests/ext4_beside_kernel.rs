//! The reader beside the Linux kernel itself: needs root and loop devices, so it runs only where it is
//! asked for: `cargo test -p etcd-reader --test ext4_beside_kernel` records what the kernel reads of the
//! fixtures, and compares it about each image of the directory that `EXT4_IMAGES` names.

#[path = "reader/ext4_kernel.rs"]
mod ext4_kernel;
#[path = "reader/images/mod.rs"]
mod images;
#[path = "reader/listing/mod.rs"]
mod listing;

use std::fs;
use std::path::Path;
use std::process::Command;

use ext4_kernel::{DAMAGED, for_each_volume, our_listing, refusals};
use images::MemoryVolume;

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
