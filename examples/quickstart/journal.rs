//! Journals: append-only files of fixed records. The apps write what they did, the clients what they know.
//!
//! A record is appended by one `write` and never crosses a page of the file, so that a process that is killed leaves it
//! whole or not at all.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use ibp_core::wire::TransactionId;

/// Bytes of a record; a power of two (see the module's text).
const LENGTH: usize = 32;

/// Something that happened to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub transaction: TransactionId,
    pub event: Event,
    /// The kind of the transaction, as its client counts them; 0 where an app writes.
    pub kind: u8,
    /// How long the call took, in nanoseconds; 0 where an app writes.
    pub nanoseconds: u64,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[$doc])* $name = $number,)+ }

        impl Event {
            fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

events! {
    /// The app began.
    Begin = 1,
    /// The app is about to return.
    End = 2,
    /// The client got the right answer.
    Right = 10,
    /// The client got another answer than the right one.
    Wrong = 11,
    /// The client knows that nothing was executed.
    NotSent = 12,
    /// The client does not know.
    Suspicious = 13,
    /// The client knows that it was executed, and has no answer.
    Responded = 14,
    /// The call took longer than any call may: it hung.
    Hung = 15,
    /// Asked about it, the platform says that its app ran to its end.
    SaysExecuted = 20,
    /// The platform says that its app began and did not end.
    SaysAborted = 21,
    /// The platform says that nothing of it was executed.
    SaysRejected = 22,
    /// The platform does not know it, and would if its app had begun.
    SaysUnknown = 23,
    /// The platform does not know it, and may have forgotten it.
    SaysForgotten = 24,
    /// The platform says that its app is running.
    SaysRunning = 25,
    /// The platform did not answer.
    SaysNothing = 26,
}

impl Record {
    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..16].copy_from_slice(&self.transaction.0);
        bytes[16] = self.event as u8;
        bytes[17] = self.kind;
        bytes[24..].copy_from_slice(&self.nanoseconds.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let nanoseconds = u64::from_le_bytes(*rest.last_chunk()?);
        let event = Event::from_number(rest[0])?;
        Some(Self { transaction: TransactionId(*id), event, kind: rest[1], nanoseconds })
    }
}

/// A journal that is being written, by any number of threads and processes.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(path)?))
    }

    pub fn append(&self, record: Record) -> io::Result<()> {
        loop {
            return match rustix::io::write(&self.0, &record.to_bytes()) {
                Ok(LENGTH) => Ok(()),
                Ok(_) => Err(io::Error::other("a record was written in part: the disk is full")),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }
}

/// All records of a journal, in the order in which they were written.
pub fn read(path: &Path) -> crate::Result<Vec<Record>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (records, rest) = bytes.as_chunks::<LENGTH>();
    let records: Option<Vec<_>> = records.iter().map(Record::from_bytes).collect();
    match records {
        Some(records) if rest.is_empty() => Ok(records),
        _ => Err(format!("{}: not a journal", path.display()).into()),
    }
}
