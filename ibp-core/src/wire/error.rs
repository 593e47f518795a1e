/// What a peer sent and the protocol does not allow. The connection ends with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The connection does not begin as IB2 does.
    #[error("the peer does not speak IB2: it began with {0:02x?}")]
    BadPreamble([u8; 4]),
    /// It speaks a version of IB2 that this side does not.
    #[error("the peer speaks version {0} of IB2; this side speaks version 1")]
    BadVersion(u8),
    /// A frame of a type that does not exist or may not stand here.
    #[error("frame type 0x{frame:02x} is not allowed {place}")]
    UnexpectedFrame {
        /// The type byte.
        frame: u8,
        /// Where the connection stands.
        place: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("{frame}: {what}")]
    Malformed {
        /// The frame that it stands in.
        frame: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A length is over the limit.
    #[error("{frame}: {declared} bytes declared, {limit} allowed")]
    TooLong {
        /// The frame that declares it.
        frame: &'static str,
        /// The declared length in bytes.
        declared: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// More files than the limit.
    #[error("{frame}: {declared} files, {limit} allowed")]
    TooManyFiles {
        /// The frame with which they became too many.
        frame: &'static str,
        /// How many they are.
        declared: u32,
        /// The limit.
        limit: u16,
    },
    /// A request's number is not the one that must come next.
    #[error("request number {got} came where {expected} must come")]
    BadNumber {
        /// The number that came.
        got: u32,
        /// The number that had to come.
        expected: u32,
    },
    /// The two sides cannot agree on security.
    #[error("no agreement on security: {0}")]
    Security(&'static str),
}

impl ProtocolError {
    /// The number under which an ERROR frame tells the peer.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadPreamble(_) => ErrorCode::NotIb2,
            Self::BadVersion(_) => ErrorCode::Version,
            Self::UnexpectedFrame { .. } => ErrorCode::UnexpectedFrame,
            Self::Malformed { .. } => ErrorCode::Malformed,
            Self::TooLong { .. } | Self::TooManyFiles { .. } => ErrorCode::TooLong,
            Self::BadNumber { .. } => ErrorCode::BadNumber,
            Self::Security(_) => ErrorCode::Security,
        }
    }

    /// Checks a length that a peer declares against a limit.
    pub(super) fn check_length(frame: &'static str, declared: u64, limit: u64) -> Result<(), Self> {
        if declared > limit { Err(Self::TooLong { frame, declared, limit }) } else { Ok(()) }
    }

    /// Checks how many files there are against a limit.
    pub(super) fn check_files(frame: &'static str, declared: u32, limit: u16) -> Result<(), Self> {
        if declared > u32::from(limit) { Err(Self::TooManyFiles { frame, declared, limit }) } else { Ok(()) }
    }
}

/// Why a server ends a connection with an ERROR frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 1: the connection does not begin as IB2 does.
    NotIb2,
    /// 2: a version that this side does not speak.
    Version,
    /// 3: a frame that may not stand here.
    UnexpectedFrame,
    /// 4: a field with a value that it cannot have.
    Malformed,
    /// 5: a length over the limit.
    TooLong,
    /// 6: a request number out of turn.
    BadNumber,
    /// 7: no agreement on security, or a record that is not authentic.
    Security,
    /// 8: the peer was too slow.
    Timeout,
    /// 9: the platform has no room for another connection.
    Full,
    /// 10: a response file was asked for that is not there (any more).
    NoSuchFile,
    /// A number that this version does not know.
    Other(u16),
}

impl ErrorCode {
    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::NotIb2 => 1,
            Self::Version => 2,
            Self::UnexpectedFrame => 3,
            Self::Malformed => 4,
            Self::TooLong => 5,
            Self::BadNumber => 6,
            Self::Security => 7,
            Self::Timeout => 8,
            Self::Full => 9,
            Self::NoSuchFile => 10,
            Self::Other(number) => number,
        }
    }

    /// The code that a number on the wire stands for.
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::NotIb2,
            2 => Self::Version,
            3 => Self::UnexpectedFrame,
            4 => Self::Malformed,
            5 => Self::TooLong,
            6 => Self::BadNumber,
            7 => Self::Security,
            8 => Self::Timeout,
            9 => Self::Full,
            10 => Self::NoSuchFile,
            other => Self::Other(other),
        }
    }
}
