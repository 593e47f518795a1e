//! How runs are kept: one JSON line each, with the machine that it ran on, in a file a day.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::Result;
use crate::contest::Run;
use crate::micro::Sample;
use crate::scenario::Scenario;

/// The machine and the state of the source.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's model name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// The commit that the source stands at, with `+` when files differ from it; empty outside a repository.
    pub commit: String,
}

impl Machine {
    /// Reads what this machine tells about itself.
    #[must_use]
    pub fn here() -> Self {
        Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            cpu: cpu_model().unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            commit: commit().unwrap_or_default(),
        }
    }
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let id = git(&["rev-parse", "--short=12", "HEAD"])?;
    // Records of earlier runs do not make the source differ.
    let differs = git(&["status", "--porcelain", "--untracked-files=no", "--", "..", ":!runs"])?;
    Some(if differs.is_empty() { id } else { id + "+" })
}

/// One line of a record of the `rpc` benchmark; times are in microseconds.
#[derive(Debug, Serialize)]
pub struct RpcLine<'a> {
    /// Seconds since 1970, UTC.
    pub at: u64,
    /// The scenario's name.
    pub scenario: &'a str,
    /// Bytes in the body, each way.
    pub body: usize,
    /// The system's name.
    pub system: &'a str,
    /// Which of the alternating rounds, from 0.
    pub round: usize,
    /// Calls that ended in the time that counted.
    pub calls: u64,
    /// Calls a second.
    pub per_second: f64,
    /// Median of a call's time.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The longest call.
    pub max_us: f64,
    /// Slowest to fastest connection in the worst second.
    pub fairness: f64,
    /// Processor time of the server's processes for one call.
    pub server_cpu_us: f64,
    /// Processor time of the load generator, with the client under test in it, for one call.
    pub client_cpu_us: f64,
    /// Where it ran.
    pub machine: &'a Machine,
}

impl<'a> RpcLine<'a> {
    /// The record of one run.
    #[must_use]
    pub fn new(scenario: &'a Scenario, body: usize, run: &'a Run, machine: &'a Machine) -> Self {
        let latency = &run.measured.latency;
        let microseconds = |nanoseconds: u64| rounded(nanoseconds as f64 / 1e3);
        Self {
            at: seconds_since_1970(),
            scenario: scenario.name,
            body,
            system: run.system,
            round: run.round,
            calls: run.measured.calls,
            per_second: rounded(run.measured.per_second),
            p50_us: microseconds(latency.value_at_quantile(0.5)),
            p99_us: microseconds(latency.value_at_quantile(0.99)),
            p999_us: microseconds(latency.value_at_quantile(0.999)),
            max_us: microseconds(latency.max()),
            fairness: rounded(run.measured.fairness),
            server_cpu_us: rounded(run.measured.server_cpu.as_secs_f64() * 1e6),
            client_cpu_us: rounded(run.measured.client_cpu.as_secs_f64() * 1e6),
            machine,
        }
    }
}

/// One line of a record of the `micro` benchmark.
#[derive(Debug, Serialize)]
pub struct MicroLine<'a> {
    /// Seconds since 1970, UTC.
    pub at: u64,
    /// The operation's name.
    pub operation: &'a str,
    /// Nodes in the view, with one host each.
    pub nodes: usize,
    /// Which round, from 0.
    pub round: usize,
    /// Time for one, on average over the round.
    pub nanoseconds: f64,
    /// The same for the reference, where there is one.
    pub reference_nanoseconds: Option<f64>,
    /// Where it ran.
    pub machine: &'a Machine,
}

impl<'a> MicroLine<'a> {
    /// The record of one sample.
    #[must_use]
    pub fn new(sample: &Sample, nodes: usize, round: usize, machine: &'a Machine) -> Self {
        Self {
            at: seconds_since_1970(),
            operation: sample.operation.name(),
            nodes,
            round,
            nanoseconds: rounded(sample.nanoseconds),
            reference_nanoseconds: sample.reference.map(rounded),
            machine,
        }
    }
}

/// One line of a record of the `memory` benchmark.
#[derive(Debug, Serialize)]
pub struct MemoryLine<'a> {
    /// Seconds since 1970, UTC.
    pub at: u64,
    /// Which process.
    pub process: &'a str,
    /// Its `Private_Dirty`, in KiB.
    pub private_dirty_kib: u64,
    /// Where it ran.
    pub machine: &'a Machine,
}

impl<'a> MemoryLine<'a> {
    /// The record of one figure.
    #[must_use]
    pub fn new(process: &'a str, private_dirty_kib: u64, machine: &'a Machine) -> Self {
        Self { at: seconds_since_1970(), process, private_dirty_kib, machine }
    }
}

/// Three digits after the point say all that these figures hold.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A file that lines are appended to.
#[derive(Debug)]
pub struct Record {
    file: File,
}

impl Record {
    /// Opens `DIRECTORY/YYYY-MM-DD-BENCHMARK.jsonl` (UTC) for appending, and makes the directory where it is missing.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(directory: &Path, benchmark: &str) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{}-{benchmark}.jsonl", date(seconds_since_1970())));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self { file: file.map_err(|error| format!("{}: {error}", path.display()))? })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        Ok(self.file.write_all(&text)?)
    }
}

/// Now.
#[must_use]
pub fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The UTC date of a moment, as `YYYY-MM-DD`.
fn date(seconds: u64) -> String {
    let mut days = seconds / 86_400;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn lines_are_appended() {
        let directory = std::env::temp_dir().join(format!("ibp-benches-record-{}", std::process::id()));
        for value in [1, 2] {
            Record::open(&directory, "test").unwrap().append(&value).unwrap();
        }
        let entry = fs::read_dir(&directory).unwrap().next().unwrap().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(text, "1\n2\n");
    }
}
