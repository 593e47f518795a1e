//! What a system under test has to offer, so that the very same load drives each of them.

use std::path::Path;
use std::time::Duration;

use crate::Result;

/// One connection, or one source of short connections, that makes calls one after the other.
pub trait Caller: Send {
    /// Makes one call and checks that the answer repeats `body`.
    ///
    /// # Errors
    /// The call failed, or the answer differs.
    fn call(&mut self, body: &[u8]) -> Result<()>;
}

/// How long the connections of a scenario live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// One connection for all calls of a caller.
    Long,
    /// One connection a call, closed by the server first.
    Short,
}

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub struct ServerPlan<'a> {
    /// A directory in shared memory for whatever files it needs; removed after it was killed.
    pub scratch: &'a Path,
    /// Worker processes.
    pub workers: usize,
    /// What the clients will do; a server that can tell by itself ignores it.
    pub connections: Connections,
    /// The only core that the server may use, or all.
    pub core: Option<usize>,
}

/// A client and a server that can be put beside another one.
pub trait System: Sync {
    /// Its name in tables, records and on the command line.
    fn name(&self) -> &'static str;

    /// Serves in this process, which was started for it and has one thread, until it is killed. Calls `ready`
    /// once, with what clients need in order to connect, on one line.
    ///
    /// # Errors
    /// The server cannot be started, or ended by itself.
    fn serve(&self, plan: &ServerPlan<'_>, ready: &mut dyn FnMut(&str) -> Result<()>) -> Result<()>;

    /// A caller with a long connection to the server that said `address` when it was ready.
    ///
    /// # Errors
    /// It cannot connect.
    fn long(&self, address: &str) -> Result<Box<dyn Caller>>;

    /// A caller that connects for each call.
    ///
    /// # Errors
    /// Its client cannot be set up.
    fn short(&self, address: &str) -> Result<Box<dyn Caller>>;

    /// A caller whose calls each hold a worker for `stall`; `None` where connections own their workers, so that
    /// there is nobody to be delayed.
    ///
    /// # Errors
    /// It cannot connect.
    fn stalling(&self, address: &str, stall: Duration) -> Result<Option<Box<dyn Caller>>>;
}

/// A caller of the kind that a scenario asks for.
///
/// # Errors
/// As [`System::long`] and [`System::short`].
pub fn caller(system: &dyn System, connections: Connections, address: &str) -> Result<Box<dyn Caller>> {
    match connections {
        Connections::Long => system.long(address),
        Connections::Short => system.short(address),
    }
}
