//! What one node may see of the cluster: the input of publishing (crate `ibp-shm`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The part of the cluster's configuration that one node sees. It is what the agent publishes in shared memory.
///
/// A view is plain data; whoever makes one from the whole model has validated it. Names obey the model's rules:
/// 1 to 64 bytes of ASCII letters, digits, `_`, `-` and `.`. Nodes, apps, projects and kv keys are unique by name,
/// hosts unique by address within their node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The node that this view belongs to. It need not be among `nodes` (a pure client).
    pub this_node: String,
    /// How long one attempt to connect may take, in milliseconds (`ibac.connecting_timeout`, there in seconds).
    pub connecting_timeout_ms: u32,
    /// How long a host that could not be reached rests before one caller tries it again, in milliseconds
    /// (`ibac.retry_connect_timeval`, there in seconds).
    pub retry_connect_ms: u32,
    /// Bodies larger than this many bytes may be compressed (`ibma.comm.min_compress_size`).
    pub min_compress_size: u32,
    /// Where the registry listens; `None` for a configuration that has no registry.
    pub registry: Option<Registry>,
    /// Who may ask whom for what.
    pub access: Access,
    /// This node and the nodes that its projects connect it with.
    pub nodes: Vec<ViewNode>,
    /// The apps that this node may ask for or offers.
    pub apps: Vec<ViewApp>,
    /// The projects that this node belongs to, with their members restricted to `nodes` and `apps`.
    pub projects: Vec<ViewProject>,
    /// This node's application-defined settings.
    pub kv: Vec<ViewKv>,
}

/// The address of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Its IP address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
}

/// Who may ask whom for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone may ask every node for every app: a static configuration without projects.
    Open,
    /// Only what a project connects: the client node, the server node and the app stand in one project together.
    Projects,
}

/// A node: a named group of hosts that offer the same apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewNode {
    /// Its name.
    pub name: String,
    /// Never chosen, and a request for it is rejected.
    pub invalid: bool,
    /// Its hosts, in the order of the configuration.
    pub hosts: Vec<ViewHost>,
    /// The keys of the pair (this node, that node), if a project connects the two and they have keys.
    pub key: Option<PairKey>,
}

/// A host of a node: one address where one server platform listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewHost {
    /// IPv4 or IPv6 address and port. Port 0 marks a client-only host, which is never chosen.
    pub addr: SocketAddr,
    /// Never chosen.
    pub invalid: bool,
}

/// An app: a transaction code, what a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewApp {
    /// Its name.
    pub name: String,
    /// A description for people.
    pub desc: String,
    /// The file name of the app package in `so/`; empty for an app that is built into the platform.
    pub bin: String,
    /// How long a client waits for the answer, in milliseconds.
    pub timeout_ms: u32,
    /// How long the app may run on the server, in milliseconds (the model has already put `timeout` x 1.5 for 0).
    pub timeout2_ms: u32,
    /// Never chosen, and a request for it is rejected.
    pub invalid: bool,
    /// The node that serves requests which name no node; empty if none.
    pub server_node: String,
}

/// A project: which client nodes may use which apps of which server nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewProject {
    /// Its name.
    pub name: String,
    /// Nodes that serve the apps, by name.
    pub server_nodes: Vec<String>,
    /// Nodes that may ask, by name.
    pub client_nodes: Vec<String>,
    /// The apps, by name.
    pub apps: Vec<String>,
}

/// An application-defined setting of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewKv {
    /// Its key.
    pub key: String,
    /// Its value, any text.
    pub value: String,
}

/// The keys that a pair of nodes shares: the current one and, during a change, its neighbour.
///
/// Times are seconds since the Unix epoch; 0 means "no such time".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairKey {
    /// The key in force.
    pub current: Secret,
    /// The key before it, still accepted until `old_disable_at`.
    pub previous: Option<Secret>,
    /// From when on a sender uses `current`.
    pub new_enable_at: i64,
    /// Until when a receiver accepts `previous`.
    pub old_disable_at: i64,
}

/// A 256-bit key. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
