//! IB2: hello, push files, request and response, pull files; each as frames on one connection.
//!
//! A connection begins, in both directions, with the four bytes of the preamble (`IB2` and the version), then only
//! frames follow: a header of 16 bytes ([`Header`]) and a payload. Each message type here writes itself to the end
//! of a buffer (`put`) and is read from the payload of one frame (`take`).

mod client;
mod files;
mod frame;
mod goodbye;
mod hello;
mod number;
mod outcome;
mod request;
mod response;
mod server;

pub use client::{ClientEvent, ClientSession, ClientStep};
pub use files::{FetchFile, FileBegin, MAX_FILE_DATA};
pub use frame::{FrameType, HEADER_LEN, Header, PREAMBLE, PREAMBLE_LEN, VERSION, put_preamble};
pub use goodbye::{Goodbye, GoodbyeReason, PeerError};
pub use hello::{ClientHello, ServerHello, features};
pub use outcome::{OutcomeAnswer, OutcomeQuery};
pub use request::{REQUEST_OVERHEAD, Request};
pub use response::{RESPONSE_OVERHEAD, Response, ResponseHead};
pub use server::{ServerEvent, ServerPhase, ServerSession, ServerStep};
