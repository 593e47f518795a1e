//! `ibas.conf`: the platform.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{LogSettings, addresses, flag, load, loopback, number, server};
use crate::config::json::{Reader, Shape, Source};
use crate::config::{ConfigError, Loaded};

/// The settings of the platform, `ibas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbasSettings {
    /// Where it listens; 127.0.0.1:18001 by default.
    pub server: SocketAddr,
    /// Its processes.
    pub pool: WorkerPool,
    /// What it proposes to its clients.
    pub security: Security,
    /// How many opened app packages a worker keeps; 1,000 by default.
    pub max_so_cache_count: u32,
    /// The agent's settings file, relative to `etc`; `ibma.conf` by default.
    pub ibma_config_filename: PathBuf,
    /// Log files.
    pub log: LogSettings,
}

/// How worker processes are kept (section `mpm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerPool {
    /// When workers are made; a static pool by default.
    pub mode: Mode,
    /// The most workers, and in a static pool their number; 10 by default.
    pub max_count: u32,
    /// In a dynamic pool, fewer idle workers than this and some are added; 1 by default.
    pub min_idle_count: u32,
    /// In a dynamic pool, more idle workers than this and some end; 5 by default.
    pub max_idle_count: u32,
    /// The most workers that a dynamic pool adds in one round; 1 by default.
    pub create_interval: u32,
    /// The most workers that a dynamic pool ends in one round; 10 by default.
    pub destroy_interval: u32,
    /// A worker of either pool is replaced after so many transactions, 0 for never; 10,000 by default.
    pub max_process_count: u32,
}

/// When worker processes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One for every transaction.
    Fork,
    /// All at start.
    StaticWorkerPool,
    /// As the load asks for.
    DynamicWorkerPool,
}

/// What the platform proposes when a client says hello (section `security`); the stronger of its and the client's wish
/// wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Whether messages are authenticated; on by default.
    pub sign: bool,
    /// Whether messages are compressed; on by default.
    pub compress: bool,
    /// Whether messages are encrypted; on by default.
    pub encrypt: bool,
    /// The addresses that may use the protocols without keys although keys are set (`plain_allow`); none by default.
    pub plain_allow: Vec<IpAddr>,
}

impl Default for IbasSettings {
    fn default() -> IbasSettings {
        IbasSettings {
            server: loopback(18001),
            pool: WorkerPool::default(),
            security: Security::default(),
            max_so_cache_count: 1000,
            ibma_config_filename: "ibma.conf".into(),
            log: LogSettings::of("ibas"),
        }
    }
}

impl Default for WorkerPool {
    fn default() -> WorkerPool {
        WorkerPool {
            mode: Mode::StaticWorkerPool,
            max_count: 10,
            min_idle_count: 1,
            max_idle_count: 5,
            create_interval: 1,
            destroy_interval: 10,
            max_process_count: 10_000,
        }
    }
}

impl Default for Security {
    fn default() -> Security {
        Security { sign: true, compress: true, encrypt: true, plain_allow: Vec::new() }
    }
}

impl IbasSettings {
    /// Reads `ibas.conf` from disk.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn load(path: &Path) -> Result<Loaded<IbasSettings>, ConfigError> {
        load(path, IbasSettings::read)
    }

    /// Reads the text of an `ibas.conf`.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn read(source: Source<'_>) -> Result<Loaded<IbasSettings>, ConfigError> {
        const FILE: Shape = Shape::new("file", &["ibas", "ibma"]).required(&["ibas"]);
        const IBAS: Shape = Shape::new("ibas section", &["server", "mpm", "security", "app", "log"]);
        const APP: Shape = Shape::new("app section", &["max_so_cache_count"]);
        let mut settings = IbasSettings::default();
        let mut reader = Reader::new(source);
        reader.root(&FILE, |reader, section| match section {
            "ibas" => {
                reader.object(&IBAS, |reader, section| match section {
                    "server" => server(reader, &mut settings.server),
                    "mpm" => settings.pool.read(reader),
                    "security" => settings.security.read(reader),
                    "app" => {
                        reader.object(&APP, |reader, _| {
                            number(reader, &mut settings.max_so_cache_count, 1, 1_000_000);
                        });
                    }
                    _ => settings.log.read(reader),
                });
            }
            _ => settings.ibma(reader),
        });
        Ok(Loaded { warnings: reader.finish()?, value: settings })
    }

    fn ibma(&mut self, reader: &mut Reader<'_>) {
        const IBMA: Shape = Shape::new("ibma section", &["config_filename"]);
        reader.object(&IBMA, |reader, _| {
            if let Some(name) = reader.text().filter(|name| !name.is_empty()) {
                self.ibma_config_filename = PathBuf::from(&*name);
            }
        });
    }
}

impl WorkerPool {
    /// More worker processes than this are a slip, not a wish.
    const MOST: u32 = 4_095;

    fn read(&mut self, reader: &mut Reader<'_>) {
        const MPM: Shape = Shape::new("mpm section", &["mode", "max_count", "DYNAMIC_WORKERPOOL"]);
        const MODES: [(&str, Mode); 3] = [
            ("FORK", Mode::Fork),
            ("STATIC_WORKERPOOL", Mode::StaticWorkerPool),
            ("DYNAMIC_WORKERPOOL", Mode::DynamicWorkerPool),
        ];
        let section = reader.object(&MPM, |reader, field| match field {
            "mode" => {
                if let Some(index) = reader.word(&MODES.map(|(word, _)| word)) {
                    self.mode = MODES[index].1;
                }
            }
            "max_count" => number(reader, &mut self.max_count, 1, WorkerPool::MOST),
            _ => self.dynamic(reader),
        });
        if let (Some(section), true) = (section, self.min_idle_count > self.max_idle_count) {
            let message = format!(
                "min_idle_count {} is greater than max_idle_count {}",
                self.min_idle_count, self.max_idle_count
            );
            reader.error(section.beginning(), message);
        }
    }

    fn dynamic(&mut self, reader: &mut Reader<'_>) {
        const DYNAMIC: Shape = Shape::new(
            "DYNAMIC_WORKERPOOL section",
            &["min_idle_count", "max_idle_count", "create_interval", "destroy_interval", "max_process_count"],
        );
        const MOST: u32 = WorkerPool::MOST;
        reader.object(&DYNAMIC, |reader, field| match field {
            "min_idle_count" => number(reader, &mut self.min_idle_count, 0, MOST),
            "max_idle_count" => number(reader, &mut self.max_idle_count, 1, MOST),
            "create_interval" => number(reader, &mut self.create_interval, 1, MOST),
            "destroy_interval" => number(reader, &mut self.destroy_interval, 1, MOST),
            _ => number(reader, &mut self.max_process_count, 0, u32::MAX),
        });
    }
}

impl Security {
    fn read(&mut self, reader: &mut Reader<'_>) {
        const SECURITY: Shape =
            Shape::new("security section", &["sign_flag", "compress_flag", "encrypt_flag", "plain_allow"]);
        reader.object(&SECURITY, |reader, field| match field {
            "sign_flag" => flag(reader, &mut self.sign),
            "compress_flag" => flag(reader, &mut self.compress),
            "encrypt_flag" => flag(reader, &mut self.encrypt),
            _ => self.plain_allow = addresses(reader),
        });
    }
}
