//! One call, from the choice of a host to the answer, over as many hosts as it takes.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use ibp_core::wire::ib2::ResponseHead;
use ibp_core::wire::{Execution, RejectReason, TransactionId};
use ibp_shm::{Config, Host, Node, boottime_ms};

use crate::balance::{Hosts, choose};
use crate::buffers::Buffers;
use crate::cause::peer_text;
use crate::client::Shared;
use crate::error::short_name;
use crate::link::{Answer, Broken, Link, Question, Subject};
use crate::transport::{ConnectFailure, Deadline, Socket, connect_tcp, connect_unix};
use crate::{Attempt, Cause, Error, Failure, Phase, State, names};

/// What is called, with what, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) node: &'a str,
    pub(crate) app: &'a str,
    pub(crate) body: &'a [u8],
    /// `None` when connecting only.
    pub(crate) transaction: Option<TransactionId>,
    /// The app's own one if `None`.
    pub(crate) timeout: Option<Duration>,
    /// The only host that may be asked.
    pub(crate) host: Option<SocketAddr>,
    /// No other call follows on the connection.
    pub(crate) last: bool,
}

/// The connection of a call, if there is one, and where in its node its host stands.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) link: Option<Link>,
    number: usize,
}

impl Line {
    /// What was received over the link; empty without one.
    pub(crate) fn received(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| link.received())
    }

    /// The host that the link leads to.
    pub(crate) fn host(&self) -> Option<SocketAddr> {
        self.link.as_ref().map(|link| link.host())
    }

    /// Ends the link after its last answer, and gives the buffers back.
    pub(crate) fn end(self, deadline: Deadline) -> Buffers {
        self.link.map(|link| link.finish(deadline)).unwrap_or_default()
    }
}

/// A response that was read: its body is this part of [`Line::received`].
pub(crate) struct Done {
    pub(crate) head: ResponseHead,
    pub(crate) code: i32,
    pub(crate) body: Range<usize>,
    pub(crate) deadline: Deadline,
}

/// An attempt that failed.
struct Failed {
    state: State,
    phase: Phase,
    cause: Cause,
    host: Option<SocketAddr>,
    /// It was on a connection made for an earlier call: its host may be all right.
    on_old_link: bool,
}

/// For how long others are preferred to a host that refused or gave no answer, by this process.
const REFUSAL_REST_MS: u64 = 1_000;

/// For how long a host is taken to have no Unix socket on this machine after none was found.
const NO_UNIX_MS: u64 = 1_000;

/// How long a short call waits for the server to close first when it was refused: another host may be waiting.
const REFUSAL_END: Duration = Duration::from_millis(100);

/// What a prober has beyond the time to connect, before another caller may try.
const LEASE_MARGIN: Duration = Duration::from_millis(100);

impl Shared {
    /// Makes a call. `line` goes in with the connection to be used, if any, and comes out with the one that is left.
    pub(crate) fn call(&self, call: &Call<'_>, line: &mut Line) -> Result<Done, Error> {
        let began = Instant::now();
        self.follow();
        let mut journey = Journey { call, began, tried: Vec::new() };
        let timeout = match self.timeout_for(&self.reader.current(), call) {
            Ok(timeout) => timeout,
            Err(cause) => return Err(journey.end(Failed::choosing(cause))),
        };
        let deadline = Deadline::from(began, timeout);
        loop {
            match self.attempt(call, deadline, line, &journey.tried) {
                Ok(done) => return Ok(done),
                Err(failed) => journey.go_on(failed, deadline)?,
            }
        }
    }

    /// Makes the connection for later calls. The app and the body of `call` are of no interest.
    pub(crate) fn connect(&self, call: &Call<'_>, line: &mut Line) -> Result<(), Error> {
        let mut journey = Journey { call, began: Instant::now(), tried: Vec::new() };
        self.follow();
        let deadline = Deadline::after(call.timeout.unwrap_or(crate::DEFAULT_TIMEOUT));
        loop {
            let config = self.reader.current();
            let made = self.node_of(&config, call).and_then(|node| {
                self.link_for(&config, node, call, deadline, line, &journey.tried).map(|_| ())
            });
            match made {
                Ok(()) => return Ok(()),
                Err(failed) => journey.go_on(failed, deadline)?,
            }
        }
    }

    /// Looks whether the configuration has changed: one load when it has not.
    pub(crate) fn follow(&self) {
        if let Err(error) = self.reader.refresh() {
            tracing::debug!(%error, "a newer configuration cannot be attached; going on with the present one");
        }
    }

    /// The app's timeout, if the app can be asked for; with a static configuration a default for an app that is not in it.
    fn timeout_for(&self, config: &Config, call: &Call<'_>) -> Result<Duration, Cause> {
        match config.app(call.app) {
            Some(app) if app.invalid() => Err(Cause::InvalidApp),
            Some(app) => Ok(call.timeout.unwrap_or(Duration::from_millis(app.timeout_ms().into()))),
            None if !names::is_name(call.app) => Err(Cause::BadName("the app's name")),
            None => match self.settings.unknown_app_timeout {
                Some(timeout) => Ok(call.timeout.unwrap_or(timeout)),
                None => Err(Cause::UnknownApp),
            },
        }
    }

    fn node_of<'c>(&self, config: &'c Config, call: &Call<'_>) -> Result<Node<'c>, Failed> {
        match config.node(call.node) {
            Some(node) if node.invalid() => Err(Failed::choosing(Cause::InvalidNode)),
            Some(node) => Ok(node),
            None if call.node.is_empty() => Err(Failed::choosing(Cause::NoDefaultNode)),
            None if !names::is_name(call.node) => Err(Failed::choosing(Cause::BadName("the node's name"))),
            None => Err(Failed::choosing(Cause::UnknownNode)),
        }
    }

    /// Asks one host.
    fn attempt(
        &self,
        call: &Call<'_>,
        deadline: Deadline,
        line: &mut Line,
        tried: &[Attempt],
    ) -> Result<Done, Failed> {
        let config = self.reader.current();
        let node = self.node_of(&config, call)?;
        let Linked { link, host, on_old_link } = self.link_for(&config, node, call, deadline, line, tried)?;
        let slot = host.slot();
        let addr = host.addr();
        let failed = |state, phase, cause| Failed { state, phase, cause, host: Some(addr), on_old_link };
        if let Some(limit) = link.longest_body().filter(|limit| call.body.len() as u64 > *limit) {
            let length = call.body.len() as u64;
            return Err(failed(State::NotSent, Phase::Choosing, Cause::BodyTooLarge { length, limit }));
        }
        let remaining_ms = deadline.remaining_ms();
        if remaining_ms == 0 {
            return Err(failed(State::NotSent, Phase::Choosing, Cause::Deadline(deadline.whole())));
        }

        let question = Question {
            this_node: config.this_node(),
            subject: Subject::Request { node: call.node, app: call.app, body: call.body, remaining_ms },
            transaction: call.transaction.unwrap_or_default(),
            deadline,
            limits: &self.settings.limits,
            last: call.last,
        };
        let counted = self.notes.count(slot.index());
        let answer = link.ask(&question);
        drop(counted);
        let (head, body) = match answer {
            Ok(Answer::Response(head, body)) => (head, body),
            Ok(Answer::Outcome(_)) => {
                // The link has checked that the answer is one to a request.
                line.link = None;
                return Err(failed(State::Suspicious, Phase::Waiting, Cause::Closed));
            }
            Err(broken) => {
                line.link = None;
                self.note_break(&host, &broken, on_old_link, &config);
                return Err(failed(broken.state, broken.phase, broken.cause));
            }
        };
        slot.report(head.load, boottime_ms());
        match head.execution {
            Execution::Executed(code) => Ok(Done { head, code, body, deadline }),
            Execution::Rejected(reason) => {
                let text = peer_text(&link.received()[body]);
                self.note_rejection(&host, reason);
                self.end_if_last(call, line, deadline);
                // The refusal says that the host is alive: it counts as tried even on an old link.
                let cause = Cause::Rejected { reason, text };
                Err(Failed { on_old_link: false, ..failed(State::NotSent, Phase::Answered, cause) })
            }
            Execution::Aborted(reason) => {
                let text = peer_text(&link.received()[body]);
                self.end_if_last(call, line, deadline);
                Err(failed(State::Suspicious, Phase::Answered, Cause::Aborted { reason, text }))
            }
        }
    }

    /// On a short connection the answer was the last thing: the server closes.
    fn end_if_last(&self, call: &Call<'_>, line: &mut Line, deadline: Deadline) {
        if call.last {
            self.buffers.give_back(std::mem::take(line).end(deadline.at_most(REFUSAL_END)));
        }
    }

    /// The line's link if it can be used, else a new one to a host that is chosen.
    fn link_for<'l, 'c>(
        &self,
        config: &Config,
        node: Node<'c>,
        call: &Call<'_>,
        deadline: Deadline,
        line: &'l mut Line,
        tried: &[Attempt],
    ) -> Result<Linked<'l, 'c>, Failed> {
        let (number, host, on_old_link) = match self.usable(node, call, line, tried) {
            Some((number, host)) => (number, host, true),
            None => {
                let (number, host, has_alternatives) = self.pick(config, node, call, tried)?;
                line.link = Some(self.new_link(config, &host, call, deadline, has_alternatives)?);
                (number, host, false)
            }
        };
        line.number = number;
        match &mut line.link {
            Some(link) => Ok(Linked { link, host, on_old_link }),
            // Both ways above leave one.
            None => Err(Failed::choosing(Cause::UnknownHost)),
        }
    }

    fn new_link(
        &self,
        config: &Config,
        host: &Host<'_>,
        call: &Call<'_>,
        deadline: Deadline,
        has_alternatives: bool,
    ) -> Result<Link, Failed> {
        let _counted = self.notes.count(host.slot().index());
        let socket = self.connect_host(config, host, deadline, has_alternatives).map_err(|cause| Failed {
            state: State::NotSent,
            phase: Phase::Connecting,
            cause,
            host: Some(host.addr()),
            on_old_link: false,
        })?;
        let link = Link::new(socket, host.addr(), self.buffers.take());
        if !call.last {
            link.send_at_once();
        }
        Ok(link)
    }

    /// The host of the line's link, if there is one and nothing speaks against using it.
    fn usable<'c>(
        &self,
        node: Node<'c>,
        call: &Call<'_>,
        line: &mut Line,
        tried: &[Attempt],
    ) -> Option<(usize, Host<'c>)> {
        let link = line.link.as_mut()?;
        let addr = link.host();
        if tried.iter().any(|attempt| attempt.excludes(addr)) || call.host.is_some_and(|host| host != addr) {
            return None;
        }
        // Where it stood at the last call, or, after a change of the configuration, wherever it stands now.
        let found = match node.host(line.number).filter(|host| host.addr() == addr) {
            Some(host) => Some((line.number, host)),
            None => node.hosts().enumerate().find(|(_, host)| host.addr() == addr),
        };
        let stale = match found {
            Some((_, host)) if !host.invalid() => link.staleness(&self.settings.limits),
            _ => Some(Cause::UnknownHost),
        };
        match stale {
            None => found,
            Some(cause) => {
                tracing::debug!(host = %addr, %cause, "an idle connection has ended");
                line.link = None;
                None
            }
        }
    }

    /// Chooses a host to connect to: the one that the call insists on, or the balancer's.
    fn pick<'c>(
        &self,
        config: &Config,
        node: Node<'c>,
        call: &Call<'_>,
        tried: &[Attempt],
    ) -> Result<(usize, Host<'c>, bool), Failed> {
        if let Some(addr) = call.host {
            return match node.hosts().enumerate().find(|(_, host)| host.addr() == addr && addr.port() != 0) {
                Some((_, host)) if host.invalid() => Err(Failed::choosing(Cause::InvalidHost)),
                Some((number, host)) => Ok((number, host, false)),
                None => Err(Failed::choosing(Cause::UnknownHost)),
            };
        }
        let hosts = Hosts::new(node, &self.notes, tried, boottime_ms(), self.settings.report_expiry);
        let lease = self.connecting_timeout(config) + LEASE_MARGIN;
        let choice = choose(&*self.settings.balancer, hosts, lease).map_err(Failed::choosing)?;
        match node.host(choice.number) {
            Some(host) => Ok((choice.number, host, choice.has_alternatives)),
            // `choose` has seen it a moment ago, in the same generation.
            None => Err(Failed::choosing(Cause::UnknownHost)),
        }
    }

    /// Connects, over the Unix socket of the platform if it is on this machine.
    ///
    /// One host gets the connecting timeout, and while there are others not more than half of what is left.
    fn connect_host(
        &self,
        config: &Config,
        host: &Host<'_>,
        deadline: Deadline,
        has_alternatives: bool,
    ) -> Result<Socket, Cause> {
        let Some(remaining) = deadline.remaining() else { return Err(Cause::Deadline(deadline.whole())) };
        let full = self.connecting_timeout(config);
        let share = if has_alternatives { remaining / 2 } else { remaining };
        let limit = full.min(share);
        let (slot, addr) = (host.slot(), host.addr());
        if let Some(trust) = &self.settings.unix
            && self.notes.may_have_unix(slot.index(), boottime_ms())
        {
            if let Some(socket) = connect_unix(addr, trust, deadline.at_most(limit / 2)) {
                slot.succeeded();
                return Ok(socket);
            }
            self.notes.no_unix(slot.index(), boottime_ms() + NO_UNIX_MS);
        }
        match connect_tcp(addr, deadline.at_most(limit)) {
            Ok(socket) => {
                slot.succeeded();
                Ok(socket)
            }
            Err(ConnectFailure::Local(error)) => Err(Cause::Local(error)),
            Err(ConnectFailure::Host(error)) => {
                self.rest(host, config);
                Err(Cause::Connect(error))
            }
            Err(ConnectFailure::TimedOut) => {
                if limit == full {
                    self.rest(host, config);
                } else {
                    // It did not get the time that it is allowed: the whole machine need not know.
                    let until = boottime_ms() + u64::from(config.retry_connect_ms());
                    self.notes.refused(slot.index(), until);
                }
                Err(Cause::ConnectTimeout(limit))
            }
        }
    }

    /// How long one attempt to connect may take.
    pub(crate) fn connecting_timeout(&self, config: &Config) -> Duration {
        match config.connecting_timeout_ms() {
            0 => Duration::MAX / 4,
            ms => Duration::from_millis(ms.into()),
        }
    }

    /// Lets a host rest, for every process of the machine.
    fn rest(&self, host: &Host<'_>, config: &Config) {
        host.slot().failed(boottime_ms(), config.retry_connect_ms().into());
    }

    /// A connection broke: what that says about the host.
    fn note_break(&self, host: &Host<'_>, broken: &Broken, on_old_link: bool, config: &Config) {
        match broken.cause {
            // Whoever it is does not speak the protocol.
            Cause::Protocol(_) => self.rest(host, config),
            // An old connection may end for reasons that are none against a new one.
            _ if on_old_link && broken.state == State::NotSent => {}
            _ => self.prefer_others(host),
        }
    }

    /// A host refused: what that says about it. It does not rest: a platform that ends may have a successor at once.
    fn note_rejection(&self, host: &Host<'_>, reason: RejectReason) {
        match reason {
            RejectReason::Busy
            | RejectReason::Draining
            | RejectReason::UnknownApp
            | RejectReason::WrongNode
            | RejectReason::Unsupported => self.prefer_others(host),
            // The request's fault.
            _ => {}
        }
    }

    fn prefer_others(&self, host: &Host<'_>) {
        self.notes.refused(host.slot().index(), boottime_ms() + REFUSAL_REST_MS);
    }
}

/// A link, and what it leads to.
struct Linked<'l, 'c> {
    link: &'l mut Link,
    host: Host<'c>,
    on_old_link: bool,
}

impl Failed {
    fn choosing(cause: Cause) -> Self {
        Failed { state: State::NotSent, phase: Phase::Choosing, cause, host: None, on_old_link: false }
    }
}

/// A call on its way from host to host.
struct Journey<'a> {
    call: &'a Call<'a>,
    began: Instant,
    tried: Vec<Attempt>,
}

impl Journey<'_> {
    /// Whether another attempt may follow a failed one; the error if not.
    fn go_on(&mut self, failed: Failed, deadline: Deadline) -> Result<(), Error> {
        let may_go_on = failed.state == State::NotSent
            && failed.cause.is_of_this_host()
            && (self.call.host.is_none() || failed.on_old_link)
            && !deadline.is_over();
        match failed.host {
            Some(host) if may_go_on => {
                let Failed { phase, cause, on_old_link, .. } = failed;
                let transaction = self.call.transaction.unwrap_or_default();
                tracing::debug!(%host, %phase, %transaction, %cause, "not executed; going on");
                self.tried.push(Attempt { host, phase, cause, on_old_link });
                Ok(())
            }
            _ => Err(self.end(failed)),
        }
    }

    /// The error that the caller gets.
    #[cold]
    fn end(&mut self, failed: Failed) -> Error {
        let Failed { state, mut phase, mut cause, mut host, .. } = failed;
        // That there is no further host says less than what the last one said.
        if matches!(cause, Cause::NoHost(_))
            && let Some(last) = self.tried.pop()
        {
            (phase, cause, host) = (last.phase, last.cause, Some(last.host));
        }
        let transaction = self.call.transaction;
        let failure = Failure {
            node: short_name(self.call.node),
            app: short_name(self.call.app),
            host,
            transaction,
            phase,
            cause,
            tried: std::mem::take(&mut self.tried),
            began: self.began,
        };
        // The text names node, host, phase and transaction.
        match state {
            State::NotSent => tracing::debug!(%failure, "not executed"),
            _ => tracing::warn!(%failure, "suspicious"),
        }
        Error::new(state, failure)
    }
}
