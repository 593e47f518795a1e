use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ibp_shm::{Node, Reported, Retry};

use super::Notes;
use crate::Attempt;

/// The hosts of the node that is asked, as a [`Balancer`](super::Balancer) sees them.
pub struct Hosts<'a> {
    pub(super) node: Node<'a>,
    notes: &'a Notes,
    /// What this call has tried in vain.
    pub(super) tried: &'a [Attempt],
    pub(super) now_ms: u64,
    report_expiry: Duration,
    /// Hosts that refused lately count too.
    pub(super) with_refused: bool,
    /// A host that was met whose rest is over.
    pub(super) due: Cell<Option<usize>>,
}

/// A host that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its address.
    pub addr: SocketAddr,
    /// The load that any process of this machine got from it last; `None` if none did since it is known.
    pub load: Option<Reported>,
    /// How many requests of this process it is serving.
    pub in_flight: u32,
}

impl<'a> Hosts<'a> {
    pub(crate) fn new(
        node: Node<'a>,
        notes: &'a Notes,
        tried: &'a [Attempt],
        now_ms: u64,
        report_expiry: Duration,
    ) -> Self {
        Self { node, notes, tried, now_ms, report_expiry, with_refused: false, due: Cell::new(None) }
    }

    /// How many hosts the node has, those included that cannot be asked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.node.host_count()
    }

    /// Whether the node has no hosts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How old a report of load may be before it says nothing any more (a setting of the client, 5 s by default).
    #[must_use]
    pub fn report_expiry(&self) -> Duration {
        self.report_expiry
    }

    /// The host with this number, in the order of the configuration; `None` if it cannot be asked. Takes no lock, makes no
    /// system call, allocates nothing.
    #[must_use]
    pub fn candidate(&self, number: usize) -> Option<Candidate> {
        let host = self.node.host(number)?;
        let addr = host.addr();
        if host.invalid() || addr.port() == 0 {
            return None;
        }
        if self.tried.iter().any(|attempt| attempt.excludes(addr)) {
            return None;
        }
        let slot = host.slot();
        match slot.retry(self.now_ms) {
            Retry::Ready => {}
            Retry::Due { .. } => {
                self.due.set(Some(number));
                return None;
            }
            Retry::Resting { .. } | Retry::Probing { .. } => return None,
        }
        if !self.with_refused && self.notes.has_refused(slot.index(), self.now_ms) {
            return None;
        }
        let in_flight = self.notes.in_flight(slot.index());
        Some(Candidate { addr, load: slot.load(self.now_ms), in_flight })
    }
}

impl fmt::Debug for Hosts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts")
            .field("node", &self.node.name())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
