//! Properties of views and of differences, against definitions written as plainly as the documentation has them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use ibp_core::config::{
    Access, App, Changes, ClusterFiles, Host, Kv, Model, ModelBuilder, Name, Node, Pair, PairKey, Project,
    Secret, View, ViewApp, ViewHost, ViewKv, ViewNode, ViewProject,
};
use proptest::prelude::*;

const NODES: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
const APPS: [&str; 4] = ["pay", "query", "open", "close"];
const PROJECTS: [&str; 4] = ["p1", "p2", "p3", "p4"];

/// What a node sees, by the words of the documentation: slow, and with nothing but names.
fn plain_view(model: &Model, this: &str) -> Option<View> {
    let this_node = model.nodes().iter().find(|node| node.name == this)?;
    let has = |names: &[Name], name: &str| names.iter().any(|known| known == name);
    let mut visible = BTreeSet::from([this.to_owned()]);
    let mut apps = BTreeSet::new();
    let mut projects = Vec::new();
    let mut serves_itself = false;
    for project in model.projects() {
        let is_client = has(&project.client_nodes, this);
        let is_server = has(&project.server_nodes, this);
        if !is_client && !is_server {
            continue;
        }
        serves_itself |= is_client && is_server;
        let all = |names: &[Name]| names.iter().map(Name::to_string).collect::<BTreeSet<_>>();
        let mut servers = BTreeSet::new();
        let mut clients = BTreeSet::new();
        if is_client {
            servers = all(&project.server_nodes);
            clients.insert(this.to_owned());
        }
        if is_server {
            clients.extend(all(&project.client_nodes));
            servers.insert(this.to_owned());
        }
        visible.extend(servers.iter().chain(&clients).cloned());
        apps.extend(all(&project.apps));
        projects.push(ViewProject {
            name: project.name.to_string(),
            server_nodes: servers.into_iter().collect(),
            client_nodes: clients.into_iter().collect(),
            apps: all(&project.apps).into_iter().collect(),
        });
    }
    projects.sort_by(|a, b| a.name.cmp(&b.name));
    let mut kv: Vec<ViewKv> = this_node
        .kv
        .iter()
        .map(|kv| ViewKv { key: kv.key.to_string(), value: kv.value.to_string() })
        .collect();
    kv.sort_by(|a, b| a.key.cmp(&b.key));
    Some(View {
        this_node: this.to_owned(),
        connecting_timeout_ms: 10_000,
        retry_connect_ms: 60_000,
        min_compress_size: 16,
        registry: None,
        access: Access::Projects,
        nodes: visible
            .iter()
            .map(|name| {
                let node = model.nodes().iter().find(|node| node.name == name.as_str()).unwrap();
                let hosts =
                    node.hosts.iter().map(|host| ViewHost { addr: host.addr(), invalid: host.invalid });
                let has_key = name != this || serves_itself;
                let key = model.keys().get(this, name).filter(|_| has_key).cloned();
                ViewNode { name: name.clone(), invalid: node.invalid, hosts: hosts.collect(), key }
            })
            .collect(),
        apps: apps
            .iter()
            .map(|name| {
                let app = model.apps().iter().find(|app| app.name == name.as_str()).unwrap();
                let seconds = u64::from(app.timeout_seconds);
                let timeout2 = match app.timeout2_seconds {
                    0 => seconds * 1500,
                    given => u64::from(given) * 1000,
                };
                ViewApp {
                    name: name.clone(),
                    desc: app.desc.to_string(),
                    bin: app.bin.to_string(),
                    timeout_ms: (seconds * 1000) as u32,
                    timeout2_ms: timeout2 as u32,
                    invalid: app.invalid,
                    server_node: app.server_node.as_ref().map(Name::to_string).unwrap_or_default(),
                }
            })
            .collect(),
        projects,
        kv,
    })
}

type DrawnNode = (bool, Vec<(u8, i8, bool)>, Vec<(u8, u8)>);
type DrawnApp = (u8, u8, bool, Option<u8>);

/// A configuration in which everything is a number, so that proptest can make and shrink it.
#[derive(Clone, Debug)]
struct Drawn {
    /// For each node that there is: state, hosts, kv.
    nodes: Vec<Option<DrawnNode>>,
    /// For each app that there is: timeouts, state, default node.
    apps: Vec<Option<DrawnApp>>,
    /// For each project that there is: servers, clients and apps, one bit each.
    projects: Vec<Option<(u8, u8, u8)>>,
    /// For each pair that has keys: the nodes and the key.
    keys: Vec<(u8, u8, u8)>,
    /// Whether the entries stand in the opposite order.
    turned: bool,
}

impl Drawn {
    fn model(&self) -> Model {
        let mut entries = ModelBuilder::default();
        let exists = |at: u8| self.nodes[usize::from(at) % NODES.len()].is_some();
        let chosen = |bits: u8, names: &[&str], exists: &dyn Fn(u8) -> bool| {
            let mut chosen: Vec<Name> = (0..names.len() as u8)
                .filter(|at| bits & (1 << at) != 0 && exists(*at))
                .map(|at| names[usize::from(at)].into())
                .collect();
            if self.turned {
                chosen.reverse();
            }
            chosen
        };
        for at in self.order(NODES.len()) {
            let Some((invalid, hosts, kv)) = &self.nodes[at] else { continue };
            let mut node = Node { invalid: *invalid, ..Node::new(NODES[at]) };
            for (ip, port, invalid) in hosts {
                let port = i64::from(if *port == 0 { 1 } else { *port });
                let host = Host { invalid: *invalid, ..Host::parse(&format!("10.0.0.{ip}"), port).unwrap() };
                if !node.hosts.iter().any(|known| known.addr() == host.addr()) {
                    node.hosts.push(host);
                }
            }
            for (key, value) in kv {
                let key = Name::from(format!("K{key}"));
                if !node.kv.iter().any(|known| known.key == key) {
                    node.kv.push(Kv { key, value: value.to_string().into() });
                }
            }
            if self.turned {
                node.kv.reverse();
            }
            entries.add_node(node);
        }
        for at in self.order(APPS.len()) {
            let Some((timeout, timeout2, invalid, node)) = self.apps[at] else { continue };
            entries.add_app(App {
                timeout_seconds: u32::from(timeout) + 1,
                timeout2_seconds: timeout2.into(),
                invalid,
                server_node: node
                    .filter(|at| exists(*at))
                    .map(|at| NODES[usize::from(at) % NODES.len()].into()),
                ..App::new(APPS[at])
            });
        }
        for at in self.order(PROJECTS.len()) {
            let Some((servers, clients, apps)) = self.projects[at] else { continue };
            entries.add_project(Project {
                server_nodes: chosen(servers, &NODES, &exists),
                client_nodes: chosen(clients, &NODES, &exists),
                apps: chosen(apps, &APPS, &|at| self.apps[usize::from(at)].is_some()),
                ..Project::new(PROJECTS[at])
            });
        }
        for (one, other, key) in &self.keys {
            if exists(*one) && exists(*other) {
                let name = |at: u8| NODES[usize::from(at) % NODES.len()];
                let secret = Secret(std::array::from_fn(|at| key.wrapping_add(at as u8)));
                entries.keys_mut().insert(Pair::new(name(*one), name(*other)), PairKey::first(secret));
            }
        }
        entries.build().unwrap()
    }

    fn order(&self, count: usize) -> Vec<usize> {
        if self.turned { (0..count).rev().collect() } else { (0..count).collect() }
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let host = (0u8..4, -2i8..4, any::<bool>());
    let node =
        (any::<bool>(), prop::collection::vec(host, 0..4), prop::collection::vec((0u8..3, 0u8..3), 0..3));
    // 2 and 4 seconds for the server, written or computed, are the same.
    let app = (0u8..5, 0u8..8, any::<bool>(), prop::option::of(0u8..6));
    let project = (0u8..64, 0u8..64, 0u8..16);
    (
        prop::collection::vec(prop::option::weighted(0.8, node), NODES.len()),
        prop::collection::vec(prop::option::weighted(0.8, app), APPS.len()),
        prop::collection::vec(prop::option::weighted(0.7, project), PROJECTS.len()),
        prop::collection::vec((0u8..6, 0u8..6, 0u8..3), 0..8),
        any::<bool>(),
    )
        .prop_map(|(nodes, apps, projects, keys, turned)| Drawn { nodes, apps, projects, keys, turned })
}

/// A second configuration that differs from the first in one place, or in some.
fn changed() -> impl Strategy<Value = (Drawn, Drawn)> {
    (drawn(), drawn(), prop::collection::vec((0u8..5, any::<prop::sample::Index>()), 0..4)).prop_map(
        |(old, other, places)| {
            let mut new = old.clone();
            for (kind, at) in places {
                match kind {
                    0 => replace(&mut new.nodes, &other.nodes, at),
                    1 => replace(&mut new.apps, &other.apps, at),
                    2 => replace(&mut new.projects, &other.projects, at),
                    3 => new.keys = other.keys.clone(),
                    _ => new.turned = other.turned,
                }
            }
            (old, new)
        },
    )
}

fn replace<T: Clone>(into: &mut [T], from: &[T], at: prop::sample::Index) {
    let at = at.index(into.len());
    into[at] = from[at].clone();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_view_is_what_the_documentation_says(drawn in drawn()) {
        let model = drawn.model();
        for node in NODES {
            prop_assert_eq!(model.view(node).ok(), plain_view(&model, node));
        }
    }

    #[test]
    fn touched_is_who_sees_something_else((old, new) in changed()) {
        let (old, new) = (old.model(), new.model());
        let changes = Changes::between(&old, &new);
        for node in NODES {
            let differs = plain_view(&old, node) != plain_view(&new, node);
            let reasons = changes.reasons(node);
            prop_assert_eq!(differs, !reasons.is_empty(), "{}: {:?}", node, reasons);
        }
        prop_assert_eq!(changes.len(), changes.iter().count());
    }

    #[test]
    fn nothing_is_touched_between_equals(drawn in drawn()) {
        let turned = Drawn { turned: !drawn.turned, ..drawn.clone() };
        // Hosts keep their order: it is part of what a view says.
        prop_assert!(Changes::between(&drawn.model(), &turned.model()).is_empty());
    }
}

proptest! {
    // Fewer: every case waits for the disk some times.
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_saved_is_read((old, new) in changed()) {
        let directory = tempfile::tempdir().unwrap();
        let files = ClusterFiles::in_directories(directory.path(), directory.path());
        for drawn in [&old, &new] {
            let model = drawn.model();
            files.save(&model).unwrap();
            let read = files.load_texts().unwrap().value;
            // The order of entries is that of the first saving.
            prop_assert!(Changes::between(&model, &read).is_empty());
            prop_assert_eq!(read.nodes().len(), model.nodes().len());
            prop_assert_eq!(read.apps().len(), model.apps().len());
            prop_assert_eq!(read.projects().len(), model.projects().len());
        }
        files.compile().unwrap();
        prop_assert_eq!(files.load().unwrap(), files.load_texts().unwrap());
    }

    #[test]
    fn text_and_model_are_the_same(drawn in drawn()) {
        let directory = tempfile::tempdir().unwrap();
        let files = ClusterFiles::in_directories(directory.path(), directory.path());
        let model = drawn.model();
        files.save(&model).unwrap();
        let text = std::fs::read_to_string(&files.nodes).unwrap();
        let read = files.load_texts().unwrap().value;
        prop_assert_eq!(&read, &model);
        std::fs::remove_file(&files.nodes).unwrap();
        files.save(&read).unwrap();
        prop_assert_eq!(std::fs::read_to_string(&files.nodes).unwrap(), text);
    }
}
