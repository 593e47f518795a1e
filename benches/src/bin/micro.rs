//! The shared-memory configuration, operation by operation; see `benches/README.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ibp_benches::micro::{Bench, OPERATIONS, Operation, Sample};
use ibp_benches::record::{Machine, MicroLine, Record};
use ibp_benches::{Result, table};

/// Measures the shared-memory configuration, operation by operation, beside standard means where there are any.
#[derive(Parser)]
struct Options {
    /// One round: for a first look.
    #[arg(long)]
    quick: bool,
    /// Only this operation; several may be given.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Rounds; the medians are reported.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Nodes in the view, with one host each.
    #[arg(long, default_value_t = 10_000)]
    nodes: usize,
    /// Passes over all nodes in a round, for operations that take nanoseconds.
    #[arg(long, default_value_t = 50)]
    passes: usize,
    /// Prints the rounds as JSON lines instead of a table.
    #[arg(long)]
    json: bool,
    /// Where runs are kept.
    #[arg(long, value_name = "DIRECTORY", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/runs"))]
    keep: PathBuf,
    /// Keeps nothing.
    #[arg(long)]
    forget: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("micro: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for; whether all targets were met.
fn run(options: &Options) -> Result<bool> {
    let operations = chosen(options)?;
    let machine = Machine::here();
    let mut record = (!options.forget).then(|| Record::open(&options.keep, "micro")).transpose()?;
    let mut bench = Bench::new(options.nodes)?;
    let mut samples = Vec::new();
    for round in 0..if options.quick { 1 } else { options.runs } {
        for &operation in &operations {
            let sample = bench.sample(operation, options.passes)?;
            let line = MicroLine::new(&sample, options.nodes, round, &machine);
            if options.json {
                println!("{}", serde_json::to_string(&line)?);
            }
            record.as_mut().map_or(Ok(()), |record| record.append(&line))?;
            samples.push(sample);
        }
    }
    let rows: Vec<_> = operations.iter().filter_map(|&operation| row(operation, &samples)).collect();
    if !options.json {
        println!(
            "{}, {} cores, kernel {}, {} nodes",
            machine.cpu, machine.cores, machine.kernel, options.nodes
        );
        print!("{}", table::render(&["operation", "reference", "measured", "ratio", "target"], &rows));
    }
    Ok(rows.iter().all(|row| !row.missed))
}

fn chosen(options: &Options) -> Result<Vec<Operation>> {
    let by_name = |name: &String| {
        let operation = OPERATIONS.into_iter().find(|operation| operation.name() == name);
        operation.ok_or_else(|| format!("there is no operation {name:?}").into())
    };
    if options.only.is_empty() { Ok(OPERATIONS.to_vec()) } else { options.only.iter().map(by_name).collect() }
}

fn row(operation: Operation, samples: &[Sample]) -> Option<table::Row> {
    let of = samples.iter().filter(|sample| sample.operation == operation);
    let value = table::median(of.clone().map(|sample| sample.nanoseconds))?;
    let reference = table::median(of.filter_map(|sample| sample.reference));
    let ratio = reference.map(|reference| value / reference);
    let bounds =
        [(operation.largest_ratio(), ratio, String::new()), (operation.longest(), Some(value), " ns".into())];
    let target = bounds.into_iter().find_map(|(bound, value, unit)| Some((bound?, value?, unit)));
    let missed = target.as_ref().is_some_and(|(bound, value, _)| value > bound);
    let verdict = if missed { "MISSED" } else { "met" };
    let nanoseconds = |value: f64| format!("{value:.1} ns");
    Some(table::Row {
        cells: vec![
            table::Cell::word(operation.name()),
            table::Cell::number(reference.map_or_else(String::new, nanoseconds)),
            table::Cell::number(nanoseconds(value)),
            table::Cell::number(ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))),
            table::Cell::word(
                &target.map_or_else(String::new, |(bound, _, unit)| format!("<= {bound}{unit} {verdict}")),
            ),
        ],
        missed,
    })
}
