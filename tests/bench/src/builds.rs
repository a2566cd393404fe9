//! A cold `sam build`: of a clone in which nothing was compiled yet.

use std::io;
use std::path::Path;
use std::process::Command;

use bench::process::{Started, Taken};

use crate::binary;
use crate::report::{Report, Row, Target, mib};

/// Half of what a build took with cargo's own release settings: 27 minutes.
const CPU_MINUTES_MAX: f64 = 13.5;
const PEAK_MIB_MAX: f64 = 3.0 * 1024.0;

/// Measures one build. It takes minutes, and the tools that `make package` installs.
pub async fn measure(report: &mut Report) {
    let taken = match build().await {
        Ok(taken) => taken,
        Err(problem) => {
            eprintln!("sam build is left out: {problem}");
            return;
        }
    };
    for (measure, ours, target) in [
        (
            "CPU, minutes",
            taken.cpu.as_secs_f64() / 60.0,
            Some(CPU_MINUTES_MAX),
        ),
        ("peak memory, MiB", mib(taken.peak_kib), Some(PEAK_MIB_MAX)),
        ("wall, minutes", taken.wall.as_secs_f64() / 60.0, None),
    ] {
        report.add(Row {
            work: "sam build, cold".to_owned(),
            measure,
            ours,
            peer: None,
            target: target.map(Target::Value),
            floor: None,
        });
    }
}

async fn build() -> io::Result<Taken> {
    let program = binary("bench");
    let folder = tempfile::tempdir_in(program.parent().expect("a binary lies in a folder"))?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet"]).arg(repository);
    let cloned = clone.arg(folder.path()).status()?;
    if !cloned.success() {
        return Err(io::Error::other(format!("git clone: {cloned}")));
    }
    let variables: Vec<_> = std::env::vars()
        .filter(|(name, _)| name != "CARGO_TARGET_DIR")
        .collect();
    let folder = folder.path().display().to_string();
    let build = "cd \"$0\" && exec sam build";
    let (taken, status) = Started::new("bash", &["-c", build, &folder], &variables)
        .to_the_end()
        .await;
    if status.success() {
        Ok(taken)
    } else {
        Err(io::Error::other(format!(
            "{status}; BENCH_SHOW_OUTPUT=1 shows why"
        )))
    }
}
