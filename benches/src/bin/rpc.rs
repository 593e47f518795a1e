//! Transactions beside a hand-written blocking echo; see `benches/README.md`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ibp_benches::contest::{ContestPlan, Run, hold};
use ibp_benches::load::{CallerPlan, run_caller};
use ibp_benches::record::{Machine, Record, RpcLine};
use ibp_benches::scenario::{SCENARIOS, Scenario};
use ibp_benches::server_process::{raise_descriptor_limit, serve};
use ibp_benches::system::{Connections, ServerPlan, System};
use ibp_benches::{Result, raw_echo, table};

/// Measures transactions beside a hand-written blocking echo, both in alternating runs.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Role {
    /// Serves one system; the benchmark starts this itself.
    #[command(hide = true)]
    Serve(Serve),
    /// Makes calls; the benchmark starts this itself.
    #[command(hide = true)]
    Call(Call),
}

#[derive(Args)]
struct Serve {
    system: String,
    #[arg(long)]
    workers: usize,
    #[arg(long)]
    short: bool,
    #[arg(long)]
    core: Option<usize>,
}

#[derive(Args)]
struct Call {
    system: String,
    address: String,
    #[arg(long)]
    body: usize,
    #[arg(long)]
    seconds: f64,
    #[arg(long)]
    short: bool,
    #[arg(long)]
    core: Option<usize>,
}

#[derive(Args)]
struct Options {
    /// One round of half a second: for a first look.
    #[arg(long)]
    quick: bool,
    /// Only scenarios whose name contains this; several may be given.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only these systems.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    systems: Vec<String>,
    /// Sizes of the body, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "128,4096")]
    body: Vec<usize>,
    /// Rounds; the medians are reported.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Time that counts in each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Workers of the systems under test, whatever the scenario says.
    #[arg(long)]
    workers: Option<usize>,
    /// Prints the runs as JSON lines instead of a table.
    #[arg(long)]
    json: bool,
    /// Where runs are kept.
    #[arg(long, value_name = "DIRECTORY", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/runs"))]
    keep: PathBuf,
    /// Keeps nothing.
    #[arg(long)]
    forget: bool,
    /// Names the scenarios and ends.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.role {
        Some(Role::Serve(serve)) => run_server(serve).map(|()| true),
        Some(Role::Call(options)) => call(options).map(|()| true),
        None => run_benchmark(&cli.options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("rpc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn systems() -> [&'static dyn System; 1] {
    [&raw_echo::RawEcho]
}

fn named(name: &str) -> Result<&'static dyn System> {
    let system = systems().into_iter().find(|system| system.name() == name);
    system.ok_or_else(|| format!("there is no system {name:?}").into())
}

fn connections(are_short: bool) -> Connections {
    if are_short { Connections::Short } else { Connections::Long }
}

fn run_server(options: &Serve) -> Result<()> {
    let connections = connections(options.short);
    serve(named(&options.system)?, &ServerPlan { workers: options.workers, connections, core: options.core })
}

fn call(options: &Call) -> Result<()> {
    let plan = CallerPlan {
        address: &options.address,
        connections: connections(options.short),
        body: options.body,
        duration: Duration::try_from_secs_f64(options.seconds)?,
        core: options.core,
    };
    run_caller(named(&options.system)?, &plan)
}

/// Runs what was asked for; whether all targets were met.
fn run_benchmark(options: &Options) -> Result<bool> {
    let scenarios = chosen_scenarios(options);
    if options.list {
        scenarios.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(true);
    }
    let systems = chosen_systems(options)?;
    raise_descriptor_limit();
    let machine = Machine::here();
    let mut record = (!options.forget).then(|| Record::open(&options.keep, "rpc")).transpose()?;
    let program = std::env::current_exe()?;
    let seconds = if options.quick { options.seconds.min(0.5) } else { options.seconds };
    let duration = Duration::try_from_secs_f64(seconds)?;
    let mut rows = Vec::new();
    for &body in &options.body {
        let plan = ContestPlan {
            program: &program,
            body,
            rounds: if options.quick { 1 } else { options.runs },
            warm_up: duration / 5,
            duration,
            workers: options.workers,
        };
        for scenario in &scenarios {
            let mut observe = |run: &Run| {
                let line = RpcLine::new(scenario, body, run, &machine);
                if options.json {
                    println!("{}", serde_json::to_string(&line)?);
                } else {
                    eprintln!("{}", progress(&line));
                }
                record.as_mut().map_or(Ok(()), |record| record.append(&line))
            };
            let runs = hold(scenario, &systems, &plan, &mut observe)?;
            let names: Vec<&str> = systems.iter().map(|system| system.name()).collect();
            rows.extend(table::scenario_rows(scenario, body, &names, &runs));
        }
    }
    if !options.json {
        println!("{}, {} cores, kernel {}", machine.cpu, machine.cores, machine.kernel);
        print!("{}", table::render(table::SCENARIO_HEADINGS, &rows));
    }
    Ok(rows.iter().all(|row| !row.missed))
}

fn chosen_scenarios(options: &Options) -> Vec<&'static Scenario> {
    let is_chosen = |scenario: &&Scenario| {
        options.only.is_empty() || options.only.iter().any(|part| scenario.name.contains(part))
    };
    SCENARIOS.iter().filter(is_chosen).collect()
}

fn chosen_systems(options: &Options) -> Result<Vec<&'static dyn System>> {
    let all = systems();
    if let Some(unknown) = options.systems.iter().find(|name| all.iter().all(|system| system.name() != *name))
    {
        return Err(format!("there is no system {unknown:?}").into());
    }
    let is_chosen = |system: &&dyn System| {
        options.systems.is_empty() || options.systems.iter().any(|name| name == system.name())
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn progress(line: &RpcLine<'_>) -> String {
    format!(
        "{:<14} {:>5} B  {:<8} #{}  {:>8.0}/s  p50 {:>7.1}  p99 {:>7.1}  p99.9 {:>7.1}  max {:>8.1} us  \
         fairness {:.2}  cpu {:>4.1} + {:>4.1} us",
        line.scenario,
        line.body,
        line.system,
        line.round,
        line.per_second,
        line.p50_us,
        line.p99_us,
        line.p999_us,
        line.max_us,
        line.fairness,
        line.server_cpu_us,
        line.client_cpu_us,
    )
}
