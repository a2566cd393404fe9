//! Filesystems that were damaged at random: whatever is on a volume, the reader answers, soon, and
//! with little memory.
//!
//! `make fuzz` goes on for ten minutes, from where the clock starts it.

#[path = "reader/images/mod.rs"]
mod images;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use etcd_reader::ReadError;
use etcd_reader::ext4::Ext4;
use etcd_reader::files::{Entry, EntryKind, Files};
use images::{MemoryVolume, Superblock};

/// Formats with checksums, and those without any, in which more damage reaches what is behind them.
const IMAGES: [&str; 13] = [
    "1k",
    "4k",
    "32bit-without-checksums",
    "64bit-without-checksums",
    "checksums-v1",
    "data-journal-without-checksums",
    "deep-extents",
    "ext3",
    "large-directory",
    "meta-bg",
    "triple-indirect",
    "written-v0-32bit",
    "written-v2-64bit",
];

/// Numbers that are at the edge of something.
const EDGES: [u32; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x7fff,
    0x8000,
    0x8001,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
];

/// What a reader may take, and a damaged image of 48 MiB; nothing that grows with the number of cases.
const GROWN_MIB_MAX: u64 = 256;

/// A generator of numbers (xorshift64*) whose seed says all about a case.
struct Chance(u64);

impl Chance {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A filesystem, and where its structures are.
struct Subject {
    name: &'static str,
    volume: MemoryVolume,
    /// Offsets of blocks that hold the filesystem's or the journal's own structures.
    structures: Vec<u64>,
    /// Offsets of all blocks that hold anything.
    written: Vec<u64>,
}

impl Subject {
    fn of(name: &'static str) -> Self {
        let volume = images::ext4_image(name);
        let superblock = Superblock::of(&volume);
        let block_bytes = 1024_u64 << superblock.get32(0x18);
        let inode_bytes = superblock.get32(0x58) as usize & 0xffff;
        let (mut structures, mut written) = (vec![1024], Vec::new());
        for index in volume.written() {
            let start = index * 512 * 1024;
            for offset in (start..start + 512 * 1024).step_by(block_bytes as usize) {
                let block = volume.bytes(offset, block_bytes as usize);
                let is_written = block.iter().any(|byte| *byte != 0);
                let is_journal = block.starts_with(&[0xc0, 0x3b, 0x39, 0x98]);
                let is_extents = block.starts_with(&[0x0a, 0xf3]);
                let is_directory = block[4..9] == [12, 0, 1, 2, b'.'];
                // The kinds of inodes, in the upper bits of their modes.
                let mode = |inode: &[u8]| matches!(inode[1] >> 4, 4 | 8) && inode[0x1a] > 0;
                let is_inodes = offset < 4 << 20 && block.chunks(inode_bytes).take(4).any(mode);
                if offset == (1024 / block_bytes + 1) * block_bytes
                    || is_journal
                    || is_extents
                    || is_directory
                    || is_inodes
                {
                    structures.push(offset);
                }
                if is_written {
                    written.push(offset);
                }
            }
        }
        Self {
            name,
            volume,
            structures,
            written,
        }
    }

    fn damaged(&self, chance: &mut Chance) -> MemoryVolume {
        let mut volume = self.volume.clone();
        for _ in 0..chance.one_of(&[1, 1, 2, 4, 16]) {
            let of_structures = chance.below(4) > 0;
            let block = chance.one_of(if of_structures {
                &self.structures
            } else {
                &self.written
            });
            // Structures begin with what matters most.
            let reach = chance.one_of(&[16, 64, 256, 1024]);
            let at = block + chance.below(reach) as u64;
            match chance.below(8) {
                0 | 1 => {
                    let bit = 1 << chance.below(8);
                    let byte = volume.bytes(at, 1)[0] ^ bit;
                    volume.write(at, &[byte]);
                }
                2 => volume.write(at, &[chance.number() as u8]),
                3 => volume.write(at & !3, &chance.one_of(&EDGES).to_le_bytes()),
                4 => volume.write(at & !3, &chance.one_of(&EDGES).to_be_bytes()),
                5 => volume.write(at & !1, &(chance.one_of(&EDGES) as u16).to_le_bytes()),
                6 => {
                    let other = chance.one_of(&self.structures);
                    let bytes = volume.bytes(other, reach);
                    volume.write(block, &bytes);
                }
                _ => volume.write(block, &vec![0; reach]),
            }
        }
        if chance.below(3) > 0 {
            Superblock::of(&volume).write_to(&mut volume);
        }
        if chance.below(50) == 0 {
            let end = chance.below(32 << 20) as u64;
            volume = volume.resized(end);
        }
        volume
    }
}

/// Reads what can be read in bounded time: some of each directory and file. Gives the first error.
fn read_some(volume: MemoryVolume) -> Result<(), ReadError> {
    let ext4 = Ext4::open(volume)?;
    let root = ext4.find("/")?.expect("a root");
    let _ = ext4.find("/large/000000000000000000000000000000000000000001")?;
    let mut first_error = Ok(());
    let mut directories = vec![root];
    let mut visited = 0;
    while let Some(directory) = directories.pop() {
        let entries = ext4.list(&directory);
        for entry in entries.as_deref().unwrap_or_default().iter().take(100) {
            visited += 1;
            match entry.kind {
                EntryKind::Directory if visited < 300 => directories.push(entry.clone()),
                EntryKind::File => first_error = first_error.and(read_parts(&ext4, entry)),
                EntryKind::Directory | EntryKind::Other => {}
            }
        }
        first_error = first_error.and(entries.map(|_| ()));
        if visited > 300 {
            break;
        }
    }
    first_error
}

fn read_parts(files: &dyn Files, file: &Entry) -> Result<(), ReadError> {
    let size = file.size_bytes;
    files.prefetch(file, &[0..u64::MAX, 4096..8192, size / 2..size]);
    let mut buffer = vec![0; 16 * 1024];
    for offset in [0, 1000, size / 2, size.saturating_sub(5000), size, u64::MAX] {
        let read = files.read_at(file, offset, &mut buffer)?;
        assert_eq!(
            read as u64,
            size.saturating_sub(offset).min(buffer.len() as u64)
        );
    }
    Ok(())
}

#[test]
fn damaged_filesystems_are_answered() {
    let seconds = std::env::var("MUTATION_SECONDS");
    let limit = seconds
        .ok()
        .map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let first_seed = limit.map_or(0, |_| {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            << 24
    });
    let subjects = IMAGES.map(Subject::of);
    let started = Instant::now();
    let (mut sound, mut damaged, mut unsupported) = (0, 0, 0);
    let mut slowest = Duration::ZERO;
    // Has the kernel begin anew with the peak (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory_kib("VmRSS");
    for seed in first_seed.. {
        let is_over = match limit {
            Some(limit) => started.elapsed() > limit,
            None => seed >= 3000,
        };
        if is_over {
            break;
        }
        let subject = &subjects[(seed % IMAGES.len() as u64) as usize];
        let volume = subject.damaged(&mut Chance::of(seed));
        let case_started = Instant::now();
        let answer = catch_unwind(AssertUnwindSafe(|| read_some(volume)));
        let case = format!("seed {seed}, {}", subject.name);
        slowest = slowest.max(case_started.elapsed());
        assert!(
            case_started.elapsed() < Duration::from_secs(20),
            "{case}: too slow"
        );
        match answer {
            Ok(Ok(())) => sound += 1,
            Ok(Err(ReadError::Damaged(_))) => damaged += 1,
            Ok(Err(ReadError::Unsupported(_))) => unsupported += 1,
            Ok(Err(error)) => panic!("{case}: {error}"),
            Err(_) => panic!("{case}: panicked"),
        }
    }
    let grown_mib = memory_kib("VmHWM").saturating_sub(before) >> 10;
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "{} damaged filesystems from seed {first_seed} on: {sound} read, {damaged} damaged, \
         {unsupported} unsupported; the slowest took {slowest:?}; memory grew by {grown_mib} MiB at most",
        sound + damaged + unsupported
    );
    assert!(grown_mib < GROWN_MIB_MAX, "{grown_mib} MiB");
    assert!(sound > 100 && damaged > 100 && unsupported > 0);
}

/// A line of the kernel's account of this process.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
