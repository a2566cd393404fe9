//! A process whose time, CPU and peak memory are taken.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How often the memory of the process and of its children is looked at. The kernel keeps the peak of
/// each process itself, so only what a process reaches in its last moments is missed.
const POLL: Duration = Duration::from_millis(4);

/// What a process took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// From its start to whatever was waited for.
    pub wall: Duration,
    /// Of it and of all its children, user and system; zero where it did not end by itself.
    pub cpu: Duration,
    /// The greatest sum of the peaks of it and of its living children, in KiB.
    pub peak_kib: u64,
}

/// A started process.
#[derive(Debug)]
pub struct Started {
    child: Child,
    started: Instant,
    cpu_before: Duration,
}

impl Started {
    /// Starts a program with these variables and no others.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub fn new(
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        variables: &[(String, String)],
    ) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if std::env::var_os("BENCH_SHOW_OUTPUT").is_some() {
            command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
        }
        let cpu_before = cpu_of_children();
        let started = Instant::now();
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        Self {
            child,
            started,
            cpu_before,
        }
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Waits for something, watches the memory meanwhile, and ends the process.
    pub async fn until<T>(mut self, what: impl Future<Output = (Instant, T)>) -> (Taken, T) {
        let pid = self.child.id().expect("it has not been waited for");
        let mut peak_kib = 0;
        let mut what = std::pin::pin!(what);
        let (at, value) = loop {
            tokio::select! {
                biased;
                done = &mut what => break done,
                () = sleep(POLL) => peak_kib = peak_kib.max(peak_of_tree(pid)),
            }
        };
        peak_kib = peak_kib.max(peak_of_tree(pid));
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
        let taken = Taken {
            wall: at.duration_since(self.started),
            cpu: cpu_of_children().saturating_sub(self.cpu_before),
            peak_kib,
        };
        (taken, value)
    }

    /// Waits for its end.
    pub async fn to_the_end(mut self) -> (Taken, ExitStatus) {
        let pid = self.child.id().expect("it has not been waited for");
        let mut peak_kib = 0;
        let status = loop {
            tokio::select! {
                biased;
                status = self.child.wait() => break status.expect("a child can be waited for"),
                () = sleep(POLL) => peak_kib = peak_kib.max(peak_of_tree(pid)),
            }
        };
        let taken = Taken {
            wall: self.started.elapsed(),
            cpu: cpu_of_children().saturating_sub(self.cpu_before),
            peak_kib,
        };
        (taken, status)
    }
}

/// User and system time of all children that were waited for.
fn cpu_of_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells");
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// `VmHWM` of a process and its descendants, in KiB.
fn peak_of_tree(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    own + children(pid).into_iter().map(peak_of_tree).sum::<u64>()
}

/// A process is the child of the thread that started it.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let ids = lists.iter().flat_map(|list| list.split_whitespace());
    ids.filter_map(|id| id.parse().ok()).collect()
}
