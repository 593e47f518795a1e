//! The difference of two configurations, as the nodes that it touches.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::index::Index;
use super::{App, Host, Model, Name, Node, Pair, PairKey, Project};

/// The nodes whose [view](Model::view) differs between two models, each with the reasons.
///
/// A node is touched exactly when its view is another one, or exists in one of the models only: what a change does to
/// the files (the order of entries, a timeout written in another way) touches no one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    touched: BTreeMap<Name, Vec<Reason>>,
}

/// Why a node's view is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node is new.
    Added,
    /// The node is gone.
    Removed,
    /// The hosts or the state of a node that it sees have changed; its own, too.
    Node(Name),
    /// Its kv settings have changed.
    Kv,
    /// An app of its projects has changed.
    App(Name),
    /// It came to a project or left it, or the other side or the apps of the project have changed.
    Project(Name),
    /// The keys that it shares with a node have changed.
    Keys(Name),
}

impl Changes {
    /// The difference of two models.
    pub fn between(old: &Model, new: &Model) -> Changes {
        let mut found = Found { both: [old, new], touched: HashMap::new() };
        found.nodes();
        found.apps();
        found.projects();
        found.keys();
        found.into_changes()
    }

    /// The touched nodes with the reasons, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &[Reason])> {
        self.touched.iter().map(|(node, reasons)| (node, reasons.as_slice()))
    }

    /// Why a node is touched; nothing for a node that is not.
    pub fn reasons(&self, node: &str) -> &[Reason] {
        self.touched.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether no node is touched.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// How many nodes are touched.
    pub fn len(&self) -> usize {
        self.touched.len()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Added => f.write_str("the node is new"),
            Reason::Removed => f.write_str("the node is gone"),
            Reason::Node(node) => write!(f, "node {node} has changed"),
            Reason::Kv => f.write_str("its kv settings have changed"),
            Reason::App(app) => write!(f, "app {app} has changed"),
            Reason::Project(project) => write!(f, "project {project} has changed"),
            Reason::Keys(node) => write!(f, "its keys with node {node} have changed"),
        }
    }
}

struct Found<'m> {
    /// The old and the new model.
    both: [&'m Model; 2],
    touched: HashMap<Name, Vec<Reason>>,
}

impl<'m> Found<'m> {
    fn touch(&mut self, node: &Name, reason: Reason) {
        self.touched.entry(node.clone()).or_default().push(reason);
    }

    fn nodes(&mut self) {
        let [old, new] = self.both;
        for (was, is) in pairs(old.nodes(), new.nodes(), &new.links.nodes, |node| &node.name) {
            match (was, is) {
                (Some(was), Some(is)) => {
                    if was.invalid != is.invalid || !same_hosts(&was.hosts, &is.hosts) {
                        self.touch_viewers(&was.name);
                    }
                    if !same_kv(was, is) {
                        self.touch(&was.name, Reason::Kv);
                    }
                }
                (Some(was), None) => self.touch(&was.name, Reason::Removed),
                (None, Some(is)) => self.touch(&is.name, Reason::Added),
                (None, None) => {}
            }
        }
    }

    /// A changed node is seen by itself and by the other sides of its projects.
    fn touch_viewers(&mut self, node: &Name) {
        let mut viewers = vec![node.clone()];
        for model in self.both {
            let Some(&id) = model.links.nodes.get(node) else { continue };
            for membership in model.links.memberships.of_node(id) {
                let members = &model.links.members[membership.project as usize];
                let mut add = |ids: &[u32]| {
                    viewers.extend(ids.iter().map(|id| model.nodes()[*id as usize].name.clone()))
                };
                if membership.client {
                    add(&members.server_nodes);
                }
                if membership.server {
                    add(&members.client_nodes);
                }
            }
        }
        for viewer in viewers {
            self.touch(&viewer, Reason::Node(node.clone()));
        }
    }

    /// A changed app is seen by all members of its projects.
    fn apps(&mut self) {
        let [old, new] = self.both;
        let mut changed: Vec<&Name> = Vec::new();
        for (was, is) in pairs(old.apps(), new.apps(), &new.links.apps, |app| &app.name) {
            // An app that came or went is in no project that did not change.
            if let (Some(was), Some(is)) = (was, is)
                && !same_app(was, is)
            {
                changed.push(&was.name);
            }
        }
        if changed.is_empty() {
            return;
        }
        for model in self.both {
            let mut is_changed = vec![false; model.apps().len()];
            for name in &changed {
                if let Some(id) = model.links.apps.get(*name) {
                    is_changed[*id as usize] = true;
                }
            }
            for members in &model.links.members {
                for app in members.apps.iter().filter(|app| is_changed[**app as usize]) {
                    let app = &model.apps()[*app as usize].name;
                    for node in members.server_nodes.iter().chain(&members.client_nodes) {
                        self.touch(&model.nodes()[*node as usize].name, Reason::App(app.clone()));
                    }
                }
            }
        }
    }

    fn projects(&mut self) {
        let [old, new] = self.both;
        let pairs = pairs(old.projects(), new.projects(), &new.links.projects, |project| &project.name);
        for (was, is) in pairs {
            if was != is {
                self.project(was, is);
            }
        }
    }

    /// A member sees the other side and the apps, not the other members of its own side.
    fn project(&mut self, was: Option<&Project>, is: Option<&Project>) {
        let mut roles: BTreeMap<&Name, [Roles; 2]> = BTreeMap::new();
        for (side, project) in [was, is].into_iter().enumerate() {
            let Some(project) = project else { continue };
            for node in &project.server_nodes {
                roles.entry(node).or_default()[side].server = true;
            }
            for node in &project.client_nodes {
                roles.entry(node).or_default()[side].client = true;
            }
        }
        let differ = |list: fn(&Project) -> &Vec<Name>| match (was, is) {
            (Some(was), Some(is)) => !same_names(list(was), list(is)),
            _ => true,
        };
        let servers_differ = differ(|project| &project.server_nodes);
        let clients_differ = differ(|project| &project.client_nodes);
        let apps_differ = differ(|project| &project.apps);
        let name = was.or(is).map(|project| &project.name);
        for (node, [before, after]) in roles {
            let other_side = (after.client && servers_differ) || (after.server && clients_differ);
            if let (true, Some(name)) = (before != after || apps_differ || other_side, name) {
                self.touch(node, Reason::Project(name.clone()));
            }
        }
    }

    fn keys(&mut self) {
        let [old, new] = self.both;
        let gone = old.keys().iter().filter(|(pair, _)| new.keys().get_pair(pair).is_none());
        let pairs: Vec<&Pair> = new.keys().iter().chain(gone).map(|(pair, _)| pair).collect();
        for pair in pairs {
            if visible_key(old, pair) != visible_key(new, pair) {
                self.touch(pair.first(), Reason::Keys(pair.second().clone()));
                self.touch(pair.second(), Reason::Keys(pair.first().clone()));
            }
        }
    }

    fn into_changes(self) -> Changes {
        let [old, new] = self.both;
        let mut touched = BTreeMap::new();
        for (node, mut reasons) in self.touched {
            if old.node(&node).is_none() || new.node(&node).is_none() {
                // What else there is follows from this.
                reasons.retain(|reason| matches!(reason, Reason::Added | Reason::Removed));
            }
            reasons.sort_unstable();
            reasons.dedup();
            touched.insert(node, reasons);
        }
        Changes { touched }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Roles {
    server: bool,
    client: bool,
}

/// Every entry of the old list with its successor, and the entries that are new.
fn pairs<'m, T>(
    old: &'m [T],
    new: &'m [T],
    new_index: &'m Index,
    name: impl Fn(&T) -> &Name,
) -> Vec<(Option<&'m T>, Option<&'m T>)> {
    let mut pairs = Vec::with_capacity(new.len());
    let mut has_predecessor = vec![false; new.len()];
    for (at, was) in old.iter().enumerate() {
        // Mostly the entry stands where it stood.
        let id = match new.get(at).filter(|is| name(is) == name(was)) {
            Some(_) => Some(at),
            None => new_index.get(name(was)).map(|id| *id as usize),
        };
        if let Some(id) = id {
            has_predecessor[id] = true;
        }
        pairs.push((Some(was), id.map(|id| &new[id])));
    }
    pairs.extend(new.iter().zip(has_predecessor).filter(|(_, had)| !had).map(|(is, _)| (None, Some(is))));
    pairs
}

fn same_hosts(was: &[Host], is: &[Host]) -> bool {
    let seen = |host: &Host| (host.addr(), host.invalid);
    was.len() == is.len() && was.iter().zip(is).all(|(was, is)| was == is || seen(was) == seen(is))
}

fn same_kv(was: &Node, is: &Node) -> bool {
    was.kv == is.kv || (was.kv.len() == is.kv.len() && was.kv.iter().all(|kv| is.kv.contains(kv)))
}

fn same_app(was: &App, is: &App) -> bool {
    was == is
        || (was.desc == is.desc
            && was.bin == is.bin
            && was.timeout_ms() == is.timeout_ms()
            && was.timeout2_ms() == is.timeout2_ms()
            && was.invalid == is.invalid
            && was.server_node == is.server_node)
}

fn same_names(was: &[Name], is: &[Name]) -> bool {
    if was == is {
        return true;
    }
    let sorted = |names: &[Name]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names
    };
    was.len() == is.len() && sorted(was) == sorted(is)
}

/// The keys of a pair, if a project connects the two.
fn visible_key<'m>(model: &'m Model, pair: &Pair) -> Option<&'m PairKey> {
    let one = *model.links.nodes.get(pair.first())?;
    let other = *model.links.nodes.get(pair.second())?;
    let connected = model.links.memberships.of_node(one).iter().any(|membership| {
        let members = &model.links.members[membership.project as usize];
        (membership.client && members.server_nodes.contains(&other))
            || (membership.server && members.client_nodes.contains(&other))
    });
    if connected { model.keys().get_pair(pair) } else { None }
}
