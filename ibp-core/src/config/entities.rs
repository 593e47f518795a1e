//! What a cluster is made of: nodes with their hosts and settings, apps, projects.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Name;
use super::rule::{self, Rule};

/// A node: a named group of hosts that offer the same apps; the unit of configuration and of balancing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique among the nodes.
    pub name: Name,
    /// Never chosen, and a request for it is rejected (in the files: any number other than 0).
    pub invalid: bool,
    /// Its hosts, in the order of the configuration.
    pub hosts: Vec<Host>,
    /// Settings of its applications, unique by key.
    pub kv: Vec<Kv>,
}

/// A host of a node: one address where one server platform listens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its address. Host names are not part of a configuration: looking one up can block, fail and change.
    pub ip: IpAddr,
    /// 1 to 65535; -65535 to -1 for a client-only host, which runs no server platform and is never chosen.
    pub port: i32,
    /// Never chosen.
    pub invalid: bool,
}

/// An application-defined setting of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    /// Its key, a name.
    pub key: Name,
    /// Its value: any text without a zero byte, up to 65,536 bytes.
    pub value: Box<str>,
}

/// An app: a transaction code, what a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name, unique among the apps.
    pub name: Name,
    /// A description for people: one line, up to 1,024 bytes.
    pub desc: Box<str>,
    /// The file name of the app package in `so/`; empty for an app that is built into the platform.
    pub bin: Box<str>,
    /// How long a client waits for the answer, in seconds: 1 to 86,400.
    pub timeout_seconds: u32,
    /// How long the app may run on the server, in seconds: 1 to 86,400, or 0 for one and a half times
    /// `timeout_seconds`.
    pub timeout2_seconds: u32,
    /// Never chosen, and a request for it is rejected.
    pub invalid: bool,
    /// The node that serves requests which name no node.
    pub server_node: Option<Name>,
}

/// A project: its client nodes may use its apps on its server nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name, unique among the projects.
    pub name: Name,
    /// The nodes that serve the apps.
    pub server_nodes: Vec<Name>,
    /// The nodes that may ask for the apps.
    pub client_nodes: Vec<Name>,
    /// The apps.
    pub apps: Vec<Name>,
}

impl Node {
    /// A valid node without hosts.
    pub fn new(name: impl Into<Name>) -> Node {
        Node { name: name.into(), invalid: false, hosts: Vec::new(), kv: Vec::new() }
    }
}

impl Host {
    /// A host from an address in text and a port as it stands in a file.
    ///
    /// # Errors
    /// The rule that is broken: not an IP address (names are refused), an address nobody can connect to, or a port
    /// outside 1 to 65535 and -65535 to -1.
    pub fn parse(ip: &str, port: i64) -> Result<Host, Rule> {
        Ok(Host { ip: rule::ip(ip)?, port: rule::port(port)?, invalid: false })
    }

    /// Whether the host only runs clients, and nothing listens there.
    pub fn is_client_only(&self) -> bool {
        self.port < 0
    }

    /// Where to connect to. The port is 0 for a client-only host.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, u16::try_from(self.port).unwrap_or(0))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({self}{})", if self.invalid { ", invalid" } else { "" })
    }
}

impl App {
    /// The timeout of an app for which none is given, in seconds.
    pub const DEFAULT_TIMEOUT_SECONDS: u32 = 60;

    /// A valid app that is built into the platform, with the default timeout.
    pub fn new(name: impl Into<Name>) -> App {
        App {
            name: name.into(),
            desc: Box::default(),
            bin: Box::default(),
            timeout_seconds: App::DEFAULT_TIMEOUT_SECONDS,
            timeout2_seconds: 0,
            invalid: false,
            server_node: None,
        }
    }

    /// How long a client waits for the answer, in milliseconds.
    pub fn timeout_ms(&self) -> u32 {
        self.timeout_seconds.saturating_mul(1000)
    }

    /// How long the app may run on the server, in milliseconds: `timeout_seconds` x 1.5 where the configuration says 0.
    pub fn timeout2_ms(&self) -> u32 {
        match self.timeout2_seconds {
            0 => self.timeout_seconds.saturating_mul(1500),
            seconds => seconds.saturating_mul(1000),
        }
    }
}

impl Project {
    /// A project without members.
    pub fn new(name: impl Into<Name>) -> Project {
        Project { name: name.into(), server_nodes: Vec::new(), client_nodes: Vec::new(), apps: Vec::new() }
    }
}
