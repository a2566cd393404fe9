//! verify on a database of 2 GiB whose pages lie anywhere in the file: the memory that it takes. The reader's own
//! test gives it pages as files; here they come out of a file system, block by block, over HTTP.

#[path = "../../../shared/etcd-reader/tests/reader/support/large.rs"]
mod large;

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::Command;

use bench::SnapshotAws;
use bench::snapshots::BLOCK_BYTES;
use large::{Large, PAGE_BYTES};

use crate::binary;
use crate::report::{Report, Row, Target, mib, ms};
use crate::verifies::{LATENCY, blocks_read, verify};

/// Where a master without etcd-manager has it: a log would play no part.
const DATABASE: &str = "var/etcd/data/member/snap/db";
const VOLUME_BYTES: u64 = 20 << 30;
const PEAK_MIB_MAX: f64 = 300.0;

/// Measures verify.
pub async fn measure(report: &mut Report) {
    let database = Large::new();
    let aws = match volume(&database).await {
        Ok(aws) => aws,
        Err(problem) => {
            eprintln!("verify on a database of 2 GiB is left out: {problem}");
            return;
        }
    };
    let (taken, answer) = verify(&aws).await;
    let member = &answer["etcd_clusters"][0]["members"][0];
    assert_eq!(
        member["key_entries"],
        database.revisions(),
        "the whole database is read: {}",
        answer["text"]
    );
    let blocks = blocks_read(&answer);
    assert!(blocks as u64 >= database.pages() * PAGE_BYTES / BLOCK_BYTES as u64);
    for (measure, ours, target) in [
        (
            "peak memory, MiB",
            mib(taken.peak_kib),
            Some(Target::Value(PEAK_MIB_MAX)),
        ),
        ("wall, ms", ms(taken.wall), None),
        ("CPU, ms", ms(taken.cpu), None),
        ("blocks", blocks as f64, None),
    ] {
        report.add(Row {
            work: "verify, 1 member, a database of 2 GiB with its pages strewn over the file, process start included"
                .to_owned(),
            measure,
            ours,
            peer: None,
            target,
            floor: None,
        });
    }
}

/// A snapshot of a volume with the database. Nothing of it stays on the disk.
async fn volume(database: &Large) -> io::Result<SnapshotAws> {
    let program = binary("bench");
    let folder = tempfile::tempdir_in(program.parent().expect("a binary lies in a folder"))?;
    let image = folder.path().join("a.img");
    let root = folder.path().join("root");
    write_database(database, &root.join(DATABASE))?;
    make_volume(&root, &image)?;
    Ok(SnapshotAws::start(&image, 1, LATENCY).await)
}

fn write_database(database: &Large, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
    let mut file = BufWriter::new(File::create(path)?);
    for id in 0..database.pages() {
        file.write_all(&database.page(id))?;
    }
    file.flush()
}

/// As etcd-manager formats a volume.
fn make_volume(root: &Path, image: &Path) -> io::Result<()> {
    File::create(image)?.set_len(VOLUME_BYTES)?;
    // The second is where it lies where only root's path leads to it.
    for program in ["mke2fs", "/usr/sbin/mke2fs"] {
        let mut command = Command::new(program);
        command.args(["-q", "-F", "-t", "ext4", "-m", "0", "-d"]);
        match command.arg(root).arg(image).status() {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(io::Error::other(format!("{program}: {status}"))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there is no mke2fs"))
}
