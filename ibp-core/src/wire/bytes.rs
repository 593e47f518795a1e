//! Taking typed values off a byte slice. All integers on the wire are little-endian.

use super::ProtocolError;

/// A cursor over the payload of one frame.
pub(super) struct Take<'a> {
    frame: &'static str,
    rest: &'a [u8],
}

impl<'a> Take<'a> {
    pub(super) fn new(frame: &'static str, payload: &'a [u8]) -> Self {
        Self { frame, rest: payload }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], ProtocolError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.malformed("it ends before its fields do")),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.malformed("it ends before its fields do")),
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, ProtocolError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A node's or an app's name: at most 64 bytes of `A-Z a-z 0-9 _ - .`; empty is allowed.
    pub(super) fn name(&mut self, length: usize) -> Result<&'a str, ProtocolError> {
        let bytes = self.bytes(length)?;
        if bytes.len() > MAX_NAME {
            return Err(self.malformed("a name is longer than 64 bytes"));
        }
        if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
            return Err(self.malformed("a name has a byte other than A-Z a-z 0-9 _ - ."));
        }
        // ASCII was checked above.
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a name is not ASCII"))
    }

    /// A reserved field: it must be zero, so that a later version can use it.
    pub(super) fn zero<const N: usize>(&mut self) -> Result<(), ProtocolError> {
        if self.array::<N>()? == [0; N] {
            Ok(())
        } else {
            Err(self.malformed("a reserved field is not zero"))
        }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn end(self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes follow its last field")) }
    }

    pub(super) fn malformed(&self, what: &'static str) -> ProtocolError {
        ProtocolError::Malformed { frame: self.frame, what }
    }
}

/// Longest name of a node or an app, in bytes.
pub(super) const MAX_NAME: usize = 64;

/// The length byte of a name, and the name cut to what the byte can say. Names were validated where they came
/// from; a longer one cannot get here, and if it does the peer reports it instead of this side panicking.
pub(super) fn name_length(name: &str) -> u8 {
    name.len().min(usize::from(u8::MAX)) as u8
}

pub(super) fn put_name(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&name.as_bytes()[..usize::from(name_length(name))]);
}
