//! What is published, as rows to print.

use ibp_shm::{Config, PublisherStatus, Retry, boottime_ms};
use serde::Serialize;

/// The node of this host and the state of its configuration.
#[derive(Clone, Debug, Serialize)]
pub struct ThisNode {
    /// Its name.
    pub node: String,
    /// The generation of its configuration.
    pub generation: u64,
    /// How many nodes it sees.
    pub nodes: usize,
    /// How many apps it sees.
    pub apps: usize,
    /// How many kv settings it has.
    pub kv: usize,
    /// How long an attempt to connect may take, in milliseconds.
    pub connecting_timeout_ms: u32,
    /// How long a host that could not be reached rests, in milliseconds.
    pub retry_connect_ms: u32,
    /// Bodies larger than this many bytes may be compressed.
    pub min_compress_size: u32,
    /// Where the registry listens.
    pub registry: Option<String>,
    /// The agent's process id; `None` without an agent.
    pub agent_pid: Option<u32>,
    /// How long ago the agent last showed that it lives, in milliseconds.
    pub heartbeat_age_ms: Option<u64>,
}

/// A node that this host sees.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// Never chosen.
    pub invalid: bool,
    /// The id of the key that this node shares with it; the key itself is never shown.
    pub key_id: Option<String>,
    /// Its hosts.
    pub hosts: Vec<HostRow>,
}

/// A host of a node.
#[derive(Clone, Debug, Serialize)]
pub struct HostRow {
    /// Address and port; the port is 0 for a client-only host.
    pub addr: String,
    /// Never chosen.
    pub invalid: bool,
    /// Busy workers of all workers, in thousandths; `None` if nobody has told.
    pub load_permille: Option<u16>,
    /// How long ago the load was told, in milliseconds.
    pub load_age_ms: Option<u64>,
    /// Whether it can be connected to: `ready`, `resting`, `due` (to be tried) or `probing`.
    pub state: &'static str,
}

/// An app that this host sees.
#[derive(Clone, Debug, Serialize)]
pub struct AppRow {
    /// Its name.
    pub app: String,
    /// A description for people.
    pub desc: String,
    /// The file of its app package.
    pub bin: String,
    /// How long a client waits, in milliseconds.
    pub timeout_ms: u32,
    /// How long it may run, in milliseconds.
    pub timeout2_ms: u32,
    /// Never run.
    pub invalid: bool,
    /// The node that serves requests which name none.
    pub server_node: String,
}

/// A kv setting of this node.
#[derive(Clone, Debug, Serialize)]
pub struct KvRow {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The node of this host; `agent` is what the index says about the agent.
pub fn this_node(config: &Config, agent: Option<PublisherStatus>) -> ThisNode {
    let now = boottime_ms();
    let living = agent.filter(|agent| !agent.closed);
    ThisNode {
        node: config.this_node().to_owned(),
        generation: config.generation(),
        nodes: config.node_count(),
        apps: config.app_count(),
        kv: config.kv_count(),
        connecting_timeout_ms: config.connecting_timeout_ms(),
        retry_connect_ms: config.retry_connect_ms(),
        min_compress_size: config.min_compress_size(),
        registry: config
            .registry()
            .map(|registry| std::net::SocketAddr::new(registry.ip, registry.port).to_string()),
        agent_pid: living.map(|agent| agent.pid),
        heartbeat_age_ms: living.map(|agent| now.saturating_sub(agent.heartbeat_ms)),
    }
}

/// The nodes that this host sees, by name.
pub fn nodes(config: &Config) -> Vec<NodeRow> {
    let now = boottime_ms();
    let mut rows: Vec<NodeRow> = config
        .nodes()
        .map(|node| NodeRow {
            node: node.name().to_owned(),
            invalid: node.invalid(),
            key_id: node.key().map(|key| key.current.id().to_string()),
            hosts: node.hosts().map(|host| host_row(host, now)).collect(),
        })
        .collect();
    rows.sort_by(|a, b| a.node.cmp(&b.node));
    rows
}

fn host_row(host: ibp_shm::Host<'_>, now: u64) -> HostRow {
    let slot = host.slot();
    let load = slot.load(now);
    HostRow {
        addr: host.addr().to_string(),
        invalid: host.invalid(),
        load_permille: load.as_ref().map(|load| load.permille),
        load_age_ms: load.as_ref().map(|load| load.age_ms),
        state: match slot.retry(now) {
            Retry::Ready => "ready",
            Retry::Resting { .. } => "resting",
            Retry::Due { .. } => "due",
            Retry::Probing { .. } => "probing",
        },
    }
}

/// The apps that this host sees, by name.
pub fn apps(config: &Config) -> Vec<AppRow> {
    let mut rows: Vec<AppRow> = config
        .apps()
        .map(|app| AppRow {
            app: app.name().to_owned(),
            desc: app.desc().to_owned(),
            bin: app.bin().to_owned(),
            timeout_ms: app.timeout_ms(),
            timeout2_ms: app.timeout2_ms(),
            invalid: app.invalid(),
            server_node: app.server_node().to_owned(),
        })
        .collect();
    rows.sort_by(|a, b| a.app.cmp(&b.app));
    rows
}

/// The kv settings of this node, by key.
pub fn kv(config: &Config) -> Vec<KvRow> {
    let mut rows: Vec<KvRow> =
        config.kvs().map(|(key, value)| KvRow { key: key.to_owned(), value: value.to_owned() }).collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}
