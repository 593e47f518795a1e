//! Any message of IB2, so that tests can treat all of them alike.

use ibp_core::wire::ProtocolError;
use ibp_core::wire::ib2::{
    ClientEvent, ClientHello, FetchFile, FileBegin, FrameType, Goodbye, Header, OutcomeAnswer, OutcomeQuery,
    PeerError, Request, Response, ServerEvent, ServerHello,
};

/// One message, with the number in its header where the message itself does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    ClientHello(ClientHello<'a>),
    ServerHello(ServerHello<'a>),
    Error(PeerError<'a>),
    Goodbye(Goodbye),
    FileBegin(u32, FileBegin<'a>),
    FileData(u32, &'a [u8]),
    FileEnd(u32),
    Request(Request<'a>),
    Response(Response<'a>),
    FetchFile(u32, FetchFile<'a>),
    FilesDone(u32),
    OutcomeQuery(OutcomeQuery),
    OutcomeAnswer(OutcomeAnswer),
}

impl<'a> Message<'a> {
    /// Writes its frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::ClientHello(hello) => hello.put(out),
            Self::ServerHello(hello) => hello.put(out),
            Self::Error(error) => error.put(out),
            Self::Goodbye(goodbye) => goodbye.put(out),
            Self::FileBegin(number, file) => file.put(*number, out),
            Self::FileData(number, data) => {
                put_bare(FrameType::FileData, *number, data.len(), out);
                out.extend_from_slice(data);
            }
            Self::FileEnd(number) => put_bare(FrameType::FileEnd, *number, 0, out),
            Self::Request(request) => request.put(out),
            Self::Response(response) => response.put(out),
            Self::FetchFile(number, fetch) => fetch.put(*number, out),
            Self::FilesDone(number) => put_bare(FrameType::FilesDone, *number, 0, out),
            Self::OutcomeQuery(query) => query.put(out),
            Self::OutcomeAnswer(answer) => answer.put(out),
        }
    }

    /// Its frame's bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes
    }

    /// Reads the frame that `bytes` are, whole and alone; outside any session, so only what every reader refuses is
    /// refused.
    pub fn take(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        let (header, payload) = bytes.split_first_chunk().expect("a frame has a header");
        let header = Header::take(*header)?;
        assert_eq!(header.length, payload.len() as u64, "the header tells the payload's length");
        let number = header.number;
        // What the sessions check for the messages that have no reader of their own.
        let refused = match header.frame {
            FrameType::FileEnd | FrameType::FilesDone => !payload.is_empty(),
            FrameType::FileData => header.flags != 0,
            _ => false,
        };
        if refused {
            return Err(ProtocolError::Malformed { frame: header.frame.name(), what: "not in this version" });
        }
        Ok(match header.frame {
            FrameType::ClientHello => Self::ClientHello(ClientHello::take(payload)?),
            FrameType::ServerHello => Self::ServerHello(ServerHello::take(payload)?),
            FrameType::Error => Self::Error(PeerError::take(header, payload)?),
            FrameType::Goodbye => Self::Goodbye(Goodbye::take(header, payload)?),
            FrameType::FileBegin => Self::FileBegin(number, FileBegin::take(payload)?),
            FrameType::FileData => Self::FileData(number, payload),
            FrameType::FileEnd => Self::FileEnd(number),
            FrameType::Request => Self::Request(Request::take(header, payload)?),
            FrameType::Response => Self::Response(Response::take(header, payload)?),
            FrameType::FetchFile => Self::FetchFile(number, FetchFile::take(payload)?),
            FrameType::FilesDone => Self::FilesDone(number),
            FrameType::OutcomeQuery => Self::OutcomeQuery(OutcomeQuery::take(header, payload)?),
            FrameType::OutcomeAnswer => Self::OutcomeAnswer(OutcomeAnswer::take(header, payload)?),
            FrameType::ClientFinished | FrameType::Sealed => panic!("{} is reserved", header.frame.name()),
        })
    }

    /// What a server's session found, in a frame with this number.
    pub fn from_client(event: ServerEvent<'a>, number: u32) -> Self {
        match event {
            ServerEvent::Hello(hello) => Self::ClientHello(hello),
            ServerEvent::FileBegin(file) => Self::FileBegin(number, file),
            ServerEvent::FileData(data) => Self::FileData(number, data),
            ServerEvent::FileEnd => Self::FileEnd(number),
            ServerEvent::Request(request) => Self::Request(request),
            ServerEvent::FetchFile(fetch) => Self::FetchFile(number, fetch),
            ServerEvent::FilesDone => Self::FilesDone(number),
            ServerEvent::OutcomeQuery(query) => Self::OutcomeQuery(query),
        }
    }

    /// What a client's session found, in a frame with this number.
    pub fn from_server(event: ClientEvent<'a>, number: u32) -> Self {
        match event {
            ClientEvent::Hello(hello) => Self::ServerHello(hello),
            ClientEvent::Response(response) => Self::Response(response),
            ClientEvent::OutcomeAnswer(answer) => Self::OutcomeAnswer(answer),
            ClientEvent::FileBegin(file) => Self::FileBegin(number, file),
            ClientEvent::FileData(data) => Self::FileData(number, data),
            ClientEvent::FileEnd => Self::FileEnd(number),
            ClientEvent::Goodbye(goodbye) => Self::Goodbye(goodbye),
            ClientEvent::Error(error) => Self::Error(error),
        }
    }

    /// Whether it takes a number of its own: whether the client counts it.
    pub fn is_counted(&self) -> bool {
        matches!(self, Self::Request(_) | Self::OutcomeQuery(_))
    }
}

/// A header whose message is nothing but the bytes after it.
fn put_bare(frame: FrameType, number: u32, length: usize, out: &mut Vec<u8>) {
    Header { frame, flags: 0, number, length: length as u64 }.put(out);
}
