//! The agent: publishes a node's view of the cluster in shared memory, and follows changes of the configuration.
//!
//! An agent has a [`Source`] that tells what its node may see: [`FileSource`] reads it from files of the same host. What
//! the source tells is published when it differs from what is published; what is wrong with it is logged, and the
//! published view stays. Applications attach with [`ibp_shm::Reader`]; they neither wait for the agent nor depend on it.
//!
//! ```
//! use ibp_core::config::{Home, Program};
//! use ibp_guard::agent::{Agent, AgentOptions};
//! use ibp_shm::{Directory, Reader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let home = Home::at(directory.path().join("home"));
//! home.init(Program::Ibma)?;
//! # let settings = home.config_file("ibma.conf");
//! # let text = std::fs::read_to_string(&settings)?;
//! # let shm = directory.path().join("shm");
//! # let with = format!("\"shm_directory\" : \"{}\" , \"config\"", shm.display());
//! # std::fs::write(&settings, text.replacen("\"config\"", &with, 1))?;
//! let agent = Agent::open(&AgentOptions::new(home))?;
//!
//! let reader = Reader::attach(agent.directory())?;
//! assert_eq!(reader.current().this_node(), "ECIF");
//! assert_eq!(reader.current().generation(), agent.generation());
//! # agent.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, an agent is one process with one thread that waits for three things: a change of its source, a [`Command`] (a
//! signal, for a program), the next second.

mod attached;
mod command;
mod error;
mod file_source;
mod files;
mod run;
mod show;
mod source;
mod watch;

use std::fmt;
use std::path::PathBuf;

use ibp_core::config::{Diagnostic, Home, IbmaSettings, View};
use ibp_shm::{Directory, Publisher, PublisherOptions};

pub use attached::{Attached, attached};
pub use command::{Command, Commands, Sender};
pub use error::AgentError;
pub use file_source::FileSource;
pub use run::Stopped;
pub use show::{AppRow, HostRow, KvRow, NodeRow, ThisNode, apps, kv, nodes, this_node};
pub use source::{Fetched, Source};

/// What an agent needs to know at start.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The installation.
    pub home: Home,
    /// The file of settings.
    pub settings_file: PathBuf,
    /// Whether all segments are removed first; loads and retry times of hosts go with them.
    pub clean: bool,
}

impl AgentOptions {
    /// The usual options: `etc/ibma.conf` of the installation, going on from what is published.
    pub fn new(home: Home) -> AgentOptions {
        AgentOptions { settings_file: home.config_file("ibma.conf"), home, clean: false }
    }
}

/// An agent that has published.
pub struct Agent {
    source: Box<dyn Source>,
    directory: Directory,
    options: PublisherOptions,
    publisher: Publisher,
    view: View,
    /// What was wrong with the configuration when it was last looked at; said once.
    refused: Option<String>,
    /// What is published is known to be old, and why: there is no room, for example.
    behind: Option<String>,
}

impl Agent {
    /// Takes the configuration from the files that the settings name, and publishes it.
    ///
    /// # Errors
    /// Everything that is wrong with the files, or a directory of segments that cannot be used:
    /// [`ShmError::Busy`](ibp_shm::ShmError::Busy) with the process id of an agent that runs already. What was published
    /// before stays in force.
    pub fn open(options: &AgentOptions) -> Result<Agent, AgentError> {
        let source = FileSource::open(options.home.clone(), options.settings_file.clone())?;
        Agent::with_source(Box::new(source), &options.home, options.clean)
    }

    /// The same with any source.
    ///
    /// # Errors
    /// As [`open`](Agent::open).
    pub fn with_source(mut source: Box<dyn Source>, home: &Home, clean: bool) -> Result<Agent, AgentError> {
        let Fetched { view, settings, warnings } = source.fetch()?;
        log_warnings(&warnings);
        let directory = segments(home, &settings);
        let options = PublisherOptions { group: group(&settings)? };
        let open = if clean { Publisher::open_clean } else { Publisher::open };
        let mut publisher = open(&directory, options)?;
        let generation = publisher.publish(&view)?;
        tracing::info!(generation, node = view.this_node, directory = %directory.path().display(), "published");
        Ok(Agent { source, directory, options, publisher, view, refused: None, behind: None })
    }

    /// Where the segments lie.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The number of the generation that is published.
    pub fn generation(&self) -> u64 {
        self.publisher.generation().unwrap_or(0)
    }

    /// Ends and removes the segments. Readers keep what they have; new ones find nothing.
    ///
    /// Dropping an agent ends it too, and leaves the segments in place.
    ///
    /// # Errors
    /// Segments that cannot be removed.
    pub fn close(self) -> Result<(), AgentError> {
        Ok(self.publisher.close()?)
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("source", &self.source)
            .field("directory", &self.directory)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// Where the segments of an installation lie: where its settings say, or in the directory of its own.
pub fn segments(home: &Home, settings: &IbmaSettings) -> Directory {
    Directory::configured(home.path(), settings.shm_directory.as_deref())
}

/// The group that may use the segments, as a number.
fn group(settings: &IbmaSettings) -> Result<Option<u32>, AgentError> {
    match &settings.shm_group {
        None => Ok(None),
        Some(group) => match files::group_id(group) {
            Some(id) => Ok(Some(id)),
            None => Err(AgentError::UnknownGroup { group: group.clone() }),
        },
    }
}

fn log_warnings(warnings: &[Diagnostic]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
