//! The load generator: blocking callers for a fixed time, the same for every system.
//!
//! Each caller is a process of its own with one thread, as most programs that ask for transactions are. Callers in
//! one process would meet in its descriptor table and its memory map, and the generator would be what is measured.

mod caller;
mod clock;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Result;
use crate::server_process::ServerProcess;
use crate::system::{Connections, System};

pub use caller::{CallerPlan, run_caller};
use caller::{THERE, Tally};
use clock::Monotonic;

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct RunPlan<'a> {
    /// The program that can `call`; see [`run_caller`].
    pub program: &'a Path,
    /// Callers at once.
    pub callers: usize,
    /// Whether they keep their connections.
    pub connections: Connections,
    /// Bytes in a body, each way.
    pub body: usize,
    /// Time under load before anything counts.
    pub warm_up: Duration,
    /// Time that counts.
    pub duration: Duration,
    /// The only core that callers may use, or all.
    pub core: Option<usize>,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Calls that ended in the time that counts.
    pub calls: u64,
    /// Calls a second.
    pub per_second: f64,
    /// How long each call took, in nanoseconds. A call that began in the time that counts and ended later is in it
    /// too, so that a starved connection shows.
    pub latency: Histogram<u64>,
    /// Calls of the slowest connection to those of the fastest within one second, the worst second taken.
    pub fairness: f64,
    /// Processor time of the server, all its processes, for one call.
    pub server_cpu: Duration,
    /// Processor time of the callers for one call.
    pub client_cpu: Duration,
}

/// Runs all callers at once against `server`.
///
/// # Errors
/// Any call failed.
pub fn drive(system: &dyn System, server: &ServerProcess, plan: &RunPlan<'_>) -> Result<Measured> {
    let mut callers = (0..plan.callers)
        .map(|_| CallerProcess::start(system, server.address(), plan))
        .collect::<Result<Vec<_>>>()?;
    for caller in &mut callers {
        caller.wait_until_there()?;
    }
    let before = server.cpu()?;
    let opening = Monotonic::now() + plan.warm_up;
    for caller in &mut callers {
        caller.begin(opening)?;
    }

    let tallies = callers.iter_mut().map(CallerProcess::finish).collect::<Result<Vec<_>>>()?;
    sum_up(&tallies, plan.duration, server.cpu()?.saturating_sub(before))
}

/// `server_used` is the server's processor time for all calls, those of the warm-up included: on a loaded machine this
/// process runs too late to read it exactly when the run opens and closes.
fn sum_up(tallies: &[Tally], duration: Duration, server_used: Duration) -> Result<Measured> {
    let mut latency = new_histogram()?;
    for &(nanoseconds, count) in tallies.iter().flat_map(|tally| &tally.latency) {
        latency.record_n(nanoseconds, count)?;
    }
    let total = |field: fn(&Tally) -> u64| tallies.iter().map(field).sum::<u64>();
    let calls = total(|tally| tally.by_second.iter().sum());
    let for_one = |used: Duration, calls: u64| used.div_f64(calls.max(1) as f64);
    Ok(Measured {
        calls,
        per_second: calls as f64 / duration.as_secs_f64(),
        latency,
        fairness: worst_fairness(tallies),
        server_cpu: for_one(server_used, total(|tally| tally.all_calls)),
        client_cpu: for_one(Duration::from_nanos(total(|tally| tally.cpu)), total(|tally| tally.all_calls)),
    })
}

fn worst_fairness(tallies: &[Tally]) -> f64 {
    let seconds = tallies.iter().map(|tally| tally.by_second.len()).min().unwrap_or(0);
    let fairness_in = |second: usize| {
        let counts = tallies.iter().map(|tally| tally.by_second[second]);
        let (slowest, fastest) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        slowest as f64 / fastest.max(1) as f64
    };
    (0..seconds).map(fairness_in).fold(1.0, f64::min)
}

/// From 100 ns to two minutes, three digits.
fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(100, 120_000_000_000, 3)?)
}

/// One caller; dropping it before it finished kills it.
struct CallerProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl CallerProcess {
    fn start(system: &dyn System, address: &str, plan: &RunPlan<'_>) -> Result<Self> {
        let mut command = Command::new(plan.program);
        command.args(["call", system.name(), address, "--body", &plan.body.to_string()]);
        command.args(["--seconds", &plan.duration.as_secs_f64().to_string()]);
        if plan.connections == Connections::Short {
            command.arg("--short");
        }
        if let Some(core) = plan.core {
            command.args(["--core", &core.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { child, input, output: BufReader::new(output) }),
            _ => Err("a caller without pipes".into()),
        }
    }

    fn wait_until_there(&mut self) -> Result<()> {
        let line = self.read_line()?;
        if line == THERE {
            Ok(())
        } else {
            Err(format!("a caller said {line:?} instead of being ready").into())
        }
    }

    fn begin(&mut self, opening: Monotonic) -> Result<()> {
        Ok(writeln!(self.input, "{}", opening.nanoseconds())?)
    }

    fn finish(&mut self) -> Result<Tally> {
        Ok(serde_json::from_str(&self.read_line()?)?)
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("a caller ended early; it said why on standard error".into()),
            _ => Ok(line),
        }
    }
}

impl Drop for CallerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(by_second: &[u64]) -> Tally {
        let calls = by_second.iter().sum();
        Tally {
            by_second: by_second.to_vec(),
            latency: vec![(1_000, calls)],
            all_calls: 2 * calls,
            cpu: 1_000,
        }
    }

    #[test]
    fn fairness_is_that_of_the_worst_second() {
        assert_eq!(worst_fairness(&[tally(&[100, 100]), tally(&[90, 50])]), 0.5);
        assert_eq!(worst_fairness(&[tally(&[100, 0]), tally(&[100, 100])]), 0.0);
    }

    #[test]
    fn processor_time_is_that_of_one_call() {
        let tallies = [tally(&[50, 50]), tally(&[60, 40])];
        let measured = sum_up(&tallies, Duration::from_secs(2), Duration::from_micros(400)).unwrap();
        assert_eq!(measured.calls, 200);
        assert_eq!(measured.per_second, 100.0);
        assert_eq!(measured.server_cpu, Duration::from_micros(1));
        assert_eq!(measured.client_cpu, Duration::from_nanos(5));
    }
}
