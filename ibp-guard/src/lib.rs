//! Daemons of an IBP cluster, each behind a feature of its own.
//!
//! - `agent`: module [`agent`] publishes what a host's node may see of the cluster in shared memory, and follows
//!   changes of the configuration.
//! - `log-files`: module [`log_files`] writes log files as the settings name them.
//!
//! No process that serves or asks needs one of these daemons to go on: they bring new configuration, and what they
//! brought stays when they are gone.
#![forbid(unsafe_code)]

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "agent")]
pub mod daemon;
#[cfg(feature = "log-files")]
pub mod log_files;
