//! From a call to a link: which host, by which way, and what is learnt about the host on the way.

use std::time::Duration;

use ibp_core::wire::RejectReason;
use ibp_shm::{Config, Host, Node, boottime_ms};

use crate::balance::{Hosts, choose};
use crate::call::{Failed, Line, Try};
use crate::client::Shared;
use crate::link::{Broken, Link};
use crate::transport::{ConnectFailure, Socket, connect_tcp, connect_unix};
use crate::{Cause, Phase, State};

/// For how long others are preferred to a host that refused or gave no answer, by this process.
const REFUSAL_REST_MS: u64 = 1_000;

/// For how long a host is taken to have no Unix socket on this machine after none was found.
const NO_UNIX_MS: u64 = 1_000;

/// What a prober has beyond the time to connect, before another caller may try.
const LEASE_MARGIN: Duration = Duration::from_millis(100);

impl Shared {
    /// The line's link if it can be used, else a new one to a host that is chosen.
    pub(crate) fn link_for<'l, 't>(
        &self,
        at: &Try<'t>,
        node: Node<'t>,
        line: &'l mut Line,
    ) -> Result<Linked<'l, 't>, Failed> {
        let (number, host, on_old_link) = match self.usable(at, node, line) {
            Some((number, host)) => (number, host, true),
            None => {
                let (number, host, has_alternatives) = self.pick(at, node)?;
                line.link = Some(self.new_link(at, &host, has_alternatives)?);
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

    fn new_link(&self, at: &Try<'_>, host: &Host<'_>, has_alternatives: bool) -> Result<Link, Failed> {
        let _counted = self.notes.count(host.slot().index());
        let socket = self.connect_host(at, host, has_alternatives).map_err(|cause| Failed {
            state: State::NotSent,
            phase: Phase::Connecting,
            cause,
            host: Some(host.addr()),
            on_old_link: false,
        })?;
        let link = Link::new(socket, host.addr(), self.buffers.take());
        if !at.call.last {
            link.send_at_once();
        }
        Ok(link)
    }

    /// The host of the line's link, if there is one and nothing speaks against using it.
    fn usable<'t>(&self, at: &Try<'t>, node: Node<'t>, line: &mut Line) -> Option<(usize, Host<'t>)> {
        let Try { call, tried, now, .. } = *at;
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
            Some((_, host)) if !host.invalid() => link.staleness(&self.settings.limits, now),
            _ => Some(Cause::UnknownHost),
        };
        match stale {
            None => found,
            Some(cause) => {
                let transaction = call.transaction.unwrap_or_default();
                tracing::debug!(host = %addr, phase = %Phase::Choosing, %transaction, %cause, "an idle connection has ended");
                line.link = None;
                None
            }
        }
    }

    /// Chooses a host to connect to: the one that the call insists on, or the balancer's.
    fn pick<'t>(&self, at: &Try<'t>, node: Node<'t>) -> Result<(usize, Host<'t>, bool), Failed> {
        let Try { config, call, deadline, tried, .. } = *at;
        if let Some(addr) = call.host {
            return match node.hosts().enumerate().find(|(_, host)| host.addr() == addr && addr.port() != 0) {
                Some((_, host)) if host.invalid() => Err(Failed::choosing(Cause::InvalidHost)),
                Some((number, host)) => Ok((number, host, false)),
                None => Err(Failed::choosing(Cause::UnknownHost)),
            };
        }
        let hosts = Hosts::new(node, &self.notes, tried, boottime_ms(), self.settings.report_expiry);
        let connecting = deadline.remaining().unwrap_or_default().min(self.connecting_timeout(config));
        let lease = connecting + LEASE_MARGIN;
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
    fn connect_host(&self, at: &Try<'_>, host: &Host<'_>, has_alternatives: bool) -> Result<Socket, Cause> {
        let Try { config, deadline, .. } = *at;
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
    pub(crate) fn note_break(&self, host: &Host<'_>, broken: &Broken, on_old_link: bool) {
        // An old connection may end for reasons that are none against a new one.
        if !on_old_link || broken.state != State::NotSent {
            self.prefer_others(host);
        }
    }

    /// A host refused: what that says about it. It does not rest: a platform that ends may have a successor at once.
    pub(crate) fn note_rejection(&self, host: &Host<'_>, reason: RejectReason) {
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
pub(crate) struct Linked<'l, 't> {
    pub(crate) link: &'l mut Link,
    pub(crate) host: Host<'t>,
    /// It was made for an earlier call.
    pub(crate) on_old_link: bool,
}
