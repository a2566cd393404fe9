//! The checksums of ext4 and of its journal.
//!
//! Source: Linux, `fs/ext4/ext4.h` (`ext4_chksum`), `lib/crc16.c`, `lib/crc32.c` (`crc32_be`).

/// CRC-32C as ext4 takes it: a seed goes in as it is, and the result isn't inverted.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// CRC-32C of bytes in which a field of `length` bytes at `at` counts as zeros: the field that holds
/// the checksum itself.
pub(super) fn crc32c_without(seed: u32, bytes: &[u8], at: usize, length: usize) -> u32 {
    const ZEROS: [u8; 4] = [0; 4];
    let before = crc32c(seed, bytes.get(..at).unwrap_or_default());
    let field = crc32c(before, &ZEROS[..length.min(ZEROS.len())]);
    crc32c(field, bytes.get(at + length..).unwrap_or_default())
}

/// CRC-16 of group descriptors before `metadata_csum`.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ (if crc & 1 == 0 { 0 } else { 0xa001 })
        })
    })
}

/// CRC-32 with the highest bit first, by which the first version of checksummed journals covers a
/// transaction.
pub(super) fn crc32_be(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        (crc << 8) ^ CRC32_BE_TABLE[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

const CRC32_BE_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ (if crc >> 31 == 0 { 0 } else { 0x04c1_1db7 });
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the CRC catalogue (reveng.sourceforge.io): CRC-32/ISCSI without its last
    /// inversion, CRC-16/MODBUS, CRC-32/MPEG-2.
    #[test]
    fn checksums_match_the_catalogue() {
        assert_eq!(crc32c(!0, b"123456789"), !0xe306_9283);
        assert_eq!(crc16(!0, b"123456789"), 0x4b37);
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_e6e7);
        assert_eq!(
            crc32c_without(!0, b"12\xff\xff5", 2, 2),
            crc32c(!0, b"12\0\x005")
        );
    }
}
