//! A server under test: a process of its own, started from this program's own file, killed with all its workers.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::system::{Connections, ServerPlan, System};
use crate::{Result, cpu};

/// A running server; dropping it kills its process group.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: String,
    _scratch: TempDir,
}

/// How a server is started, as far as whoever starts it decides.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Worker processes.
    pub workers: usize,
    /// What the clients will do.
    pub connections: Connections,
    /// The only core that the server may use, or all.
    pub core: Option<usize>,
}

impl ServerProcess {
    /// Starts `program serve SYSTEM ...` ([`crate::roles::Role`]) and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or ends before it is ready; it says why on the standard error stream.
    pub fn start(program: &Path, system: &dyn System, options: &ServerOptions) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("ibp-benches-").tempdir_in("/dev/shm")?;
        let mut command = Command::new(program);
        command.args(["serve", system.name(), "--workers", &options.workers.to_string(), "--scratch"]);
        command.arg(scratch.path());
        if options.connections == Connections::Short {
            command.arg("--short");
        }
        if let Some(core) = options.core {
            command.args(["--core", &core.to_string()]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let output = child.stdout.take();
        // From here on, dropping it ends the child.
        let mut server = Self { child, address: String::new(), _scratch: scratch };
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.strip_prefix(READY).map(str::trim_end) {
            Some(address) => server.address = address.to_owned(),
            None => return Err(format!("server {}: it ended before it was ready", system.name()).into()),
        }
        Ok(server)
    }

    /// What clients connect to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id; workers descend from it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time of the server with all its workers.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(cpu::of_tree(self.child.id())?)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Workers are asked for before their parent goes, for a server may have put them into groups of their own.
        let workers = cpu::tree(self.child.id()).unwrap_or_default();
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        for worker in workers.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = rustix::process::kill_process(worker, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

const READY: &str = "ready ";

/// The other end of [`ServerProcess::start`]: serves in this process, and says on standard output when it is ready.
///
/// # Errors
/// As [`System::serve`].
pub fn serve(system: &dyn System, plan: &ServerPlan<'_>) -> Result<()> {
    // A benchmark that is killed leaves no server behind.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    raise_descriptor_limit();
    if let Some(core) = plan.core {
        cpu::pin_to(core)?;
    }
    system.serve(plan, &mut |address| {
        println!("{READY}{address}");
        Ok(())
    })
}

/// Raises the soft limit of open files to the hard one: a scenario opens more than a thousand connections.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
