//! One call, from the choice of a host to the answer, over as many hosts as it takes.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use ibp_core::wire::ib2::ResponseHead;
use ibp_core::wire::{Execution, TransactionId};
use ibp_shm::{Config, Node, boottime_ms};

use crate::buffers::Buffers;
use crate::cause::peer_text;
use crate::client::Shared;
use crate::error::short_name;
use crate::link::{Answer, Link, Question, Subject};
use crate::reach::Linked;
use crate::transport::Deadline;
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
    pub(crate) number: usize,
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

/// One attempt: what it knows when it begins.
#[derive(Clone, Copy)]
pub(crate) struct Try<'t> {
    pub(crate) config: &'t Config,
    pub(crate) call: &'t Call<'t>,
    pub(crate) deadline: Deadline,
    pub(crate) now: Instant,
    /// The attempts before it.
    pub(crate) tried: &'t [Attempt],
}

/// An attempt that failed.
pub(crate) struct Failed {
    pub(crate) state: State,
    pub(crate) phase: Phase,
    pub(crate) cause: Cause,
    pub(crate) host: Option<SocketAddr>,
    /// It was on a connection made for an earlier call: its host may be all right.
    pub(crate) on_old_link: bool,
}

/// How long a short call waits for the server to close first when it was refused: another host may be waiting.
const REFUSAL_END: Duration = Duration::from_millis(100);

impl Shared {
    /// Makes a call. `line` goes in with the connection to be used, if any, and comes out with the one that is left.
    pub(crate) fn call(&self, call: &Call<'_>, line: &mut Line) -> Result<Done, Error> {
        let began = Instant::now();
        self.follow();
        let mut journey = Journey { call, began, tried: Vec::new() };
        let mut config = self.reader.current();
        let timeout = match self.timeout_for(&config, call) {
            Ok(timeout) => timeout,
            Err(cause) => return Err(journey.end(Failed::choosing(cause))),
        };
        let deadline = Deadline::from(began, timeout);
        let mut now = began;
        loop {
            let at = Try { config: &config, call, deadline, now, tried: &journey.tried };
            match self.attempt(&at, line) {
                Ok(done) => return Ok(done),
                Err(failed) => journey.go_on(failed, deadline)?,
            }
            now = Instant::now();
            config = self.reader.current();
        }
    }

    /// Makes the connection for later calls. The app and the body of `call` are of no interest.
    pub(crate) fn connect(&self, call: &Call<'_>, line: &mut Line) -> Result<(), Error> {
        let mut journey = Journey { call, began: Instant::now(), tried: Vec::new() };
        self.follow();
        let deadline = Deadline::from(journey.began, call.timeout.unwrap_or(crate::DEFAULT_TIMEOUT));
        loop {
            let config = self.reader.current();
            let at = Try { config: &config, call, deadline, now: Instant::now(), tried: &journey.tried };
            let made = self.node_of(&at).and_then(|node| self.link_for(&at, node, line).map(|_| ()));
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

    fn node_of<'t>(&self, at: &Try<'t>) -> Result<Node<'t>, Failed> {
        let call = at.call;
        match at.config.node(call.node) {
            Some(node) if node.invalid() => Err(Failed::choosing(Cause::InvalidNode)),
            Some(node) => Ok(node),
            None if call.node.is_empty() => Err(Failed::choosing(Cause::NoDefaultNode)),
            None if !names::is_name(call.node) => Err(Failed::choosing(Cause::BadName("the node's name"))),
            None => Err(Failed::choosing(Cause::UnknownNode)),
        }
    }

    /// Asks one host.
    fn attempt(&self, at: &Try<'_>, line: &mut Line) -> Result<Done, Failed> {
        let Try { config, call, deadline, .. } = *at;
        let node = self.node_of(at)?;
        let Linked { link, host, on_old_link } = self.link_for(at, node, line)?;
        // Connecting took its time.
        let now = if on_old_link { at.now } else { Instant::now() };
        let slot = host.slot();
        let addr = host.addr();
        let failed = |state, phase, cause| Failed { state, phase, cause, host: Some(addr), on_old_link };
        if let Some(limit) = link.longest_body().filter(|limit| call.body.len() as u64 > *limit) {
            let length = call.body.len() as u64;
            return Err(failed(State::NotSent, Phase::Choosing, Cause::BodyTooLarge { length, limit }));
        }
        let remaining_ms = deadline.remaining_ms_at(now);
        if remaining_ms == 0 {
            return Err(failed(State::NotSent, Phase::Choosing, Cause::Deadline(deadline.whole())));
        }

        let question = Question {
            this_node: config.this_node(),
            subject: Subject::Request { node: call.node, app: call.app, body: call.body, remaining_ms },
            transaction: call.transaction.unwrap_or_default(),
            now,
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
                self.note_break(&host, &broken, on_old_link);
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
}

impl Failed {
    pub(crate) fn choosing(cause: Cause) -> Self {
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
        // The text of the failure names node, app, host, phase and transaction.
        match state {
            State::NotSent => tracing::debug!(%failure, "not executed"),
            State::Suspicious => tracing::warn!(%failure, "suspicious, may have been executed"),
            State::Responded => tracing::warn!(%failure, "executed, but what follows failed"),
        }
        Error::new(state, failure)
    }
}
