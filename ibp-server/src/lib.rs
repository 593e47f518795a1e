//! The server platform of IBP: a supervised pool of worker processes that share all connections.
//!
//! A service is a closure (or any [`Service`]) by the name of its app. Each call runs alone in a process of its own:
//! an app that crashes, hangs or leaks harms nobody else, and its client is told the truth.
//!
//! ```no_run
//! use ibp_server::{Platform, Request, Response};
//!
//! fn main() -> Result<(), ibp_server::ServerError> {
//!     let platform = Platform::builder()
//!         .listen(([127, 0, 0, 1], 18001).into())
//!         .node("ECIF")
//!         .workers(4)
//!         .service("ibp_test_echo", |request: &Request<'_>, response: &mut Response<'_>| {
//!             response.extend_from_slice(request.body());
//!             0
//!         })
//!         .build()?;
//!     let summary = platform.run()?; // until TERM or INT
//!     println!("{} requests executed", summary.executed);
//!     Ok(())
//! }
//! ```
//!
//! # The processes
//!
//! ```text
//! manager ─┬─ keeper 0 ── worker 0 ─┐
//!          ├─ keeper 1 ── worker 1 ─┼── one set of ready connections (epoll), one table of them in shared memory
//!          └─ keeper N ── worker N ─┘
//! ```
//!
//! - The **manager** is the process that called [`Platform::run`]. It serves nobody and runs no app.
//! - A **keeper** shares its worker's descriptor table but not its memory. When the worker dies, its connections are
//!   still open in the keeper, which answers the one that was being served and forks the next worker.
//! - The **workers** all wait on the same set. Whichever is woken serves one visit to one connection and never waits
//!   for a peer, so a handful of workers serves thousands of long connections.

mod burial;
mod connections;
mod conversation;
mod error;
mod event;
mod keeper;
mod listener;
mod manager;
mod passing;
mod platform;
mod pool;
mod service;
mod settings;
mod shared;
mod sys;
mod worker;

pub use error::ServerError;
pub use ibp_core::Load;
pub use ibp_core::wire::{Limits, TransactionId};
pub use manager::Summary;
pub use platform::{Builder, Platform};
pub use service::{Request, Response, Service};
pub use settings::Settings;

/// The examples of the first page are compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct FirstPage;
