use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a platform could not be built or ended otherwise than it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The program has started threads already.
    #[error(
        "this process has {0} threads: build and run the platform before any thread is started, \
         because its workers are forked"
    )]
    Threads(usize),
    /// A setting has a value that it cannot have.
    #[error("setting `{name}`: {what}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What is wrong, and what is allowed.
        what: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", listen_hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("cannot listen on the Unix socket {}: {source}", .path.display())]
    UnixSocket {
        /// Its path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The process may not open as many descriptors as the settings need.
    #[error(
        "{needed} descriptors are needed for {connections} connections, and this process may open {allowed}: \
         raise the limit (ulimit -n) or lower max_connections"
    )]
    Descriptors {
        /// How many are needed.
        needed: u64,
        /// For how many connections.
        connections: usize,
        /// How many the process may open at most.
        allowed: u64,
    },
    /// The configuration in shared memory cannot be read.
    #[error("the configuration in shared memory: {0}")]
    Configuration(#[from] ibp_shm::ShmError),
    /// The kernel refused something that the platform cannot do without.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another program has it; `ss -ltnp` tells which)",
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need the right CAP_NET_BIND_SERVICE)",
        _ => "",
    }
}

/// Says what was tried when the kernel refuses it.
pub(crate) trait Tried<T> {
    fn tried(self, what: &'static str) -> Result<T, ServerError>;
}

impl<T, E: Into<io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, what: &'static str) -> Result<T, ServerError> {
        self.map_err(|source| ServerError::Kernel { what, source: source.into() })
    }
}
