//! A function's process: found, started, watched, ended.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// A running or ended process. Dropping it kills.
#[derive(Debug)]
pub(super) struct Process {
    id: Option<u32>,
    exit: watch::Receiver<Option<ExitStatus>>,
    kill: Arc<Notify>,
    logs: Logs,
    watcher: JoinHandle<()>,
}

/// What a process wrote, in the order in which it was read.
#[derive(Clone, Debug, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Process {
    pub(super) fn start(
        name: &str,
        lambda: HashMap<String, String>,
        variables: &[(String, String)],
    ) -> Self {
        let mut child = Command::new(binary(name))
            .env_clear()
            .envs(lambda)
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let id = child.id();
        let logs = Logs::default();
        let outputs = [
            child.stdout.take().map(|output| logs.follow(output)),
            child.stderr.take().map(|output| logs.follow(output)),
        ];
        let kill = Arc::new(Notify::new());
        let (ended, exit) = watch::channel(None);
        let watcher = tokio::spawn(watch_over(child, outputs, Arc::clone(&kill), ended));
        Self {
            id,
            exit,
            kill,
            logs,
            watcher,
        }
    }

    /// Waits for the end; all that was written is in the logs by then.
    pub(super) async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await;
        status
            .ok()
            .and_then(|status| *status)
            .expect("the watcher outlives its process")
    }

    /// SIGKILL, and waits for the end.
    pub(super) async fn kill(&self) {
        self.kill.notify_one();
        self.exited().await;
    }

    /// Stops it where it is, or has it go on.
    pub(super) fn signal(&self, signal: &str) {
        let id = self.id.expect("it was started").to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -s {signal}"
        );
    }

    /// The most memory that it has had at any time, in KiB, while it runs. As the kernel tells.
    pub(super) fn memory_peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id?)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    pub(super) fn logs(&self) -> String {
        let written = self.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Dropping the watcher drops the child, which kills it.
        self.watcher.abort();
    }
}

async fn watch_over(
    mut child: Child,
    outputs: [Option<JoinHandle<()>>; 2],
    kill: Arc<Notify>,
    ended: watch::Sender<Option<ExitStatus>>,
) {
    tokio::select! {
        _ = child.wait() => {}
        () = kill.notified() => { let _ = child.start_kill(); }
    }
    let status = child.wait().await.expect("a child can be waited for");
    for output in outputs.into_iter().flatten() {
        let _ = output.await;
    }
    let _ = ended.send(Some(status));
}

impl Logs {
    fn follow(&self, mut output: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let logs = self.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer).await {
                let mut written = logs.0.lock().unwrap_or_else(PoisonError::into_inner);
                written.extend_from_slice(&buffer[..length]);
            }
        })
    }
}

/// The binaries lie where the running one does, or beside the `deps` folder that tests run from.
fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the running binary has a path");
    let mut folder = this.parent().expect("a binary lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps lies in the target folder");
    }
    let binary = folder.join(name);
    assert!(
        binary.exists(),
        "{} is not there: run `make build`",
        binary.display()
    );
    binary
}
