//! Private memory of a client and of a worker; see `benches/README.md`.

use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Args, Parser};
use ibp_benches::ibp::Ibp;
use ibp_benches::memory::private_dirty_kib;
use ibp_benches::record::{Machine, MemoryLine, Record};
use ibp_benches::roles::Role;
use ibp_benches::server_process::{ServerOptions, ServerProcess};
use ibp_benches::system::{Connections, System};
use ibp_benches::{Result, cpu, table};

/// Measures the private memory of a client and of a worker, after some thousand transactions.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// Transactions of each kind before memory is read.
    #[arg(long, default_value_t = 10_000)]
    calls: usize,
    /// Prints the figures as JSON lines instead of a table.
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
    // The processes whose memory is read do not even parse a command line: that would be in both and in neither's name.
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["empty"] => wait_to_be_read().map(|()| true),
        ["client", address, calls] => be_a_client(address, calls).map(|()| true),
        _ => run(&Cli::parse()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wait_to_be_read() -> Result<()> {
    println!("there");
    stdout().flush()?;
    // Until the other end of the pipe closes.
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// One client with one long connection, and short calls beside it.
fn be_a_client(address: &str, calls: &str) -> Result<()> {
    let mut long = Ibp::OVER_TCP.long(address)?;
    let mut short = Ibp::OVER_TCP.short(address)?;
    for number in 0..calls.parse::<usize>()? {
        let body = vec![b'x'; if number % 2 == 0 { 128 } else { 4096 }];
        long.call(&body)?;
        short.call(&body)?;
    }
    wait_to_be_read()
}

/// Runs the benchmark; whether all targets were met.
fn run(cli: &Cli) -> Result<bool> {
    if let Some(role) = &cli.role {
        return role.play().map(|()| true);
    }
    let options = &cli.options;
    let program = std::env::current_exe()?;
    let empty = memory_of(Command::new(&program).arg("empty"))?;
    let plan = ServerOptions { workers: 4, connections: Connections::Long, core: None };
    let server = ServerProcess::start(&program, &Ibp::OVER_TCP, &plan)?;
    let client =
        memory_of(Command::new(&program).args(["client", server.address(), &options.calls.to_string()]))?;
    let descendants = cpu::tree(server.id())?.into_iter().filter(|&pid| pid != server.id());
    let worker = descendants.map(private_dirty_kib).collect::<Result<Vec<_>>>()?.into_iter().max();
    let worker = worker.ok_or("the platform has no workers")?;
    let manager = private_dirty_kib(server.id())?;

    let figures = [
        ("empty process", empty, None),
        ("client beyond it", client.saturating_sub(empty), Some(2 << 10)),
        ("largest worker", worker, Some(4 << 10)),
        ("manager", manager, None),
    ];
    report(&figures, options)
}

fn memory_of(command: &mut Command) -> Result<u64> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let memory = private_dirty_kib(child.id());
    // Closes its input, which ends it.
    drop(child.stdin.take());
    child.wait()?;
    if line == "there\n" { memory } else { Err("a process ended before its memory was read".into()) }
}

fn report(figures: &[(&str, u64, Option<u64>)], options: &Options) -> Result<bool> {
    let machine = Machine::here();
    let mut record = (!options.forget).then(|| Record::open(&options.keep, "memory")).transpose()?;
    let mut rows = Vec::new();
    for &(process, kib, target) in figures {
        let line = MemoryLine::new(process, kib, &machine);
        if options.json {
            println!("{}", serde_json::to_string(&line)?);
        }
        record.as_mut().map_or(Ok(()), |record| record.append(&line))?;
        let missed = target.is_some_and(|target| kib > target);
        let verdict = if missed { "MISSED" } else { "met" };
        let verdict = target.map_or_else(String::new, |target| format!("<= {target} KiB {verdict}"));
        let cells = vec![
            table::Cell::word(process),
            table::Cell::number(format!("{kib} KiB")),
            table::Cell::word(&verdict),
        ];
        rows.push(table::Row { cells, missed });
    }
    if !options.json {
        print!("{}", table::render(&["process", "Private_Dirty", "target"], &rows));
    }
    Ok(rows.iter().all(|row| !row.missed))
}
