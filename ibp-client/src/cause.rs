//! Why a transaction failed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ibp_core::wire::ib2::GoodbyeReason;
use ibp_core::wire::{AbortReason, ErrorCode, ProtocolError, RejectReason};

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// 10: a node's or an app's name has 1 to 64 bytes of `A-Z a-z 0-9 _ - .`; this one has not.
    #[error("{0} is not a name: 1 to 64 of A-Z a-z 0-9 _ - .")]
    BadName(&'static str),
    /// 11: the configuration that this node sees has no such node.
    #[error("the configuration has no such node, or this node may not see it")]
    UnknownNode,
    /// 12: the node is marked invalid in the configuration.
    #[error("the node is marked invalid in the configuration")]
    InvalidNode,
    /// 13: the configuration that this node sees has no such app.
    #[error("the configuration has no such app, or this node may not see it")]
    UnknownApp,
    /// 14: the app is marked invalid in the configuration.
    #[error("the app is marked invalid in the configuration")]
    InvalidApp,
    /// 15: the request names no node, and the app has no default one.
    #[error("the request names no node, and the app has no default node (server_node)")]
    NoDefaultNode,
    /// 16: the host that the call is pinned to is not, or no longer, one of the node's hosts.
    #[error("the host that the call is pinned to is not a host of the node")]
    UnknownHost,
    /// 21: the host that the call is pinned to is marked invalid in the configuration.
    #[error("the host that the call is pinned to is marked invalid in the configuration")]
    InvalidHost,
    /// 17: no host of the node can be asked now.
    #[error("no host can be asked now: {0}")]
    NoHost(Unusable),
    /// 18: the connection was made by the parent process. Connect again in the child.
    #[error("the connection belongs to the parent process of this one: connect again after a fork")]
    Forked,
    /// 19: the body is longer than the platform takes, as its hello said.
    #[error("the body has {length} bytes, the platform takes {limit}")]
    BodyTooLarge {
        /// The body's length in bytes.
        length: u64,
        /// What the platform takes, in bytes.
        limit: u64,
    },
    /// 20: this process can open no socket now (no descriptors, no memory, no ports). No host's fault.
    #[error("this process cannot open a connection: {0}")]
    Local(#[source] io::Error),
    /// 30: the call's time is over.
    #[error("the deadline of {} ms is over", .0.as_millis())]
    Deadline(Duration),
    /// 31: the host could not be connected to.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// 32: the host did not take the connection in time.
    #[error("no connection within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// 33: the platform closed the connection without an answer.
    #[error("the platform closed the connection without an answer")]
    Closed,
    /// 34: the connection broke.
    #[error("the connection broke: {0}")]
    Io(#[source] io::Error),
    /// 35: the peer sent what the protocol does not allow.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[source] ProtocolError),
    /// 36: the platform says that this side broke the protocol, or that it has no room.
    #[error("the platform ended the connection with error {}: {text:?}", code.number())]
    Peer {
        /// Its number for it.
        code: ErrorCode,
        /// Its sentence for people.
        text: Box<str>,
    },
    /// 37: the platform ended the connection before it took the request.
    #[error("the platform ended the connection before it took the request: {0}")]
    Goodbye(GoodbyeReason),
    /// 0x10000 + the reason's number: the platform refused the request.
    #[error("rejected: {reason}{}", Saying(text))]
    Rejected {
        /// Why.
        reason: RejectReason,
        /// What the platform says beyond that.
        text: Box<str>,
    },
    /// 0x20000 + the reason's number: the app began and did not end.
    #[error("aborted: {reason}{}", Saying(text))]
    Aborted {
        /// Why.
        reason: AbortReason,
        /// What the platform says beyond that.
        text: Box<str>,
    },
}

impl Cause {
    /// The number of this cause, the same in all versions.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Cause::BadName(_) => 10,
            Cause::UnknownNode => 11,
            Cause::InvalidNode => 12,
            Cause::UnknownApp => 13,
            Cause::InvalidApp => 14,
            Cause::NoDefaultNode => 15,
            Cause::UnknownHost => 16,
            Cause::NoHost(_) => 17,
            Cause::Forked => 18,
            Cause::BodyTooLarge { .. } => 19,
            Cause::Local(_) => 20,
            Cause::InvalidHost => 21,
            Cause::Deadline(_) => 30,
            Cause::Connect(_) => 31,
            Cause::ConnectTimeout(_) => 32,
            Cause::Closed => 33,
            Cause::Io(_) => 34,
            Cause::Protocol(_) => 35,
            Cause::Peer { .. } => 36,
            Cause::Goodbye(_) => 37,
            Cause::Rejected { reason, .. } => 0x1_0000 + u32::from(reason.number()),
            Cause::Aborted { reason, .. } => 0x2_0000 + u32::from(reason.number()),
        }
    }

    /// Whether another host of the node may do what this one did not. Asked only after a failure that left the request
    /// unexecuted.
    pub(crate) fn is_of_this_host(&self) -> bool {
        match self {
            Cause::Connect(_)
            | Cause::ConnectTimeout(_)
            | Cause::Closed
            | Cause::Io(_)
            | Cause::Protocol(_)
            | Cause::Goodbye(_) => true,
            Cause::Rejected { reason, .. } => match reason {
                // This host is full, or ends: its neighbours need not.
                RejectReason::Busy | RejectReason::Draining => true,
                // This host's configuration is behind or ahead of the client's, or its package is not installed yet.
                RejectReason::UnknownApp | RejectReason::WrongNode => true,
                // Hosts of different versions stand side by side during an upgrade.
                RejectReason::Unsupported => true,
                // Settings of the whole cluster, or properties of the request: every host would say the same.
                RejectReason::InvalidApp
                | RejectReason::InvalidNode
                | RejectReason::NotPermitted
                | RejectReason::BodyTooLarge
                | RejectReason::TooManyFiles
                | RejectReason::Malformed => false,
                // The time is over everywhere.
                RejectReason::DeadlineOver => false,
                // A reason of a later version: nothing is known of it.
                _ => false,
            },
            // Of the other codes: the same bytes, limits and keys everywhere.
            Cause::Peer { code, .. } => {
                matches!(code, ErrorCode::Full | ErrorCode::Timeout | ErrorCode::NotIb2 | ErrorCode::Version)
            }
            _ => false,
        }
    }

    /// Whether the same request may succeed later, or with more time.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Cause::NoHost(_) | Cause::Local(_) | Cause::Deadline(_) => true,
            Cause::Rejected { reason: RejectReason::DeadlineOver, .. } => true,
            other => other.is_of_this_host(),
        }
    }
}

/// The platform's own words, if it said any.
struct Saying<'a>(&'a str);

impl fmt::Display for Saying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted and escaped: the text comes from the peer and goes to logs.
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({:?})", self.0) }
    }
}

/// What a platform says in the body of a `rejected` or `aborted` answer, cut to what belongs in an error.
pub(crate) fn peer_text(body: &[u8]) -> Box<str> {
    const LONGEST: usize = 512;
    String::from_utf8_lossy(&body[..body.len().min(LONGEST)]).into()
}

/// Why none of a node's hosts could be asked.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unusable {
    /// Hosts that the node has.
    pub hosts: u32,
    /// Of these: marked invalid, or only clients (port 0).
    pub invalid: u32,
    /// Of these: could not be reached lately and rest.
    pub resting: u32,
    /// Of these: rested, and another caller tries them just now.
    pub probing: u32,
    /// Of these: this call has tried them.
    pub tried: u32,
    /// One that rests or is tried, for the message.
    pub example: Option<SocketAddr>,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unusable { hosts, invalid, resting, probing, tried, example } = self;
        write!(f, "of {hosts} hosts {invalid} invalid, {resting} resting after a failure to connect, ")?;
        write!(f, "{probing} being tried by another caller, {tried} tried by this call")?;
        match example {
            Some(example) => write!(f, " (one of them: {example})"),
            None => Ok(()),
        }
    }
}
