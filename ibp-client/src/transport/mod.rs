//! Sockets with deadlines: connecting, sending all of something, receiving what came.

mod connect;
mod deadline;
mod socket;
mod unix;

pub(crate) use connect::{ConnectFailure, connect_tcp};
pub(crate) use deadline::Deadline;
pub(crate) use socket::{Readiness, Socket};
pub(crate) use unix::{Trust, connect_unix};
