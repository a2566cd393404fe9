//! From a process's start to its first question for an event: what a cold start costs of its own.

use std::collections::HashMap;
use std::path::Path;

use bench::{RuntimeApi, Started};

use crate::report::{Floor, Report, Row, Target, median, mib, ms};
use crate::{ONE_CALL, ONE_CALL_IS, Options, binary, peer};

const RUNS: usize = 15;
const PYTHON_RUNS: usize = 3;
const HELLO: &str = "bench-hello";

/// All root certificates in one file, which is how Amazon Linux has them. Debian has each in a file of its own
/// besides, and all of them would be read as well.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Milliseconds and MiB of one start.
async fn start(program: &Path, arguments: &[&str]) -> (f64, f64) {
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
    (ms(taken.wall), mib(taken.peak_kib))
}

/// Starts every function, hello world and Python, and gives hello world's milliseconds.
pub async fn measure(options: &Options, report: &mut Report) -> f64 {
    let mut pythons = Vec::new();
    for _ in 0..PYTHON_RUNS {
        pythons.push(start(&options.python, &[&peer("handler.py")]).await.0);
    }
    let python = median(pythons);
    let functions = ["converge", "audit", "restore", "verify"];
    let functions: Vec<&str> = functions
        .into_iter()
        .filter(|name| binary(name).exists())
        .collect();
    // In turn, so that what else the machine does falls on all of them alike.
    let mut starts: HashMap<&str, (Vec<f64>, Vec<f64>)> = HashMap::new();
    for _ in 0..RUNS {
        for name in [HELLO, ONE_CALL].iter().chain(&functions) {
            let (wall, peak) = start(&binary(name), &[]).await;
            let (walls, peaks) = starts.entry(name).or_default();
            walls.push(wall);
            peaks.push(peak);
        }
    }
    let mut medians = |name| {
        let (walls, peaks) = starts.remove(name).unwrap_or_default();
        (median(walls), median(peaks))
    };
    let (hello, _) = medians(HELLO);
    let (one_call, _) = medians(ONE_CALL);
    for name in functions {
        let (ours, peak) = medians(name);
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
