//! The vocabulary of IBP: what a node, a host and an app are, and what two processes say to one another.
//!
//! - [`config`]: the configuration of a cluster and the part of it that one node sees ([`config::View`]).
//! - [`wire`]: the transaction protocol as code without I/O: bytes in, events out.
//!
//! This crate opens no socket, starts no thread and reads no clock.
#![forbid(unsafe_code)]

pub mod config;
pub mod wire;

mod load;

pub use load::Load;

/// The examples of the first page are compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct FirstPage;
