//! Where an agent's configuration comes from.

use std::fmt;
use std::os::fd::BorrowedFd;

use ibp_core::config::{Diagnostic, IbmaSettings, View};

use super::AgentError;

/// Tells what a node may see of the cluster, and when that may have changed.
pub trait Source: fmt::Debug + Send {
    /// What the node may see now.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn fetch(&mut self) -> Result<Fetched, AgentError>;

    /// A descriptor that becomes readable when the configuration may have changed; [`take_changes`](Source::take_changes)
    /// makes it unreadable again.
    fn changes(&self) -> BorrowedFd<'_>;

    /// Takes what made [`changes`](Source::changes) readable; whether the configuration may have changed.
    fn take_changes(&mut self) -> bool;

    /// Whether the configuration changed although nothing said so. Asked about once a second.
    fn has_changed_unnoticed(&mut self) -> bool;
}

/// What a source tells.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What the node may see.
    pub view: View,
    /// The agent's settings.
    pub settings: IbmaSettings,
    /// What is doubtful about the configuration.
    pub warnings: Vec<Diagnostic>,
}
