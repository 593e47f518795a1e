use super::files::{chunk_limit, left_after};
use super::frame::{FrameType, HEADER_LEN, Header, Next, PREAMBLE, PREAMBLE_LEN, check_preamble, next_frame};
use super::number::{after, distance};
use super::{FileBegin, Goodbye, OutcomeAnswer, PeerError, RESPONSE_OVERHEAD, Response, ServerHello};
use crate::wire::{Limits, ProtocolError};

/// The client's side of one connection: what may come next, and what came. Like
/// [`super::ServerSession`], it owns no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSession {
    greeted: bool,
    ended: bool,
    last_sent: u32,
    answered: u32,
    /// Files of the last response that did not come yet.
    files_left: u16,
    /// Within a file: how much of it is still to come.
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
    /// The server says that this side broke the protocol, or that it has no room; it ends the connection.
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
        Self { greeted: false, ended: false, last_sent: 0, answered: 0, files_left: 0, file_left: None }
    }

    /// The number for the next request or query on this connection, which the caller is about to send.
    pub fn next_number(&mut self) -> u32 {
        self.last_sent = after(self.last_sent);
        self.last_sent
    }

    /// Whether the request with this number, which has no answer yet, was taken by a server that said `last_taken` in
    /// GOODBYE or ERROR. If not, it was certainly not executed. A comparison with `<` would be wrong once the numbers
    /// have begun again.
    #[must_use]
    pub fn was_taken(&self, number: u32, last_taken: u32) -> bool {
        distance(self.answered, number) <= distance(self.answered, last_taken)
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
        match next_frame(input, |header| self.admit(header, limits))? {
            Next::More(total) => Ok(ClientStep::More(total)),
            Next::Frame { header, payload, used } => {
                Ok(ClientStep::Event { event: self.event(header, payload, limits)?, used })
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
                    FrameType::ServerHello => ClientEvent::Hello(take_hello(payload)?),
                    FrameType::Error => ClientEvent::Error(self.take_error(header, payload)?),
                    _ => ClientEvent::Goodbye(self.take_goodbye(header, payload)?),
                };
                self.greeted = true;
                Ok(ClientStep::Event { event, used: PREAMBLE_LEN + used })
            }
        }
    }

    /// Whether a frame with this header may stand here, and how long its payload may be.
    fn admit(&self, header: Header, limits: &Limits) -> Result<u64, ProtocolError> {
        match (self.file_left, header.frame) {
            _ if self.ended => Err(header.unexpected("after the server's last frame")),
            (_, FrameType::Error) => Ok(PeerError::MAX),
            (Some(_), FrameType::FileData | FrameType::FileEnd) => {
                header.numbered(self.answered)?;
                Ok(chunk_limit(header))
            }
            (Some(_), _) => Err(header.unexpected("within a file")),
            (None, FrameType::Response | FrameType::OutcomeAnswer) if self.answered == self.last_sent => {
                Err(header.unexpected("before a request"))
            }
            (None, FrameType::Response) => {
                header.numbered(after(self.answered))?;
                Ok(limits.max_body.saturating_add(RESPONSE_OVERHEAD))
            }
            (None, FrameType::OutcomeAnswer) => {
                header.numbered(after(self.answered))?;
                Ok(OutcomeAnswer::LEN)
            }
            (None, FrameType::FileBegin) if self.files_left == 0 => {
                Err(header.unexpected("when no file of the last response is left to fetch"))
            }
            (None, FrameType::FileBegin) => {
                header.numbered(self.answered)?;
                Ok(FileBegin::MAX)
            }
            (None, FrameType::Goodbye) => Ok(Goodbye::LEN),
            (None, _) => Err(header.unexpected("from a server")),
        }
    }

    fn event<'a>(
        &mut self,
        header: Header,
        payload: &'a [u8],
        limits: &Limits,
    ) -> Result<ClientEvent<'a>, ProtocolError> {
        Ok(match header.frame {
            FrameType::Response => {
                let response = Response::take(header, payload)?;
                ProtocolError::check_length("RESPONSE", response.body.len() as u64, limits.max_body)?;
                ProtocolError::check_files("RESPONSE", u32::from(response.head.files), limits.max_files)?;
                self.answered = header.number;
                self.files_left = response.head.files;
                ClientEvent::Response(response)
            }
            FrameType::OutcomeAnswer => {
                let answer = OutcomeAnswer::take(header, payload)?;
                self.answered = header.number;
                self.files_left = 0;
                ClientEvent::OutcomeAnswer(answer)
            }
            FrameType::FileBegin => {
                let file = FileBegin::take(payload)?;
                ProtocolError::check_length("FILE_BEGIN", file.size, limits.max_file)?;
                self.files_left -= 1;
                self.file_left = Some(file.size);
                ClientEvent::FileBegin(file)
            }
            FrameType::FileData => {
                self.file_left = Some(left_after(self.file_left.unwrap_or(0), payload)?);
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
            FrameType::Goodbye => ClientEvent::Goodbye(self.take_goodbye(header, payload)?),
            FrameType::Error => ClientEvent::Error(self.take_error(header, payload)?),
            // `admit` has let no other type pass.
            _ => return Err(header.unexpected("from a server")),
        })
    }

    fn take_goodbye(&mut self, header: Header, payload: &[u8]) -> Result<Goodbye, ProtocolError> {
        let goodbye = Goodbye::take(header, payload)?;
        self.end(goodbye.last_taken)?;
        Ok(goodbye)
    }

    fn take_error<'a>(&mut self, header: Header, payload: &'a [u8]) -> Result<PeerError<'a>, ProtocolError> {
        let error = PeerError::take(header, payload)?;
        self.end(error.last_taken)?;
        Ok(error)
    }

    /// The server ends the connection. It can have taken neither less than it answered nor more than was sent.
    fn end(&mut self, last_taken: u32) -> Result<(), ProtocolError> {
        if distance(self.answered, last_taken) > distance(self.answered, self.last_sent) {
            return Err(ProtocolError::BadNumber { got: last_taken, expected: self.last_sent });
        }
        self.ended = true;
        Ok(())
    }
}

/// A server may only switch on what was offered, and this side offers nothing yet.
fn take_hello(payload: &[u8]) -> Result<ServerHello<'_>, ProtocolError> {
    let hello = ServerHello::take(payload)?;
    if hello.chosen != 0 {
        return Err(ProtocolError::Security("the server switches on what was not offered"));
    }
    Ok(hello)
}
