//! Benchmarks of IBP beside the limits that it is measured against.
//!
//! The programs are `rpc` (transactions beside a hand-written blocking echo), `micro` (the shared-memory
//! configuration beside a standard `HashMap`) and `memory` (what a client and a worker cost). This library
//! holds what they share: the load generator, the servers as processes of their own, the rounds in which two
//! systems alternate, and how runs are kept. `README.md` beside this crate says what each figure means.

pub mod contest;
pub mod cpu;
pub mod ibp;
pub mod load;
pub mod memory;
pub mod micro;
pub mod raw_echo;
pub mod record;
pub mod roles;
pub mod scenario;
pub mod server_process;
pub mod system;
pub mod table;

/// What ends a benchmark early: every failure does, for a figure with failed calls in it means nothing.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A result whose error is a message for whoever runs the benchmark.
pub type Result<T> = std::result::Result<T, Error>;

/// The examples of the repository's first page are compiled as documentation tests here, where client and server meet.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct FirstPage;
