//! What can go wrong, and what is known afterwards.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ibp_core::wire::TransactionId;
use ibp_shm::ShmError;

use crate::Cause;

/// What went wrong. The variant says what to do about it.
///
/// A failed transaction is one of [`Error::NotSent`], [`Error::Suspicious`] and [`Error::Responded`]; the others come
/// from making a [`Client`](crate::Client). Each error has a number that never changes ([`Error::number`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The installation's configuration cannot be attached: start its agent, or mend what the message says.
    #[error("cannot attach the configuration: {0}")]
    Attach(#[from] ShmError),
    /// The settings given to the builder contradict one another or the rules; each problem is named. Mend the program.
    #[error("the client's settings are wrong: {}", .0.join("; "))]
    Settings(Vec<String>),
    /// There is no such installation: neither `IBP_HOME` nor `HOME` is set, or the configuration file cannot be read.
    #[error("no installation: {0}")]
    Installation(String),
    /// Nothing was executed. It may be sent again: [`Error::is_retryable`] says whether that can help.
    #[error("not executed: {0}")]
    NotSent(Box<Failure>),
    /// It was sent, and its effect is not known. Ask for the outcome ([`Client::outcome`](crate::Client::outcome)) or
    /// resolve it by business (look it up, reverse it); never just send it again.
    #[error("suspicious, may have been executed: {0}")]
    Suspicious(Box<Failure>),
    /// It was executed, and something failed after that. Do not send it again.
    #[error("executed, but what follows failed: {0}")]
    Responded(Box<Failure>),
}

/// What is known of a transaction (`wire.md`, "What the client knows afterwards").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not executed: it may be sent again, to another host too.
    NotSent,
    /// May or may not have taken effect.
    Suspicious,
    /// Executed.
    Responded,
}

impl State {
    /// The name under which messages and logs speak of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::NotSent => "not sent",
            State::Suspicious => "suspicious",
            State::Responded => "responded",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a transaction had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up node, app and host; nothing was sent.
    Choosing,
    /// Connecting to a host.
    Connecting,
    /// Agreeing with the platform; nothing of the request was sent.
    Hello,
    /// Sending the request.
    Sending,
    /// The request was sent whole; waiting for, or reading, the answer.
    Waiting,
    /// The answer was read: what it says is the error.
    Answered,
}

impl Phase {
    /// The name under which messages and logs speak of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Choosing => "choosing a host",
            Phase::Connecting => "connecting",
            Phase::Hello => "hello",
            Phase::Sending => "sending the request",
            Phase::Waiting => "waiting for the answer",
            Phase::Answered => "answered",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error {
    /// What is known of the transaction. An error of making a client is `NotSent`.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Error::Attach(_) | Error::Settings(_) | Error::Installation(_) | Error::NotSent(_) => {
                State::NotSent
            }
            Error::Suspicious(_) => State::Suspicious,
            Error::Responded(_) => State::Responded,
        }
    }

    /// Whether the same request may be sent again as it is, and that may help: nothing was executed, and the cause can
    /// pass or be another host's affair. The client itself has tried other hosts already.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::NotSent(failure) => failure.cause.may_pass(),
            Error::Attach(error) => error.is_transient(),
            _ => false,
        }
    }

    /// A number that stays the same in all versions; the C interface returns it. [`Cause::number`] lists those of
    /// failed transactions, 1 to 3 are `Attach`, `Settings`, `Installation`.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Error::Attach(_) => 1,
            Error::Settings(_) => 2,
            Error::Installation(_) => 3,
            Error::NotSent(failure) | Error::Suspicious(failure) | Error::Responded(failure) => {
                failure.cause.number()
            }
        }
    }

    /// The failed transaction; `None` for an error of making a client.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Error::NotSent(failure) | Error::Suspicious(failure) | Error::Responded(failure) => Some(failure),
            _ => None,
        }
    }

    /// How far the transaction had come.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.failure().map(|failure| failure.phase)
    }

    /// The host where it failed at last; `None` if none was reached for.
    #[must_use]
    pub fn host(&self) -> Option<SocketAddr> {
        self.failure().and_then(|failure| failure.host)
    }

    /// The transaction's id; `None` if there was none yet.
    #[must_use]
    pub fn transaction(&self) -> Option<TransactionId> {
        self.failure().and_then(|failure| failure.transaction)
    }

    /// Why it failed at last.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.failure().map(|failure| &failure.cause)
    }

    pub(crate) fn new(state: State, failure: Failure) -> Self {
        let failure = Box::new(failure);
        match state {
            State::NotSent => Error::NotSent(failure),
            State::Suspicious => Error::Suspicious(failure),
            State::Responded => Error::Responded(failure),
        }
    }
}

/// A failed transaction: what, where, how far, why, and what was tried before.
#[derive(Debug)]
pub struct Failure {
    pub(crate) node: Box<str>,
    pub(crate) app: Box<str>,
    pub(crate) host: Option<SocketAddr>,
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) phase: Phase,
    pub(crate) cause: Cause,
    pub(crate) tried: Vec<Attempt>,
    pub(crate) began: Instant,
}

impl Failure {
    /// The node that was asked. Cut to 64 bytes: a longer one is no name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The app that was asked for; empty when the failure is not about one. Cut to 64 bytes.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The host where it failed at last; `None` if none was reached for.
    #[must_use]
    pub fn host(&self) -> Option<SocketAddr> {
        self.host
    }

    /// The transaction's id; `None` if there was none yet.
    #[must_use]
    pub fn transaction(&self) -> Option<TransactionId> {
        self.transaction
    }

    /// How far it had come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it failed at last.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The attempts before the last one, in order: each failed with nothing executed.
    #[must_use]
    pub fn tried(&self) -> &[Attempt] {
        &self.tried
    }

    /// How long ago the call began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.app.is_empty() {
            write!(f, "app {:?} ", self.app)?;
        }
        write!(f, "at node {:?}", self.node)?;
        if let Some(host) = self.host {
            write!(f, ", host {host}")?;
        }
        write!(f, ", {}: {}", self.phase, self.cause)?;
        for attempt in &self.tried {
            write!(f, "; before that {attempt}")?;
        }
        match self.transaction {
            Some(id) => write!(f, " (transaction {id})"),
            None => Ok(()),
        }
    }
}

/// One attempt that failed with nothing executed, before another host was tried.
#[derive(Debug)]
pub struct Attempt {
    pub(crate) host: SocketAddr,
    pub(crate) phase: Phase,
    pub(crate) cause: Cause,
    /// It was on a connection made for an earlier call.
    pub(crate) on_old_link: bool,
}

impl Attempt {
    /// Whether the call must not go to this host again. The end of an old connection says nothing against a new one.
    pub(crate) fn excludes(&self, host: SocketAddr) -> bool {
        self.host == host && !self.on_old_link
    }

    /// The host that was tried.
    #[must_use]
    pub fn host(&self) -> SocketAddr {
        self.host
    }

    /// How far it had come there.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it failed.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}, {}: {}", self.host, self.phase, self.cause)
    }
}

/// A name as it goes into an error: cut, since no name has more than 64 bytes.
pub(crate) fn short_name(name: &str) -> Box<str> {
    let mut end = name.len().min(64);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].into()
}
