//! `make bench`: the release binaries and what users would take instead, on the same work, in turn.
//!
//! Prints a table and writes JSON; ends with 1 when a target is missed that could be met. `--quick` leaves
//! out what takes minutes; `--only` measures one subject.

mod audits;
mod builds;
mod converges;
mod report;
mod shares;
mod sizes;
mod starts;
mod strewn;
mod verifies;

use std::path::{Path, PathBuf};

use report::Report;

/// What can be measured, in the order in which it is.
const SUBJECTS: [&str; 8] = [
    "starts",
    "audits",
    "shares",
    "converges",
    "verifies",
    "strewn",
    "sizes",
    BUILDS,
];
/// Measured only where it is asked for: it takes as long as all others together.
const BUILDS: &str = "builds";

/// What no function that uses the SDK starts faster than.
const ONE_CALL: &str = "bench-one-call";
const ONE_CALL_IS: &str = "a function with one call of EC2";

/// What is asked on the command line.
#[derive(Debug)]
struct Options {
    quick: bool,
    only: Option<String>,
    json: PathBuf,
    python: PathBuf,
    custodian: Option<PathBuf>,
}

impl Options {
    /// # Errors
    ///
    /// What isn't understood.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            only: None,
            json: "target/bench.json".into(),
            python: ".venv/bin/python".into(),
            custodian: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => {
                    let subject = value()?;
                    if !SUBJECTS.contains(&subject.as_str()) {
                        let known = SUBJECTS.join(", ");
                        return Err(format!("{subject} is none of {known}"));
                    }
                    options.only = Some(subject);
                }
                "--json" => options.json = value()?.into(),
                "--python" => options.python = value()?.into(),
                "--custodian" => options.custodian = Some(value()?.into()),
                _ => return Err(format!("{argument} is unknown")),
            }
        }
        Ok(options)
    }

    fn includes(&self, subject: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == subject)
    }
}

/// A release binary beside this one.
fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the running binary has a path");
    this.parent().expect("a binary lies in a folder").join(name)
}

fn peer(name: &str) -> String {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    peers.join(name).display().to_string()
}

#[tokio::main]
async fn main() {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            std::process::exit(2);
        }
    };
    let mut report = Report::new();
    // The limits of audits name what a start takes.
    let start_ms = if options.includes("starts") || options.includes("audits") {
        starts::measure(&options, &mut report).await
    } else {
        0.0
    };
    if options.includes("audits") {
        audits::measure(&options, &mut report, start_ms).await;
    }
    if options.includes("shares") && !options.quick {
        shares::measure(&mut report).await;
    }
    if options.includes("converges") {
        converges::measure(&options, &mut report).await;
    }
    if options.includes("verifies") {
        verifies::measure(&mut report).await;
    }
    if options.includes("strewn") && !options.quick {
        strewn::measure(&mut report).await;
    }
    if options.includes("sizes") {
        sizes::measure(&options, &mut report);
    }
    if options.only.as_deref() == Some(BUILDS) {
        builds::measure(&mut report).await;
    }
    println!("{report}");
    let json = serde_json::to_string_pretty(&report).expect("a report is JSON");
    std::fs::write(&options.json, json + "\n")
        .unwrap_or_else(|error| panic!("{}: {error}", options.json.display()));
    if report.misses() > 0 {
        std::process::exit(1);
    }
}
