//! The load generator: blocking callers, one thread each, for a fixed time, the same for every system.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::system::Caller;
use crate::{Result, cpu};

/// How a run goes.
#[derive(Clone, Copy, Debug)]
pub struct RunPlan {
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
    /// Processor time of this process for one call.
    pub client_cpu: Duration,
}

/// How long after its end a run may take to collect the last answers. It ends a benchmark whose server hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs all `callers` at once. `server_cpu` tells the processor time that the server has used up to now.
///
/// # Errors
/// Any call failed, or one did not end within a minute after the run.
pub fn drive(
    callers: Vec<Box<dyn Caller>>,
    body: &[u8],
    plan: &RunPlan,
    server_cpu: &dyn Fn() -> Result<Duration>,
) -> Result<Measured> {
    let connections = callers.len();
    let clock =
        Arc::new(Clock { plan: *plan, all_there: Barrier::new(connections + 1), opening: OnceLock::new() });
    let (sender, receiver) = channel();
    for caller in callers {
        let (clock, sender, body) = (Arc::clone(&clock), sender.clone(), body.to_vec());
        thread::Builder::new().stack_size(256 << 10).spawn(move || report(&sender, caller, &body, &clock))?;
    }
    drop(sender);

    clock.opening.get_or_init(|| Instant::now() + plan.warm_up);
    clock.all_there.wait();
    thread::sleep(clock.opening().saturating_duration_since(Instant::now()));
    let (server_before, client_before, began) = (server_cpu()?, cpu::own(), Instant::now());
    thread::sleep(clock.closing().saturating_duration_since(Instant::now()));
    let (server_used, client_used) =
        (server_cpu()?.saturating_sub(server_before), cpu::own() - client_before);
    let watched = began.elapsed();

    let mut tallies = Vec::with_capacity(connections);
    for _ in 0..connections {
        match receiver.recv_timeout(PATIENCE) {
            Ok(tally) => tallies.push(tally?),
            Err(RecvTimeoutError::Timeout) => return Err("a call was not answered within a minute".into()),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("a caller's thread ended without a report".into());
            }
        }
    }
    sum_up(&tallies, plan, watched, server_used, client_used)
}

fn sum_up(
    tallies: &[Tally],
    plan: &RunPlan,
    watched: Duration,
    server_used: Duration,
    client_used: Duration,
) -> Result<Measured> {
    let mut latency = new_histogram()?;
    for tally in tallies {
        latency.add(&tally.latency)?;
    }
    let calls: u64 = tallies.iter().flat_map(|tally| &tally.by_window).sum();
    let per_second = calls as f64 / plan.duration.as_secs_f64();
    // The processor time belongs to the span between its two readings, which is not exactly the run's.
    let calls_watched = per_second * watched.as_secs_f64();
    let for_one = |used: Duration| used.div_f64(calls_watched.max(1.0));
    Ok(Measured {
        calls,
        per_second,
        latency,
        fairness: worst_fairness(tallies),
        server_cpu: for_one(server_used),
        client_cpu: for_one(client_used),
    })
}

fn worst_fairness(tallies: &[Tally]) -> f64 {
    let windows = tallies.first().map_or(0, |tally| tally.by_window.len());
    let fairness_of = |window: usize| {
        let counts = tallies.iter().map(|tally| tally.by_window[window]);
        let (slowest, fastest) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        slowest as f64 / fastest.max(1) as f64
    };
    (0..windows).map(fairness_of).fold(1.0, f64::min)
}

/// When a run begins and ends, the same for all its callers.
struct Clock {
    plan: RunPlan,
    all_there: Barrier,
    opening: OnceLock<Instant>,
}

impl Clock {
    fn opening(&self) -> Instant {
        *self.opening.get_or_init(Instant::now)
    }

    fn closing(&self) -> Instant {
        self.opening() + self.plan.duration
    }

    /// Whole seconds of the run, at least one; a last piece of a second belongs to the one before it.
    fn windows(&self) -> usize {
        usize::try_from(self.plan.duration.as_secs()).unwrap_or(usize::MAX).max(1)
    }
}

/// What one caller saw.
struct Tally {
    latency: Histogram<u64>,
    by_window: Vec<u64>,
}

fn report(sender: &Sender<Result<Tally>>, caller: Box<dyn Caller>, body: &[u8], clock: &Clock) {
    let pinned = clock.plan.core.map_or(Ok(()), cpu::pin_to);
    clock.all_there.wait();
    let result = pinned.map_err(Into::into).and_then(|()| call_until_closing(caller, body, clock));
    // Nobody listens any more when another caller failed first.
    let _ = sender.send(result);
}

fn call_until_closing(mut caller: Box<dyn Caller>, body: &[u8], clock: &Clock) -> Result<Tally> {
    let (opening, closing) = (clock.opening(), clock.closing());
    let mut tally = Tally { latency: new_histogram()?, by_window: vec![0; clock.windows()] };
    let last_window = tally.by_window.len() - 1;
    let mut before = Instant::now();
    while before < closing {
        caller.call(body)?;
        let after = Instant::now();
        if after >= opening {
            let took = u64::try_from((after - before).as_nanos()).unwrap_or(u64::MAX);
            tally.latency.saturating_record(took);
            if after < closing {
                let window = usize::try_from((after - opening).as_secs()).unwrap_or(usize::MAX);
                tally.by_window[window.min(last_window)] += 1;
            }
        }
        before = after;
    }
    Ok(tally)
}

/// From 100 ns to two minutes, three digits.
fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(100, 120_000_000_000, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Every(Duration);

    impl Caller for Every {
        fn call(&mut self, _: &[u8]) -> Result<()> {
            thread::sleep(self.0);
            Ok(())
        }
    }

    struct Failing;

    impl Caller for Failing {
        fn call(&mut self, _: &[u8]) -> Result<()> {
            Err("as asked".into())
        }
    }

    fn plan() -> RunPlan {
        RunPlan { warm_up: Duration::from_millis(10), duration: Duration::from_millis(300), core: None }
    }

    fn run(callers: Vec<Box<dyn Caller>>) -> Result<Measured> {
        drive(callers, b"", &plan(), &|| Ok(Duration::ZERO))
    }

    #[test]
    fn a_slow_connection_shows_as_unfair() {
        let measured =
            run(vec![Box::new(Every(Duration::from_millis(1))), Box::new(Every(Duration::from_millis(40)))])
                .unwrap();
        assert!(measured.fairness < 0.5, "{}", measured.fairness);
        assert!(measured.calls > 0);
    }

    #[test]
    fn a_call_that_outlasts_the_run_is_the_longest_wait() {
        let measured = run(vec![Box::new(Every(Duration::from_millis(600)))]).unwrap();
        assert_eq!(measured.calls, 0);
        assert!(measured.latency.max() >= 590_000_000);
        assert_eq!(measured.fairness, 0.0);
    }

    #[test]
    fn one_failed_call_fails_the_run() {
        let failure = run(vec![Box::new(Every(Duration::from_millis(1))), Box::new(Failing)]).unwrap_err();
        assert_eq!(failure.to_string(), "as asked");
    }
}
