use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ibp_core::wire::TransactionId;

use crate::call::{Call, Done, Line};
use crate::error::short_name;
use crate::response::{Body, Head};
use crate::{Cause, Client, Error, Failure, Phase, Response, State};

/// A long connection: many calls to one host of a node, one after the other.
///
/// When the platform has ended it (idle, upgrade, gone), the next call makes a new one, to whatever host of the node is
/// chosen then; so does a call that the host refused for a reason that is its own (busy, draining). A call is never sent again
/// once its effect is in doubt. [`ConnectOptions::host`] and [`ConnectOptions::pinned`] keep to one host.
///
/// In a child that the process forks it is of no use: a call says so ([`Cause::Forked`]), and dropping it there leaves the
/// parent's connection as it is.
pub struct Connection {
    client: Client,
    node: Box<str>,
    /// The only host that may be asked.
    host: Option<SocketAddr>,
    /// The process that made it.
    process: u64,
    line: Line,
    /// The host that was connected to last.
    last_host: Option<SocketAddr>,
}

impl Connection {
    /// Calls an app and waits for its answer. The response borrows this connection's buffer; in the usual case the call
    /// makes two system calls, allocates nothing and takes no lock.
    ///
    /// # Errors
    /// [`Error::NotSent`] or [`Error::Suspicious`]. The connection can be used further in any case but after a fork.
    pub fn call(&mut self, app: &str, body: &[u8]) -> Result<Response<'_>, Error> {
        let options = CallOptions { timeout: None, host: None, transaction: None };
        self.run(app, body, options)
    }

    /// A call with other settings than the defaults.
    pub fn call_with<'a>(&'a mut self, app: &'a str) -> ConnectionCall<'a> {
        let options = CallOptions { timeout: None, host: None, transaction: None };
        ConnectionCall { connection: self, app, body: &[], options }
    }

    /// The node that is asked.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The host that is connected to; `None` after a call has lost it.
    #[must_use]
    pub fn host(&self) -> Option<SocketAddr> {
        self.line.host()
    }

    /// Whether it goes over the platform's Unix socket, on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.line.link.as_ref().is_some_and(|link| link.is_local())
    }

    fn run(&mut self, app: &str, body: &[u8], options: CallOptions) -> Result<Response<'_>, Error> {
        let shared = &self.client.shared;
        if shared.process() != self.process {
            // Closing the copy of the descriptor sends nothing.
            self.line = Line::default();
            return Err(self.forked(app, options));
        }
        let transaction = match options.transaction {
            Some(id) => id,
            None => self.client.new_transaction(),
        };
        let call = Call {
            node: &self.node,
            app,
            body,
            transaction: Some(transaction),
            timeout: options.timeout,
            host: options.host.or(self.host),
            last: false,
        };
        let done = shared.call(&call, &mut self.line);
        self.last_host = self.line.host().or(self.last_host);
        let Done { head, code, body, .. } = done?;
        let head = Head { code, host: self.line.host(), transaction, load: head.load };
        let body = Body::Borrowed(self.line.received().get(body).unwrap_or_default());
        Ok(Response { head, body })
    }

    #[cold]
    fn forked(&self, app: &str, options: CallOptions) -> Error {
        let failure = Failure {
            node: self.node.clone(),
            app: short_name(app),
            host: None,
            transaction: options.transaction,
            phase: Phase::Choosing,
            cause: Cause::Forked,
            tried: Vec::new(),
            began: Instant::now(),
        };
        Error::new(State::NotSent, failure)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("node", &self.node)
            .field("host", &self.host())
            .field("is_local", &self.is_local())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
struct CallOptions {
    timeout: Option<Duration>,
    host: Option<SocketAddr>,
    transaction: Option<TransactionId>,
}

/// A call on a [`Connection`] that is being put together; [`ConnectionCall::send`] makes it.
#[derive(Debug)]
#[must_use = "nothing happens before `send`"]
pub struct ConnectionCall<'a> {
    connection: &'a mut Connection,
    app: &'a str,
    body: &'a [u8],
    options: CallOptions,
}

impl<'a> ConnectionCall<'a> {
    /// The request body; empty by default.
    pub fn body(mut self, body: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.body = body.as_ref();
        self
    }

    /// How long the whole call may take; the app's timeout by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Keeps to the host that is, or was last, connected to: a call that it does not execute fails, and goes to no other
    /// one. For a dialogue whose state lies there.
    pub fn pinned(mut self) -> Self {
        self.options.host = self.connection.last_host;
        self
    }

    /// The transaction's id, which is drawn otherwise. It must never have been used before.
    pub fn transaction(mut self, id: TransactionId) -> Self {
        self.options.transaction = Some(id);
        self
    }

    /// Makes the call.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn send(self) -> Result<Response<'a>, Error> {
        self.connection.run(self.app, self.body, self.options)
    }
}

/// A long connection that is being put together; [`ConnectOptions::connect`] makes it.
#[derive(Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct ConnectOptions<'a> {
    client: &'a Client,
    node: &'a str,
    host: Option<SocketAddr>,
    pinned: bool,
    timeout: Option<Duration>,
}

impl<'a> ConnectOptions<'a> {
    pub(crate) fn new(client: &'a Client, node: &'a str) -> Self {
        Self { client, node, host: None, pinned: false, timeout: None }
    }

    /// Connects to this host of the node and no other, also if it rests after a failure; all calls keep to it.
    pub fn host(mut self, host: SocketAddr) -> Self {
        self.host = Some(host);
        self
    }

    /// All calls keep to the host that is chosen now.
    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    /// How long connecting may take in all, over as many hosts as it takes. 50 s by default; each host has the connecting
    /// timeout of the configuration.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the connection. What has to be agreed with the platform goes out with the first call.
    ///
    /// # Errors
    /// [`Error::NotSent`].
    pub fn connect(self) -> Result<Connection, Error> {
        let client = self.client.clone();
        let process = client.shared.process();
        let call = Call {
            node: self.node,
            app: "",
            body: &[],
            transaction: None,
            timeout: self.timeout,
            host: self.host,
            last: false,
        };
        let mut line = Line::default();
        client.shared.connect(&call, &mut line)?;
        let host = if self.pinned { line.host() } else { self.host };
        let last_host = line.host();
        Ok(Connection { client, node: self.node.into(), host, process, line, last_host })
    }
}
