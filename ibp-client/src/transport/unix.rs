use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix};
use rustix::process::geteuid;

use super::connect::open;
use super::{Deadline, Socket};

/// Where the Unix sockets of this machine's platforms lie, and whose they may be.
#[derive(Debug)]
pub(crate) struct Trust {
    directory: PathBuf,
}

impl Trust {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Whether a platform of this user may be believed: root, this process's user, or the owner of the directory.
    fn includes(&self, uid: u32) -> bool {
        uid == 0
            || uid == geteuid().as_raw()
            || std::fs::symlink_metadata(&self.directory).is_ok_and(|directory| directory.uid() == uid)
    }
}

/// Connects to the Unix socket of the platform that listens at `host`, if it is on this machine and trusted; `None` if
/// not, for whatever reason: TCP is the way then.
pub(crate) fn connect_unix(host: SocketAddr, trust: &Trust, deadline: Deadline) -> Option<Socket> {
    let mut path = [0; LONGEST_PATH];
    let address = SocketAddrUnix::new(socket_path(&trust.directory, host, &mut path)?).ok()?;
    let fd = open(AddressFamily::UNIX, &address, deadline).ok()?;
    // The peer of a connection that waits in the listener's queue is the process that listens.
    let peer = socket_peercred(&fd).ok()?.uid.as_raw();
    if !trust.includes(peer) {
        tracing::warn!(%host, peer, "a Unix socket belongs to a user who is not trusted; using TCP");
        return None;
    }
    Some(Socket::unix(fd))
}

/// What `sun_path` holds, less the final NUL.
const LONGEST_PATH: usize = 107;

/// `<directory>/ibas.<address>.sock`, without allocating; `None` if it is too long for a socket's name.
fn socket_path<'a>(
    directory: &Path,
    host: SocketAddr,
    space: &'a mut [u8; LONGEST_PATH],
) -> Option<&'a [u8]> {
    let mut rest = &mut space[..];
    rest.write_all(directory.as_os_str().as_bytes()).ok()?;
    write!(rest, "/ibas.{host}.sock").ok()?;
    let unused = rest.len();
    Some(&space[..LONGEST_PATH - unused])
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PATH, socket_path};
    use std::path::Path;

    fn path_of(directory: &str, host: &str) -> Option<String> {
        let mut space = [0; LONGEST_PATH];
        let path = socket_path(Path::new(directory), host.parse().unwrap(), &mut space)?;
        Some(String::from_utf8(path.to_vec()).unwrap())
    }

    #[test]
    fn paths_follow_the_convention() {
        assert_eq!(
            path_of("/dev/shm/ibp-0-00", "127.0.0.1:18001").unwrap(),
            "/dev/shm/ibp-0-00/ibas.127.0.0.1:18001.sock"
        );
        assert_eq!(path_of("/d", "[::1]:18001").unwrap(), "/d/ibas.[::1]:18001.sock");
    }

    #[test]
    fn a_path_that_is_too_long_is_no_path() {
        let host = "127.0.0.1:1";
        let name = "/ibas.127.0.0.1:1.sock".len();
        assert!(path_of(&"d".repeat(LONGEST_PATH - name), host).is_some());
        assert!(path_of(&"d".repeat(LONGEST_PATH - name + 1), host).is_none());
    }
}
