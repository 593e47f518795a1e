use super::files::chunk_limit;
use super::frame::{FrameType, HEADER_LEN, Header, Next, PREAMBLE, PREAMBLE_LEN, check_preamble, next_frame};
use super::{FileBegin, Goodbye, OutcomeAnswer, PeerError, RESPONSE_OVERHEAD, Response, ServerHello};
use crate::wire::{Limits, ProtocolError};

/// The client's side of one connection: what may come next, and what came. Like
/// [`super::ServerSession`], it owns no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSession {
    greeted: bool,
    last_sent: u32,
    answered: u32,
    file_left: Option<u64>,
}

/// What [`ClientSession::step`] found at the start of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientStep<'a> {
    /// Not a whole frame: this many bytes from the start of the input make it whole (or say how many will).
    More(u64),
    /// Something came whole.
    Event {
        /// What came.
        event: ClientEvent<'a>,
        /// How many bytes of the input it took.
        used: usize,
    },
}

/// What a server can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// What is agreed.
    Hello(ServerHello<'a>),
    /// What became of the oldest request that was not answered yet.
    Response(Response<'a>),
    /// What became of a transaction that was asked about.
    OutcomeAnswer(OutcomeAnswer),
    /// A response file begins.
    FileBegin(FileBegin<'a>),
    /// A piece of it.
    FileData(&'a [u8]),
    /// It is complete (all its bytes came; whether its digest is right is the caller's to check).
    FileEnd,
    /// The server ends the connection.
    Goodbye(Goodbye),
    /// The server says that this side broke the protocol, or has no room; it ends the connection.
    Error(PeerError<'a>),
}

impl Default for ClientSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientSession {
    /// A connection on which nothing was sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self { greeted: false, last_sent: 0, answered: 0, file_left: None }
    }

    /// The number for the next request or query on this connection, which the caller is about to send.
    pub fn next_number(&mut self) -> u32 {
        self.last_sent = self.last_sent.wrapping_add(1);
        self.last_sent
    }

    /// Whether the server's hello came.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Looks for the next event at the start of `input`, and takes it into account.
    ///
    /// # Errors
    /// What the server sent is not allowed here; the connection has to end.
    pub fn step<'a>(&mut self, input: &'a [u8], limits: &Limits) -> Result<ClientStep<'a>, ProtocolError> {
        if !self.greeted {
            return self.step_hello(input);
        }
        match next_frame(input, |header| self.limit(header, limits))? {
            Next::More(total) => Ok(ClientStep::More(total)),
            Next::Frame { header, payload, used } => {
                Ok(ClientStep::Event { event: self.event(header, payload)?, used })
            }
        }
    }

    fn step_hello<'a>(&mut self, input: &'a [u8]) -> Result<ClientStep<'a>, ProtocolError> {
        let Some((preamble, rest)) = input.split_first_chunk::<PREAMBLE_LEN>() else {
            if !PREAMBLE.starts_with(input) {
                let mut began = [0; PREAMBLE_LEN];
                began[..input.len()].copy_from_slice(input);
                return Err(ProtocolError::BadPreamble(began));
            }
            return Ok(ClientStep::More((PREAMBLE_LEN + HEADER_LEN) as u64));
        };
        check_preamble(*preamble)?;
        let next = next_frame(rest, |header| match header.frame {
            FrameType::ServerHello => Ok(ServerHello::MAX),
            FrameType::Error => Ok(PeerError::MAX),
            FrameType::Goodbye => Ok(Goodbye::LEN),
            _ => Err(header.unexpected("before the server's hello")),
        })?;
        match next {
            Next::More(total) => Ok(ClientStep::More(PREAMBLE_LEN as u64 + total)),
            Next::Frame { header, payload, used } => {
                let event = match header.frame {
                    FrameType::ServerHello => ClientEvent::Hello(ServerHello::take(payload)?),
                    FrameType::Error => ClientEvent::Error(PeerError::take(header, payload)?),
                    _ => ClientEvent::Goodbye(Goodbye::take(header, payload)?),
                };
                self.greeted = true;
                Ok(ClientStep::Event { event, used: PREAMBLE_LEN + used })
            }
        }
    }

    /// How long a frame of this type may be here.
    fn limit(&self, header: Header, limits: &Limits) -> Result<u64, ProtocolError> {
        match (self.file_left, header.frame) {
            (_, FrameType::Error) => Ok(PeerError::MAX),
            (None, FrameType::Response) => Ok(limits.max_body.saturating_add(RESPONSE_OVERHEAD)),
            (None, FrameType::OutcomeAnswer) => Ok(OutcomeAnswer::LEN),
            (None, FrameType::FileBegin) => Ok(FileBegin::MAX),
            (None, FrameType::Goodbye) => Ok(Goodbye::LEN),
            (Some(_), FrameType::FileData | FrameType::FileEnd) => Ok(chunk_limit(header)),
            (Some(_), _) => Err(header.unexpected("within a file")),
            (None, _) => Err(header.unexpected("from a server")),
        }
    }

    fn event<'a>(&mut self, header: Header, payload: &'a [u8]) -> Result<ClientEvent<'a>, ProtocolError> {
        Ok(match header.frame {
            FrameType::Response => {
                let response = Response::take(header, payload)?;
                self.take_number(header)?;
                ClientEvent::Response(response)
            }
            FrameType::OutcomeAnswer => {
                let answer = OutcomeAnswer::take(header, payload)?;
                self.take_number(header)?;
                ClientEvent::OutcomeAnswer(answer)
            }
            FrameType::FileBegin => {
                let file = FileBegin::take(payload)?;
                self.file_left = Some(file.size);
                ClientEvent::FileBegin(file)
            }
            FrameType::FileData => {
                let left = self.file_left.and_then(|left| left.checked_sub(payload.len() as u64));
                if left.is_none() {
                    return Err(ProtocolError::Malformed {
                        frame: "FILE_DATA",
                        what: "the file is longer than it said",
                    });
                }
                self.file_left = left;
                ClientEvent::FileData(payload)
            }
            FrameType::FileEnd => {
                if self.file_left.take() != Some(0) {
                    return Err(ProtocolError::Malformed {
                        frame: "FILE_END",
                        what: "the file is shorter than it said",
                    });
                }
                ClientEvent::FileEnd
            }
            FrameType::Goodbye => ClientEvent::Goodbye(Goodbye::take(header, payload)?),
            FrameType::Error => ClientEvent::Error(PeerError::take(header, payload)?),
            // `limit` has let no other type pass.
            _ => return Err(header.unexpected("from a server")),
        })
    }

    fn take_number(&mut self, header: Header) -> Result<(), ProtocolError> {
        let expected = self.answered.wrapping_add(1);
        if self.answered == self.last_sent {
            return Err(header.unexpected("before a request"));
        }
        if header.number != expected {
            return Err(ProtocolError::BadNumber { got: header.number, expected });
        }
        self.answered = expected;
        Ok(())
    }
}
