//! The rows: what was measured, what it is compared with, what was aimed at.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// All rows.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What ran on: cores and processor, and how busy they were before.
    machine: String,
    /// In the order measured.
    rows: Vec<Row>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// What is measured of it, with its unit.
    pub measure: &'static str,
    /// Ours: the median.
    pub ours: f64,
    /// The peer's, where it is compared with one.
    pub peer: Option<(String, f64)>,
    /// What was aimed at.
    pub target: Option<Target>,
    /// What no program could be below.
    pub floor: Option<Floor>,
}

/// What is measured can't be less than this, however fast the program is.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// In the row's unit.
    pub value: f64,
    /// What it is made of.
    pub reason: String,
}

/// How a row stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At most what was aimed at.
    Met,
    /// More.
    Missed,
    /// More, and the floor alone is.
    OutOfReach,
}

/// What is aimed at.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Ours divided by the peer's, at most.
    Ratio(f64),
    /// Ours, at most.
    Value(f64),
}

impl Row {
    /// Ours divided by the peer's.
    pub fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|(_, peer)| self.ours / peer)
    }

    /// How it stands to its target; `None` without one.
    pub fn outcome(&self) -> Option<Outcome> {
        let most = match self.target? {
            Target::Ratio(most) => most * self.peer.as_ref()?.1,
            Target::Value(most) => most,
        };
        let is_below = self.floor.as_ref().is_some_and(|floor| floor.value > most);
        Some(if self.ours <= most {
            Outcome::Met
        } else if is_below {
            Outcome::OutOfReach
        } else {
            Outcome::Missed
        })
    }
}

impl Report {
    /// An empty one.
    pub fn new() -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let names = cpus
            .lines()
            .filter_map(|line| line.strip_prefix("model name"));
        let names: Vec<_> = names.collect();
        let name = names
            .first()
            .map_or("unknown", |name| name.trim_start_matches([':', '\t', ' ']));
        Self {
            machine: format!(
                "{} x {name}, {}, load {}",
                names.len(),
                std::env::consts::ARCH,
                load()
            ),
            rows: Vec::new(),
        }
    }

    /// Adds a row and shows it, as a run takes minutes.
    pub fn add(&mut self, row: Row) {
        eprintln!("{row}");
        self.rows.push(row);
    }

    /// How many targets are missed that could be met.
    pub fn misses(&self) -> usize {
        let missed = |row: &&Row| row.outcome() == Some(Outcome::Missed);
        self.rows.iter().filter(missed).count()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer.as_ref();
        let peer = peer.map_or(String::new(), |(name, value)| {
            format!("{value:.1} ({name})")
        });
        let ratio = self
            .ratio()
            .map_or(String::new(), |ratio| format!("{ratio:.4}"));
        let target = match self.target {
            Some(Target::Ratio(most)) => format!("ratio <= {most:.4}"),
            Some(Target::Value(most)) => format!("<= {most}"),
            None => String::new(),
        };
        let result = match (self.outcome(), &self.floor) {
            (Some(Outcome::Met), _) => "met".to_owned(),
            (Some(Outcome::OutOfReach), Some(Floor { value, reason })) => {
                format!("out of reach: {value:.1} for {reason}")
            }
            (Some(_), _) => "MISSED".to_owned(),
            (None, _) => String::new(),
        };
        write!(
            f,
            "| {} | {} | {:.1} | {peer} | {ratio} | {target} | {result} |",
            self.work, self.measure, self.ours
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        writeln!(
            f,
            "| work | measured | ours | peer | ratio | target | result |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

/// How many processes wanted to run, over the last minute.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

/// The middle one.
///
/// # Panics
///
/// Without any.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// In milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// In MiB.
pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
