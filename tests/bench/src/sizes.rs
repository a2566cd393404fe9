//! What is uploaded.

use std::process::Command;

use crate::report::{Report, Row, Target};
use crate::{Options, binary};

/// Zips each function as it is deployed.
pub fn measure(options: &Options, report: &mut Report) {
    const ZIP: &str = "import io, sys, zipfile\n\
        buffer = io.BytesIO()\n\
        archive = zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED, compresslevel=9)\n\
        archive.write(sys.argv[1], 'bootstrap')\n\
        archive.close()\n\
        print(len(buffer.getvalue()))";
    for name in ["converge", "audit", "restore", "verify"] {
        let path = binary(name);
        if !path.exists() {
            continue;
        }
        let zipped = Command::new(&options.python)
            .arg("-c")
            .arg(ZIP)
            .arg(path)
            .output();
        let zipped = zipped.expect("Python runs");
        let bytes: f64 = String::from_utf8_lossy(&zipped.stdout)
            .trim()
            .parse()
            .expect("a number");
        report.add(Row {
            work: format!("{name}, zipped"),
            measure: "MB",
            ours: bytes / 1e6,
            peer: None,
            target: Some(Target::Value(3.5)),
            floor: None,
        });
    }
}
