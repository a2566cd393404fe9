//! A cold `sam build`: of a clone in which nothing was compiled yet.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bench::process::{Started, Taken};

use crate::binary;
use crate::report::{Floor, Report, Row, Target, mib};

/// Half of what a build took with cargo's own release settings: 27 minutes.
const CPU_MINUTES_MAX: f64 = 13.5;
const PEAK_MIB_MAX: f64 = 3.0 * 1024.0;

/// What nobody who uses EC2's SDK gets around: its crate is read, with those that it needs, and no code is made.
const CHECK: &str = "cargo check --locked --package aws-sdk-ec2 --target-dir checked";
const CHECK_IS: &str = "checking aws-sdk-ec2 alone";

/// Measures one build. It takes minutes, and the tools that `make package` installs.
pub async fn measure(report: &mut Report) {
    let (checked, taken) = match build().await {
        Ok(both) => both,
        Err(problem) => {
            eprintln!("sam build is left out: {problem}");
            return;
        }
    };
    let minutes = |duration: Duration| duration.as_secs_f64() / 60.0;
    for (measure, ours, target, least) in [
        (
            "CPU, minutes",
            minutes(taken.cpu),
            Some(CPU_MINUTES_MAX),
            minutes(checked.cpu),
        ),
        (
            "peak memory, MiB",
            mib(taken.peak_kib),
            Some(PEAK_MIB_MAX),
            mib(checked.peak_kib),
        ),
        (
            "wall, minutes",
            minutes(taken.wall),
            None,
            minutes(checked.wall),
        ),
    ] {
        report.add(Row {
            work: "sam build, cold".to_owned(),
            measure,
            ours,
            peer: Some((CHECK_IS.to_owned(), least)),
            target: target.map(Target::Value),
            floor: Some(Floor {
                value: least,
                reason: CHECK_IS.to_owned(),
            }),
        });
    }
}

/// What the check of aws-sdk-ec2 took, and then the build.
async fn build() -> io::Result<(Taken, Taken)> {
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
    let run = async |command: &str| {
        let script = format!("cd \"$0\" && exec {command}");
        let (taken, status) = Started::new("bash", &["-c", &script, &folder], &variables)
            .to_the_end()
            .await;
        if status.success() {
            Ok(taken)
        } else {
            Err(io::Error::other(format!(
                "{command}: {status}; BENCH_SHOW_OUTPUT=1 shows why"
            )))
        }
    };
    let checked = run(CHECK).await?;
    Ok((checked, run("sam build").await?))
}
