//! The settings of the three programs: `ibms.conf`, `ibma.conf`, `ibas.conf`.
//!
//! Every setting has a default; a field that is not known is a warning, so that a file may be older or newer than the
//! program.

mod ibas;
mod ibma;
mod ibms;
mod log;

pub use ibas::{IbasSettings, Mode, Security, WorkerPool};
pub use ibma::{Connecting, IbmaSettings};
pub use ibms::{IbmsSettings, KeyChange};
pub use log::{LogChannel, LogLevel, LogOutput, LogPath, LogSettings};

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::files::{ClusterFiles, Loaded, read_text};
use super::json::{Reader, Shape, Source};
use super::{ConfigError, rule};

/// Reads a settings file from disk and has `parse` read its text.
fn load<T>(
    path: &Path,
    parse: impl FnOnce(Source<'_>) -> Result<Loaded<T>, ConfigError>,
) -> Result<Loaded<T>, ConfigError> {
    let text = read_text(path)?;
    parse(Source::new(&path.display().to_string(), &text))
}

/// The names of the files of a cluster's configuration, relative to `etc` unless they are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFileNames {
    /// The file of nodes.
    pub nodes_conf: PathBuf,
    /// The file of apps.
    pub apps_conf: PathBuf,
    /// The file of projects.
    pub projects_conf: PathBuf,
    /// The file of pair keys, relative to `keys`.
    pub keys_conf: PathBuf,
}

impl ClusterFileNames {
    /// The paths of the files, given the directories of the installation.
    pub fn resolve(&self, etc: &Path, keys: &Path) -> ClusterFiles {
        ClusterFiles {
            nodes: etc.join(&self.nodes_conf),
            apps: etc.join(&self.apps_conf),
            projects: etc.join(&self.projects_conf),
            keys: keys.join(&self.keys_conf),
        }
    }

    const SHAPE: Shape =
        Shape::new("config section", &["nodes_conf", "apps_conf", "projects_conf", "keys_conf"]);

    fn read(&mut self, reader: &mut Reader<'_>) {
        reader.object(&Self::SHAPE, |reader, field| {
            let name = match field {
                "nodes_conf" => &mut self.nodes_conf,
                "apps_conf" => &mut self.apps_conf,
                "projects_conf" => &mut self.projects_conf,
                _ => &mut self.keys_conf,
            };
            match reader.text() {
                Some(text) if text.is_empty() => {
                    reader.error(reader.value_span(), "the name of a file is expected")
                }
                Some(text) => *name = PathBuf::from(&*text),
                None => {}
            }
        });
    }
}

impl Default for ClusterFileNames {
    fn default() -> ClusterFileNames {
        ClusterFileNames {
            nodes_conf: "ibp_nodes.conf".into(),
            apps_conf: "ibp_apps.conf".into(),
            projects_conf: "ibp_projects.conf".into(),
            keys_conf: "ibp_keys.conf".into(),
        }
    }
}

/// Reads `"server" : { "ip" : ... , "port" : ... }`.
fn server(reader: &mut Reader<'_>, addr: &mut SocketAddr) {
    const SERVER: Shape = Shape::new("server section", &["ip", "port"]);
    reader.object(&SERVER, |reader, field| match field {
        "ip" => {
            if let Some(ip) = reader.ip() {
                addr.set_ip(ip);
            }
        }
        _ => {
            if let Some(port) = port(reader) {
                addr.set_port(port);
            }
        }
    });
}

fn port(reader: &mut Reader<'_>) -> Option<u16> {
    reader.integer(1..=65_535).and_then(|port| u16::try_from(port).ok())
}

/// Replaces `setting` by a number within a range, if one stands there.
fn number(reader: &mut Reader<'_>, setting: &mut u32, least: u32, most: u32) {
    if let Some(number) = reader.integer(least.into()..=most.into()) {
        *setting = u32::try_from(number).unwrap_or(most);
    }
}

/// Replaces `setting` by a switch, if one stands there.
fn flag(reader: &mut Reader<'_>, setting: &mut bool) {
    if let Some(flag) = reader.flag() {
        *setting = flag;
    }
}

/// Where a program listens, or is looked for, unless its settings say otherwise.
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// `IP:PORT`, with brackets around an IPv6 address; `None` if the text is empty.
fn optional_address(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let text = reader.text().filter(|text| !text.is_empty())?;
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.port() != 0 => match rule::usable(addr.ip()) {
            Ok(()) => return Some(addr),
            Err(rule) => reader.error(reader.value_span(), rule.to_string()),
        },
        _ => reader.error_with_hint(
            reader.value_span(),
            "an IP address and a port are expected",
            "write for example \"158.1.0.55:26001\" or \"[2001:db8::1]:26001\"",
        ),
    }
    None
}

/// A list of IP addresses in quotes.
fn addresses(reader: &mut Reader<'_>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    reader.list(|reader| addresses.extend(reader.ip()));
    addresses
}
