//! The memory of a connection, and a pool of it for short calls.

use std::sync::{Mutex, TryLockError};

/// What a buffer has from the start. A request or response of usual size fits.
const USUAL: usize = 16 << 10;

/// A buffer that grew beyond this goes back to [`USUAL`] once it was not needed so large.
const KEEP: usize = 256 << 10;

/// What came from a peer and was not all used yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Up to here it was used.
    used: usize,
}

impl Inbox {
    /// The bytes that were not used yet.
    pub(crate) fn unused(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Marks the next `count` unused bytes as used. They stay where they are until [`Inbox::make_room`].
    pub(crate) fn mark_used(&mut self, count: usize) {
        self.used = (self.used + count).min(self.bytes.len());
    }

    /// All bytes, used ones too: what ranges of a parsed frame refer to.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes were used.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Drops the used bytes. Called between two answers, never while one is read.
    pub(crate) fn forget_used(&mut self) {
        let oversized = self.bytes.capacity() > KEEP && self.bytes.len() < self.bytes.capacity() / 4;
        if self.used == self.bytes.len() {
            self.bytes.clear();
            if oversized {
                self.bytes.shrink_to(USUAL);
            }
        } else if self.used > 0 {
            self.bytes.drain(..self.used);
        }
        self.used = 0;
    }

    /// The buffer with room for at least one byte more, to receive into. `wanted` unused bytes make the frame whole.
    ///
    /// A peer that declares much gets no memory for that: the buffer at most doubles each time that it is really full.
    pub(crate) fn make_room(&mut self, wanted: u64) -> &mut Vec<u8> {
        if self.bytes.len() == self.bytes.capacity() {
            let missing = wanted.saturating_sub(self.unused().len() as u64);
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            let more = missing.clamp(USUAL, self.bytes.capacity().max(USUAL));
            self.bytes.reserve_exact(more);
        }
        &mut self.bytes
    }
}

/// The two buffers of one connection.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) inbox: Inbox,
    /// What is sent: preamble, hello and request; a large body is not copied here.
    pub(crate) outbox: Vec<u8>,
}

/// Buffers of ended short calls, for the next ones.
///
/// A caller that finds the pool in use, by another thread or, in a forked child, by a thread that is no more, takes fresh
/// buffers: nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    spare: Mutex<Vec<Buffers>>,
}

impl Pool {
    /// More threads than this at a time are rare, and fresh buffers are no disaster.
    const MOST: usize = 16;

    pub(crate) fn take(&self) -> Buffers {
        self.with(Vec::pop).flatten().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, mut buffers: Buffers) {
        let inbox = &mut buffers.inbox;
        inbox.mark_used(usize::MAX - inbox.used);
        inbox.forget_used();
        let keeps = inbox.bytes.capacity() <= KEEP && buffers.outbox.capacity() <= KEEP;
        buffers.outbox.clear();
        if keeps {
            self.with(|spare| {
                if spare.len() < Self::MOST {
                    spare.push(buffers);
                }
            });
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Buffers>) -> T) -> Option<T> {
        match self.spare.try_lock() {
            Ok(mut spare) => Some(act(&mut spare)),
            // Nothing in the list is half done by a panic: it is pushed to and popped from only.
            Err(TryLockError::Poisoned(spare)) => Some(act(&mut spare.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Inbox, KEEP, Pool, USUAL};

    #[test]
    fn a_declared_length_alone_gets_no_memory() {
        let mut inbox = Inbox::default();
        assert!(inbox.make_room(60 << 20).capacity() <= USUAL);
        let mut grown = 0;
        while inbox.bytes.len() < 1 << 20 {
            let before = inbox.bytes.len();
            let room = inbox.make_room(60 << 20);
            grown += 1;
            assert!(room.capacity() <= 2 * before.max(USUAL), "{} after {before}", room.capacity());
            room.resize(room.capacity(), 0);
        }
        assert!(grown < 10, "it grows geometrically");
    }

    #[test]
    fn the_last_growth_is_exact() {
        let mut inbox = Inbox::default();
        let room = inbox.make_room(0);
        room.resize(room.capacity(), 0);
        let wanted = (USUAL + USUAL) as u64;
        assert_eq!(inbox.make_room(wanted).capacity(), USUAL + USUAL);
    }

    #[test]
    fn used_bytes_go_and_unused_stay() {
        let mut inbox = Inbox::default();
        inbox.make_room(0).extend_from_slice(b"answergoodbye");
        inbox.mark_used(6);
        assert_eq!(inbox.unused(), b"goodbye");
        inbox.forget_used();
        assert_eq!((inbox.bytes(), inbox.used()), (&b"goodbye"[..], 0));
    }

    #[test]
    fn a_large_buffer_goes_back_once_it_is_not_needed() {
        let mut inbox = Inbox { bytes: vec![0; 4 * KEEP], used: 0 };
        inbox.mark_used(4 * KEEP);
        inbox.forget_used();
        assert!(inbox.bytes.capacity() >= 4 * KEEP, "the next answer may be as large");
        inbox.bytes.extend_from_slice(b"small");
        inbox.mark_used(5);
        inbox.forget_used();
        assert!(inbox.bytes.capacity() <= KEEP);
    }

    #[test]
    fn the_pool_hands_out_what_came_back() {
        let pool = Pool::default();
        let mut buffers = pool.take();
        buffers.outbox.reserve(100);
        let capacity = buffers.outbox.capacity();
        pool.give_back(buffers);
        assert_eq!(pool.take().outbox.capacity(), capacity);
        assert_eq!(pool.take().outbox.capacity(), 0);
    }
}
