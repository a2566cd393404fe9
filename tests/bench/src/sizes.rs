//! What is uploaded.

use std::process::Command;

use crate::report::{Floor, Report, Row, Target};
use crate::{Options, binary};

/// What a function may be uploaded as.
const MB_MAX: f64 = 3.5;

/// Zips each function as it is deployed.
pub fn measure(options: &Options, report: &mut Report) {
    for name in ["converge", "audit", "restore", "verify"] {
        if !binary(name).exists() {
            continue;
        }
        let floor = Floor {
            value: zipped_mb(options, &format!("bench-calls-of-{name}")),
            reason: "the same calls and nothing else".to_owned(),
        };
        report.add(Row {
            work: format!("{name}, zipped"),
            measure: "MB",
            ours: zipped_mb(options, name),
            peer: Some((floor.reason.clone(), floor.value)),
            target: Some(Target::Value(MB_MAX)),
            floor: Some(floor),
        });
    }
}

fn zipped_mb(options: &Options, name: &str) -> f64 {
    const ZIP: &str = "import io, sys, zipfile\n\
        buffer = io.BytesIO()\n\
        archive = zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED, compresslevel=9)\n\
        archive.write(sys.argv[1], 'bootstrap')\n\
        archive.close()\n\
        print(len(buffer.getvalue()))";
    let zipped = Command::new(&options.python)
        .arg("-c")
        .arg(ZIP)
        .arg(binary(name))
        .output();
    let zipped = zipped.expect("Python runs");
    let bytes = String::from_utf8_lossy(&zipped.stdout);
    let bytes: f64 = bytes.trim().parse().expect("a number");
    bytes / 1e6
}
