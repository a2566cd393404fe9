//! What the filesystem reader doesn't read: `Unsupported` where it can't tell, `Damaged` where the
//! volume contradicts itself.

use crate::images;
use crate::listing;

use etcd_reader::ReadError;
use etcd_reader::ext4::Ext4;
use etcd_reader::files::{EntryKind, Files};
use images::{MemoryVolume, Superblock};

fn refusal(volume: MemoryVolume) -> ReadError {
    match Ext4::open(volume) {
        Err(error) => error,
        Ok(_) => panic!("it was read"),
    }
}

fn unsupported(volume: MemoryVolume) -> String {
    match refusal(volume) {
        ReadError::Unsupported(what) => what,
        other => panic!("{other:?}"),
    }
}

fn damaged(volume: MemoryVolume) -> String {
    match refusal(volume) {
        ReadError::Damaged(what) => what,
        other => panic!("{other:?}"),
    }
}

/// A small filesystem that was unmounted.
fn clean() -> MemoryVolume {
    images::ext4_image("clean")
}

/// The filesystem with a number in its superblock changed, and the checksum made right again.
fn changed(at: usize, change: impl Fn(u32) -> u32) -> MemoryVolume {
    let mut volume = clean();
    let mut superblock = Superblock::of(&volume);
    superblock.set32(at, change(superblock.get32(at)));
    superblock.write_to(&mut volume);
    volume
}

#[test]
fn other_formats_are_named() {
    let cases: [(u64, &[u8], &str); 9] = [
        (0, b"XFSB\0\0\x10\0", "an XFS filesystem"),
        (0, b"LUKS\xba\xbe\0\x02", "a LUKS encrypted volume"),
        (512, b"LABELONE\x01\0\0\0", "a physical volume of LVM"),
        (512, b"EFI PART\0\0\x01\0", "a GPT partition table"),
        (0x1_0040, b"_BHRfS_M", "a btrfs filesystem"),
        (1024, b"\x10\x20\xf5\xf2", "an F2FS filesystem"),
        (
            4096,
            b"\xfc\x4e\x2b\xa9\x01\0\0\0",
            "a member of a Linux RAID",
        ),
        (4086, b"SWAPSPACE2", "swap space"),
        (
            0x1be,
            b"\x80\0\x02\0\x83\0\0\0\0\x08\0\0\0\0\x10\0",
            "a partition table",
        ),
    ];
    for (offset, signature, name) in cases {
        let mut volume = MemoryVolume::blank(20 << 30);
        volume.write(offset, signature);
        if offset == 0x1be {
            volume.write(0x1fe, &[0x55, 0xaa]);
        }
        assert_eq!(
            unsupported(volume),
            format!("The volume holds {name} in place of an ext4 filesystem on the bare device.")
        );
    }
}

#[test]
fn volumes_without_a_filesystem_are_unsupported() {
    for size_bytes in [0, 512, 1024, 2047, 2048, 1 << 20, 20 << 30] {
        assert_eq!(
            unsupported(MemoryVolume::blank(size_bytes)),
            "The volume holds no filesystem: it begins with zeros alone."
        );
    }
    let mut volume = MemoryVolume::blank(1 << 30);
    volume.write(0, &[0x5a; 4096]);
    assert_eq!(
        unsupported(volume),
        "The volume holds no ext4 filesystem, and nothing else that this reader knows."
    );
}

#[test]
fn a_lost_superblock_is_damage() {
    let mut volume = images::volumes("ext4-images")
        .remove("4k")
        .unwrap()
        .resized(512 << 20);
    let copy = volume.bytes(1024, 1024);
    volume.write(1024, &[0; 1024]);
    // The image itself has one group; a larger filesystem has its first copy here.
    volume.write(32768 * 4096, &copy);
    volume.write(32768 * 4096 + 0x5a, &1_u16.to_le_bytes());
    assert_eq!(
        damaged(volume),
        "The ext4 filesystem's superblock is gone, while its first copy is still there."
    );
}

#[test]
fn unknown_features_are_unsupported() {
    let cases = [
        (0x1, "compression"),
        (0x8, "journal_dev"),
        (0x1000, "dirdata"),
        (0x4_0000, "0x40000"),
        (0x8000_0008, "journal_dev, 0x80000000"),
    ];
    for (features, names) in cases {
        assert_eq!(
            unsupported(changed(0x60, |incompat| incompat | features)),
            format!("The filesystem has features that this reader doesn't support: {names}.")
        );
    }
    assert_eq!(
        unsupported(changed(0x5c, |compat| compat | 0x400)),
        "The filesystem has the feature fast_commit, whose journal this reader doesn't support."
    );
    assert_eq!(
        unsupported(changed(0x18, |_| 3)),
        "The filesystem has blocks of 8 KiB; only 1, 2 and 4 KiB are supported."
    );
    assert_eq!(
        unsupported(changed(0xe0, |_| 0)),
        "The filesystem's journal is on another device, which the snapshot doesn't hold."
    );
    assert_eq!(
        unsupported(changed(0x174, |group_and_type| group_and_type & !0xff00 | 0x200)),
        "The filesystem's checksums are of type 2; only crc32c (1) is supported."
    );
}

#[test]
fn features_for_writing_alone_are_read() {
    // Bits of s_feature_ro_compat that no version of ext4 has given a meaning yet.
    let volume = changed(0x64, |ro_compat| ro_compat | 0x4000_0000);
    assert!(listing::listing(&Ext4::open(volume).unwrap()).is_ok());
}

#[test]
fn impossible_geometry_is_damage() {
    let cases: [(usize, u32, &str); 8] = [
        (
            0x18,
            7,
            "The superblock's block size is impossible: 2^7 KiB.",
        ),
        (0x20, 0, "The superblock is damaged: 0 blocks in a group."),
        (
            0x20,
            8193,
            "The superblock is damaged: 8193 blocks in a group.",
        ),
        (0x28, 0, "The superblock is damaged: 0 inodes in a group."),
        (
            0x28,
            8193,
            "The superblock is damaged: 8193 inodes in a group.",
        ),
        (
            0x14,
            16384,
            "The superblock is damaged: its first block is 16384 of 16384.",
        ),
        (0x0, 1, "The superblock is damaged: 1 inodes."),
        (
            0x4,
            16385,
            "The superblock is damaged: it says 16385 blocks of 1024 bytes, while the volume has 16777216 bytes.",
        ),
    ];
    for (at, number, what) in cases {
        assert_eq!(damaged(changed(at, |_| number)), what);
    }
    assert_eq!(
        damaged(changed(0x58, |sizes| sizes & 0xffff_0000 | 192)),
        "The superblock is damaged: inodes of 192 bytes."
    );
    assert_eq!(
        damaged(changed(0xfc, |sizes| sizes & 0xffff | 48 << 16)),
        "The superblock is damaged: group descriptors of 48 bytes."
    );
    let mut volume = clean();
    volume.write(1024 + 0x78, b"another label");
    assert_eq!(damaged(volume), "The superblock's checksum is wrong.");
}

/// The first error of reading everything.
fn first_error(volume: MemoryVolume) -> String {
    match Ext4::open(volume).and_then(|ext4| listing::listing(&ext4)) {
        Err(ReadError::Damaged(what)) => what,
        other => panic!("{other:?}"),
    }
}

/// Offsets of the blocks that `is_one` picks.
fn blocks(volume: &MemoryVolume, is_one: impl Fn(&[u8]) -> bool) -> Vec<u64> {
    let indexes = volume.written().into_iter();
    let offsets =
        indexes.flat_map(|index| (index * 512..(index + 1) * 512).map(|block| block * 1024));
    offsets
        .filter(|offset| is_one(&volume.bytes(*offset, 1024)))
        .collect()
}

/// With one bit changed in the middle of each structure of a kind, one after another.
#[test]
fn each_structures_checksum_is_verified() {
    let clean = clean();
    let block_of = |is_one: &dyn Fn(&[u8]) -> bool| {
        let found = blocks(&clean, is_one);
        assert!(!found.is_empty());
        found
    };
    let is_extents = |block: &[u8]| block.starts_with(&[0x0a, 0xf3]);
    let is_root =
        |block: &[u8]| block[4..9] == [12, 0, 1, 2, b'.'] && block[24..30] == [0, 0, 0, 0, 1, 8];
    let is_node = |block: &[u8]| block[..8] == [0, 0, 0, 0, 0, 4, 0, 0] && block[8] == 126;
    let is_leaf = |block: &[u8]| block[1012..1020] == [0, 0, 0, 0, 12, 0, 0, 0xde];
    let cases: [(&str, Vec<u64>, u64, &str); 6] = [
        (
            "descriptor",
            vec![2048],
            0x10,
            "The checksum of block group 0's descriptor is wrong.",
        ),
        (
            "extents",
            block_of(&is_extents),
            0x14,
            "The checksum of a block of inode _'s extent tree is wrong.",
        ),
        (
            "index root",
            block_of(&is_root),
            0x2c,
            "The directory at inode _ is damaged: the checksum of a block of it is wrong.",
        ),
        (
            "index node",
            block_of(&is_node),
            0x14,
            "The directory at inode _ is damaged: the checksum of a block of it is wrong.",
        ),
        (
            "names",
            block_of(&is_leaf),
            0x08,
            "The directory at inode _ is damaged: the checksum of a block of it is wrong.",
        ),
        (
            "inode",
            vec![inode_table(&clean) + 256],
            0x10,
            "The checksum of inode 2 is wrong.",
        ),
    ];
    for (kind, offsets, within, expected) in cases {
        let mut refused = 0;
        for offset in offsets.iter().step_by(offsets.len().div_ceil(30)) {
            let mut volume = clean.clone();
            let byte = volume.bytes(offset + within, 1)[0];
            volume.write(offset + within, &[byte ^ 0x10]);
            // What looks like one may be in a block that nothing uses any more.
            if Ext4::open(volume.clone()).is_ok_and(|ext4| listing::listing(&ext4).is_ok()) {
                continue;
            }
            let what = first_error(volume);
            let [before, after] = expected
                .split_once('_')
                .map_or([expected, ""], |(a, b)| [a, b]);
            assert!(
                what.starts_with(before) && what.ends_with(after),
                "{kind} at {offset}: {what}"
            );
            refused += 1;
        }
        println!("{kind}: {refused} refused");
        assert!(refused > 0, "{kind}");
    }
}

/// The first block of inodes, by the first group's descriptor.
fn inode_table(volume: &MemoryVolume) -> u64 {
    let table = volume.bytes(2048 + 8, 4);
    u64::from(u32::from_le_bytes(table.try_into().unwrap())) * 1024
}

/// Sizes have 64 bits, of which those above 4 GiB are apart.
#[test]
fn files_larger_than_4_gib_are_read() {
    let mut volume = images::ext4_image("clean-uninit-bg");
    let find = |volume: &MemoryVolume| {
        let ext4 = Ext4::open(volume.clone()).unwrap();
        let root = ext4.list(&ext4.find("/").unwrap().unwrap()).unwrap();
        let file = root
            .into_iter()
            .find(|entry| entry.kind == EntryKind::File)
            .unwrap();
        let mut buffer = [1; 4096];
        let read = ext4.read_at(&file, (5 << 32) + 1, &mut buffer).unwrap();
        (file.inode, file.size_bytes, read, buffer)
    };
    let (inode, size_bytes, ..) = find(&volume);
    volume.write(
        inode_table(&volume) + (inode - 1) * 256 + 0x6c,
        &5_u32.to_le_bytes(),
    );
    let expected_bytes = (5 << 32) + size_bytes;
    let expected_read = (size_bytes - 1).min(4096) as usize;
    let (_, found_bytes, read, buffer) = find(&volume);
    assert_eq!((found_bytes, read), (expected_bytes, expected_read));
    assert!(buffer[..read].iter().all(|byte| *byte == 0));
}

#[test]
fn older_descriptors_checksums_are_verified() {
    let mut volume = images::ext4_image("clean-uninit-bg");
    assert!(listing::listing(&Ext4::open(volume.clone()).unwrap()).is_ok());
    volume.write(2048 + 0x10, &[0x5a]);
    assert_eq!(
        first_error(volume),
        "The checksum of block group 0's descriptor is wrong."
    );
}

#[test]
fn the_sources_failure_is_neither() {
    struct Failing;
    impl etcd_reader::block::BlockSource for Failing {
        fn size_bytes(&self) -> u64 {
            1 << 30
        }
        fn block(&self, _: u64) -> Result<Option<std::sync::Arc<Vec<u8>>>, ReadError> {
            Err(ReadError::Unreadable("denied".to_owned()))
        }
        fn prefetch(&self, _: &[u64]) {}
        fn forget(&self, _: &[u64]) {}
    }
    assert_eq!(
        Ext4::open(Failing).err(),
        Some(ReadError::Unreadable("denied".to_owned()))
    );
}
