use std::io;
use std::path::PathBuf;

use ibp_core::config::{ConfigError, UnknownNode};
use ibp_shm::ShmError;

/// Why an agent cannot begin or go on. What was published before stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The configuration is wrong; the text has everything, by line and column.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The settings name a node that the configuration does not have.
    #[error("{}: {source}", settings.display())]
    UnknownNode {
        /// The file of settings.
        settings: PathBuf,
        /// Which node.
        source: UnknownNode,
    },
    /// The settings say neither files nor anything else that this version can take a configuration from.
    #[error(
        "{}: there is no section \"config\" in \"ibma\": name the files to take the configuration from; \
         a registry cannot be asked by this version",
        settings.display()
    )]
    NoSource {
        /// The file of settings.
        settings: PathBuf,
    },
    /// The settings give the segments to a group that this host does not have.
    #[error("there is no group {group:?} on this host; shm_group takes the name or the number of one")]
    UnknownGroup {
        /// The group.
        group: String,
    },
    /// The segments cannot be used.
    #[error("{0}")]
    Segments(#[from] ShmError),
    /// A system call failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl AgentError {
    pub(crate) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> AgentError {
        AgentError::Io { doing: doing.into(), source: source.into() }
    }
}
