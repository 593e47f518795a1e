//! All rules on all entries in one pass, and the links between the entries that come out of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::{
    App, Entry, Field, Keys, ModelBuilder, Name, Node, Pair, PairKey, Problem, Project, Rule, rule, suggest,
};

/// What names stand for, and who takes part in which project.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    pub nodes: Index,
    pub apps: Index,
    pub projects: Index,
    /// The members of each project.
    pub members: Vec<Members>,
    /// The projects of each node.
    pub memberships: Memberships,
}

/// Where the entry of a name stands in its list.
pub(super) type Index = HashMap<Name, u32>;

/// The members of a project, by position in the lists of nodes and apps.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub server_nodes: Box<[u32]>,
    pub client_nodes: Box<[u32]>,
    pub apps: Box<[u32]>,
}

/// The projects of each node with the node's roles there; all in two arrays.
#[derive(Clone, Debug, Default)]
pub(super) struct Memberships {
    /// Where the projects of node `n` begin in `all`; they end where those of `n + 1` begin.
    starts: Vec<u32>,
    all: Vec<Membership>,
}

/// A project that a node belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Membership {
    pub project: u32,
    pub server: bool,
    pub client: bool,
}

/// Checks everything; the links are complete when no problem was added.
pub(super) fn check(draft: &ModelBuilder, problems: &mut Vec<Problem>) -> Links {
    let mut check = Check { problems, suggestions_left: 20 };
    let nodes = check.nodes(&draft.nodes);
    let apps = check.apps(&draft.apps, &nodes);
    let (projects, members) = check.projects(&draft.projects, &nodes, &apps);
    check.keys(&draft.keys, &nodes);
    let memberships = Memberships::of(draft.nodes.len(), &members);
    Links { nodes, apps, projects, members, memberships }
}

struct Check<'a> {
    problems: &'a mut Vec<Problem>,
    /// Looking for similar names takes time; a file full of unknown names has another cause than slips.
    suggestions_left: u32,
}

impl Check<'_> {
    fn nodes(&mut self, nodes: &[Node]) -> Index {
        let mut index = Index::with_capacity(nodes.len());
        let mut again = Repeats::default();
        for (at, node) in nodes.iter().enumerate() {
            let entry = || Entry::Node(node.name.clone());
            let occurrence = self.name(&mut index, &mut again, at, &node.name, "node", &entry);
            self.hosts(node, occurrence);
            self.kv(node, occurrence);
        }
        index
    }

    fn hosts(&mut self, node: &Node, occurrence: usize) {
        let entry = || Entry::Node(node.name.clone());
        if node.hosts.len() > rule::MAX_HOSTS {
            let rule = Rule::TooManyHosts { hosts: node.hosts.len() };
            self.report(entry(), Field::Hosts, occurrence, rule);
            return;
        }
        for host in &node.hosts {
            let checked = rule::usable(host.ip).and(rule::port(host.port.into()).map(drop));
            self.take(checked, entry, || Field::Host(host.to_string()), occurrence);
        }
        for_each_repeated(
            &node.hosts,
            |host| host.addr(),
            |host| {
                let text = host.to_string();
                let rule = Rule::DuplicateHost { host: text.clone() };
                self.report(entry(), Field::Host(text), occurrence, rule);
            },
        );
    }

    fn kv(&mut self, node: &Node, occurrence: usize) {
        let entry = || Entry::Node(node.name.clone());
        for kv in &node.kv {
            let field = || Field::Kv(kv.key.clone());
            self.take(rule::name(&kv.key), entry, field, occurrence);
            let value = rule::text_within("the value", &kv.value, rule::MAX_VALUE_BYTES, true);
            self.take(value, entry, field, occurrence);
        }
        for_each_repeated(
            &node.kv,
            |kv| &kv.key,
            |kv| {
                let rule = Rule::DuplicateKey { key: kv.key.clone() };
                self.report(entry(), Field::Kv(kv.key.clone()), occurrence, rule);
            },
        );
    }

    fn apps(&mut self, apps: &[App], nodes: &Index) -> Index {
        let mut index = Index::with_capacity(apps.len());
        let mut again = Repeats::default();
        for (at, app) in apps.iter().enumerate() {
            let entry = || Entry::App(app.name.clone());
            let occurrence = self.name(&mut index, &mut again, at, &app.name, "app", &entry);
            let desc = rule::text_within("desc", &app.desc, rule::MAX_DESC_BYTES, false);
            self.take(desc, entry, || Field::Desc, occurrence);
            self.take(rule::bin(&app.bin), entry, || Field::Bin, occurrence);
            let timeout = rule::timeout("timeout", app.timeout_seconds.into(), 1).map(drop);
            self.take(timeout, entry, || Field::Timeout, occurrence);
            let timeout2 = rule::timeout("timeout2", app.timeout2_seconds.into(), 0).map(drop);
            self.take(timeout2, entry, || Field::Timeout2, occurrence);
            if let Some(name) = app.server_node.as_ref().filter(|name| !nodes.contains_key(*name)) {
                let rule = Rule::UnknownNode { name: name.clone(), suggestion: self.similar(name, nodes) };
                self.report(entry(), Field::ServerNode, occurrence, rule);
            }
        }
        index
    }

    fn projects(&mut self, projects: &[Project], nodes: &Index, apps: &Index) -> (Index, Vec<Members>) {
        let mut index = Index::with_capacity(projects.len());
        let mut again = Repeats::default();
        let mut members = Vec::with_capacity(projects.len());
        let mut seen = Seen { stamps: vec![0; nodes.len().max(apps.len())], stamp: 0 };
        for (at, project) in projects.iter().enumerate() {
            let entry = || Entry::Project(project.name.clone());
            let occurrence = self.name(&mut index, &mut again, at, &project.name, "project", &entry);
            let mut resolve =
                |names: &[Name], list, known, field: fn(usize) -> Field, unknown: UnknownRule| {
                    seen.stamp += 1;
                    let mut ids = Vec::with_capacity(names.len());
                    for (place, name) in names.iter().enumerate() {
                        let rule = match resolve_one(name, known, &mut seen) {
                            Resolved::First(id) => {
                                ids.push(id);
                                continue;
                            }
                            Resolved::Again => Rule::Repeated { name: name.clone(), list },
                            Resolved::Unknown => unknown(name.clone(), self.similar(name, known)),
                        };
                        self.report(entry(), field(place), occurrence, rule);
                    }
                    ids.into_boxed_slice()
                };
            let node = |name, suggestion| Rule::UnknownNode { name, suggestion };
            let app = |name, suggestion| Rule::UnknownApp { name, suggestion };
            members.push(Members {
                server_nodes: resolve(&project.server_nodes, "server_nodes", nodes, Field::ServerNodes, node),
                client_nodes: resolve(&project.client_nodes, "client_nodes", nodes, Field::ClientNodes, node),
                apps: resolve(&project.apps, "apps", apps, Field::Apps, app),
            });
        }
        (index, members)
    }

    fn keys(&mut self, keys: &Keys, nodes: &Index) {
        for (pair, key) in keys.iter() {
            let unique = if pair.first() == pair.second() { 1 } else { 2 };
            for name in [pair.first(), pair.second()].into_iter().take(unique) {
                if !nodes.contains_key(name) {
                    let rule =
                        Rule::UnknownNode { name: name.clone(), suggestion: self.similar(name, nodes) };
                    self.report(Entry::Keys(pair.clone()), Field::Name, 0, rule);
                }
            }
            self.key(pair, key);
        }
    }

    fn key(&mut self, pair: &Pair, key: &PairKey) {
        let mut report = |field, rule| self.report(Entry::Keys(pair.clone()), field, 0, rule);
        if key.current.is_weak() {
            report(Field::Key, Rule::WeakKey);
        }
        if let Some(previous) = &key.previous {
            if previous.is_weak() {
                report(Field::PreviousKey, Rule::WeakKey);
            }
            if *previous == key.current {
                report(Field::PreviousKey, Rule::KeyNotChanged);
            }
        }
        if key.new_enable_at < 0 {
            let rule = Rule::NegativeTime { field: "new_key_enable_at", seconds: key.new_enable_at };
            report(Field::NewKeyEnableAt, rule);
        }
        if key.old_disable_at < 0 {
            let rule = Rule::NegativeTime { field: "old_key_disable_at", seconds: key.old_disable_at };
            report(Field::OldKeyDisableAt, rule);
        }
    }

    /// Checks a name, enters it in the index, and says which of the entries of this name it is.
    fn name(
        &mut self,
        index: &mut Index,
        again: &mut Repeats,
        at: usize,
        name: &Name,
        what: &'static str,
        entry: &dyn Fn() -> Entry,
    ) -> usize {
        let mut occurrence = 0;
        match index.entry(name.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(position(at));
            }
            Slot::Occupied(_) => {
                let times = again.0.entry(name.clone()).or_default();
                *times += 1;
                occurrence = *times;
                self.report(entry(), Field::Name, occurrence, Rule::Duplicate { what });
            }
        }
        // A bad name that stands twice is bad once and a duplicate once.
        if occurrence == 0 {
            self.take(rule::name(name), entry, || Field::Name, occurrence);
        }
        occurrence
    }

    fn take(
        &mut self,
        checked: Result<(), Rule>,
        entry: impl Fn() -> Entry,
        field: impl Fn() -> Field,
        occurrence: usize,
    ) {
        if let Err(rule) = checked {
            self.report(entry(), field(), occurrence, rule);
        }
    }

    fn report(&mut self, entry: Entry, field: Field, occurrence: usize, rule: Rule) {
        self.problems.push(Problem { entry, field, rule, occurrence });
    }

    fn similar(&mut self, name: &str, known: &Index) -> Option<Name> {
        self.suggestions_left = self.suggestions_left.checked_sub(1)?;
        // Of several equally near names the first in the alphabet, not the first in a hash table.
        let mut names: Vec<&str> = known.keys().map(Name::as_str).collect();
        names.sort_unstable();
        suggest::nearest(name, names).map(Name::from)
    }
}

type UnknownRule = fn(Name, Option<Name>) -> Rule;

enum Resolved {
    First(u32),
    Again,
    Unknown,
}

fn resolve_one(name: &Name, known: &Index, seen: &mut Seen) -> Resolved {
    match known.get(name) {
        None => Resolved::Unknown,
        Some(id) => match seen.stamps.get_mut(*id as usize) {
            Some(stamp) if *stamp != seen.stamp => {
                *stamp = seen.stamp;
                Resolved::First(*id)
            }
            _ => Resolved::Again,
        },
    }
}

/// Which entries the present list has named already: those that carry its stamp.
struct Seen {
    stamps: Vec<u32>,
    stamp: u32,
}

/// How often a name stands in addition to its first time.
#[derive(Default)]
struct Repeats(HashMap<Name, usize>);

impl Memberships {
    fn of(nodes: usize, members: &[Members]) -> Memberships {
        let mut starts = vec![0u32; nodes + 1];
        for_each_membership(members, |node, _| starts[node as usize + 1] += 1);
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut all = vec![Membership::default(); starts[nodes] as usize];
        for_each_membership(members, |node, membership| {
            all[next[node as usize] as usize] = membership;
            next[node as usize] += 1;
        });
        Memberships { starts, all }
    }

    /// The projects of a node, in order.
    pub fn of_node(&self, node: u32) -> &[Membership] {
        let node = node as usize;
        match (self.starts.get(node), self.starts.get(node + 1)) {
            (Some(from), Some(to)) => &self.all[*from as usize..*to as usize],
            _ => &[],
        }
    }
}

/// Every node of every project once, with its roles, in the order of projects.
fn for_each_membership(members: &[Members], mut each: impl FnMut(u32, Membership)) {
    for (project, members) in members.iter().enumerate() {
        let project = position(project);
        // Few nodes are in both roles, and lists are short or searched rarely enough for a plain search.
        let clients = Sorted::new(&members.client_nodes);
        for node in &members.server_nodes {
            each(*node, Membership { project, server: true, client: clients.contains(*node) });
        }
        let servers = Sorted::new(&members.server_nodes);
        for node in members.client_nodes.iter().filter(|node| !servers.contains(**node)) {
            each(*node, Membership { project, server: false, client: true });
        }
    }
}

/// A list that is searched often.
pub(super) struct Sorted(Vec<u32>);

impl Sorted {
    pub fn new(ids: &[u32]) -> Sorted {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        Sorted(sorted)
    }

    pub fn contains(&self, id: u32) -> bool {
        self.0.binary_search(&id).is_ok()
    }
}

/// Calls `repeated` for every item that has the same `key` as an earlier one.
fn for_each_repeated<'a, T, K: Eq + std::hash::Hash>(
    items: &'a [T],
    key: impl Fn(&'a T) -> K,
    mut repeated: impl FnMut(&'a T),
) {
    // Most lists are short: comparing each with each is faster than a hash table up to some 16 items.
    if items.len() <= 16 {
        for (at, item) in items.iter().enumerate() {
            if items[..at].iter().any(|earlier| key(earlier) == key(item)) {
                repeated(item);
            }
        }
        return;
    }
    let mut seen = std::collections::HashSet::with_capacity(items.len());
    for item in items {
        if !seen.insert(key(item)) {
            repeated(item);
        }
    }
}

/// Positions are 32 bits wide: a configuration text is far smaller than four billion entries.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
