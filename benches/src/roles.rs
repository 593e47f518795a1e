//! What a benchmark's program is when the benchmark starts it again: a server, or a caller.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::Result;
use crate::ibp::Ibp;
use crate::load::{CallerPlan, run_caller};
use crate::raw_echo::RawEcho;
use crate::server_process::serve;
use crate::system::{Connections, ServerPlan, System};

/// All systems; the first is the measure of the others.
pub const SYSTEMS: &[&dyn System] = &[&RawEcho, &Ibp::OVER_TCP, &Ibp::OVER_UNIX];

/// The system of that name.
///
/// # Errors
/// There is none.
pub fn system(name: &str) -> Result<&'static dyn System> {
    let system = SYSTEMS.iter().find(|system| system.name() == name);
    system.copied().ok_or_else(|| format!("there is no system {name:?}").into())
}

/// A role, with the command line that [`crate::server_process::ServerProcess`] and [`crate::load::drive`] write.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Serves one system; the benchmark starts this itself.
    #[command(hide = true)]
    Serve(Serve),
    /// Makes calls; the benchmark starts this itself.
    #[command(hide = true)]
    Call(Call),
}

/// See [`ServerPlan`].
#[derive(Debug, Args)]
pub struct Serve {
    system: String,
    #[arg(long)]
    scratch: PathBuf,
    #[arg(long)]
    workers: usize,
    #[arg(long)]
    short: bool,
    #[arg(long)]
    core: Option<usize>,
}

/// See [`CallerPlan`].
#[derive(Debug, Args)]
pub struct Call {
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

impl Role {
    /// Plays the role to its end.
    ///
    /// # Errors
    /// As [`serve`] and [`run_caller`].
    pub fn play(&self) -> Result<()> {
        match self {
            Self::Serve(options) => {
                let plan = ServerPlan {
                    scratch: &options.scratch,
                    workers: options.workers,
                    connections: connections(options.short),
                    core: options.core,
                };
                serve(system(&options.system)?, &plan)
            }
            Self::Call(options) => {
                let plan = CallerPlan {
                    address: &options.address,
                    connections: connections(options.short),
                    body: options.body,
                    duration: Duration::try_from_secs_f64(options.seconds)?,
                    core: options.core,
                };
                run_caller(system(&options.system)?, &plan)
            }
        }
    }
}

fn connections(are_short: bool) -> Connections {
    if are_short { Connections::Short } else { Connections::Long }
}
