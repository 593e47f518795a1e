//! A tour of IBP in a few seconds: a whole little cluster on this machine, under load and under fire.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! It makes an installation in a temporary directory, publishes its configuration in shared memory, starts two platforms of
//! four workers for node `ECIF`, and has four client processes of node `CORE` ask them. While they do, it kills workers and a
//! client with SIGKILL and publishes changed configurations. In the end it holds each client's account of each
//! transaction against the journals that the apps wrote. It needs no right, no free port and no preparation, and leaves
//! nothing behind.
//!
//! The exit status is 0 if every transaction was right, or failed in a state that the journals confirm; 1 if not; 2 for wrong
//! usage; 130 or 143 if a signal ended it.

mod agent;
mod check;
mod client;
mod installation;
mod journal;
mod kinds;
mod platform;
mod process;
mod report;
mod tour;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use watch::Stopped;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// A tour of IBP: a little cluster on this machine, under load and under fire, checked to the last byte.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Repeats the random choices of another run; drawn and printed otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the clients ask, in seconds.
    #[arg(long, default_value_t = 6.0, value_parser = seconds)]
    seconds: f64,
    /// Prints the result as one JSON object instead of a table; progress goes to standard error.
    #[arg(long)]
    json: bool,
    /// Keeps the temporary installation, with journals and logs, and says where it is.
    #[arg(long)]
    keep: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What the processes are that the tour starts from its own file.
#[derive(Debug, Subcommand)]
enum Role {
    /// Publishes the configuration of the installation.
    #[command(hide = true)]
    Agent {
        home: PathBuf,
        parent: i32,
        #[arg(long)]
        keep: bool,
    },
    /// Serves node ECIF.
    #[command(hide = true)]
    Platform { home: PathBuf, name: String, parent: i32 },
    /// Asks node ECIF.
    #[command(hide = true)]
    Client {
        journal: PathBuf,
        seed: u64,
        parent: i32,
        #[arg(long)]
        tcp: bool,
    },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.role {
        None => return guide(&options),
        Some(Role::Agent { home, parent, keep }) => agent::run(home, *parent, !keep),
        Some(Role::Platform { home, name, parent }) => platform::run(home, name, *parent),
        Some(Role::Client { journal, seed, parent, tcp }) => client::run(journal, *seed, *parent, *tcp),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn guide(options: &Options) -> ExitCode {
    match tour::run(options) {
        Ok(report) => {
            report.print(options.json);
            if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("quickstart: {error}");
            match error.downcast_ref::<Stopped>() {
                // As a shell shows a program that a signal ended.
                Some(Stopped::Signal(signal)) => ExitCode::from(128 + *signal),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("0.1 to 600 seconds are allowed".to_owned()),
    }
}
