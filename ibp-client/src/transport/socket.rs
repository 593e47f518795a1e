use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

use super::Deadline;

/// A connected stream socket of either kind.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    is_tcp: bool,
    /// What `SO_RCVTIMEO` is set to.
    receive_timeout: Option<Duration>,
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It takes more bytes.
    ToSend,
    /// It has bytes, or its end, to give.
    ToReceive,
}

/// `SO_RCVTIMEO` may be this much longer than it should be before it is worth a system call to set it.
const SLACK: Duration = Duration::from_millis(10);

/// What a socket's timeout is set to for that much time. The kernel keeps it on its timer wheel, which may ring late by an
/// eighth of the whole (1 s at 8 s); what is left then is waited for with `poll`, whose clock is precise.
pub(super) fn coarse(remaining: Duration) -> Duration {
    (remaining - remaining / 8).max(Duration::from_millis(1))
}

impl Socket {
    pub(super) fn tcp(fd: OwnedFd) -> Self {
        Self { fd, is_tcp: true, receive_timeout: None }
    }

    pub(super) fn unix(fd: OwnedFd) -> Self {
        Self { fd, is_tcp: false, receive_timeout: None }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Has each piece sent at once. It matters where a request goes out in several pieces.
    pub(crate) fn send_at_once(&self) {
        if self.is_tcp {
            // Without it everything works, only later.
            let _ = set_tcp_nodelay(&self.fd, true);
        }
    }

    /// Sends what the socket takes now, of `head` and then `body`, with one system call; 0 if it takes nothing now.
    ///
    /// It never blocks: on a stream socket of the Unix kind a blocking call can take many times its `SO_SNDTIMEO`, once a
    /// kernel buffer. Raises no SIGPIPE.
    pub(crate) fn send(&self, head: &[u8], body: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            let sent = if body.is_empty() {
                send(&self.fd, head, flags)
            } else {
                let pieces = [IoSlice::new(head), IoSlice::new(body)];
                sendmsg(&self.fd, &pieces, &mut SendAncillaryBuffer::default(), flags)
            };
            match sent {
                Ok(count) => return Ok(count),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the socket takes more bytes, or has something to say.
    pub(crate) fn wait_to_send(&self, deadline: Deadline) -> io::Result<Readiness> {
        let seen = self.wait_for(PollFlags::OUT | PollFlags::IN, deadline)?;
        // What the peer says comes first: it may be that it wants no more.
        Ok(if seen.intersects(PollFlags::IN | PollFlags::HUP) {
            Readiness::ToReceive
        } else {
            Readiness::ToSend
        })
    }

    /// Waits until the peer has ended its side. What it still sends is of no interest.
    pub(crate) fn wait_for_end(&self, deadline: Deadline) {
        // Nothing depends on the result: the answer was read, and the socket is closed next in any case.
        let _ = self.wait_for(PollFlags::IN | PollFlags::RDHUP, deadline);
    }

    fn wait_for(&self, events: PollFlags, deadline: Deadline) -> io::Result<PollFlags> {
        loop {
            let remaining = deadline.remaining().ok_or(io::ErrorKind::TimedOut)?;
            let timeout = Timespec::try_from(remaining).map_err(|_| io::ErrorKind::InvalidInput)?;
            let mut fds = [PollFd::from_borrowed_fd(self.fd.as_fd(), events)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(fds[0].revents()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives into the spare capacity of `buffer`, which must not be zero; 0 is the end of the stream. `now` is what the
    /// clock said lately: reading it once more for each call would cost more than the few microseconds are worth.
    ///
    /// # Errors
    /// `TimedOut` when the deadline is over, else what broke the connection.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut Vec<u8>,
        deadline: Deadline,
        mut now: Instant,
    ) -> io::Result<usize> {
        loop {
            let remaining = deadline.remaining_at(now).ok_or(io::ErrorKind::TimedOut)?;
            let most = coarse(remaining);
            // A shorter timeout may stay: at worst the call wakes up early, once.
            let fits = self.receive_timeout.is_some_and(|set| set <= most + SLACK);
            if !fits {
                set_socket_timeout(&self.fd, Timeout::Recv, Some(most))?;
                self.receive_timeout = Some(most);
            }
            match recv(&self.fd, spare_capacity(buffer), RecvFlags::empty()) {
                Ok((count, _)) => return Ok(count),
                // The rest is waited for with a precise clock.
                Err(Errno::AGAIN) => {
                    self.wait_for(PollFlags::IN, deadline)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            now = Instant::now();
        }
    }

    /// Receives what is there already; `None` if that is nothing, `Some(0)` for the end of the stream.
    pub(crate) fn receive_now(&self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        loop {
            match recv(&self.fd, spare_capacity(buffer), RecvFlags::DONTWAIT) {
                Ok((count, _)) => return Ok(Some(count)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
