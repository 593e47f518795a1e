//! The one set of ready descriptors (epoll) that all workers wait on.
//!
//! The kernel knows a member by its open file **and** its descriptor number, so a connection has the same number in
//! every process that changes it here. The event that a wait returns is written by the kernel straight into shared
//! memory: whoever finds a worker dead can read which event died with it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use zerocopy::FromBytes;

use super::descriptor::Descriptor;

/// An epoll set.
#[derive(Debug)]
pub(crate) struct ReadySet(OwnedFd);

/// What to wait for on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read (or the peer's end), once.
    Input,
    /// Room to write, once.
    Output,
    /// Each time that something comes to read.
    Edge,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Input => EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT,
            Self::Output => EventFlags::OUT | EventFlags::ONESHOT,
            Self::Edge => EventFlags::IN | EventFlags::ET,
        }
    }
}

/// Where the kernel puts the event: layout of `struct epoll_event`, padded so that the data can be read as one word.
///
/// On x86-64 the struct is packed (4 bytes of flags, then 8 of data), elsewhere it is not.
#[derive(FromBytes)]
#[repr(C, align(16))]
pub(crate) struct EventSlot {
    words: [AtomicU64; 2],
}

impl EventSlot {
    /// What the last wait returned, and 0 when it is over ([`EventSlot::clear`]).
    pub(crate) fn data(&self) -> u64 {
        let [first, second] = [&self.words[0], &self.words[1]].map(|word| word.load(Ordering::Acquire));
        if cfg!(target_arch = "x86_64") { first >> 32 | second << 32 } else { second }
    }

    /// Forgets the event.
    pub(crate) fn clear(&self) {
        self.words[0].store(0, Ordering::Relaxed);
        self.words[1].store(0, Ordering::Release);
    }
}

impl ReadySet {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    pub(crate) fn add(&self, member: Descriptor, data: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, member, EventData::new_u64(data), interest.flags())?)
    }

    /// Waits for a member again, or for something else.
    pub(crate) fn arm(&self, member: Descriptor, data: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, member, EventData::new_u64(data), interest.flags())?)
    }

    pub(crate) fn remove(&self, member: Descriptor) -> io::Result<()> {
        Ok(epoll::delete(&self.0, member)?)
    }

    /// Waits until a member is ready and leaves the event in `slot`; false when the time is over or a signal came.
    pub(crate) fn wait(&self, slot: &EventSlot, timeout: Duration) -> io::Result<bool> {
        const { assert!(size_of::<libc::epoll_event>() <= size_of::<EventSlot>()) };
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let place = slot.words.as_ptr().cast_mut().cast::<libc::epoll_event>();
        // SAFETY: `place` is shared memory made of atomics, large and aligned enough for one epoll_event, which the
        // kernel may write at any time as another process might; everybody reads it with atomic loads.
        let got = unsafe { libc::epoll_wait(self.0.as_fd().as_raw_fd(), place, 1, timeout) };
        match got {
            0 => Ok(false),
            1 => Ok(true),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
                error => Err(error),
            },
        }
    }
}
