//! All rules on all entries in one pass, and the links between the entries that come out of it.

use super::index::{Index, Indexes, Names};
use super::links::{Links, Members, Memberships};
use super::{
    App, Entry, Field, Keys, ModelBuilder, Name, Node, Pair, PairKey, Problem, Project, Rule, rule, suggest,
};

/// The place of a name that stands for nothing, where places are given.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Checks everything; the links are complete when no problem was added.
pub(super) fn check(draft: &ModelBuilder, resolved: Resolved, problems: &mut Vec<Problem>) -> Links {
    let Resolved { indexes: Indexes { nodes, apps, projects }, mut members } = resolved;
    let mut check = Check { problems, suggestions_left: 20 };
    check.nodes(&draft.nodes, &nodes);
    check.apps(&draft.apps, &apps, &nodes.index);
    check.projects(&draft.projects, &projects, &mut members, &nodes.index, &apps.index);
    check.keys(&draft.keys, &nodes.index);
    if !check.problems.is_empty() {
        return Links::default();
    }
    let memberships = Memberships::of(draft.nodes.len(), &members);
    Links { nodes: nodes.index, apps: apps.index, projects: projects.index, members, memberships }
}

/// Names that have been looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolved {
    pub indexes: Indexes,
    /// The members of each project; [`UNKNOWN`] for a name that stands for nothing.
    pub members: Vec<Members>,
}

impl Resolved {
    pub fn of(draft: &ModelBuilder) -> Resolved {
        let indexes = Indexes::of(draft);
        let places = |names: &[Name], index: &Index| -> Box<[u32]> {
            names.iter().map(|name| index.get(name).copied().unwrap_or(UNKNOWN)).collect()
        };
        let members = draft.projects.iter().map(|project| Members {
            server_nodes: places(&project.server_nodes, &indexes.nodes.index),
            client_nodes: places(&project.client_nodes, &indexes.nodes.index),
            apps: places(&project.apps, &indexes.apps.index),
        });
        Resolved { members: members.collect(), indexes }
    }
}

struct Check<'a> {
    problems: &'a mut Vec<Problem>,
    /// Looking for similar names takes time; a file full of unknown names has another cause than slips.
    suggestions_left: u32,
}

impl Check<'_> {
    fn nodes(&mut self, nodes: &[Node], names: &Names) {
        let mut occurrences = Occurrences::of(names);
        for (at, node) in nodes.iter().enumerate() {
            let entry = || Entry::Node(node.name.clone());
            let occurrence = self.name(&mut occurrences, at, &node.name, "node", &entry);
            self.hosts(node, occurrence);
            self.kv(node, occurrence);
        }
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

    fn apps(&mut self, apps: &[App], names: &Names, nodes: &Index) {
        let mut occurrences = Occurrences::of(names);
        for (at, app) in apps.iter().enumerate() {
            let entry = || Entry::App(app.name.clone());
            let occurrence = self.name(&mut occurrences, at, &app.name, "app", &entry);
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
    }

    fn projects(
        &mut self,
        projects: &[Project],
        names: &Names,
        members: &mut [Members],
        nodes: &Index,
        apps: &Index,
    ) {
        let mut occurrences = Occurrences::of(names);
        let mut seen = Seen { stamps: vec![0; nodes.len().max(apps.len())], stamp: 0 };
        for (at, (project, members)) in projects.iter().zip(members).enumerate() {
            let entry = || Entry::Project(project.name.clone());
            let occurrence = self.name(&mut occurrences, at, &project.name, "project", &entry);
            let mut list = |names: &[Name],
                            places: &[u32],
                            list,
                            field: fn(usize) -> Field,
                            known,
                            unknown: UnknownRule| {
                seen.stamp += 1;
                for (place, (name, id)) in names.iter().zip(places).enumerate() {
                    if seen.first_time(*id) {
                        continue;
                    }
                    let rule = match *id {
                        UNKNOWN => unknown(name.clone(), self.similar(name, known)),
                        _ => Rule::Repeated { name: name.clone(), list },
                    };
                    self.report(entry(), field(place), occurrence, rule);
                }
            };
            let node: UnknownRule = |name, suggestion| Rule::UnknownNode { name, suggestion };
            let app: UnknownRule = |name, suggestion| Rule::UnknownApp { name, suggestion };
            list(
                &project.server_nodes,
                &members.server_nodes,
                "server_nodes",
                Field::ServerNodes,
                nodes,
                node,
            );
            list(
                &project.client_nodes,
                &members.client_nodes,
                "client_nodes",
                Field::ClientNodes,
                nodes,
                node,
            );
            list(&project.apps, &members.apps, "apps", Field::Apps, apps, app);
        }
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

    /// Checks a name, and says which of the entries of this name it is.
    fn name(
        &mut self,
        occurrences: &mut Occurrences<'_>,
        at: usize,
        name: &Name,
        what: &'static str,
        entry: &dyn Fn() -> Entry,
    ) -> usize {
        let occurrence = occurrences.of_entry(at);
        if occurrence > 0 {
            self.report(entry(), Field::Name, occurrence, Rule::Duplicate { what });
        } else {
            // A bad name that stands twice is bad once and a duplicate once.
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

/// Which entries the present list has named already: those that carry its stamp.
struct Seen {
    stamps: Vec<u32>,
    stamp: u32,
}

impl Seen {
    /// Whether the place is one, and named for the first time.
    fn first_time(&mut self, id: u32) -> bool {
        match self.stamps.get_mut(id as usize) {
            Some(stamp) if *stamp != self.stamp => {
                *stamp = self.stamp;
                true
            }
            _ => false,
        }
    }
}

/// Which of several entries of one name an entry is; asked in the order of entries.
struct Occurrences<'a> {
    repeats: &'a [(usize, usize)],
}

impl<'a> Occurrences<'a> {
    fn of(names: &'a Names) -> Occurrences<'a> {
        Occurrences { repeats: &names.repeats }
    }

    fn of_entry(&mut self, at: usize) -> usize {
        match self.repeats.split_first() {
            Some(((repeat, occurrence), rest)) if *repeat == at => {
                self.repeats = rest;
                *occurrence
            }
            _ => 0,
        }
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
