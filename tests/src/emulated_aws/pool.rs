//! The process that emulated AWSs are forked from: loading the emulation takes seconds, a fork
//! milliseconds.
//!
//! Invariant: one pool per test process. It reads our end of its standard input, so it and all its
//! forks end when this process does, however that comes about.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

struct Pool {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Kept for its exit status, should it end before us.
    process: Child,
}

#[derive(serde::Deserialize)]
struct Started {
    endpoint: String,
}

/// Forks a fresh emulated AWS and gives its endpoint. Blocks until it listens.
pub(super) fn new_endpoint() -> String {
    static POOL: OnceLock<Mutex<Pool>> = OnceLock::new();
    POOL.get_or_init(|| Mutex::new(Pool::start()))
        .lock()
        // A test that panicked in here leaves no half request behind that would matter.
        .unwrap_or_else(PoisonError::into_inner)
        .fork()
}

impl Pool {
    fn start() -> Self {
        let tests = emulation_folder();
        let mut process = Command::new(python(&tests))
            .args(["-m", "emulated_aws", "--pool"])
            .current_dir(&tests)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("the emulated AWS does not start: {error}"));
        Self {
            requests: process.stdin.take().expect("standard input is piped"),
            answers: BufReader::new(process.stdout.take().expect("standard output is piped")),
            process,
        }
    }

    fn fork(&mut self) -> String {
        let mut line = String::new();
        let exchange = self
            .requests
            .write_all(b"new\n")
            .and_then(|()| self.requests.flush())
            .and_then(|()| self.answers.read_line(&mut line));
        match exchange.map(|_| serde_json::from_str::<Started>(&line)) {
            Ok(Ok(started)) => started.endpoint,
            failure => panic!(
                "the emulated AWS did not start (its process: {:?}; see its error output): {:?}",
                self.process.try_wait(),
                failure.map(|answer| answer.map(|started| started.endpoint))
            ),
        }
    }
}

/// The folder with the emulation's code. Where this was compiled comes last: a target folder may have
/// been carried over from another checkout.
pub(super) fn emulation_folder() -> PathBuf {
    let under_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let in_the_repository = std::env::current_dir().ok().map(|here| here.join("tests"));
    [under_cargo, in_the_repository]
        .into_iter()
        .flatten()
        .find(|folder| folder.join("emulated_aws/__main__.py").exists())
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")))
}

fn python(tests: &Path) -> PathBuf {
    let python = tests.join("../.venv/bin/python");
    assert!(
        python.exists(),
        "the emulated AWS needs its virtual environment in {}: run `make venv`",
        tests.with_file_name(".venv").display()
    );
    python
}
