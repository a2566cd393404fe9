//! The audit with the part of a core that Lambda gives for a memory size.
//!
//! Source: AWS Lambda developer guide, "Configure Lambda function memory": at 1,769 MB a function has the
//! equivalent of one vCPU, and less in proportion.

use std::path::{Path, PathBuf};
use std::{fs, io};

use bench::{Behaviour, BenchmarkAws, Dataset, Started};

use crate::audits::{LATENCY, SNAPSHOTS_EACH, audit_within};
use crate::report::{Report, Row, Target, mib, ms};

const MB_OF_A_CORE: u64 = 1_769;
const PERIOD_US: u64 = 20_000;
/// The audit's time limit in the template.
const TIMEOUT_MS: f64 = 300_000.0;

/// A control group that gives its processes a part of one core.
#[derive(Debug)]
pub struct CpuShare {
    group: PathBuf,
}

impl CpuShare {
    /// What Lambda gives for so many megabytes; it takes root and a writable control group.
    fn of(memory_mb: u64) -> io::Result<Self> {
        let quota_us = PERIOD_US * memory_mb / MB_OF_A_CORE;
        let name = format!("etcd-backup-bench-{}", std::process::id());
        let controllers = Path::new("/sys/fs/cgroup");
        let is_second_version = controllers.join("cgroup.controllers").exists();
        let share = Self {
            group: if is_second_version {
                controllers.join(name)
            } else {
                controllers.join("cpu").join(name)
            },
        };
        fs::create_dir(&share.group)?;
        let write = |file: &str, text: String| fs::write(share.group.join(file), text);
        if is_second_version {
            write("cpu.max", format!("{quota_us} {PERIOD_US}"))?;
        } else {
            write("cpu.cfs_period_us", PERIOD_US.to_string())?;
            write("cpu.cfs_quota_us", quota_us.to_string())?;
        }
        Ok(share)
    }

    /// Starts a program that is in the group from its first instruction on.
    pub fn start(&self, program: &Path, variables: &[(String, String)]) -> Started {
        let procs = self.group.join("cgroup.procs");
        let (procs, program) = (procs.display().to_string(), program.display().to_string());
        let script = "echo $$ > \"$0\" && exec \"$1\"";
        Started::new("/bin/sh", &["-c", script, &procs, &program], variables)
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        // A group whose processes have ended can be removed; one that can't be is empty and harmless.
        let _ = fs::remove_dir(&self.group);
    }
}

/// Audits two accounts with several shares of a core; without a writable control group, says so.
pub async fn measure(report: &mut Report) {
    for (volumes, memories_mb) in [
        (1_000, [256, 512, MB_OF_A_CORE]),
        (10_000, [256, 512, MB_OF_A_CORE]),
    ] {
        let dataset = Dataset::new(volumes, SNAPSHOTS_EACH);
        let (now, snapshots) = (dataset.now().to_string(), dataset.snapshot_count());
        let behaviour = Behaviour {
            latency: LATENCY,
            ..Behaviour::default()
        };
        let aws = BenchmarkAws::start(dataset, behaviour).await;
        for memory_mb in memories_mb {
            let share = match CpuShare::of(memory_mb) {
                Ok(share) => share,
                Err(error) => {
                    eprintln!("Lambda's share of a core can't be emulated: {error}");
                    return;
                }
            };
            let taken = audit_within(&aws, &now, Some(&share)).await;
            // Of the limits, a tenth of the memory is left to the system.
            let memory_max = memory_mb as f64 * 1e6 / f64::from(1 << 20) * 0.9;
            for (measure, ours, most) in [
                ("wall, ms", ms(taken.wall), TIMEOUT_MS),
                ("peak memory, MiB", mib(taken.peak_kib), memory_max.floor()),
            ] {
                report.add(Row {
                    work: format!("audit, {snapshots} snapshots, a function of {memory_mb} MB"),
                    measure,
                    ours,
                    peer: None,
                    target: Some(Target::Value(most)),
                    floor: None,
                });
            }
        }
    }
}
