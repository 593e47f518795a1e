//! What is read so far.

use crate::config::index::Names;
use crate::config::links::Members;
use crate::config::validate::{Resolved, UNKNOWN};
use crate::config::{App, Model, ModelBuilder, Name, Node, Pair, PairKey, Problems, Project};

/// The entries that were read, with every name looked up as it comes: nodes come first, then apps, then projects.
#[derive(Default)]
pub(in crate::config) struct Draft {
    builder: ModelBuilder,
    resolved: Resolved,
}

/// Names of entries that were read before, and where these stand.
#[derive(Default)]
pub(in crate::config) struct Listed {
    pub names: Vec<Name>,
    pub places: Vec<u32>,
}

impl Listed {
    pub fn with_capacity(count: usize) -> Listed {
        Listed { names: Vec::with_capacity(count), places: Vec::with_capacity(count) }
    }

    pub fn push(&mut self, (name, place): (Name, u32)) {
        self.names.push(name);
        self.places.push(place);
    }
}

impl Draft {
    /// Makes room for so many nodes, within reason: the number may be wrong.
    pub fn expect_nodes(&mut self, count: usize) {
        let count = count.min(100_000);
        self.builder.nodes.reserve(count);
        self.resolved.indexes.nodes.index.reserve(count);
    }

    /// Makes room for so many apps, within reason: the number may be wrong.
    pub fn expect_apps(&mut self, count: usize) {
        let count = count.min(100_000);
        self.builder.apps.reserve(count);
        self.resolved.indexes.apps.index.reserve(count);
    }

    pub fn add_node(&mut self, node: Node) {
        self.resolved.indexes.nodes.enter(&node.name, self.builder.nodes.len());
        self.builder.nodes.push(node);
    }

    pub fn add_app(&mut self, app: App) {
        self.resolved.indexes.apps.enter(&app.name, self.builder.apps.len());
        self.builder.apps.push(app);
    }

    pub fn add_project(&mut self, name: Name, server_nodes: Listed, client_nodes: Listed, apps: Listed) {
        self.resolved.indexes.projects.enter(&name, self.builder.projects.len());
        self.resolved.members.push(Members {
            server_nodes: server_nodes.places.into_boxed_slice(),
            client_nodes: client_nodes.places.into_boxed_slice(),
            apps: apps.places.into_boxed_slice(),
        });
        let (server_nodes, client_nodes, apps) = (server_nodes.names, client_nodes.names, apps.names);
        self.builder.projects.push(Project { name, server_nodes, client_nodes, apps });
    }

    pub fn add_keys(&mut self, pair: Pair, key: PairKey) {
        self.builder.keys.insert(pair, key);
    }

    /// The name of a node, sharing its text with the node's entry.
    pub fn node_name(&self, text: &str) -> Name {
        self.resolved.indexes.nodes.share(text)
    }

    /// A node that a project names.
    pub fn listed_node(&self, text: &str) -> (Name, u32) {
        listed(&self.resolved.indexes.nodes, text)
    }

    /// An app that a project names.
    pub fn listed_app(&self, text: &str) -> (Name, u32) {
        listed(&self.resolved.indexes.apps, text)
    }

    pub fn build(self) -> Result<Model, Problems> {
        self.builder.build_resolved(self.resolved)
    }
}

fn listed(known: &Names, text: &str) -> (Name, u32) {
    match known.index.get_key_value(text) {
        Some((name, place)) => (name.clone(), *place),
        None => (Name::from(text), UNKNOWN),
    }
}
