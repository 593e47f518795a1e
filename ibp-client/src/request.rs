use std::net::SocketAddr;
use std::time::Duration;

use ibp_core::wire::TransactionId;

use crate::call::{Call, Done, Line};
use crate::response::{Body, Head};
use crate::{Client, Error, Response};

/// A short call that is being put together; [`Request::send`] makes it.
#[derive(Debug)]
#[must_use = "nothing happens before `send`"]
pub struct Request<'a> {
    client: &'a Client,
    /// The app's default node if `None`.
    node: Option<&'a str>,
    app: &'a str,
    body: &'a [u8],
    timeout: Option<Duration>,
    host: Option<SocketAddr>,
    transaction: Option<TransactionId>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(client: &'a Client, node: Option<&'a str>, app: &'a str) -> Self {
        Self { client, node, app, body: &[], timeout: None, host: None, transaction: None }
    }

    /// The request body; empty by default.
    pub fn body(mut self, body: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.body = body.as_ref();
        self
    }

    /// How long the whole call may take, all attempts and the answer included; the app's timeout by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Asks this host of the node and no other, also if it rests after a failure: for a dialogue whose state lies there.
    pub fn host(mut self, host: SocketAddr) -> Self {
        self.host = Some(host);
        self
    }

    /// The transaction's id, which is drawn otherwise. It must never have been used before.
    pub fn transaction(mut self, id: TransactionId) -> Self {
        self.transaction = Some(id);
        self
    }

    /// Makes the call: connects to a host, sends, reads the answer. A host that did not execute it is followed by another
    /// one, as long as there is time.
    ///
    /// An app that returns another code than 0 has answered: that is a [`Response`], not an error.
    ///
    /// # Errors
    /// [`Error::NotSent`] or [`Error::Suspicious`].
    pub fn send(self) -> Result<Response<'static>, Error> {
        let shared = &self.client.shared;
        let transaction = self.transaction.unwrap_or_else(|| self.client.new_transaction());
        let snapshot;
        let node = match self.node {
            Some(node) => node,
            None => {
                shared.follow();
                snapshot = shared.reader.snapshot();
                snapshot.app(self.app).map_or("", |app| app.server_node())
            }
        };
        let call = Call {
            node,
            app: self.app,
            body: self.body,
            transaction: Some(transaction),
            timeout: self.timeout,
            host: self.host,
            last: true,
        };
        let mut line = Line::default();
        let done = shared.call(&call, &mut line)?;
        let Done { head, code, body, deadline } = done;
        let host = line.host();
        let mut buffers = line.end(deadline);
        let bytes = &mut buffers.inbox;
        let body = if body.len() <= COPIED_BODY {
            let body = bytes.bytes().get(body).unwrap_or_default().to_vec();
            let whole = 0..body.len();
            Body::Owned(body, whole)
        } else {
            Body::Owned(std::mem::take(bytes).into_bytes(), body)
        };
        shared.buffers.give_back(buffers);
        let head = Head { code, host: host.or(self.host), transaction, load: head.load };
        Ok(Response { head, body })
    }
}

/// A response body up to this many bytes is copied into a buffer of its own size; a larger one keeps the one that it was
/// received into.
const COPIED_BODY: usize = 8 << 10;
