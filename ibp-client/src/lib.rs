//! Requester of IBP: ask a node to run an app, with deadlines, load balancing and an exact statement of what is known after a failure.
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
pub use outcome::Outcome;
pub use request::Request;
pub use response::Response;

/// The examples of the first page are compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct FirstPage;
