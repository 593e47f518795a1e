//! Systems side by side: one server each, and runs that alternate, so that what drifts on the machine hits all.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::load::{Measured, RunPlan, drive};
use crate::scenario::{Figure, Scenario};
use crate::server_process::{ServerOptions, ServerProcess};
use crate::system::{Caller, System};
use crate::{Result, cpu};

/// How a scenario is run, for all systems alike.
#[derive(Clone, Copy, Debug)]
pub struct ContestPlan<'a> {
    /// The program that can `serve` and `call`; see [`ServerProcess::start`] and [`crate::load::run_caller`].
    pub program: &'a Path,
    /// Bytes in a request's body and in its answer.
    pub body: usize,
    /// Runs of each system.
    pub rounds: usize,
    /// Time under load before a run counts.
    pub warm_up: Duration,
    /// Time that counts in a run; twice that where a worker is stalled, so that its calls begin and end in it.
    pub duration: Duration,
    /// Overrides the scenario's number of workers of the systems under test.
    pub workers: Option<usize>,
}

/// One run of one system.
#[derive(Debug)]
pub struct Run {
    /// The system's name.
    pub system: &'static str,
    /// Which round, from 0.
    pub round: usize,
    /// What it gave.
    pub measured: Measured,
}

/// Runs `scenario` on all `systems` in turn, `rounds` times, and hands each run to `observe` when it ends.
///
/// # Errors
/// A server cannot be started, or any call failed.
pub fn hold(
    scenario: &Scenario,
    systems: &[&dyn System],
    plan: &ContestPlan<'_>,
    observe: &mut dyn FnMut(&Run) -> Result<()>,
) -> Result<Vec<Run>> {
    let contestants = systems
        .iter()
        .map(|system| {
            Contestant::start(scenario, *system, plan).map_err(|error| named(scenario, *system, &error))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut runs = Vec::with_capacity(plan.rounds * systems.len());
    for round in 0..plan.rounds {
        for contestant in &contestants {
            let measured =
                contestant.run(scenario, plan).map_err(|error| named(scenario, contestant.system, &error))?;
            let run = Run { system: contestant.system.name(), round, measured };
            observe(&run)?;
            runs.push(run);
        }
    }
    Ok(runs)
}

/// A figure of each run of a system.
pub fn figures<'a>(runs: &'a [Run], system: &'a str, figure: Figure) -> impl Iterator<Item = f64> + 'a {
    runs.iter().filter(move |run| run.system == system).map(move |run| figure.of(&run.measured))
}

fn named(scenario: &Scenario, system: &dyn System, error: &crate::Error) -> crate::Error {
    format!("{}, {}: {error}", scenario.name, system.name()).into()
}

/// A system with its server, and with what disturbs it all the time.
struct Contestant<'a> {
    system: &'a dyn System,
    // Before the server: fields go in this order, and a client that closes first is the ordinary case.
    _idle: Vec<Box<dyn Caller>>,
    server: ServerProcess,
    core: Option<usize>,
}

impl<'a> Contestant<'a> {
    fn start(scenario: &Scenario, system: &'a dyn System, plan: &ContestPlan<'_>) -> Result<Self> {
        let is_raw = system.name() == "raw";
        let workers = if is_raw { scenario.raw_workers } else { plan.workers.unwrap_or(scenario.workers) };
        let core = scenario.pinned.then(cpu::last_core).transpose()?;
        let options = ServerOptions { workers, connections: scenario.connections, core };
        let server = ServerProcess::start(plan.program, system, &options)?;
        let idle = if is_raw { Vec::new() } else { open_idle(scenario, system, &server, plan.body)? };
        if scenario.stalled
            && let Some(stalling) = system.stalling(server.address(), plan.duration.mul_f64(1.5))?
        {
            stall_for_ever(stalling)?;
        }
        Ok(Self { system, _idle: idle, server, core })
    }

    fn run(&self, scenario: &Scenario, plan: &ContestPlan<'_>) -> Result<Measured> {
        let run = RunPlan {
            program: plan.program,
            callers: scenario.callers,
            connections: scenario.connections,
            body: plan.body,
            warm_up: plan.warm_up,
            duration: if scenario.stalled { plan.duration * 2 } else { plan.duration },
            core: self.core,
        };
        drive(self.system, &self.server, &run)
    }
}

fn open_idle(
    scenario: &Scenario,
    system: &dyn System,
    server: &ServerProcess,
    body: usize,
) -> Result<Vec<Box<dyn Caller>>> {
    let open = |_| {
        let mut caller = system.long(server.address())?;
        caller.call(&vec![b'x'; body])?;
        Ok(caller)
    };
    (0..scenario.idle).map(open).collect()
}

/// Keeps one worker in calls until the server is killed, which is how the contest ends.
fn stall_for_ever(mut stalling: Box<dyn Caller>) -> Result<()> {
    thread::Builder::new().name("stalling".into()).spawn(move || while stalling.call(b"stall").is_ok() {})?;
    Ok(())
}
