//! The committed volumes unpack, and hold what their names say.

use crate::images;

use etcd_reader::block::BlockSource;

#[test]
fn fixtures_unpack() {
    let mut count = 0;
    for set in images::ETCD_SETS.iter().chain(&["etcd-crash"]) {
        for (member, volume) in images::volumes(set) {
            let superblock_magic = volume.bytes(1024 + 0x38, 2);
            assert_eq!(superblock_magic, [0x53, 0xef], "{set} {member}");
            let size_bytes = if *set == "etcd-crash" { 200 } else { 512 } * 1024 * 1024;
            assert_eq!(volume.size_bytes(), size_bytes, "{set} {member}");
            count += 1;
        }
    }
    assert_eq!(count, 19);
}
