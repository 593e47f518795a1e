use std::fmt;

use super::frame::{FrameType, Header, put_frame};
use crate::wire::bytes::Take;
use crate::wire::{ErrorCode, ProtocolError};

/// GOODBYE: the server ends the connection. A request with a number after `last_taken` was certainly not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// The number of the last request that the server took; 0 for none.
    pub last_taken: u32,
    /// Why it ends the connection.
    pub reason: GoodbyeReason,
}

/// Why a server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoodbyeReason {
    /// 1: nothing was asked for a long time.
    Idle,
    /// 2: the platform is ending.
    Draining,
    /// 3: the platform makes room for other connections.
    Recycled,
    /// A number that this version does not know.
    Other(u16),
}

impl GoodbyeReason {
    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Idle => 1,
            Self::Draining => 2,
            Self::Recycled => 3,
            Self::Other(number) => number,
        }
    }

    /// The reason that a number on the wire stands for.
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Idle,
            2 => Self::Draining,
            3 => Self::Recycled,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for GoodbyeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("the connection was idle"),
            Self::Draining => f.write_str("the platform is ending"),
            Self::Recycled => f.write_str("the platform makes room for other connections"),
            Self::Other(number) => write!(f, "reason {number}"),
        }
    }
}

impl Goodbye {
    pub(super) const LEN: u64 = 2;

    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_frame(FrameType::Goodbye, 0, self.last_taken, out, |out| {
            out.extend_from_slice(&self.reason.number().to_le_bytes());
        });
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// A payload of another length than two bytes.
    pub fn take(header: Header, payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("GOODBYE", payload);
        let reason = GoodbyeReason::from_number(take.u16()?);
        take.end()?;
        Ok(Self { last_taken: header.number, reason })
    }
}

/// ERROR: the client broke the protocol or was too slow, or the server has no room for it; the connection ends. As
/// with [`Goodbye`], a request with a number after `last_taken` was certainly not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerError<'a> {
    /// The number of the last request that the server took; 0 for none.
    pub last_taken: u32,
    /// What was wrong.
    pub code: ErrorCode,
    /// A sentence for people; at most 512 bytes.
    pub text: &'a str,
}

impl<'a> PeerError<'a> {
    const MAX_TEXT: usize = 512;
    pub(super) const MAX: u64 = 2 + Self::MAX_TEXT as u64;

    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut end = self.text.len().min(Self::MAX_TEXT);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        put_frame(FrameType::Error, 0, self.last_taken, out, |out| {
            out.extend_from_slice(&self.code.number().to_le_bytes());
            out.extend_from_slice(&self.text.as_bytes()[..end]);
        });
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// A text that is not UTF-8 or longer than 512 bytes, or no code.
    pub fn take(header: Header, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("ERROR", payload);
        let code = ErrorCode::from_number(take.u16()?);
        let text = take.rest();
        let malformed = |what| ProtocolError::Malformed { frame: "ERROR", what };
        if text.len() > Self::MAX_TEXT {
            return Err(malformed("its text is longer than 512 bytes"));
        }
        let text = std::str::from_utf8(text).map_err(|_| malformed("its text is not UTF-8"))?;
        Ok(Self { last_taken: header.number, code, text })
    }
}
