//! Ask a node to run an app: with a deadline, over the host that is least busy, and with an exact statement of what is
//! known when something breaks.
//!
//! A *node* is a named group of hosts that offer the same *apps*. A client asks a node, not a host; which of its hosts
//! answers is this crate's affair.
//!
//! ```
//! use std::time::Duration;
//!
//! use ibp_client::{Client, State};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let address = server::start()?;
//! // In an installation: `Client::open("ibma.conf")?`. Without one, the nodes are given:
//! let client = Client::builder()
//!     .node("ECIF", [address])
//!     .app("ECIF_CUSTOMER_QUERY", Duration::from_secs(5))
//!     .build()?;
//!
//! // A short call: a connection for one request, to the host that is chosen for it.
//! let response = client.request("ECIF", "ECIF_CUSTOMER_QUERY").body("customer 4711").send()?;
//! assert!(response.is_success());
//! assert_eq!(&*response, b"customer 4711");
//!
//! // A long connection: many calls, one after the other, to one host.
//! let mut connection = client.connect("ECIF")?;
//! for customer in ["customer 1", "customer 2"] {
//!     let response = connection.call("ECIF_CUSTOMER_QUERY", customer.as_bytes())?;
//!     assert_eq!(&*response, customer.as_bytes());
//! }
//!
//! // When it fails, the state says what may be done.
//! if let Err(error) = client.request("ECIF", "ECIF_TRANSFER").body("100.00").send() {
//!     match error.state() {
//!         State::NotSent => println!("nothing happened, it may be sent again: {error}"),
//!         State::Suspicious => println!("{error}: the platform says {:?}", client.outcome(&error)?.outcome),
//!         State::Responded => println!("it was executed: {error}"),
//!     }
//! }
//! # Ok(())
//! # }
//! # // A server for this example: it answers each request with its body.
//! # mod server {
//! #     use std::io::{Read, Write};
//! #     use ibp_core::{Load, wire::{Execution, Limits, ib2::{self, ServerEvent, ServerStep}}};
//! #
//! #     pub fn start() -> std::io::Result<std::net::SocketAddr> {
//! #         let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! #         let address = listener.local_addr()?;
//! #         std::thread::spawn(move || {
//! #             for stream in listener.incoming().flatten() {
//! #                 std::thread::spawn(move || serve(stream));
//! #             }
//! #         });
//! #         Ok(address)
//! #     }
//! #
//! #     fn serve(mut stream: std::net::TcpStream) -> std::io::Result<()> {
//! #         let (mut session, limits) = (ib2::ServerSession::new(), Limits::default());
//! #         let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
//! #         loop {
//! #             let mut output = Vec::new();
//! #             let mut last = false;
//! #             match session.step(&input, &limits).map_err(std::io::Error::other)? {
//! #                 ServerStep::Event { event: ServerEvent::Hello(_), used } => {
//! #                     ib2::put_preamble(&mut output);
//! #                     ib2::ServerHello::plain(limits, Load { busy: 1, workers: 4 }).put(&mut output);
//! #                     input.drain(..used);
//! #                 }
//! #                 ServerStep::Event { event: ServerEvent::Request(request), used } => {
//! #                     last = request.last;
//! #                     let head = ib2::ResponseHead {
//! #                         number: request.number,
//! #                         transaction: request.transaction,
//! #                         execution: Execution::Executed(0),
//! #                         load: Load { busy: 1, workers: 4 },
//! #                         files: 0,
//! #                     };
//! #                     ib2::Response { head, file_names: &[], body: request.body }.put(&mut output);
//! #                     input.drain(..used);
//! #                 }
//! #                 _ => match stream.read(&mut chunk)? {
//! #                     0 => return Ok(()),
//! #                     count => input.extend_from_slice(&chunk[..count]),
//! #                 },
//! #             }
//! #             stream.write_all(&output)?;
//! #             if last {
//! #                 return Ok(());
//! #             }
//! #         }
//! #     }
//! # }
//! ```
//!
//! # What is known after a failure
//!
//! | state | what happened | what to do |
//! | --- | --- | --- |
//! | [`State::NotSent`] | nothing was executed; the other hosts were tried already | send it again, if [`Error::is_retryable`] |
//! | [`State::Suspicious`] | it was sent, and its effect is not known | ask ([`Client::outcome`]), or resolve it by business |
//! | [`State::Responded`] | it was executed, and something failed after that | do not send it again |
//!
//! An app that returns another code than 0 has answered: that is a [`Response`], not an error.
//!
//! # What it asks of the process that it lives in
//!
//! Nothing: it starts no thread, installs no signal handler, raises no SIGPIPE and goes on when a signal interrupts it. A
//! [`Client`] is shared by all threads. After a fork the client goes on working in the child; a [`Connection`] stays the
//! parent's, and says so when the child uses it.
//!
//! A call on a long connection makes two system calls, allocates nothing and takes no lock.
#![forbid(unsafe_code)]

mod balance;
mod buffers;
mod builder;
mod call;
mod cause;
mod client;
mod connection;
mod error;
mod link;
mod names;
mod outcome;
mod reach;
mod request;
mod response;
mod transaction_ids;
mod transport;

pub use balance::{Balancer, Candidate, Hosts, LeastLoaded, TwoChoices};
pub use builder::{ClientBuilder, DEFAULT_TIMEOUT};
pub use cause::{Cause, Unusable};
pub use client::Client;
pub use connection::{ConnectOptions, Connection, ConnectionCall};
pub use error::{Attempt, Error, Failure, Phase, State};
pub use ibp_core::Load;
pub use ibp_core::wire::ib2::GoodbyeReason;
pub use ibp_core::wire::{
    AbortReason, ErrorCode, Execution, Limits, Outcome, ProtocolError, RejectReason, TransactionId,
};
pub use ibp_shm::{Reported, ShmError};
pub use outcome::OutcomeReport;
pub use request::Request;
pub use response::Response;

/// The examples of the first page are compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct FirstPage;
