//! `ibma.conf`: the agent, and what every client of the host takes from it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{ClusterFileNames, LogSettings, load, loopback, number, server};
use crate::config::json::{Reader, Shape, Source};
use crate::config::{
    CONNECTING_TIMEOUT_SECONDS, ConfigError, Loaded, MIN_COMPRESS_BYTES, Name, RETRY_CONNECT_SECONDS,
    Registry, View, rule,
};

/// The settings of the agent, `ibma`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbmaSettings {
    /// The node that this host belongs to; it has no default.
    pub this_node: Name,
    /// Bodies larger than this many bytes may be compressed; 16 by default.
    pub min_compress_size: u32,
    /// The files of the cluster's configuration, for an agent that takes it from files of its own host instead of a
    /// registry: section `config`, as in `ibms.conf`.
    pub config: Option<ClusterFileNames>,
    /// The group whose members may read the configuration in shared memory, by name or number (`shm_group`); by
    /// default nobody but the agent's own user.
    pub shm_group: Option<String>,
    /// Where the configuration in shared memory lies (`shm_directory`); by default a directory of the installation's own
    /// under `/dev/shm`.
    pub shm_directory: Option<PathBuf>,
    /// How clients connect.
    pub connecting: Connecting,
    /// Where the registry listens (section `ibms`); 127.0.0.1:16001 by default.
    pub registry: SocketAddr,
    /// Log files.
    pub log: LogSettings,
}

/// How the clients of a host connect (section `ibac`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// How long one attempt to connect may take, in seconds; 10 by default.
    pub connecting_timeout: u32,
    /// How long a host that could not be reached rests, in seconds; 60 by default.
    pub retry_connect_timeval: u32,
}

impl Default for Connecting {
    fn default() -> Connecting {
        Connecting {
            connecting_timeout: CONNECTING_TIMEOUT_SECONDS,
            retry_connect_timeval: RETRY_CONNECT_SECONDS,
        }
    }
}

impl IbmaSettings {
    /// The default settings of a node.
    pub fn new(this_node: impl Into<Name>) -> IbmaSettings {
        IbmaSettings {
            this_node: this_node.into(),
            min_compress_size: MIN_COMPRESS_BYTES,
            config: None,
            shm_group: None,
            shm_directory: None,
            connecting: Connecting::default(),
            registry: loopback(16001),
            log: LogSettings::of("ibma"),
        }
    }

    /// Puts into a view what these settings say beside the cluster's configuration: connecting times, the least size to
    /// compress, the registry (none for an agent that takes its configuration from files).
    pub fn apply(&self, view: &mut View) {
        view.connecting_timeout_ms = self.connecting.connecting_timeout.saturating_mul(1000);
        view.retry_connect_ms = self.connecting.retry_connect_timeval.saturating_mul(1000);
        view.min_compress_size = self.min_compress_size;
        let registry = Registry { ip: self.registry.ip(), port: self.registry.port() };
        view.registry = self.config.is_none().then_some(registry);
    }

    /// Reads `ibma.conf` from disk.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn load(path: &Path) -> Result<Loaded<IbmaSettings>, ConfigError> {
        load(path, IbmaSettings::read)
    }

    /// Reads the text of an `ibma.conf`.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn read(source: Source<'_>) -> Result<Loaded<IbmaSettings>, ConfigError> {
        const FILE: Shape = Shape::new("file", &["ibma", "ibac", "ibms"]).required(&["ibma"]);
        const REGISTRY: Shape = Shape::new("ibms section", &["server"]);
        let mut settings = IbmaSettings::new("");
        let mut reader = Reader::new(source);
        reader.root(&FILE, |reader, section| match section {
            "ibma" => settings.ibma(reader),
            "ibac" => settings.connecting.read(reader),
            _ => {
                reader.object(&REGISTRY, |reader, _| server(reader, &mut settings.registry));
            }
        });
        Ok(Loaded { warnings: reader.finish()?, value: settings })
    }

    fn ibma(&mut self, reader: &mut Reader<'_>) {
        const IBMA: Shape =
            Shape::new("ibma section", &["this_node", "comm", "config", "shm_group", "shm_directory", "log"])
                .required(&["this_node"]);
        const COMM: Shape = Shape::new("comm section", &["min_compress_size"]);
        reader.object(&IBMA, |reader, field| match field {
            "this_node" => {
                if let Some(name) = reader.text() {
                    if let Err(rule) = rule::name(&name) {
                        reader.error(reader.value_span(), rule.to_string());
                    }
                    self.this_node = Name::from(&*name);
                }
            }
            "comm" => {
                reader.object(&COMM, |reader, _| number(reader, &mut self.min_compress_size, 0, u32::MAX));
            }
            "config" => {
                let mut names = ClusterFileNames::default();
                names.read(reader);
                self.config = Some(names);
            }
            "shm_group" => {
                let group = reader.text().filter(|group| !group.is_empty());
                self.shm_group = group.map(|group| group.into_owned());
            }
            "shm_directory" => {
                let path = reader.text().filter(|path| !path.is_empty());
                if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                    reader.error(reader.value_span(), "an absolute path is expected");
                }
                self.shm_directory = path.map(|path| PathBuf::from(&*path));
            }
            _ => self.log.read(reader),
        });
    }
}

impl Connecting {
    fn read(&mut self, reader: &mut Reader<'_>) {
        // The published sample of this file lacks the comma between the two.
        const IBAC: Shape = Shape::new("ibac section", &["connecting_timeout", "retry_connect_timeval"])
            .tolerating_missing_comma("connecting_timeout", "retry_connect_timeval");
        reader.object(&IBAC, |reader, field| match field {
            "connecting_timeout" => number(reader, &mut self.connecting_timeout, 1, 3_600),
            _ => number(reader, &mut self.retry_connect_timeval, 0, 86_400),
        });
    }
}
