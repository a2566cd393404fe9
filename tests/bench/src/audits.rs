//! The audit beside scripts and Cloud Custodian, on the same account at 40 ms a call.

use std::time::Duration;

use bench::{Behaviour, BenchmarkAws, Dataset, RuntimeApi, Started, Taken};
use serde_json::json;

use crate::report::{Floor, Report, Row, Target, median, mib, ms};
use crate::shares::CpuShare;
use crate::{Options, binary, peer};

/// How long a call takes.
pub const LATENCY: Duration = Duration::from_millis(40);
/// Snapshots of each volume, as retention keeps them.
pub const SNAPSHOTS_EACH: usize = 14;
/// What is aimed at for the largest account, in MiB.
const PEAK_MIB_MAX: f64 = 96.0;

/// An account's size, and what is aimed at: wall time and CPU, ours divided by one listing's.
struct Size {
    volumes: usize,
    wall: f64,
    cpu: Option<f64>,
    runs: usize,
    /// How many calls wait for each other: the first page, then those of the parts, eight at a time.
    deep: u32,
}

/// Medians of several runs, and the calls of one.
struct Median {
    wall_ms: f64,
    cpu_ms: f64,
    peak_mib: f64,
    calls: u64,
}

impl Median {
    fn of(taken: &[Taken], calls: u64) -> Self {
        let of = |value: fn(&Taken) -> f64| median(taken.iter().map(value).collect());
        Self {
            wall_ms: of(|taken| ms(taken.wall)),
            cpu_ms: of(|taken| ms(taken.cpu)),
            peak_mib: of(|taken| mib(taken.peak_kib)),
            calls,
        }
    }
}

/// Audits accounts of several sizes. `start_ms` is what the smallest function takes to start.
pub async fn measure(options: &Options, report: &mut Report, start_ms: f64) {
    let sizes = [
        Size {
            volumes: 100,
            wall: 1.0 / 5.0,
            cpu: None,
            runs: 5,
            deep: 2,
        },
        Size {
            volumes: 1_000,
            wall: 1.0 / 10.0,
            cpu: None,
            runs: 3,
            deep: 3,
        },
        Size {
            volumes: 10_000,
            wall: 1.0 / 12.0,
            cpu: Some(1.0 / 10.0),
            runs: 3,
            deep: 19,
        },
    ];
    for size in sizes {
        of_size(options, report, &size, start_ms).await;
    }
    if !options.quick {
        largest(report).await;
    }
}

async fn of_size(options: &Options, report: &mut Report, size: &Size, start_ms: f64) {
    let dataset = Dataset::new(size.volumes, SNAPSHOTS_EACH);
    let (volumes, snapshots) = (dataset.volume_count(), dataset.snapshot_count());
    let now = dataset.now().to_string();
    let aws = BenchmarkAws::start(
        dataset,
        Behaviour {
            latency: LATENCY,
            ..Behaviour::default()
        },
    )
    .await;
    let runs = if options.quick { 1 } else { size.runs };
    let (mut ours, mut listings) = (Vec::new(), Vec::new());
    let (mut our_calls, mut their_calls) = (0, 0);
    for _ in 0..runs {
        ours.push(audit(&aws, &now).await);
        our_calls = count(&aws);
        listings.push(script(options, &aws, "one_listing.py", &now).await);
        their_calls = count(&aws);
    }
    let (ours, listing) = (
        Median::of(&ours, our_calls),
        Median::of(&listings, their_calls),
    );
    let work = format!("audit, {volumes} volumes and {snapshots} snapshots");
    let waiting = Floor {
        value: start_ms + f64::from(size.deep) * ms(LATENCY),
        reason: format!(
            "the start of a process and {} calls one after the other",
            size.deep
        ),
    };
    let mut add = |measure: &'static str, ours, peer: &str, theirs, target| {
        report.add(Row {
            floor: (measure == "wall, ms").then(|| waiting.clone()),
            work: work.clone(),
            measure,
            ours,
            peer: Some((peer.to_owned(), theirs)),
            target,
        });
    };
    let boto3 = "boto3, one listing";
    add(
        "wall, ms",
        ours.wall_ms,
        boto3,
        listing.wall_ms,
        Some(Target::Ratio(size.wall)),
    );
    add(
        "CPU, ms",
        ours.cpu_ms,
        boto3,
        listing.cpu_ms,
        size.cpu.map(Target::Ratio),
    );
    let memory = (size.volumes == 10_000).then_some(Target::Value(PEAK_MIB_MAX));
    add(
        "peak memory, MiB",
        ours.peak_mib,
        boto3,
        listing.peak_mib,
        memory,
    );
    let pages = snapshots.div_ceil(1000) + volumes.div_ceil(1000);
    let most = Target::Value((pages + 20) as f64);
    add(
        "calls",
        ours.calls as f64,
        boto3,
        listing.calls as f64,
        Some(most),
    );
    if size.volumes == 100 || (!options.quick && size.volumes == 1_000) {
        let taken = script(options, &aws, "call_per_volume.py", &now).await;
        let other = Median::of(&[taken], count(&aws));
        add(
            "wall, ms",
            ours.wall_ms,
            "boto3, one call a volume",
            other.wall_ms,
            None,
        );
        add(
            "calls",
            ours.calls as f64,
            "boto3, one call a volume",
            other.calls as f64,
            None,
        );
    }
    if let Some(custodian) = options.custodian.as_ref().filter(|_| size.volumes <= 1_000) {
        let output = std::env::temp_dir().join(format!("bench-custodian-{}", std::process::id()));
        let output_text = output.display().to_string();
        let arguments = [
            "run",
            "--cache-period",
            "0",
            "-s",
            &output_text,
            &peer("custodian.yml"),
        ];
        let process = Started::new(custodian, &arguments, &variables(&aws));
        let (taken, status) = process.to_the_end().await;
        let _ = std::fs::remove_dir_all(output);
        assert!(status.success(), "Cloud Custodian ended with {status}");
        let other = Median::of(&[taken], count(&aws));
        add(
            "wall, ms",
            ours.wall_ms,
            "Cloud Custodian",
            other.wall_ms,
            None,
        );
        add(
            "peak memory, MiB",
            ours.peak_mib,
            "Cloud Custodian",
            other.peak_mib,
            None,
        );
    }
    let direct = aws.capacity(snapshots).await;
    add(
        "wall, ms",
        ours.wall_ms,
        "only fetching the same pages, one after the other",
        direct,
        None,
    );
}

/// 100,000 volumes and 1.4 million snapshots at 100 ms a call: at most 512 MiB and 15 minutes.
async fn largest(report: &mut Report) {
    let dataset = Dataset::new(100_000, SNAPSHOTS_EACH);
    let now = dataset.now().to_string();
    let latency = Duration::from_millis(100);
    let aws = BenchmarkAws::start(
        dataset,
        Behaviour {
            latency,
            ..Behaviour::default()
        },
    )
    .await;
    let taken = audit(&aws, &now).await;
    let work = "audit, 100000 volumes and 1400000 snapshots, 100 ms a call";
    for (measure, ours, most) in [
        ("wall, ms", ms(taken.wall), 900_000.0),
        ("peak memory, MiB", mib(taken.peak_kib), 512.0),
    ] {
        report.add(Row {
            work: work.to_owned(),
            measure,
            ours,
            peer: None,
            target: Some(Target::Value(most)),
            floor: None,
        });
    }
}

async fn audit(aws: &BenchmarkAws, now: &str) -> Taken {
    audit_within(aws, now, None).await
}

/// An audit with all of a core, or with the share of it that a [`CpuShare`] gives.
pub async fn audit_within(aws: &BenchmarkAws, now: &str, share: Option<&CpuShare>) -> Taken {
    let runtime = RuntimeApi::start(Some(&json!({"now": now}))).await;
    let mut variables = runtime.variables();
    variables.push(("AWS_ENDPOINT_URL".to_owned(), aws.endpoint()));
    let process = match share {
        None => Started::new(binary("audit"), &[], &variables),
        Some(share) => share.start(&binary("audit"), &variables),
    };
    let (taken, answer) = process.until(runtime.answer()).await;
    let answer = answer.unwrap_or_else(|error| panic!("the audit failed: {error}"));
    assert_eq!(answer["worst"], "ok", "{}", answer["text"]);
    taken
}

async fn script(options: &Options, aws: &BenchmarkAws, name: &str, now: &str) -> Taken {
    let process = Started::new(&options.python, &[&peer(name), now], &variables(aws));
    let (taken, status) = process.to_the_end().await;
    assert!(status.success(), "{name} ended with {status}");
    taken
}

fn variables(aws: &BenchmarkAws) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL", aws.endpoint()),
        ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
        ("AWS_DEFAULT_REGION", "eu-west-2".to_owned()),
        ("HOME", std::env::temp_dir().display().to_string()),
        ("PATH", std::env::var("PATH").unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn count(aws: &BenchmarkAws) -> u64 {
    aws.take_calls().0.values().sum()
}
