use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ibp_core::config::View;
use ibp_shm::{Directory, Reader, boottime_ms};
use rustix::process::{Resource, Rlimit};

use crate::error::{ServerError, Tried};
use crate::listener::{Listener, unix_socket_path};
use crate::manager::{Manager, Summary};
use crate::passing::Counter;
use crate::pool::{Doorbell, Pool};
use crate::service::Service;
use crate::settings::Settings;
use crate::shared::board::Board;
use crate::shared::control::Control;
use crate::shared::outcomes::Outcomes;
use crate::shared::spill::Spill;
use crate::shared::table::Table;
use crate::sys::ready_set::ReadySet;
use crate::sys::spawn::thread_count;

/// Connections that wait at once, when nothing else is set and the limit of descriptors allows it.
const CONNECTIONS: usize = 8_192;

/// Descriptors that are left to the apps and to the platform itself.
const OTHER_DESCRIPTORS: u64 = 512;

/// A server platform: a manager and its pool of worker processes, which run the services.
///
/// It listens from the moment it is built; [`Platform::run`] serves.
pub struct Platform {
    pool: Pool,
    address: SocketAddr,
    ready: Option<Box<dyn FnOnce()>>,
}

/// Says what a [`Platform`] is to be.
#[must_use]
pub struct Builder {
    address: Option<SocketAddr>,
    directory: Option<Directory>,
    view: Option<View>,
    unix_socket: Option<PathBuf>,
    node: String,
    settings: Settings,
    services: HashMap<String, Box<dyn Service>>,
    ready: Option<Box<dyn FnOnce()>>,
}

impl Platform {
    /// A platform with four workers on a free port of 127.0.0.1, until more is said.
    pub fn builder() -> Builder {
        Builder {
            address: None,
            directory: None,
            view: None,
            unix_socket: None,
            node: String::new(),
            settings: Settings::default(),
            services: HashMap::new(),
            ready: None,
        }
    }

    /// The address that it listens on, with the port that the kernel chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until TERM or INT comes (a second INT ends it at once), and says what it did. The calling process
    /// becomes the manager; it must not have started a thread.
    ///
    /// # Errors
    /// The process has threads, or the kernel refuses what the platform cannot do without.
    pub fn run(self) -> Result<Summary, ServerError> {
        match thread_count().tried("count this process's threads")? {
            1 => {}
            count => return Err(ServerError::Threads(count)),
        }
        self.pool.arm_all().tried("fill the ready set")?;
        Manager::new(&self.pool)?.run(self.ready)
    }
}

impl Builder {
    /// Where to listen; port 0 lets the kernel choose. Default: 127.0.0.1, port 0.
    ///
    /// Whoever reaches the address may ask: without keys, listen on loopback addresses only. Every local user
    /// reaches those.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// The node that the platform belongs to: a request that names another one is rejected.
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Reads the configuration that the agent publishes here, and puts the Unix socket for clients of this machine
    /// beside it. Without it, there is neither.
    pub fn directory(mut self, directory: Directory) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Uses a static configuration instead of a published one.
    pub fn view(mut self, view: View) -> Self {
        self.view = Some(view);
        self
    }

    /// Puts the Unix socket for clients of this machine at this path.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// How many worker processes ([`Settings::workers`]).
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = workers;
        self
    }

    /// All settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// What runs for requests of this app.
    pub fn service(mut self, app: impl Into<String>, service: impl Service + 'static) -> Self {
        self.services.insert(app.into(), Box::new(service));
        self
    }

    /// Called once in the manager when all workers serve.
    pub fn on_ready(mut self, ready: impl FnOnce() + 'static) -> Self {
        self.ready = Some(Box::new(ready));
        self
    }

    /// Checks the settings, listens, and makes what the processes will share.
    ///
    /// # Errors
    /// A setting that cannot be, an address that cannot be listened on, a configuration that cannot be read, or too
    /// few descriptors.
    pub fn build(self) -> Result<Platform, ServerError> {
        let settings = self.settings;
        check(&settings)?;
        let (connections, base) = descriptors(settings.max_connections)?;
        let configuration = match (&self.view, &self.directory) {
            (Some(view), _) => Some(Reader::from_view(view)?),
            (None, Some(directory)) => Some(Reader::attach(directory)?),
            (None, None) => None,
        };
        let wanted = self.address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (tcp, address) = Listener::tcp(wanted, settings.backlog)?;
        let mut listeners = vec![tcp];
        let unix = self
            .unix_socket
            .or_else(|| self.directory.map(|directory| unix_socket_path(directory.path(), address)));
        if let Some(path) = unix {
            listeners.push(Listener::unix(path, settings.backlog)?);
        }
        let slots = settings.workers;
        let now_ms = boottime_ms();
        let age_ms = settings.outcome_age.as_millis() as u64;
        let longest = settings.limits.max_body.saturating_add(64 << 10);
        let pool = Pool {
            node: self.node,
            services: self.services,
            configuration,
            control: Control::new().tried("make shared memory")?,
            board: Board::new(slots).tried("make shared memory")?,
            table: Table::new(connections, slots, base).tried("make shared memory")?,
            outcomes: Outcomes::new(settings.outcomes, age_ms, now_ms).tried("make shared memory")?,
            spill: Spill::new(connections, longest).tried("make shared memory")?,
            ready: ReadySet::new().tried("make an epoll set")?,
            listeners,
            counters: (0..slots)
                .map(|_| Counter::new(64))
                .collect::<std::io::Result<_>>()
                .tried("make a Unix socket")?,
            wake: Doorbell::new().tried("make an eventfd")?,
            started: Doorbell::new().tried("make an eventfd")?,
            settings,
        };
        Ok(Platform { pool, address, ready: self.ready })
    }
}

fn check(settings: &Settings) -> Result<(), ServerError> {
    let wrong = |name, what: &str| Err(ServerError::Setting { name, what: what.to_owned() });
    if !(1..=4_096).contains(&settings.workers) {
        return wrong("workers", "1 to 4096 are allowed");
    }
    if settings.limits.max_body > 1 << 30 {
        return wrong("limits.max_body", "at most 1 GiB is allowed");
    }
    if settings.limits.max_files != 0 {
        return wrong("limits.max_files", "files are not taken: it must be 0");
    }
    if settings.outcomes == 0 || settings.outcomes > 1 << 24 {
        return wrong("outcomes", "1 to 16777216 are allowed");
    }
    if settings.backlog < 1 {
        return wrong("backlog", "at least 1 is needed");
    }
    if settings.max_connections == Some(0) {
        return wrong("max_connections", "at least 1 is needed");
    }
    Ok(())
}

/// How many connections the limit of descriptors allows, and the lowest of their numbers. The limit is raised where
/// that is needed and possible.
fn descriptors(wanted: Option<usize>) -> Result<(usize, i32), ServerError> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let (mut current, maximum) = (limit.current.unwrap_or(1 << 20), limit.maximum.unwrap_or(1 << 20));
    let needed = wanted.unwrap_or(CONNECTIONS) as u64 + OTHER_DESCRIPTORS;
    if current < needed {
        let raised = needed.min(maximum.max(current));
        let raise = Rlimit { current: Some(raised), maximum: limit.maximum };
        if raised > current && rustix::process::setrlimit(Resource::Nofile, raise).is_ok() {
            tracing::info!(from = current, to = raised, "the limit of open descriptors was raised");
            current = raised;
        }
    }
    let connections = match wanted {
        Some(wanted) if current < needed => {
            return Err(ServerError::Descriptors { needed, connections: wanted, allowed: current });
        }
        Some(wanted) => wanted,
        None if current <= OTHER_DESCRIPTORS => {
            let needed = OTHER_DESCRIPTORS + 1;
            return Err(ServerError::Descriptors { needed, connections: 1, allowed: current });
        }
        None => (current.min(needed) - OTHER_DESCRIPTORS) as usize,
    };
    if wanted.is_none() && connections < CONNECTIONS {
        tracing::warn!(
            connections,
            limit = current,
            "the limit of open descriptors allows fewer connections than usual"
        );
    }
    let base = i32::try_from(current - connections as u64).unwrap_or(i32::MAX);
    Ok((connections, base))
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform")
            .field("address", &self.address)
            .field("node", &self.pool.node)
            .finish_non_exhaustive()
    }
}
