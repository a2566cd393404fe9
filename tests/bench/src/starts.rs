//! From a process's start to its first question for an event: what a cold start costs of its own.

use std::path::Path;

use bench::{RuntimeApi, Started};

use crate::report::{Floor, Report, Row, Target, median, mib, ms};
use crate::{ONE_CALL, ONE_CALL_IS, Options, binary, peer};

const RUNS: usize = 15;

/// All root certificates in one file, which is how Amazon Linux has them. Debian has each in a file of its own
/// besides, and all of them would be read as well.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Median milliseconds and MiB.
async fn start(program: &str, arguments: &[&str], runs: usize) -> (f64, f64) {
    let (mut walls, mut peaks) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let runtime = RuntimeApi::start(None).await;
        let mut variables = runtime.variables();
        // Without which restore doesn't start.
        variables.push(("RESTORES_TABLE".to_owned(), "bench".to_owned()));
        if Path::new(BUNDLE).exists() {
            variables.push(("SSL_CERT_FILE".to_owned(), BUNDLE.to_owned()));
        }
        let process = Started::new(program, arguments, &variables);
        let asked = async { (runtime.first_next().await, ()) };
        let (taken, ()) = process.until(asked).await;
        walls.push(ms(taken.wall));
        peaks.push(mib(taken.peak_kib));
    }
    (median(walls), median(peaks))
}

/// Starts every function, hello world and Python, and gives hello world's milliseconds.
pub async fn measure(options: &Options, report: &mut Report) -> f64 {
    let program = |name: &str| binary(name).display().to_string();
    let (hello, _) = start(&program("bench-hello"), &[], RUNS).await;
    let (one_call, _) = start(&program(ONE_CALL), &[], RUNS).await;
    let python = options.python.display().to_string();
    let (python, _) = start(&python, &[&peer("handler.py")], 3).await;
    for name in ["converge", "audit", "restore", "verify"] {
        if !binary(name).exists() {
            continue;
        }
        let (ours, peak) = start(&program(name), &[], RUNS).await;
        let work = format!("{name}: process start to first `next`");
        for (peer, value, target) in [
            ("hello world", hello, Some(Target::Ratio(2.0))),
            ("Python with boto3", python, Some(Target::Ratio(0.02))),
            (ONE_CALL_IS, one_call, None),
        ] {
            report.add(Row {
                work: work.clone(),
                measure: "wall, ms",
                ours,
                peer: Some((peer.to_owned(), value)),
                target,
                floor: target.is_some().then(|| Floor {
                    value: one_call,
                    reason: ONE_CALL_IS.to_owned(),
                }),
            });
        }
        report.add(Row {
            work,
            measure: "peak memory, MiB",
            ours: peak,
            peer: None,
            target: None,
            floor: None,
        });
    }
    hello
}
