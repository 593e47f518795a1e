use crate::wire::ProtocolError;

/// The version of IB2 that this crate speaks.
pub const VERSION: u8 = 1;

/// The first bytes of a connection, in both directions.
pub const PREAMBLE: [u8; PREAMBLE_LEN] = [b'I', b'B', b'2', VERSION];

/// Length of the preamble in bytes.
pub const PREAMBLE_LEN: usize = 4;

/// Length of a frame's header in bytes.
pub const HEADER_LEN: usize = 16;

/// Writes the preamble.
pub fn put_preamble(out: &mut Vec<u8>) {
    out.extend_from_slice(&PREAMBLE);
}

/// Checks a preamble.
pub(super) fn check_preamble(bytes: [u8; PREAMBLE_LEN]) -> Result<(), ProtocolError> {
    if bytes[..3] != PREAMBLE[..3] {
        Err(ProtocolError::BadPreamble(bytes))
    } else if bytes[3] != VERSION {
        Err(ProtocolError::BadVersion(bytes[3]))
    } else {
        Ok(())
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// Client: who it is and what it offers and requires.
    ClientHello = 0x01,
    /// Server: what is switched on, its limits and its load.
    ServerHello = 0x02,
    /// Server: the client broke the protocol, or there is no room for it; the connection ends.
    Error = 0x03,
    /// Server: it ends the connection, and which request was the last that it took.
    Goodbye = 0x04,
    /// Client, with security: proof of the key over both hellos.
    ClientFinished = 0x05,
    /// Either: a file begins.
    FileBegin = 0x10,
    /// Either: bytes of the file that has begun.
    FileData = 0x11,
    /// Either: the file is complete.
    FileEnd = 0x12,
    /// Client: run an app.
    Request = 0x20,
    /// Server: what became of it.
    Response = 0x21,
    /// Client: send me this response file.
    FetchFile = 0x30,
    /// Client: I have the response files that I want.
    FilesDone = 0x31,
    /// Client: what became of this transaction id?
    OutcomeQuery = 0x40,
    /// Server: this.
    OutcomeAnswer = 0x41,
    /// Either, with security: sealed frames.
    Sealed = 0x50,
}

impl FrameType {
    /// The type that a byte stands for; `None` for a byte that this version does not know.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::ClientHello,
            0x02 => Self::ServerHello,
            0x03 => Self::Error,
            0x04 => Self::Goodbye,
            0x05 => Self::ClientFinished,
            0x10 => Self::FileBegin,
            0x11 => Self::FileData,
            0x12 => Self::FileEnd,
            0x20 => Self::Request,
            0x21 => Self::Response,
            0x30 => Self::FetchFile,
            0x31 => Self::FilesDone,
            0x40 => Self::OutcomeQuery,
            0x41 => Self::OutcomeAnswer,
            0x50 => Self::Sealed,
            _ => return None,
        })
    }

    /// Its name in the protocol's documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientHello => "CLIENT_HELLO",
            Self::ServerHello => "SERVER_HELLO",
            Self::Error => "ERROR",
            Self::Goodbye => "GOODBYE",
            Self::ClientFinished => "CLIENT_FINISHED",
            Self::FileBegin => "FILE_BEGIN",
            Self::FileData => "FILE_DATA",
            Self::FileEnd => "FILE_END",
            Self::Request => "REQUEST",
            Self::Response => "RESPONSE",
            Self::FetchFile => "FETCH_FILE",
            Self::FilesDone => "FILES_DONE",
            Self::OutcomeQuery => "OUTCOME_QUERY",
            Self::OutcomeAnswer => "OUTCOME_ANSWER",
            Self::Sealed => "SEALED",
        }
    }

    /// The flags that may stand on it; all others are zero.
    fn flags(self) -> u8 {
        match self {
            Self::Request => Header::LAST | Header::COMPRESSED,
            Self::OutcomeQuery => Header::LAST,
            Self::Response | Self::FileData => Header::COMPRESSED,
            _ => 0,
        }
    }

    /// Whether it belongs to no request, so that its number is zero.
    fn is_unnumbered(self) -> bool {
        matches!(self, Self::ClientHello | Self::ServerHello | Self::ClientFinished | Self::Sealed)
    }
}

/// The header of a frame.
///
/// ```text
///  0      1      2             4                         8                       16
///  +------+------+-------------+-------------------------+------------------------+
///  | type | flags| reserved 0  | number                  | length of the payload  |
///  +------+------+-------------+-------------------------+------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub frame: FrameType,
    /// Bit 0 ([`Header::LAST`]), bit 1 ([`Header::COMPRESSED`]); all others zero.
    pub flags: u8,
    /// The request's number on this connection, counted from 1; in GOODBYE and ERROR the last one taken; else 0.
    pub number: u32,
    /// Bytes of payload that follow.
    pub length: u64,
}

impl Header {
    /// On REQUEST and OUTCOME_QUERY: no other will follow, the server closes after the last byte it owes.
    pub const LAST: u8 = 1;
    /// On REQUEST, RESPONSE and FILE_DATA: the body is compressed.
    pub const COMPRESSED: u8 = 2;

    /// Writes the header.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.frame as u8;
        bytes[1] = self.flags;
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Reads a header. The length is not judged here: what is allowed depends on the frame and on the state.
    ///
    /// # Errors
    /// An unknown type, flags or a number that a frame of this type cannot have, or reserved bytes that are not
    /// zero.
    pub fn take(bytes: [u8; HEADER_LEN]) -> Result<Self, ProtocolError> {
        let [kind, flags, r0, r1, n0, n1, n2, n3, length @ ..] = bytes;
        let frame = FrameType::from_byte(kind)
            .ok_or(ProtocolError::UnexpectedFrame { frame: kind, place: "in this version" })?;
        if (r0, r1) != (0, 0) {
            return Err(ProtocolError::Malformed {
                frame: frame.name(),
                what: "a reserved field is not zero",
            });
        }
        if flags & !frame.flags() != 0 {
            return Err(ProtocolError::Malformed {
                frame: frame.name(),
                what: "it has a flag that it cannot have",
            });
        }
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        if number != 0 && frame.is_unnumbered() {
            return Err(ProtocolError::Malformed {
                frame: frame.name(),
                what: "it has a number, but belongs to no request",
            });
        }
        Ok(Self { frame, flags, number, length: u64::from_le_bytes(length) })
    }

    /// Checks the payload's declared length against a limit.
    pub(super) fn limited(self, limit: u64) -> Result<Self, ProtocolError> {
        ProtocolError::check_length(self.frame.name(), self.length, limit)?;
        Ok(self)
    }

    /// Checks that the frame belongs to the request that it must belong to.
    pub(super) fn numbered(self, expected: u32) -> Result<(), ProtocolError> {
        if self.number != expected {
            return Err(ProtocolError::BadNumber { got: self.number, expected });
        }
        Ok(())
    }

    pub(super) fn unexpected(self, place: &'static str) -> ProtocolError {
        ProtocolError::UnexpectedFrame { frame: self.frame as u8, place }
    }
}

/// Writes a frame whose payload `fill` appends: the header's length is set afterwards.
pub(super) fn put_frame(
    frame: FrameType,
    flags: u8,
    number: u32,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    Header { frame, flags, number, length: 0 }.put(out);
    fill(out);
    let length = (out.len() - start - HEADER_LEN) as u64;
    out[start + 8..start + HEADER_LEN].copy_from_slice(&length.to_le_bytes());
}

/// The next whole frame at the start of `input`.
pub(super) enum Next<'a> {
    /// It is not there yet: this many bytes from the start of `input` make it whole.
    More(u64),
    /// Here it is.
    Frame { header: Header, payload: &'a [u8], used: usize },
}

/// Splits the next frame off `input`; `limit` says how long a payload this type may have here, or that it may not
/// stand here.
pub(super) fn next_frame(
    input: &[u8],
    limit: impl FnOnce(Header) -> Result<u64, ProtocolError>,
) -> Result<Next<'_>, ProtocolError> {
    let Some((bytes, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
        return Ok(Next::More(HEADER_LEN as u64));
    };
    let header = Header::take(*bytes)?;
    let header = header.limited(limit(header)?)?;
    if header.flags & Header::COMPRESSED != 0 {
        return Err(ProtocolError::Malformed {
            frame: header.frame.name(),
            what: "it is compressed, which was not agreed",
        });
    }
    match usize::try_from(header.length).ok().and_then(|length| rest.split_at_checked(length)) {
        Some((payload, _)) => Ok(Next::Frame { header, payload, used: HEADER_LEN + payload.len() }),
        // A limit may be as large as its type: the sum must not overflow.
        None => Ok(Next::More(header.length.saturating_add(HEADER_LEN as u64))),
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameType, Header};
    use crate::wire::ProtocolError;

    #[test]
    fn header_round_trip() {
        for kind in 0..=u8::MAX {
            let Some(frame) = FrameType::from_byte(kind) else { continue };
            let number = if frame.is_unnumbered() { 0 } else { 0xdead_beef };
            let header = Header { frame, flags: frame.flags(), number, length: 1 << 63 };
            assert_eq!(Header::take(header.to_bytes()), Ok(header));
        }
    }

    #[test]
    fn flags_and_numbers_stand_only_where_they_mean_something() {
        for kind in 0..=u8::MAX {
            let Some(frame) = FrameType::from_byte(kind) else { continue };
            let plain = Header { frame, flags: 0, number: 0, length: 0 };
            for flags in 0..=u8::MAX {
                let taken = Header::take(Header { flags, ..plain }.to_bytes());
                assert_eq!(taken.is_ok(), flags & !frame.flags() == 0, "{} flags {flags:#x}", frame.name());
            }
            let taken = Header::take(Header { number: 1, ..plain }.to_bytes());
            assert_eq!(taken.is_ok(), !frame.is_unnumbered(), "{}", frame.name());
        }
    }

    #[test]
    fn header_refuses_what_it_does_not_know() {
        let good = Header { frame: FrameType::Request, flags: 0, number: 1, length: 0 }.to_bytes();
        for (at, value) in [(0, 0xff), (1, 4), (2, 1), (3, 1)] {
            let mut bytes = good;
            bytes[at] = value;
            assert!(Header::take(bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_anything_else() {
        let header = Header { frame: FrameType::Request, flags: 0, number: 1, length: 1 << 63 };
        assert_eq!(
            header.limited(100),
            Err(ProtocolError::TooLong { frame: "REQUEST", declared: 1 << 63, limit: 100 })
        );
    }
}
