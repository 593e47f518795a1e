//! What runs in a worker: services by app name.

use std::net::SocketAddr;
use std::time::Duration;

use ibp_core::wire::TransactionId;

use crate::sys::descriptor::Descriptor;

/// An app, as Rust code that is built into the platform's program.
///
/// A closure `Fn(&Request, &mut Response) -> i32` is one:
///
/// ```
/// use ibp_server::{Request, Response, Service};
///
/// fn offer(_: impl Service) {}
/// offer(|request: &Request<'_>, response: &mut Response<'_>| {
///     response.extend_from_slice(request.body());
///     0
/// });
/// ```
pub trait Service {
    /// Runs the app once. What it returns is its code, which the client gets together with the body; 0 means success
    /// by convention.
    ///
    /// A call runs alone in its process. A panic is caught, answered as aborted, and the worker is replaced.
    fn call(&self, request: &Request<'_>, response: &mut Response<'_>) -> i32;

    /// Called once in each worker before it serves: the place to open what every call needs. A worker that panics or
    /// exits here is tried again after a growing pause.
    fn start(&self) {}
}

impl<F> Service for F
where
    F: Fn(&Request<'_>, &mut Response<'_>) -> i32,
{
    fn call(&self, request: &Request<'_>, response: &mut Response<'_>) -> i32 {
        self(request, response)
    }
}

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(crate) app: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) transaction: TransactionId,
    pub(crate) remaining: Duration,
    pub(crate) client_node: &'a str,
    pub(crate) connection: Descriptor,
    pub(crate) worker: usize,
}

impl<'a> Request<'a> {
    /// The app that was asked for.
    #[must_use]
    pub fn app(&self) -> &'a str {
        self.app
    }

    /// The request body.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The transaction's id, the same on every attempt of the client.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// How long the client still waited when the request arrived.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.remaining
    }

    /// The node that the client says it belongs to; without keys it is not proven.
    #[must_use]
    pub fn client_node(&self) -> &'a str {
        self.client_node
    }

    /// The client's address; `None` for a client on the platform's Unix socket. Asks the kernel each time.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        rustix::net::getpeername(self.connection).ok()??.try_into().ok()
    }

    /// The place in the pool of the worker that runs the call, from 0.
    #[must_use]
    pub fn worker_index(&self) -> usize {
        self.worker
    }
}

/// The response body, written by the app.
///
/// It is written straight into the buffer that is sent: nothing is copied afterwards. It is also a
/// [`std::io::Write`], whose writes never fail.
#[derive(Debug)]
pub struct Response<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    over: bool,
}

impl<'a> Response<'a> {
    /// A body that begins at the end of `buffer` and has at most `limit` bytes.
    pub(crate) fn new(buffer: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = buffer.len();
        Self { buffer, start, limit, over: false }
    }

    /// Appends bytes. A body that grows over the platform's limit ([`crate::Settings::limits`]) is not sent: the
    /// client is told that the transaction was aborted.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if bytes.len() > self.limit.saturating_sub(self.len()) {
            self.over = true;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether something was appended that did not fit.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The body so far.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Its length so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether it is empty so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.buffer.truncate(self.start);
        self.over = false;
    }
}

impl std::io::Write for Response<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
