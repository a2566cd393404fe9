//! The emulated time, for functions that are to live in it.
//!
//! A function reads the machine's clock. Started with [libfaketime] preloaded, it reads that clock plus
//! the offset in a file, which is rewritten whenever the emulated clock is moved: nothing in the function
//! knows of it. Monotonic clocks, and so timers and deadlines, stay as they are.
//!
//! [libfaketime]: https://github.com/wolfcw/libfaketime

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::pool::emulation_folder;

/// How far the emulated clock is ahead of the machine's, and the file that says so.
#[derive(Debug)]
pub(crate) struct EmulatedTime {
    folder: TempDir,
    ahead: Mutex<Duration>,
}

impl EmulatedTime {
    pub(super) fn new(ahead: Duration) -> Self {
        let time = Self {
            folder: tempfile::tempdir().expect("a folder for the clock's file"),
            ahead: Mutex::default(),
        };
        time.set(ahead);
        time
    }

    /// Notes that the emulated clock was moved to `now`.
    pub(super) fn moved_to(&self, now: Timestamp) {
        let ahead = now.duration_since(Timestamp::now());
        // A clock that is set back, before anything exists, serves no function.
        self.set(ahead.try_into().unwrap_or_default());
    }

    /// How far it is ahead.
    pub(crate) fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, ahead: Duration) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
        // Renamed, so that no function reads half a number.
        let new = self.folder.path().join("new");
        let written = std::fs::write(&new, format!("+{}\n", ahead.as_secs_f64()));
        written
            .and_then(|()| std::fs::rename(&new, self.file()))
            .expect("the clock's file can be written");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// The environment variables that put a process into the emulated time.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let library = library(&emulation_folder());
        forget_ended_processes();
        let variables = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

/// The library keeps shared memory by process id, and a killed process leaves it: the next of that id
/// would not start.
fn forget_ended_processes() {
    let listed = std::fs::read_dir("/dev/shm").into_iter().flatten();
    for entry in listed.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let of_library = ["faketime_shm_", "sem.faketime_sem_"];
        let mut ids = of_library
            .iter()
            .filter_map(|start| name.strip_prefix(start));
        if ids
            .next()
            .is_some_and(|id| !Path::new("/proc").join(id).exists())
        {
            // Whoever else saw it too may have removed it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// It comes with the Python package that wraps it, in the emulated AWS's virtual environment.
fn library(tests: &Path) -> PathBuf {
    let versions = tests.join("../.venv/lib");
    let within = "site-packages/libfaketime/vendor/libfaketime/src/libfaketime.so.1";
    let listed = std::fs::read_dir(&versions).into_iter().flatten();
    let found = listed
        .filter_map(|version| version.ok()?.path().join(within).canonicalize().ok())
        .next();
    found.unwrap_or_else(|| {
        panic!(
            "no {within} under {}: run `make venv`",
            versions.join("python3.*").display()
        )
    })
}
