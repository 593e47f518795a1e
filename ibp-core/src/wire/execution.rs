use std::fmt;

/// What a platform says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Execution {
    /// Nothing of it was executed: it may be sent again, to another host too.
    Rejected(RejectReason),
    /// The app ran to its end and returned this code (0 is success by convention).
    Executed(i32),
    /// The app began and did not end: its effect is not known.
    Aborted(AbortReason),
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(reason) => write!(f, "rejected: {reason}"),
            Self::Executed(code) => write!(f, "executed with code {code}"),
            Self::Aborted(reason) => write!(f, "aborted: {reason}"),
        }
    }
}

/// What a platform remembers of a transaction id that it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It does not know the id: the request never arrived whole, or longer ago than it remembers.
    Unknown,
    /// The app is running.
    Running,
    /// It ended in this way.
    Ended(Execution),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("not known here"),
            Self::Running => f.write_str("running"),
            Self::Ended(execution) => execution.fmt(f),
        }
    }
}

/// Declares an enum of reasons with their stable numbers and sentences; a number that this version does not know
/// is kept as it is.
macro_rules! reasons {
    ($(#[$outer:meta])* $name:ident { $($number:literal $variant:ident $text:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = concat!("Number ", stringify!($number), ": ", $text, ".")] $variant,)+
            /// A number that this version does not know.
            Other(u16),
        }

        impl $name {
            /// Its number on the wire.
            #[must_use]
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Other(number) => number,
                }
            }

            /// The reason that a number on the wire stands for.
            #[must_use]
            pub fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($text),)+
                    Self::Other(number) => write!(f, "reason {number}, which this version does not know"),
                }
            }
        }
    };
}

reasons! {
    /// Why a request was not executed.
    RejectReason {
        1 UnknownApp "the platform has no such app",
        2 InvalidApp "the app is marked invalid in the configuration",
        3 InvalidNode "the node is marked invalid in the configuration",
        4 WrongNode "the platform belongs to another node",
        5 NotPermitted "no project lets this client node use this app of this node",
        6 Busy "the platform has no room for another request now",
        7 Draining "the platform is ending",
        8 BodyTooLarge "the body is longer than the platform takes",
        9 TooManyFiles "the request has more files than the platform takes",
        10 DeadlineOver "the client's time was over before the app began",
        11 Unsupported "the platform does not support what the request asks for",
        12 Malformed "the request could not be read",
        13 BadFile "a pushed file does not match its digest",
    }
}

reasons! {
    /// Why an app that began did not end.
    AbortReason {
        1 WorkerDied "the worker process died while the app ran",
        2 AppTimeout "the app exceeded its time and was ended",
        3 AppPanicked "the app panicked",
        4 Shutdown "the platform ended before the app did",
        5 ResponseTooLong "the app's answer is longer than the platform sends",
    }
}

#[cfg(test)]
mod tests {
    use super::{AbortReason, RejectReason};

    #[test]
    fn numbers_round_trip() {
        for number in 0..=u16::MAX {
            assert_eq!(RejectReason::from_number(number).number(), number);
            assert_eq!(AbortReason::from_number(number).number(), number);
        }
    }
}
