use super::frame::{FrameType, Header, put_frame};
use crate::wire::bytes::{Take, name_length, put_name};
use crate::wire::{ProtocolError, TransactionId};

/// Most bytes that REQUEST's payload has beside the body.
pub const REQUEST_OVERHEAD: u64 = 24 + 2 * u8::MAX as u64;

/// REQUEST: run an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number on this connection, counted from 1.
    pub number: u32,
    /// No other will follow: the server closes after the last byte it owes.
    pub last: bool,
    /// The transaction's id.
    pub transaction: TransactionId,
    /// How long the client will still wait, in milliseconds.
    pub remaining_ms: u32,
    /// How many files were pushed for it.
    pub files: u16,
    /// What to run.
    pub app: &'a str,
    /// The node that the client means to ask; empty: whichever node the server belongs to.
    pub node: &'a str,
    /// The request body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        let flags = if self.last { Header::LAST } else { 0 };
        put_frame(FrameType::Request, flags, self.number, out, |out| {
            out.extend_from_slice(&self.transaction.0);
            out.extend_from_slice(&self.remaining_ms.to_le_bytes());
            out.extend_from_slice(&self.files.to_le_bytes());
            out.push(name_length(self.app));
            out.push(name_length(self.node));
            put_name(self.app, out);
            put_name(self.node, out);
            out.extend_from_slice(self.body);
        });
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// Any field that `docs/protocol.md` does not allow.
    pub fn take(header: Header, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("REQUEST", payload);
        if header.flags & Header::COMPRESSED != 0 {
            return Err(take.malformed("its body is compressed, which was not agreed"));
        }
        let transaction = TransactionId(take.array()?);
        let remaining_ms = take.u32()?;
        let files = take.u16()?;
        let app_length = usize::from(take.u8()?);
        let node_length = usize::from(take.u8()?);
        let app = take.name(app_length)?;
        if app.is_empty() {
            return Err(take.malformed("it names no app"));
        }
        let node = take.name(node_length)?;
        Ok(Self {
            number: header.number,
            last: header.flags & Header::LAST != 0,
            transaction,
            remaining_ms,
            files,
            app,
            node,
            body: take.rest(),
        })
    }
}
