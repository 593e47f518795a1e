use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use ibp_core::wire::TransactionId;
use ibp_shm::{Directory, ForkWatch, Reader};

use crate::balance::Notes;
use crate::buffers::Pool;
use crate::builder::Settings;
use crate::transaction_ids::TransactionIds;
use crate::{Cause, ClientBuilder, ConnectOptions, Connection, Error, OutcomeReport, Request};

/// Asks nodes to run apps.
///
/// It can be shared by threads and cloned cheaply; one a process is enough. It holds no connection itself, starts no thread
/// and takes no lock that a caller could wait for.
///
/// After a fork it goes on working in the child, with transaction ids of its own.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What the clones of a client share.
pub(crate) struct Shared {
    pub(crate) reader: Reader,
    pub(crate) settings: Settings,
    pub(crate) notes: Notes,
    pub(crate) buffers: Pool,
    ids: TransactionIds,
    fork: ForkWatch,
}

impl Client {
    /// A client of an installation, whose agent publishes the configuration. `config` is the name of the agent's settings in
    /// `$IBP_HOME/etc` (`$HOME/etc` if `IBP_HOME` is not set), or a path from the root; usually `ibma.conf`.
    ///
    /// # Errors
    /// [`Error::Installation`] if there is none, [`Error::Attach`] if its agent has published nothing.
    pub fn open(config: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().open(config)
    }

    /// A client of the installation whose shared memory lies in this directory.
    ///
    /// # Errors
    /// [`Error::Attach`].
    pub fn attach(directory: &Directory) -> Result<Self, Error> {
        Self::builder().attach(directory)
    }

    /// The settings of a client: of one without an installation, or other ones than the defaults.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn new(reader: Reader, settings: Settings) -> Result<Self, Error> {
        let fork = ForkWatch::new()
            .map_err(|error| Error::Settings(vec![format!("cannot watch for forks: {error}")]))?;
        let shared = Shared {
            reader,
            settings,
            notes: Notes::new(),
            buffers: Pool::default(),
            ids: TransactionIds::new(),
            fork,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A short call: a connection for this request alone, to a host that is chosen for it.
    pub fn request<'a>(&'a self, node: &'a str, app: &'a str) -> Request<'a> {
        Request::new(self, Some(node), app)
    }

    /// A short call to the app's default node (`server_node` in the configuration).
    pub fn request_app<'a>(&'a self, app: &'a str) -> Request<'a> {
        Request::new(self, None, app)
    }

    /// A long connection: to a host that is chosen now, for many calls.
    ///
    /// # Errors
    /// [`Error::NotSent`] if no host of the node could be connected to.
    pub fn connect(&self, node: &str) -> Result<Connection, Error> {
        self.connection(node).connect()
    }

    /// A long connection with other settings than the defaults: to a host of the caller's choice, say.
    pub fn connection<'a>(&'a self, node: &'a str) -> ConnectOptions<'a> {
        ConnectOptions::new(self, node)
    }

    /// Asks the platform where a call failed what became of it. For [`Error::Suspicious`]; a platform remembers recent
    /// transactions only.
    ///
    /// # Errors
    /// [`Error::NotSent`] if there is nobody to ask, or no answer: asking changes nothing and may be repeated. The errors
    /// are about the question; its transaction stays what it was.
    pub fn outcome(&self, error: &Error) -> Result<OutcomeReport, Error> {
        let failure = error.failure();
        let node = failure.map_or("", |failure| failure.node());
        match (error.host(), error.transaction()) {
            (Some(host), Some(transaction)) => self.ask_outcome(node, host, transaction),
            _ => Err(crate::outcome::nobody_to_ask(node, error.transaction(), Cause::UnknownHost)),
        }
    }

    /// Asks a platform what became of a transaction: of one from another process's log, say.
    ///
    /// # Errors
    /// As [`Client::outcome`].
    pub fn ask_outcome(
        &self,
        node: &str,
        host: SocketAddr,
        transaction: TransactionId,
    ) -> Result<OutcomeReport, Error> {
        self.shared.ask_outcome(node, host, transaction)
    }

    /// The node that this client belongs to.
    #[must_use]
    pub fn this_node(&self) -> String {
        self.shared.reader.current().this_node().to_owned()
    }

    /// The configuration that this client uses: nodes, apps, key-value settings, loads.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.shared.reader
    }

    /// A new transaction id, for a caller that notes it down before it sends (`.transaction(id)`).
    #[must_use]
    pub fn new_transaction(&self) -> TransactionId {
        // In a forked child it draws new random bits first.
        self.shared.process();
        self.shared.ids.next()
    }
}

impl Shared {
    /// A number of this process. In a forked child it is another one, from the first call on.
    pub(crate) fn process(&self) -> u64 {
        let id = self.fork.current();
        // Pairs with the fence in `after_fork`: who sees the child's number sees its random bits.
        fence(Ordering::Acquire);
        if id == 0 { self.after_fork() } else { id }
    }

    #[cold]
    fn after_fork(&self) -> u64 {
        self.ids.redraw();
        self.notes.forget_in_flight();
        fence(Ordering::Release);
        self.fork.renew()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("reader", &self.shared.reader)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

/// Where an installation lies: `IBP_HOME`, or else `HOME`.
pub(crate) fn installation_home() -> Result<PathBuf, Error> {
    ["IBP_HOME", "HOME"]
        .into_iter()
        .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
        .map(PathBuf::from)
        .ok_or_else(|| Error::Installation("neither IBP_HOME nor HOME is set".to_owned()))
}
