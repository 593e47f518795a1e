//! `ibms.conf`: the registry.

use std::net::SocketAddr;
use std::path::Path;

use super::{ClusterFileNames, LogSettings, flag, load, loopback, number, optional_address, server};
use crate::config::json::{Reader, Shape, Source};
use crate::config::{ConfigError, Loaded};

/// The settings of the registry, `ibms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IbmsSettings {
    /// Where it listens; 127.0.0.1:16001 by default.
    pub server: SocketAddr,
    /// The files of the cluster's configuration.
    pub config: ClusterFileNames,
    /// How a pair goes over to a new key.
    pub key_change: KeyChange,
    /// Whether a new app package in `so/` is distributed at once; off by default.
    pub auto_download_bin: bool,
    /// The command agent that gets a second copy of what is saved.
    pub second_config_dump: Option<SocketAddr>,
    /// Log files.
    pub log: LogSettings,
}

/// How two nodes go over to a new key without a failing transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// For so many seconds after the change the old key is accepted; 120 by default.
    pub old_key_disable_elapse: u32,
    /// So many seconds after the change the new key is used for sending; 60 by default.
    pub new_key_enable_elapse: u32,
}

impl Default for IbmsSettings {
    fn default() -> IbmsSettings {
        IbmsSettings {
            server: loopback(16001),
            config: ClusterFileNames::default(),
            key_change: KeyChange::default(),
            auto_download_bin: false,
            second_config_dump: None,
            log: LogSettings::of("ibms"),
        }
    }
}

impl Default for KeyChange {
    fn default() -> KeyChange {
        KeyChange { old_key_disable_elapse: 120, new_key_enable_elapse: 60 }
    }
}

impl IbmsSettings {
    /// Reads `ibms.conf` from disk.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn load(path: &Path) -> Result<Loaded<IbmsSettings>, ConfigError> {
        load(path, IbmsSettings::read)
    }

    /// Reads the text of an `ibms.conf`.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn read(source: Source<'_>) -> Result<Loaded<IbmsSettings>, ConfigError> {
        const FILE: Shape = Shape::new("file", &["ibms"]).required(&["ibms"]);
        const IBMS: Shape = Shape::new("ibms section", &["server", "config", "security", "misc", "log"]);
        let mut settings = IbmsSettings::default();
        let mut reader = Reader::new(source);
        reader.root(&FILE, |reader, _| {
            reader.object(&IBMS, |reader, section| match section {
                "server" => server(reader, &mut settings.server),
                "config" => settings.config.read(reader),
                "security" => settings.key_change.read(reader),
                "misc" => settings.misc(reader),
                _ => settings.log.read(reader),
            });
        });
        Ok(Loaded { warnings: reader.finish()?, value: settings })
    }

    fn misc(&mut self, reader: &mut Reader<'_>) {
        const MISC: Shape = Shape::new("misc section", &["auto_download_bin_enable", "second_config_dump"]);
        reader.object(&MISC, |reader, field| match field {
            "auto_download_bin_enable" => flag(reader, &mut self.auto_download_bin),
            _ => self.second_config_dump = optional_address(reader),
        });
    }
}

impl KeyChange {
    fn read(&mut self, reader: &mut Reader<'_>) {
        const SECURITY: Shape =
            Shape::new("security section", &["old_key_disable_elapse", "new_key_enable_elapse"]);
        const DAY: u32 = 86_400;
        let section = reader.object(&SECURITY, |reader, field| match field {
            "old_key_disable_elapse" => number(reader, &mut self.old_key_disable_elapse, 0, DAY),
            _ => number(reader, &mut self.new_key_enable_elapse, 0, DAY),
        });
        if let (Some(section), true) = (section, self.old_key_disable_elapse <= self.new_key_enable_elapse) {
            let message = format!(
                "the old key is refused after {} s, but used for sending until {} s after a change",
                self.old_key_disable_elapse, self.new_key_enable_elapse
            );
            let hint = "old_key_disable_elapse has to be greater than new_key_enable_elapse";
            reader.error_with_hint(section.beginning(), message, hint);
        }
    }
}
