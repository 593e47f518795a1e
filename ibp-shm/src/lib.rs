//! Lock-free shared-memory configuration and load board of IBP: one publisher, any number of readers.
//!
//! The agent of a host publishes what its node may see of the cluster; every application process on the host
//! maps it and looks nodes, hosts and apps up without a lock, a system call or an allocation. What one
//! process learns about the load of a host, all others see at once. Either side may be killed at any
//! instruction, and the other goes on.
//!
//! ```
//! use ibp_core::Load;
//! use ibp_core::config::{Access, View, ViewHost, ViewNode};
//! use ibp_shm::{Directory, Publisher, PublisherOptions, Reader, Refresh, Retry, boottime_ms};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let path = scratch.path().join("segments");
//! let host = ViewHost { addr: "10.0.0.1:5281".parse()?, invalid: false };
//! let mut view = View {
//!     this_node: "SHOP".to_owned(),
//!     connecting_timeout_ms: 1_000,
//!     retry_connect_ms: 30_000,
//!     min_compress_size: 2_048,
//!     registry: None,
//!     access: Access::Open,
//!     nodes: vec![ViewNode { name: "BANK".to_owned(), invalid: false, hosts: vec![host], key: None }],
//!     apps: vec![],
//!     projects: vec![],
//!     kv: vec![],
//! };
//!
//! // The agent. An installation's own directory is `Directory::of_installation(home)`.
//! let directory = Directory::at(path);
//! let mut publisher = Publisher::open(&directory, PublisherOptions::default())?;
//! publisher.publish(&view)?;
//!
//! // An application, in any other process.
//! let reader = Reader::attach(&directory)?;
//! let now = boottime_ms();
//! {
//!     let config = reader.current();
//!     let bank = config.node("BANK").ok_or("no such node")?;
//!     let slot = bank.host(0).ok_or("no host")?.slot();
//!     assert_eq!(slot.retry(now), Retry::Ready);
//!     slot.report(Load { busy: 3, workers: 4 }, now);
//! }
//!
//! // A change reaches readers when they look for it, and takes no load with it.
//! view.nodes[0].hosts.push(ViewHost { addr: "10.0.0.2:5281".parse()?, invalid: false });
//! let generation = publisher.publish(&view)?;
//! assert_eq!(reader.refresh()?, Refresh::Switched(generation));
//! let config = reader.current();
//! let bank = config.node("BANK").ok_or("no such node")?;
//! assert_eq!(bank.host_count(), 2);
//! let known = bank.host(0).ok_or("no host")?.slot().load(now).ok_or("no load")?;
//! assert_eq!((known.permille, known.workers), (750, 4));
//! # Ok(())
//! # }
//! ```
//!
//! [`SharedArray`] and [`ForkWatch`] are the two other pieces of shared memory that the platform and the
//! client need. `docs/shared-memory.md` describes the files byte by byte.
#![deny(unsafe_code)]
// The model checker runs a part.
#![cfg_attr(loom, allow(dead_code))]

#[cfg(not(loom))]
mod attach;
#[cfg(not(loom))]
mod board;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod directory;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod fork_watch;
#[cfg(not(loom))]
mod image;
mod index;
#[cfg(not(loom))]
mod mapping;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod names;
mod publication;
#[cfg(not(loom))]
mod publisher;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod shared_array;
mod slot;
mod sync;
#[cfg(not(loom))]
mod unit;

#[cfg(not(loom))]
pub use clock::boottime_ms;
#[cfg(not(loom))]
pub use config::{App, Config, Host, Kv, Node};
#[cfg(not(loom))]
pub use directory::Directory;
#[cfg(not(loom))]
pub use error::ShmError;
#[cfg(not(loom))]
pub use fork_watch::ForkWatch;
pub use index::PublisherStatus;
#[cfg(not(loom))]
pub use publisher::{Publisher, PublisherOptions};
#[cfg(not(loom))]
pub use reader::{Guard, Reader, Refresh};
#[cfg(not(loom))]
pub use shared_array::SharedArray;
pub use slot::{Reported, Retry, Slot};

/// The parts that the model checker runs (`tests/loom.rs`): the same code, over plain memory.
#[cfg(loom)]
#[doc(hidden)]
pub mod model {
    pub use crate::index::{Index, Observed, WritableIndex};
    pub use crate::publication::{Followed, Store, follow, publish};
    pub use crate::slot::Line;
}

/// The examples of the first page are compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct FirstPage;
