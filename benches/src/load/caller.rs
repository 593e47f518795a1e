//! A caller's own process.

use std::io::{Write, stdin, stdout};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::clock::Monotonic;
use super::new_histogram;
use crate::system::{Caller, Connections, System, caller};
use crate::{Result, cpu};

/// What a caller says when it is connected and waits for the word to begin.
pub(super) const THERE: &str = "there\n";

/// What a caller's process is told on its command line.
#[derive(Clone, Copy, Debug)]
pub struct CallerPlan<'a> {
    /// What the server said when it was ready.
    pub address: &'a str,
    /// Whether it keeps its connection.
    pub connections: Connections,
    /// Bytes in a body.
    pub body: usize,
    /// Time that counts.
    pub duration: Duration,
    /// The only core that it may use, or all.
    pub core: Option<usize>,
}

/// What one caller saw.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Calls that ended in each second of the run; what is left of a last second belongs to the one before it.
    pub(super) by_second: Vec<u64>,
    /// Nanoseconds, and how many calls took so long.
    pub(super) latency: Vec<(u64, u64)>,
    /// Calls that were made at all, warm-up included.
    pub(super) all_calls: u64,
    /// Processor time used for all calls, in nanoseconds.
    pub(super) cpu: u64,
}

/// Makes calls one after the other: connects, says so on standard output, reads on standard input when the run opens,
/// and prints what it saw when the run is over.
///
/// # Errors
/// A call failed.
pub fn run_caller(system: &dyn System, plan: &CallerPlan<'_>) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if let Some(core) = plan.core {
        cpu::pin_to(core)?;
    }
    let caller = caller(system, plan.connections, plan.address)?;
    print!("{THERE}");
    stdout().flush()?;
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let opening = Monotonic::from_nanoseconds(line.trim_end().parse()?);
    let tally = call_until(opening, plan.duration, caller, &vec![b'x'; plan.body])?;
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}

fn call_until(
    opening: Monotonic,
    duration: Duration,
    mut caller: Box<dyn Caller>,
    body: &[u8],
) -> Result<Tally> {
    let closing = opening + duration;
    let mut latency = new_histogram()?;
    let mut by_second = vec![0; usize::try_from(duration.as_secs())?.max(1)];
    let last_second = by_second.len() - 1;
    let mut all_calls = 0;
    let cpu_before = cpu::own();
    let mut before = Monotonic::now();
    while before < closing {
        caller.call(body)?;
        let after = Monotonic::now();
        all_calls += 1;
        if after >= opening {
            latency.saturating_record(u64::try_from(after.since(before).as_nanos())?);
            if after < closing {
                let second = usize::try_from(after.since(opening).as_secs())?;
                by_second[second.min(last_second)] += 1;
            }
        }
        before = after;
    }
    let used = cpu::own().saturating_sub(cpu_before);
    let counts =
        latency.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
    Ok(Tally { by_second, latency: counts, all_calls, cpu: u64::try_from(used.as_nanos())? })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    struct Taking(Duration);

    impl Caller for Taking {
        fn call(&mut self, _: &[u8]) -> Result<()> {
            thread::sleep(self.0);
            Ok(())
        }
    }

    fn run(caller: impl Caller + 'static) -> Result<Tally> {
        let opening = Monotonic::now() + Duration::from_millis(20);
        call_until(opening, Duration::from_millis(100), Box::new(caller), b"")
    }

    #[test]
    fn every_counted_call_has_its_time() {
        let tally = run(Taking(Duration::from_millis(2))).unwrap();
        let timed: u64 = tally.latency.iter().map(|(_, count)| count).sum();
        assert!(tally.by_second[0] > 0);
        // The last call ends after the run: it is timed and not counted.
        assert_eq!(timed, tally.by_second[0] + 1);
    }

    #[test]
    fn a_call_that_outlasts_the_run_is_the_longest_wait() {
        let tally = run(Taking(Duration::from_millis(300))).unwrap();
        assert_eq!(tally.by_second, [0]);
        assert!(tally.latency.last().unwrap().0 >= 300_000_000);
    }

    #[test]
    fn a_failed_call_fails_the_run() {
        struct Failing;
        impl Caller for Failing {
            fn call(&mut self, _: &[u8]) -> Result<()> {
                Err("as asked".into())
            }
        }
        assert_eq!(run(Failing).unwrap_err().to_string(), "as asked");
    }
}
