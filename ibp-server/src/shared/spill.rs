//! Where the bytes of a connection wait that is served in pieces: input that is not a whole frame yet, output that
//! the peer does not take yet. One sparse file in memory; connection N has its part at N times the stride, so no
//! process has to open, find or name anything, and a hole is punched when the bytes are gone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, MemfdFlags};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the peer.
    Input = 0,
    /// To the peer.
    Output = 1,
}

/// The spill of one platform.
pub(crate) struct Spill {
    file: File,
    stride: u64,
}

impl Spill {
    /// Room for `connections`, each with up to `longest` bytes in either direction. Takes memory only for bytes
    /// that are there.
    pub(crate) fn new(connections: usize, longest: u64) -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("ibp-spill", MemfdFlags::CLOEXEC)?);
        // Holes are punched in whole pages.
        let stride = longest.next_multiple_of(1 << 16);
        file.set_len(stride.saturating_mul(2).saturating_mul(connections as u64))?;
        Ok(Self { file, stride })
    }

    fn start(&self, connection: u32, direction: Direction) -> u64 {
        (u64::from(connection) * 2 + direction as u64) * self.stride
    }

    pub(crate) fn write(
        &self,
        connection: u32,
        direction: Direction,
        at: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        if at.saturating_add(bytes.len() as u64) > self.stride {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(bytes, self.start(connection, direction) + at)
    }

    pub(crate) fn read(
        &self,
        connection: u32,
        direction: Direction,
        at: u64,
        into: &mut [u8],
    ) -> io::Result<()> {
        self.file.read_exact_at(into, self.start(connection, direction) + at)
    }

    /// Gives all memory of a connection back, in both directions.
    pub(crate) fn discard_all(&self, connection: u32) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let start = self.start(connection, Direction::Input);
        // If it fails the memory stays with the connection's place and is used again by the next.
        let _ = rustix::fs::fallocate(&self.file, flags, start, self.stride * 2);
    }

    /// Gives the memory of `length` bytes back.
    pub(crate) fn discard(&self, connection: u32, direction: Direction, length: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let length = length.next_multiple_of(1 << 12).min(self.stride);
        if length > 0 {
            // If it fails the memory stays with the connection's place and is used again by the next.
            let _ = rustix::fs::fallocate(&self.file, flags, self.start(connection, direction), length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Spill};

    #[test]
    fn directions_and_connections_lie_apart() {
        let spill = Spill::new(3, 100_000).unwrap();
        for connection in 0..3 {
            for (direction, byte) in [(Direction::Input, 1), (Direction::Output, 2)] {
                spill.write(connection, direction, 0, &[byte + connection as u8 * 10; 100_000]).unwrap();
            }
        }
        for connection in 0..3 {
            for (direction, byte) in [(Direction::Input, 1), (Direction::Output, 2)] {
                let mut bytes = vec![0; 100_000];
                spill.read(connection, direction, 0, &mut bytes).unwrap();
                assert!(bytes.iter().all(|b| *b == byte + connection as u8 * 10));
            }
        }
        spill.discard(1, Direction::Input, 100_000);
        let mut bytes = vec![9; 4];
        spill.read(1, Direction::Input, 0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4]);
        assert!(spill.write(0, Direction::Input, 200_000, b"x").is_err());
    }
}
