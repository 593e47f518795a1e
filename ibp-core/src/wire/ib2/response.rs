use super::files::is_plain_file_name;
use super::frame::{FrameType, HEADER_LEN, Header};
use crate::load::Load;
use crate::wire::bytes::Take;
use crate::wire::{AbortReason, Execution, ProtocolError, RejectReason, TransactionId};

/// Bytes of RESPONSE's payload before the names of files.
const FIXED: usize = 32;

/// Most bytes that RESPONSE's payload has beside the body.
pub const RESPONSE_OVERHEAD: u64 = FIXED as u64 + u16::MAX as u64;

/// RESPONSE: what became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// All but names and body.
    pub head: ResponseHead,
    /// Names of the files that can be fetched: each a length byte and that many bytes.
    pub file_names: &'a [u8],
    /// The response body; with `Rejected` and `Aborted` a sentence for people, in UTF-8.
    pub body: &'a [u8],
}

/// RESPONSE without names and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The request's number.
    pub number: u32,
    /// The transaction's id.
    pub transaction: TransactionId,
    /// What became of it.
    pub execution: Execution,
    /// How busy the platform is, the asking worker included.
    pub load: Load,
    /// How many files can be fetched.
    pub files: u16,
}

impl ResponseHead {
    /// Length in bytes of a response without file names, up to its body: header and fixed fields.
    pub const LEN: usize = HEADER_LEN + FIXED;

    /// The bytes of a response without file names, up to a body of `body_length` bytes. So a server can let an app
    /// write the body behind [`ResponseHead::LEN`] free bytes, and send both with one system call and no copy.
    #[must_use]
    pub fn to_bytes(&self, body_length: usize) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (header, fixed) = bytes.split_at_mut(HEADER_LEN);
        let length = (FIXED + body_length) as u64;
        header.copy_from_slice(
            &Header { frame: FrameType::Response, flags: 0, number: self.number, length }.to_bytes(),
        );
        let (kind, reason, code) = execution_fields(self.execution);
        fixed[..16].copy_from_slice(&self.transaction.0);
        fixed[16] = kind;
        fixed[18..20].copy_from_slice(&reason.to_le_bytes());
        fixed[20..24].copy_from_slice(&code.to_le_bytes());
        fixed[24..26].copy_from_slice(&self.load.busy.to_le_bytes());
        fixed[26..28].copy_from_slice(&self.load.workers.to_le_bytes());
        bytes
    }
}

impl<'a> Response<'a> {
    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        let names = &self.file_names[..self.file_names.len().min(usize::from(u16::MAX))];
        let mut head = self.head.to_bytes(names.len() + self.body.len());
        head[HEADER_LEN + 28..HEADER_LEN + 30].copy_from_slice(&self.head.files.to_le_bytes());
        head[HEADER_LEN + 30..].copy_from_slice(&(names.len() as u16).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(names);
        out.extend_from_slice(self.body);
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// Any field that `docs/protocol.md` does not allow.
    pub fn take(header: Header, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("RESPONSE", payload);
        if header.flags & Header::COMPRESSED != 0 {
            return Err(take.malformed("its body is compressed, which was not agreed"));
        }
        let transaction = TransactionId(take.array()?);
        let kind = take.u8()?;
        take.zero::<1>()?;
        let reason = take.u16()?;
        let code = take.i32()?;
        let execution =
            execution_from(kind, reason, code).ok_or(take.malformed("its execution is unknown"))?;
        let load = Load { busy: take.u16()?, workers: take.u16()? };
        let files = take.u16()?;
        let names_length = usize::from(take.u16()?);
        let file_names = take.bytes(names_length)?;
        let body = take.rest();
        check_names(file_names, files)?;
        if files != 0 && !matches!(execution, Execution::Executed(_)) {
            return Err(malformed("it has files, but the app did not run to its end"));
        }
        Ok(Self {
            head: ResponseHead { number: header.number, transaction, execution, load, files },
            file_names,
            body,
        })
    }

    /// The names of the files that can be fetched. They come from the peer: no path is to be made of one without
    /// checking it.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.file_names;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first()?;
            let (name, tail) = tail.split_at_checked(usize::from(*length))?;
            rest = tail;
            Some(name)
        })
    }
}

fn malformed(what: &'static str) -> ProtocolError {
    ProtocolError::Malformed { frame: "RESPONSE", what }
}

/// Checks that a list of names is exactly `files` plain file names.
fn check_names(mut list: &[u8], files: u16) -> Result<(), ProtocolError> {
    for _ in 0..files {
        let (length, tail) = list.split_first().ok_or(malformed("it has fewer file names than it says"))?;
        let (name, tail) = tail
            .split_at_checked(usize::from(*length))
            .ok_or(malformed("its file names end within a name"))?;
        if !is_plain_file_name(name) {
            return Err(malformed("a file's name is not a plain file name"));
        }
        list = tail;
    }
    if list.is_empty() { Ok(()) } else { Err(malformed("it has more file names than it says")) }
}

/// Kind, reason and code, as they stand in RESPONSE and OUTCOME_ANSWER.
pub(super) fn execution_fields(execution: Execution) -> (u8, u16, i32) {
    match execution {
        Execution::Rejected(reason) => (0, reason.number(), 0),
        Execution::Executed(code) => (1, 0, code),
        Execution::Aborted(reason) => (2, reason.number(), 0),
    }
}

/// The execution that these fields stand for; the field that has no meaning for a kind is zero.
pub(super) fn execution_from(kind: u8, reason: u16, code: i32) -> Option<Execution> {
    match (kind, reason, code) {
        (0, _, 0) => Some(Execution::Rejected(RejectReason::from_number(reason))),
        (1, 0, _) => Some(Execution::Executed(code)),
        (2, _, 0) => Some(Execution::Aborted(AbortReason::from_number(reason))),
        _ => None,
    }
}
