use super::frame::{FrameType, Header, put_frame};
use crate::wire::ProtocolError;
use crate::wire::bytes::Take;

/// Longest name of an attached file, in bytes.
const MAX_FILE_NAME: usize = 255;

/// FILE_BEGIN: a file follows as FILE_DATA frames, then FILE_END.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileBegin<'a> {
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// Its name: a single path component as the peer says it, not checked here beyond that.
    pub name: &'a [u8],
}

impl<'a> FileBegin<'a> {
    pub(super) const MAX: u64 = 8 + 32 + 1 + MAX_FILE_NAME as u64;

    /// Writes the frame; `number` is that of the request that the file belongs to.
    pub fn put(&self, number: u32, out: &mut Vec<u8>) {
        put_frame(FrameType::FileBegin, 0, number, out, |out| {
            out.extend_from_slice(&self.size.to_le_bytes());
            out.extend_from_slice(&self.digest);
            put_file_name(self.name, out);
        });
    }

    /// Reads the payload of one frame.
    ///
    /// # Errors
    /// A name that is not a plain file name, or fields that are missing or too many.
    pub fn take(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("FILE_BEGIN", payload);
        let size = take.u64()?;
        let digest = take.array()?;
        let name = take_file_name(take)?;
        Ok(Self { size, digest, name })
    }
}

/// FETCH_FILE: the client asks for a response file by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFile<'a> {
    /// The name as RESPONSE said it.
    pub name: &'a [u8],
}

impl<'a> FetchFile<'a> {
    pub(super) const MAX: u64 = 1 + MAX_FILE_NAME as u64;

    /// Writes the frame; `number` is that of the request that the file belongs to.
    pub fn put(&self, number: u32, out: &mut Vec<u8>) {
        put_frame(FrameType::FetchFile, 0, number, out, |out| put_file_name(self.name, out));
    }

    /// Reads the payload of one frame.
    ///
    /// # Errors
    /// A name that is not a plain file name, or fields that are missing or too many.
    pub fn take(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        Ok(Self { name: take_file_name(Take::new("FETCH_FILE", payload))? })
    }
}

pub(super) fn put_file_name(name: &[u8], out: &mut Vec<u8>) {
    let name = &name[..name.len().min(MAX_FILE_NAME)];
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

fn take_file_name<'a>(mut take: Take<'a>) -> Result<&'a [u8], ProtocolError> {
    let length = usize::from(take.u8()?);
    let name = take.bytes(length)?;
    if !is_plain_file_name(name) {
        return Err(take.malformed("the file's name is not a plain file name"));
    }
    take.end()?;
    Ok(name)
}

/// Whether a name stays in the directory in which it is used: not empty, not `.` or `..`, no `/`, no zero byte.
pub(super) fn is_plain_file_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Longest piece of a file in one FILE_DATA frame, in bytes.
pub const MAX_FILE_DATA: u64 = 1 << 20;

/// How long the payload of FILE_DATA or FILE_END may be.
pub(super) fn chunk_limit(header: Header) -> u64 {
    if header.frame == FrameType::FileData { MAX_FILE_DATA } else { 0 }
}

/// What of a file is still to come after a piece of it.
pub(super) fn left_after(left: u64, piece: &[u8]) -> Result<u64, ProtocolError> {
    let malformed = |what| ProtocolError::Malformed { frame: "FILE_DATA", what };
    if piece.is_empty() {
        // A peer could send such pieces for ever without the file getting on.
        return Err(malformed("it has no bytes of the file"));
    }
    left.checked_sub(piece.len() as u64).ok_or(malformed("the file is longer than it said"))
}
