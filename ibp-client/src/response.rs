use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, Range};

use ibp_core::Load;
use ibp_core::wire::TransactionId;

/// What an app answered: its code, and its body, as which the response can be used (`Deref` to bytes).
///
/// A short call gives a `Response<'static>`, which owns its body. A call on a [`Connection`](crate::Connection) gives one
/// that borrows the connection's buffer, so that nothing is allocated; [`Response::into_owned`] and
/// [`Response::into_vec`] take it out of there.
pub struct Response<'a> {
    pub(crate) head: Head,
    pub(crate) body: Body<'a>,
}

/// All of a response but its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) code: i32,
    pub(crate) host: Option<SocketAddr>,
    pub(crate) transaction: TransactionId,
    pub(crate) load: Load,
}

pub(crate) enum Body<'a> {
    Borrowed(&'a [u8]),
    /// A part of the buffer into which it was received, or all of it.
    Owned(Vec<u8>, Range<usize>),
}

impl<'a> Response<'a> {
    /// What the app returned; 0 is success by convention.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.head.code
    }

    /// Whether the app returned 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.head.code == 0
    }

    /// The response body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Borrowed(bytes) => bytes,
            Body::Owned(buffer, range) => buffer.get(range.clone()).unwrap_or_default(),
        }
    }

    /// The host that answered.
    #[must_use]
    pub fn host(&self) -> Option<SocketAddr> {
        self.head.host
    }

    /// The transaction's id.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        self.head.transaction
    }

    /// How busy that host was.
    #[must_use]
    pub fn load(&self) -> Load {
        self.head.load
    }

    /// The same response with a body of its own.
    #[must_use]
    pub fn into_owned(self) -> Response<'static> {
        let body = match self.body {
            Body::Borrowed(bytes) => Body::Owned(bytes.to_vec(), 0..bytes.len()),
            Body::Owned(buffer, range) => Body::Owned(buffer, range),
        };
        Response { head: self.head, body }
    }

    /// The body alone.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self.body {
            Body::Borrowed(bytes) => bytes.to_vec(),
            Body::Owned(mut buffer, range) => {
                buffer.truncate(range.end);
                buffer.drain(..range.start.min(range.end));
                buffer
            }
        }
    }
}

impl Deref for Response<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.body()
    }
}

impl AsRef<[u8]> for Response<'_> {
    fn as_ref(&self) -> &[u8] {
        self.body()
    }
}

/// Without the body, which is the application's affair.
impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("code", &self.head.code)
            .field("host", &self.head.host)
            .field("transaction", &self.head.transaction)
            .field("load", &self.head.load)
            .field("bytes", &self.body().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Head, Response};
    use ibp_core::Load;
    use ibp_core::wire::TransactionId;

    fn response(body: Body<'_>) -> Response<'_> {
        let head = Head { code: 0, host: None, transaction: TransactionId([1; 16]), load: Load::default() };
        Response { head, body }
    }

    #[test]
    fn a_part_of_a_buffer_is_the_body() {
        let owned = || response(Body::Owned(b"headBODYtail".to_vec(), 4..8));
        assert_eq!(&*owned(), b"BODY");
        assert_eq!(owned().into_vec(), b"BODY");
        assert_eq!(owned().into_owned().into_vec(), b"BODY");
    }

    #[test]
    fn a_borrowed_body_can_be_taken_out() {
        let buffer = b"BODY".to_vec();
        let owned: Response<'static> = response(Body::Borrowed(&buffer)).into_owned();
        drop(buffer);
        assert_eq!(&*owned, b"BODY");
    }

    #[test]
    fn debug_does_not_show_the_body() {
        assert!(!format!("{:?}", response(Body::Borrowed(b"PIN 1234"))).contains("1234"));
    }
}
