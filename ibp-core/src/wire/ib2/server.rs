use super::files::{chunk_limit, left_after};
use super::frame::{FrameType, HEADER_LEN, Header, Next, PREAMBLE, PREAMBLE_LEN, check_preamble, next_frame};
use super::number::after;
use super::{ClientHello, FetchFile, FileBegin, OutcomeQuery, REQUEST_OVERHEAD, Request};
use crate::wire::{Limits, ProtocolError};

/// The server's side of one connection: what may come next, and what came.
///
/// It owns no bytes: the caller keeps what the socket delivered and gives it again, with more, when a frame was not
/// whole. So a session is two words ([`ServerSession::to_words`]) and can be carried on by another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSession {
    phase: ServerPhase,
    last_taken: u32,
    files: u16,
    file_left: u64,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ServerPhase {
    /// Nothing came yet, or not all of the hello.
    Hello = 0,
    /// Between transactions, or between the files of one.
    Ready = 1,
    /// Within a pushed file.
    File = 2,
    /// The last request of the connection came.
    Last = 3,
}

/// What [`ServerSession::step`] found at the start of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStep<'a> {
    /// Not a whole frame: this many bytes from the start of the input make it whole (or say how many will).
    More(u64),
    /// Something came whole.
    Event {
        /// What came.
        event: ServerEvent<'a>,
        /// How many bytes of the input it took.
        used: usize,
    },
}

/// What a client can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent<'a> {
    /// It says who it is.
    Hello(ClientHello<'a>),
    /// It pushes a file.
    FileBegin(FileBegin<'a>),
    /// A piece of that file.
    FileData(&'a [u8]),
    /// The file is complete (all its bytes came; whether its digest is right is the caller's to check).
    FileEnd,
    /// It asks for an app.
    Request(Request<'a>),
    /// It asks for a response file.
    FetchFile(FetchFile<'a>),
    /// It needs no more response files.
    FilesDone,
    /// It asks what became of a transaction.
    OutcomeQuery(OutcomeQuery),
}

impl Default for ServerSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerSession {
    /// A connection on which nothing came yet.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: ServerPhase::Hello, last_taken: 0, files: 0, file_left: 0 }
    }

    /// Where the connection stands.
    #[must_use]
    pub fn phase(&self) -> ServerPhase {
        self.phase
    }

    /// The number of the last request or query that came whole; 0 for none. GOODBYE says it.
    #[must_use]
    pub fn last_taken(&self) -> u32 {
        self.last_taken
    }

    /// Looks for the next event at the start of `input`, and takes it into account.
    ///
    /// # Errors
    /// What the client sent is not allowed here; the connection has to end.
    pub fn step<'a>(&mut self, input: &'a [u8], limits: &Limits) -> Result<ServerStep<'a>, ProtocolError> {
        if self.phase == ServerPhase::Hello {
            return self.step_hello(input);
        }
        match next_frame(input, |header| self.admit(header, limits))? {
            Next::More(total) => Ok(ServerStep::More(total)),
            Next::Frame { header, payload, used } => {
                Ok(ServerStep::Event { event: self.event(header, payload, limits)?, used })
            }
        }
    }

    fn step_hello<'a>(&mut self, input: &'a [u8]) -> Result<ServerStep<'a>, ProtocolError> {
        let Some((preamble, rest)) = input.split_first_chunk::<PREAMBLE_LEN>() else {
            if !PREAMBLE.starts_with(input) {
                let mut began = [0; PREAMBLE_LEN];
                began[..input.len()].copy_from_slice(input);
                return Err(ProtocolError::BadPreamble(began));
            }
            return Ok(ServerStep::More((PREAMBLE_LEN + HEADER_LEN) as u64));
        };
        check_preamble(*preamble)?;
        let next = next_frame(rest, |header| match header.frame {
            FrameType::ClientHello => Ok(ClientHello::MAX),
            _ => Err(header.unexpected("before the client's hello")),
        })?;
        match next {
            Next::More(total) => Ok(ServerStep::More(PREAMBLE_LEN as u64 + total)),
            Next::Frame { payload, used, .. } => {
                let event = ServerEvent::Hello(ClientHello::take(payload)?);
                self.phase = ServerPhase::Ready;
                Ok(ServerStep::Event { event, used: PREAMBLE_LEN + used })
            }
        }
    }

    /// Whether a frame with this header may stand here, and how long its payload may be.
    fn admit(&self, header: Header, limits: &Limits) -> Result<u64, ProtocolError> {
        match (self.phase, header.frame) {
            (ServerPhase::File, FrameType::FileData | FrameType::FileEnd) => {
                header.numbered(after(self.last_taken))?;
                Ok(chunk_limit(header))
            }
            (ServerPhase::File, _) => Err(header.unexpected("within a file")),
            (ServerPhase::Ready, FrameType::Request) => {
                header.numbered(after(self.last_taken))?;
                Ok(limits.max_body.saturating_add(REQUEST_OVERHEAD))
            }
            (ServerPhase::Ready, FrameType::FileBegin) => {
                header.numbered(after(self.last_taken))?;
                Ok(FileBegin::MAX)
            }
            (ServerPhase::Ready, _) if self.files > 0 => {
                Err(header.unexpected("between files and their request"))
            }
            (ServerPhase::Ready, FrameType::OutcomeQuery) => {
                header.numbered(after(self.last_taken))?;
                Ok(OutcomeQuery::LEN)
            }
            (_, FrameType::FetchFile | FrameType::FilesDone) if self.last_taken == 0 => {
                Err(header.unexpected("before a request"))
            }
            (_, FrameType::FetchFile) => {
                header.numbered(self.last_taken)?;
                Ok(FetchFile::MAX)
            }
            (_, FrameType::FilesDone) => {
                header.numbered(self.last_taken)?;
                Ok(0)
            }
            (ServerPhase::Last, _) => Err(header.unexpected("after the last request")),
            (ServerPhase::Ready | ServerPhase::Hello, _) => Err(header.unexpected("between transactions")),
        }
    }

    fn event<'a>(
        &mut self,
        header: Header,
        payload: &'a [u8],
        limits: &Limits,
    ) -> Result<ServerEvent<'a>, ProtocolError> {
        Ok(match header.frame {
            FrameType::Request => {
                let request = Request::take(header, payload)?;
                ProtocolError::check_length("REQUEST", request.body.len() as u64, limits.max_body)?;
                if request.files != self.files {
                    return Err(ProtocolError::Malformed {
                        frame: "REQUEST",
                        what: "it does not have as many files as were pushed",
                    });
                }
                self.take_number(header, request.last);
                self.files = 0;
                ServerEvent::Request(request)
            }
            FrameType::OutcomeQuery => {
                let query = OutcomeQuery::take(header, payload)?;
                self.take_number(header, query.last);
                ServerEvent::OutcomeQuery(query)
            }
            FrameType::FileBegin => {
                let file = FileBegin::take(payload)?;
                ProtocolError::check_files("FILE_BEGIN", u32::from(self.files) + 1, limits.max_files)?;
                ProtocolError::check_length("FILE_BEGIN", file.size, limits.max_file)?;
                self.files += 1;
                self.file_left = file.size;
                self.phase = ServerPhase::File;
                ServerEvent::FileBegin(file)
            }
            FrameType::FileData => {
                self.file_left = left_after(self.file_left, payload)?;
                ServerEvent::FileData(payload)
            }
            FrameType::FileEnd => {
                if self.file_left != 0 {
                    return Err(ProtocolError::Malformed {
                        frame: "FILE_END",
                        what: "the file is shorter than it said",
                    });
                }
                self.phase = ServerPhase::Ready;
                ServerEvent::FileEnd
            }
            FrameType::FetchFile => ServerEvent::FetchFile(FetchFile::take(payload)?),
            FrameType::FilesDone => ServerEvent::FilesDone,
            // `admit` has let no other type pass.
            _ => return Err(header.unexpected("from a client")),
        })
    }

    fn take_number(&mut self, header: Header, last: bool) {
        self.last_taken = header.number;
        if last {
            self.phase = ServerPhase::Last;
        }
    }

    /// The session as two words, to be kept in shared memory between two frames.
    #[must_use]
    pub fn to_words(self) -> [u64; 2] {
        let word =
            u64::from(self.last_taken) | u64::from(self.files) << 32 | u64::from(self.phase as u8) << 48;
        [word, self.file_left]
    }

    /// The session that [`ServerSession::to_words`] gave; `None` for words that it never gives.
    #[must_use]
    pub fn from_words([word, file_left]: [u64; 2]) -> Option<Self> {
        let phase = match word >> 48 {
            0 => ServerPhase::Hello,
            1 => ServerPhase::Ready,
            2 => ServerPhase::File,
            3 => ServerPhase::Last,
            _ => return None,
        };
        let session = Self { phase, last_taken: word as u32, files: (word >> 32) as u16, file_left };
        session.is_reachable().then_some(session)
    }

    /// Whether any input leads here.
    fn is_reachable(&self) -> bool {
        match self.phase {
            ServerPhase::Hello => *self == Self::new(),
            ServerPhase::Ready => self.file_left == 0,
            ServerPhase::File => self.files > 0,
            ServerPhase::Last => self.file_left == 0 && self.files == 0 && self.last_taken > 0,
        }
    }
}
