//! Every file of every volume of real etcd members, as another implementation of ext4 reads it after
//! having recovered the journal in a copy.

use crate::images;
use crate::listing;

use std::sync::Arc;

use etcd_reader::ext4::Ext4;
use etcd_reader::files::{EntryKind, Files};
use fs_ext4::Filesystem;
use fs_ext4::block_io::FileDevice;
use images::MemoryVolume;
use listing::{contents, walk};

/// Compares both readers' views of a volume, and gives how many files and bytes they are.
/// `None` where the other reader refuses it.
fn compare(name: &str, volume: MemoryVolume) -> Option<(usize, u64)> {
    let copy = tempfile::NamedTempFile::new().unwrap();
    volume.write_to(copy.path());
    let device = FileDevice::open_path_rw(copy.path()).unwrap();
    let other = Filesystem::mount(Arc::new(device));
    let other = other
        .inspect_err(|error| println!("{name}: {error}"))
        .ok()?;

    let ext4 = Ext4::open(volume).unwrap_or_else(|error| panic!("{name}: {error}"));
    let root = ext4.find("/").unwrap().unwrap();
    let mut counts = (0, 0);
    walk(&ext4, "", &root, &mut |path, entry| {
        let number = other.lookup_path_bytes(path.as_bytes()).unwrap();
        assert_eq!(u64::from(number), entry.inode, "{name} {path}");
        let inode = other.stat_ino(number).unwrap();
        assert_eq!(inode.mtime, entry.modified_seconds, "{name} {path}");
        match entry.kind {
            EntryKind::File => {
                let contents = contents(&ext4, entry);
                assert_eq!(inode.size, entry.size_bytes, "{name} {path}");
                let mut expected = vec![0; contents.len()];
                let read = other.read_ino(number, 0, &mut expected).unwrap();
                assert_eq!(read, contents.len(), "{name} {path}");
                assert!(expected == contents, "{name} {path}");
                counts = (counts.0 + 1, counts.1 + entry.size_bytes);
            }
            EntryKind::Directory => {
                let names = other.read_dir_ino(number).unwrap();
                assert_eq!(
                    ext4.list(entry).unwrap().len() + 2,
                    names.len(),
                    "{name} {path}"
                );
            }
            EntryKind::Other => {}
        }
    });
    Some(counts)
}

#[test]
fn another_reader_agrees_about_real_volumes() {
    let (mut volumes, mut files, mut bytes) = (0, 0, 0);
    for set in images::ETCD_SETS.iter().chain(&["etcd-crash"]) {
        for (member, volume) in images::volumes(set) {
            let counts = compare(&format!("{set} {member}"), volume).unwrap();
            volumes += 1;
            files += counts.0;
            bytes += counts.1;
        }
    }
    println!("{volumes} volumes, {files} files, {bytes} bytes");
    assert_eq!(volumes, 19);
    assert!(files >= 19 * 4, "{files}");
}

#[test]
fn another_reader_agrees_about_other_formats() {
    let mut images = images::volumes("ext4-images");
    images.retain(|name, _| !name.starts_with("refused-") && !name.starts_with("damaged-"));
    // The other reader has no lists of blocks.
    images.retain(|name, _| !matches!(name.as_str(), "ext3" | "triple-indirect"));
    let count = images.len();
    let counts = images
        .into_iter()
        .map(|(name, volume)| compare(&name, volume));
    let counts: Vec<(usize, u64)> = counts.flatten().collect();
    let files: usize = counts.iter().map(|(files, _)| files).sum();
    println!("{} of {count} images, {files} files", counts.len());
    assert!(counts.len() > count / 2, "{} of {count}", counts.len());
}
