use std::io;
use std::net::SocketAddr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, addr::SocketAddrArg, connect, socket_with};

use super::socket::coarse;
use super::{Deadline, Socket};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// This process cannot open one; no host's fault.
    Local(io::Error),
    /// The host, or the way to it.
    Host(io::Error),
    /// The time was over.
    TimedOut,
}

/// Connects to a host over TCP.
pub(crate) fn connect_tcp(host: SocketAddr, deadline: Deadline) -> Result<Socket, ConnectFailure> {
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    open(family, &host, deadline).map(Socket::tcp)
}

/// Makes a socket and connects it. The socket is blocking; the time is kept by `SO_SNDTIMEO`, which holds for connecting
/// (sending does not block, see [`Socket::send`]).
pub(super) fn open(
    family: AddressFamily,
    to: &impl SocketAddrArg,
    deadline: Deadline,
) -> Result<OwnedFd, ConnectFailure> {
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| ConnectFailure::Local(error.into()))?;
    let remaining = deadline.remaining().ok_or(ConnectFailure::TimedOut)?;
    set_socket_timeout(&fd, Timeout::Send, Some(coarse(remaining)))
        .map_err(|error| ConnectFailure::Local(error.into()))?;
    match connect(&fd, to) {
        Ok(()) => Ok(fd),
        // A signal came, connecting goes on without us (connect(2), EINTR); or, with INPROGRESS, most of the time
        // is over: the rest is waited for more precisely.
        Err(Errno::INTR | Errno::INPROGRESS) => await_connected(&fd, deadline).map(|()| fd),
        // A Unix socket whose queue stayed full all the time.
        Err(Errno::AGAIN) => Err(ConnectFailure::TimedOut),
        Err(error) => Err(judge(error)),
    }
}

/// Waits until the connecting that is under way has ended.
fn await_connected(fd: &OwnedFd, deadline: Deadline) -> Result<(), ConnectFailure> {
    loop {
        let remaining = deadline.remaining().ok_or(ConnectFailure::TimedOut)?;
        let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::OUT)];
        let timeout = Timespec::try_from(remaining)
            .map_err(|_| ConnectFailure::Local(io::ErrorKind::InvalidInput.into()))?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Err(ConnectFailure::TimedOut),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(ConnectFailure::Local(error.into())),
        }
    }
    match socket_error(fd) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(judge(error)),
        Err(error) => Err(ConnectFailure::Local(error.into())),
    }
}

/// Whether the host is to blame for an error of connecting, or this machine's want of something.
fn judge(error: Errno) -> ConnectFailure {
    match error {
        Errno::TIMEDOUT => ConnectFailure::TimedOut,
        Errno::NFILE
        | Errno::MFILE
        | Errno::NOBUFS
        | Errno::NOMEM
        | Errno::ADDRNOTAVAIL
        | Errno::AFNOSUPPORT
        | Errno::PERM
        | Errno::ACCESS => ConnectFailure::Local(error.into()),
        _ => ConnectFailure::Host(error.into()),
    }
}
