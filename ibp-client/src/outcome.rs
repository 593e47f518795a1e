//! What became of a transaction.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ibp_core::wire::{Outcome, TransactionId};

use crate::client::Shared;
use crate::error::short_name;
use crate::link::{Answer, Link, Question, Subject};
use crate::transport::{ConnectFailure, Deadline, connect_tcp, connect_unix};
use crate::{Cause, Error, Failure, Phase, State};

/// What a platform remembers of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutcomeReport {
    /// What became of it.
    pub outcome: Outcome,
    /// How long ago the app began; zero if nothing is known.
    pub began_ago: Duration,
    /// How far the platform's memory reaches back. Of a transaction that it does not know, and that was sent more recently
    /// than this, no app has begun; one that still waits to be read may begin yet.
    pub memory: Duration,
}

/// How long asking may take.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Shared {
    pub(crate) fn ask_outcome(
        &self,
        node: &str,
        host: SocketAddr,
        transaction: TransactionId,
    ) -> Result<OutcomeReport, Error> {
        let began = Instant::now();
        let deadline = Deadline::from(began, TIMEOUT);
        self.outcome_from(host, transaction, deadline).map_err(|(phase, cause)| {
            let failure = Failure {
                node: short_name(node),
                app: "".into(),
                host: Some(host),
                transaction: Some(transaction),
                phase,
                cause,
                tried: Vec::new(),
                began,
            };
            // The question changes nothing, wherever it got lost.
            Error::new(State::NotSent, failure)
        })
    }

    /// Asks one host, whatever the configuration says of it by now.
    fn outcome_from(
        &self,
        host: SocketAddr,
        transaction: TransactionId,
        deadline: Deadline,
    ) -> Result<OutcomeReport, (Phase, Cause)> {
        self.follow();
        let config = self.reader.current();
        let limit = self.connecting_timeout(&config);
        let local =
            self.settings.unix.as_ref().and_then(|trust| connect_unix(host, trust, deadline.at_most(limit)));
        let socket = match local {
            Some(socket) => socket,
            None => connect_tcp(host, deadline.at_most(limit)).map_err(|failure| {
                let cause = match failure {
                    ConnectFailure::Local(error) => Cause::Local(error),
                    ConnectFailure::Host(error) => Cause::Connect(error),
                    ConnectFailure::TimedOut => Cause::ConnectTimeout(limit.min(TIMEOUT)),
                };
                (Phase::Connecting, cause)
            })?,
        };
        let mut link = Link::new(socket, host, self.buffers.take());
        let question = Question {
            this_node: config.this_node(),
            subject: Subject::Outcome,
            transaction,
            now: Instant::now(),
            deadline,
            limits: &self.settings.limits,
            last: true,
        };
        let answer = link.ask(&question).map_err(|broken| (broken.phase, broken.cause))?;
        self.buffers.give_back(link.finish(deadline));
        match answer {
            Answer::Outcome(answer) => Ok(OutcomeReport {
                outcome: answer.outcome,
                began_ago: Duration::from_millis(answer.age_ms),
                memory: Duration::from_millis(answer.horizon_ms),
            }),
            // The link has checked that the answer is one to a query.
            Answer::Response(..) => Err((Phase::Waiting, Cause::Closed)),
        }
    }
}

/// There is no host to ask: the error was not one of a call that reached a host.
pub(crate) fn nobody_to_ask(node: &str, transaction: Option<TransactionId>, cause: Cause) -> Error {
    let failure = Failure {
        node: short_name(node),
        app: "".into(),
        host: None,
        transaction,
        phase: Phase::Choosing,
        cause,
        tried: Vec::new(),
        began: Instant::now(),
    };
    Error::new(State::NotSent, failure)
}
