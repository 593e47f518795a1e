//! Descriptors by number. A connection's number means the same in every process of the platform, so it is a number
//! that lies in shared memory, and not an owned descriptor, that says which connection is meant.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::process::PidfdGetfdFlags;

/// A descriptor number of this process's table, copied freely; who closes it is settled by the connection table.
///
/// A number that is not open gives EBADF. A number that was closed and reused would speak to a stranger: numbers of
/// connections lie in a range of their own, where only the platform opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor(RawFd);

impl Descriptor {
    pub(crate) fn of(owned: &impl AsRawFd) -> Self {
        Self(owned.as_raw_fd())
    }

    /// Takes an owned descriptor's number; whoever holds the number now closes it.
    pub(crate) fn from_owned(owned: OwnedFd) -> Self {
        Self(owned.into_raw_fd())
    }

    pub(crate) fn from_number(number: RawFd) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    pub(crate) fn number(self) -> RawFd {
        self.0
    }

    /// Reads what is there into `buffer` without waiting.
    pub(crate) fn receive(self, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(self, &mut *buffer, RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                other => return other.map(|(length, _)| length),
            }
        }
    }

    /// Writes as much as there is room for without waiting.
    pub(crate) fn send(self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            match rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Ends the sending side; the peer reads the end after what was sent.
    pub(crate) fn end_sending(self) {
        // The peer may have gone already, which is as good.
        let _ = rustix::net::shutdown(self, Shutdown::Write);
    }

    /// Ends both sides, for every process that has the socket open; on a listener: it takes no more connections.
    pub(crate) fn end_both(self) {
        let _ = rustix::net::shutdown(self, Shutdown::Both);
    }

    /// Closes the number. It must not be used afterwards.
    ///
    /// Whoever buries a worker cannot know whether it came to close what it says that it has: a number that is not
    /// open is left at that.
    pub(crate) fn close(self) {
        // SAFETY: the connection table (or the worker's row, for a connection that was not shared yet) says that
        // this process is the one that closes the number, and no owned descriptor has it.
        unsafe { libc::close(self.0) };
    }

    /// Opens the same file again under the number `wanted`.
    ///
    /// # Errors
    /// `AddrInUse` when something is open under that number already.
    pub(crate) fn duplicate_as(self, wanted: RawFd) -> io::Result<Self> {
        let duplicate = rustix::io::fcntl_dupfd_cloexec(self, wanted)?;
        if duplicate.as_raw_fd() == wanted {
            Ok(Self::from_owned(duplicate))
        } else {
            Err(io::ErrorKind::AddrInUse.into())
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number is not -1. It may be closed under us only by this process itself, which does that by
        // `close` alone; the operations here are sound (EBADF) even then.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// Opens in this process what another one has open under `number` (`pidfd_getfd(2)`).
pub(crate) fn fetch(process: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty())?)
}

/// The numbers of all descriptors that are open in this process, without the one used to find out.
pub(crate) fn open_numbers() -> io::Result<Vec<RawFd>> {
    let directory = rustix::fs::open(
        "/proc/self/fd",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    let own = directory.as_raw_fd();
    let mut numbers = Vec::new();
    for entry in rustix::fs::Dir::new(directory)? {
        let entry = entry?;
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<RawFd>().ok());
        numbers.extend(number.filter(|number| *number != own));
    }
    Ok(numbers)
}

/// Lets the kernel hand a listener's connections over when their first bytes are there (`TCP_DEFER_ACCEPT`); one
/// whose peer is silent, after some seconds.
pub(crate) fn defer_accept(listener: &OwnedFd) -> io::Result<()> {
    let seconds: libc::c_int = 3;
    // SAFETY: the option takes an int, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
