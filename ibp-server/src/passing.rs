//! The other way to another worker's connection, for machines where the kernel does not let one process fetch another's
//! descriptors (`pidfd_getfd(2)` is denied in some containers): each keeper passes them over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};
use rustix::net::{SocketAddrAny, recvmsg, sendmsg};

use crate::pool::Pool;
use crate::sys::descriptor::Descriptor;

/// How long either side waits for the other. A keeper answers within microseconds, or it is dead.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a slot's keeper is asked for descriptors: an abstract socket with a name that the kernel chose.
pub(crate) struct Counter {
    listener: OwnedFd,
    address: SocketAddrAny,
}

impl Counter {
    pub(crate) fn new(backlog: i32) -> io::Result<Self> {
        let listener = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new_unnamed())?;
        rustix::net::listen(&listener, backlog)?;
        let address = rustix::net::getsockname(&listener)?;
        Ok(Self { listener, address })
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.listener
    }

    /// Serves those who wait; called by the keeper, which never waits for one of them.
    pub(crate) fn serve(&self, pool: &Pool, slot: usize) {
        while let Ok(asking) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            if let Err(error) = answer(&asking, pool, slot) {
                tracing::warn!(slot, %error, "a connection could not be passed");
            }
        }
    }

    /// Asks the keeper for its descriptor `number`.
    pub(crate) fn ask(&self, number: i32) -> io::Result<OwnedFd> {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for which in [sockopt::Timeout::Send, sockopt::Timeout::Recv] {
            sockopt::set_socket_timeout(&socket, which, Some(PATIENCE))?;
        }
        rustix::net::connect(&socket, &self.address)?;
        rustix::net::send(&socket, &number.to_ne_bytes(), SendFlags::NOSIGNAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(&socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let passed = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        passed.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn answer(asking: &OwnedFd, pool: &Pool, slot: usize) -> io::Result<()> {
    // Only the platform's own processes are served.
    let peer = sockopt::socket_peercred(asking)?;
    if peer.uid != rustix::process::geteuid() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    poll(&mut [PollFd::new(asking, PollFlags::IN)], Some(&timeout))?;
    let mut number = [0; 4];
    let (length, _) = rustix::net::recv(asking, &mut number, RecvFlags::DONTWAIT)?;
    let number = i32::from_ne_bytes(number);
    let held = pool.table.id_of_number(number).is_some_and(|id| pool.table.held(slot, id) != 0);
    let (true, Some(descriptor)) = (held && length == 4, Descriptor::from_number(number)) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let fds = [rustix::fd::AsFd::as_fd(&descriptor)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(asking, &[IoSlice::new(&[1])], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}
