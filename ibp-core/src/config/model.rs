//! A validated configuration of a whole cluster.

use super::links::Links;
use super::{App, Keys, ModelBuilder, Name, Node, Project};

/// The configuration of a whole cluster: nodes, apps, projects and the keys of pairs.
///
/// A model is valid as long as it exists: names are unique and well formed, every name that stands somewhere has its
/// entry. It is changed by [`edit`](Model::edit), which makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Model {
    nodes: Vec<Node>,
    apps: Vec<App>,
    projects: Vec<Project>,
    keys: Keys,
    pub(super) links: Links,
}

/// A node was asked for that the model does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no node {name:?} in the configuration; this_node has to name one of nodes_conf")]
pub struct UnknownNode {
    /// The name that was asked for.
    pub name: Name,
}

impl Model {
    /// An empty builder.
    pub fn builder() -> ModelBuilder {
        ModelBuilder::default()
    }

    /// A builder that holds everything of this model, to make a changed one.
    pub fn edit(&self) -> ModelBuilder {
        let mut builder = ModelBuilder::default();
        builder.nodes.clone_from(&self.nodes);
        builder.apps.clone_from(&self.apps);
        builder.projects.clone_from(&self.projects);
        builder.keys.clone_from(&self.keys);
        builder
    }

    pub(super) fn from_checked(draft: ModelBuilder, links: Links) -> Model {
        let ModelBuilder { nodes, apps, projects, keys, .. } = draft;
        Model { nodes, apps, projects, keys, links }
    }

    /// The nodes, in the order of the configuration.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The apps, in the order of the configuration.
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// The projects, in the order of the configuration.
    pub fn projects(&self) -> &[Project] {
        &self.projects
    }

    /// The keys of pairs of nodes.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(*self.links.nodes.get(name)? as usize)
    }

    /// An app by name.
    pub fn app(&self, name: &str) -> Option<&App> {
        self.apps.get(*self.links.apps.get(name)? as usize)
    }

    /// A project by name.
    pub fn project(&self, name: &str) -> Option<&Project> {
        self.projects.get(*self.links.projects.get(name)? as usize)
    }
}

/// Two models are equal when all their entries are, in the same order.
impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        self.nodes == other.nodes
            && self.apps == other.apps
            && self.projects == other.projects
            && self.keys == other.keys
    }
}

impl Eq for Model {}
