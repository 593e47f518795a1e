//! Transactions beside a hand-written blocking echo; see `benches/README.md`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use ibp_benches::contest::{ContestPlan, Run, hold};
use ibp_benches::record::{Machine, Record, RpcLine};
use ibp_benches::roles::{Role, SYSTEMS, system};
use ibp_benches::scenario::{SCENARIOS, Scenario};
use ibp_benches::server_process::raise_descriptor_limit;
use ibp_benches::system::System;
use ibp_benches::{Result, table};

/// Measures transactions beside a hand-written blocking echo, both in alternating runs.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
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
        Some(role) => role.play().map(|()| true),
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
    if options.systems.is_empty() {
        return Ok(SYSTEMS.to_vec());
    }
    options.systems.iter().map(|name| system(name)).collect()
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
