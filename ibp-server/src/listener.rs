//! Where clients come in: a TCP address, and a Unix socket for clients on the same machine.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ibp_core::wire::ib2::{Goodbye, GoodbyeReason, put_preamble};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::ServerError;
use crate::sys::descriptor::{Descriptor, defer_accept};

/// The name of a platform's Unix socket in the installation's directory of shared memory: clients find it by this
/// convention.
pub(crate) fn unix_socket_path(directory: &Path, address: SocketAddr) -> PathBuf {
    directory.join(format!("ibas.{address}.sock"))
}

/// Device and inode.
type FileId = (u64, u64);

fn file_id(path: &Path) -> io::Result<FileId> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// A listening socket.
pub(crate) struct Listener {
    socket: OwnedFd,
    /// The Unix socket's path, and the file that it was when this platform made it.
    path: Option<(PathBuf, FileId)>,
    owner: u32,
}

impl Listener {
    pub(crate) fn tcp(address: SocketAddr, backlog: i32) -> Result<(Self, SocketAddr), ServerError> {
        let listen = || -> io::Result<(OwnedFd, SocketAddr)> {
            let socket = rustix::net::socket_with(
                if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 },
                SocketType::STREAM,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                None,
            )?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            // Connections inherit it: an answer is never held back for more.
            sockopt::set_tcp_nodelay(&socket, true)?;
            rustix::net::bind(&socket, &address)?;
            rustix::net::listen(&socket, backlog)?;
            // Workers are woken by the first bytes, not by the connection. (A silent one is handed over later.)
            defer_accept(&socket)?;
            let bound = rustix::net::getsockname(&socket)?;
            let bound = bound.try_into().map_err(|_| io::Error::other("the socket has no IP address"))?;
            Ok((socket, bound))
        };
        let (socket, bound) = listen().map_err(|source| ServerError::Listen { address, source })?;
        Ok((Self { socket, path: None, owner: 0 }, bound))
    }

    /// A Unix socket at `path`. What an earlier platform left there is replaced; a living one keeps it.
    pub(crate) fn unix(path: PathBuf, backlog: i32) -> Result<Self, ServerError> {
        let listen = || -> io::Result<(OwnedFd, FileId)> {
            let name = SocketAddrUnix::new(&path)?;
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                None,
            )?;
            // A dead platform's socket refuses. Anything else, a full queue too, is a living one.
            match rustix::net::connect(&socket, &name) {
                Err(Errno::CONNREFUSED | Errno::NOENT | Errno::NOTSOCK) => {}
                Ok(()) | Err(Errno::AGAIN) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(error) => return Err(error.into()),
            }
            match std::fs::symlink_metadata(&path) {
                // What an earlier platform left; anything else is somebody's, and stays.
                Ok(found) if found.file_type().is_socket() => std::fs::remove_file(&path)?,
                Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            rustix::net::bind(&socket, &name)?;
            // The directory decides who may come near; the file allows what the directory does.
            let directory = path.parent().map(std::fs::metadata).transpose()?;
            let group = directory.is_some_and(|directory| directory.permissions().mode() & 0o010 != 0);
            let mode = if group { 0o660 } else { 0o600 };
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
            rustix::net::listen(&socket, backlog)?;
            Ok((socket, file_id(&path)?))
        };
        match listen() {
            Ok((socket, file)) => {
                let owner = rustix::process::geteuid().as_raw();
                Ok(Self { socket, path: Some((path, file)), owner })
            }
            Err(source) => Err(ServerError::UnixSocket { path, source }),
        }
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::of(&self.socket)
    }

    pub(crate) fn is_unix(&self) -> bool {
        self.path.is_some()
    }

    /// The next connection that waits; `None` when there is none (any more).
    pub(crate) fn accept(&self) -> Result<Option<OwnedFd>, Errno> {
        loop {
            return match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => {
                    if self.is_unix() && !self.trusts(&socket) {
                        continue;
                    }
                    Ok(Some(socket))
                }
                // The client gave up before it was accepted, or a signal came.
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                // EINVAL: the listener was shut down.
                Err(Errno::AGAIN | Errno::INVAL) => Ok(None),
                Err(error) => Err(error),
            };
        }
    }

    /// Whether the process at the other end of a Unix socket may ask: root, the platform's own user, or whoever the
    /// directory's group lets in.
    fn trusts(&self, socket: &OwnedFd) -> bool {
        let Ok(peer) = sockopt::socket_peercred(socket) else { return false };
        let uid = peer.uid.as_raw();
        let group_may = || {
            let metadata = self.path.as_ref().and_then(|(path, _)| std::fs::metadata(path).ok());
            metadata.is_some_and(|metadata| metadata.permissions().mode() & 0o060 == 0o060)
        };
        uid == 0 || uid == self.owner || group_may()
    }

    /// Whether a descriptor is a connection that came in here.
    pub(crate) fn accepted(&self, candidate: Descriptor) -> bool {
        let listening = sockopt::socket_acceptconn(candidate);
        let same_name = || {
            let name = rustix::net::getsockname(candidate);
            name.is_ok_and(|name| rustix::net::getsockname(&self.socket).is_ok_and(|own| own == name))
        };
        listening == Ok(false) && same_name()
    }

    /// Takes no more connections, in any process, and lets the port go: those that wait are told that nothing of
    /// theirs was executed.
    pub(crate) fn shut(&self) {
        if let Some((path, file)) = &self.path
            && file_id(path).is_ok_and(|now| now == *file)
        {
            // Gone already when another process was quicker; a successor's socket is left alone.
            let _ = std::fs::remove_file(path);
        }
        let mut farewell = Vec::new();
        put_preamble(&mut farewell);
        Goodbye { last_taken: 0, reason: GoodbyeReason::Draining }.put(&mut farewell);
        while let Ok(Some(socket)) = self.accept() {
            let connection = Descriptor::of(&socket);
            // What was read goes away with the connection: unread bytes would reset it, and the farewell with it.
            let _ = connection.receive(&mut [0; 4096]);
            let _ = connection.send(&farewell);
            connection.end_sending();
        }
        Descriptor::of(&self.socket).end_both();
    }
}
