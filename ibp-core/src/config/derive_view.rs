//! What one node may see, derived from the whole model.

use super::links::Membership;
use super::{
    Access, App, Host, Model, Name, Node, UnknownNode, View, ViewApp, ViewHost, ViewKv, ViewNode, ViewProject,
};

/// How long an attempt to connect may take unless the settings say otherwise (`ibac.connecting_timeout`, 10 s).
pub(super) const CONNECTING_TIMEOUT_SECONDS: u32 = 10;
/// How long an unreachable host rests unless the settings say otherwise (`ibac.retry_connect_timeval`, 60 s).
pub(super) const RETRY_CONNECT_SECONDS: u32 = 60;
/// From which size on bodies are compressed unless the settings say otherwise (`ibma.comm.min_compress_size`).
pub(super) const MIN_COMPRESS_BYTES: u32 = 16;

impl Model {
    /// What `node` may see:
    ///
    /// - itself, and its kv settings;
    /// - of each project in which it is a client: the server nodes; in which it is a server: the client nodes;
    /// - the hosts of these nodes, and the keys that `node` shares with them;
    /// - the apps of its projects;
    /// - its projects, with the members that it sees through them: itself and its counterparts.
    ///
    /// Everything is in the order of names (hosts in the order of the configuration), so that two models with the
    /// same content give the same view. Connecting times and the least size to compress are the defaults; the
    /// agent's settings replace them ([`IbmaSettings::apply`](super::IbmaSettings::apply)).
    ///
    /// # Errors
    /// [`UnknownNode`] when the model has no such node.
    pub fn view(&self, node: &str) -> Result<View, UnknownNode> {
        let Some(&this) = self.links.nodes.get(node) else {
            return Err(UnknownNode { name: node.into() });
        };
        let projects = self.links.memberships.of_node(this);
        let mut view = View {
            this_node: node.to_owned(),
            connecting_timeout_ms: CONNECTING_TIMEOUT_SECONDS * 1000,
            retry_connect_ms: RETRY_CONNECT_SECONDS * 1000,
            min_compress_size: MIN_COMPRESS_BYTES,
            registry: None,
            access: Access::Projects,
            nodes: self.visible_nodes(this, projects),
            apps: self.visible_apps(projects),
            projects: projects.iter().map(|membership| self.view_project(node, *membership)).collect(),
            kv: self.nodes()[this as usize].kv.iter().map(view_kv).collect(),
        };
        view.projects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        view.kv.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(view)
    }

    fn visible_nodes(&self, this: u32, projects: &[Membership]) -> Vec<ViewNode> {
        let mut visible = vec![this];
        let mut connected_with_itself = false;
        for membership in projects {
            let members = &self.links.members[membership.project as usize];
            if membership.client {
                visible.extend_from_slice(&members.server_nodes);
            }
            if membership.server {
                visible.extend_from_slice(&members.client_nodes);
            }
            connected_with_itself |= membership.client && membership.server;
        }
        sort_by_name(&mut visible, |id| &self.nodes()[id as usize].name);
        let this_name = &self.nodes()[this as usize].name;
        let view_node = |id: u32| {
            let node = &self.nodes()[id as usize];
            let connected = id != this || connected_with_itself;
            let key = if connected { self.keys().get_shared(this_name, &node.name).cloned() } else { None };
            ViewNode { name: node.name.to_string(), invalid: node.invalid, hosts: view_hosts(node), key }
        };
        visible.into_iter().map(view_node).collect()
    }

    fn visible_apps(&self, projects: &[Membership]) -> Vec<ViewApp> {
        let mut visible: Vec<u32> = Vec::new();
        for membership in projects {
            visible.extend_from_slice(&self.links.members[membership.project as usize].apps);
        }
        sort_by_name(&mut visible, |id| &self.apps()[id as usize].name);
        visible.into_iter().map(|id| view_app(&self.apps()[id as usize])).collect()
    }

    fn view_project(&self, node: &str, membership: Membership) -> ViewProject {
        let project = &self.projects()[membership.project as usize];
        let counterparts = |names: &[Name], sees_all: bool, is_member: bool| {
            if sees_all {
                sorted(names)
            } else if is_member {
                vec![node.to_owned()]
            } else {
                Vec::new()
            }
        };
        ViewProject {
            name: project.name.to_string(),
            server_nodes: counterparts(&project.server_nodes, membership.client, membership.server),
            client_nodes: counterparts(&project.client_nodes, membership.server, membership.client),
            apps: sorted(&project.apps),
        }
    }
}

fn sort_by_name<'a>(ids: &mut Vec<u32>, name: impl Fn(u32) -> &'a Name) {
    ids.sort_unstable();
    ids.dedup();
    ids.sort_unstable_by(|a, b| name(*a).cmp(name(*b)));
}

fn sorted(names: &[Name]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(Name::to_string).collect();
    names.sort_unstable();
    names
}

fn view_hosts(node: &Node) -> Vec<ViewHost> {
    node.hosts.iter().map(|host: &Host| ViewHost { addr: host.addr(), invalid: host.invalid }).collect()
}

fn view_app(app: &App) -> ViewApp {
    ViewApp {
        name: app.name.to_string(),
        desc: app.desc.to_string(),
        bin: app.bin.to_string(),
        timeout_ms: app.timeout_ms(),
        timeout2_ms: app.timeout2_ms(),
        invalid: app.invalid,
        server_node: app.server_node.as_ref().map(Name::to_string).unwrap_or_default(),
    }
}

fn view_kv(kv: &super::Kv) -> ViewKv {
    ViewKv { key: kv.key.to_string(), value: kv.value.to_string() }
}
