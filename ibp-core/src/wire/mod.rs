//! The transaction protocol, as code without I/O: bytes in, events out. `docs/protocol.md` lays out every byte.
//!
//! A connection begins with the bytes that [`Protocol::detect`] looks at. [`ib2`] is the requester's protocol; its
//! [`ib2::ServerSession`] and [`ib2::ClientSession`] take what a socket delivered and say what it means:
//!
//! ```
//! use ibp_core::wire::{Execution, Limits, TransactionId, ib2};
//!
//! // A client writes hello and request in one flight ...
//! let mut flight = Vec::new();
//! ib2::put_preamble(&mut flight);
//! ib2::ClientHello::plain("CORE").put(&mut flight);
//! let request = ib2::Request {
//!     number: 1,
//!     last: true,
//!     transaction: TransactionId([7; 16]),
//!     remaining_ms: 5_000,
//!     files: 0,
//!     app: "ibp_test_echo",
//!     node: "ECIF",
//!     body: b"hello",
//! };
//! request.put(&mut flight);
//!
//! // ... and a server reads them.
//! let mut server = ib2::ServerSession::new();
//! let limits = Limits::default();
//! let ib2::ServerStep::Event { event: ib2::ServerEvent::Hello(hello), used } =
//!     server.step(&flight, &limits)? else { unreachable!() };
//! assert_eq!(hello.node, "CORE");
//! let ib2::ServerStep::Event { event: ib2::ServerEvent::Request(request), .. } =
//!     server.step(&flight[used..], &limits)? else { unreachable!() };
//! assert_eq!((request.app, request.body), ("ibp_test_echo", &b"hello"[..]));
//! # Ok::<(), ibp_core::wire::ProtocolError>(())
//! ```

mod bytes;
mod detect;
mod error;
mod execution;
pub mod ib2;
mod limits;
mod transaction;

pub use detect::Protocol;
pub use error::{ErrorCode, ProtocolError};
pub use execution::{AbortReason, Execution, Outcome, RejectReason};
pub use limits::Limits;
pub use transaction::TransactionId;
