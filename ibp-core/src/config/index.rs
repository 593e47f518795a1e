//! Finding entries by name.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use super::{ModelBuilder, Name};

/// Where the entry of a name stands in its list; of several, the first.
///
/// The hash is a fast one that could be tricked into long searches: whoever writes a configuration can do worse.
pub(super) type Index = HashMap<Name, u32, FxBuildHasher>;

/// The entries of one kind by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub index: Index,
    /// The entries whose name stood before: where they stand, and how many of this name stand before them.
    pub repeats: Vec<(usize, usize)>,
    /// For the first entry of a name, how many more there are so far.
    more: HashMap<u32, usize, FxBuildHasher>,
}

/// All entries by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes {
    pub nodes: Names,
    pub apps: Names,
    pub projects: Names,
}

impl Names {
    /// Enters the name of the entry `at`; entries are entered in their order, each once.
    pub fn enter(&mut self, name: &Name, at: usize) {
        let first = *self.index.entry(name.clone()).or_insert(position(at));
        if first != position(at) {
            let more = self.more.entry(first).or_default();
            *more += 1;
            self.repeats.push((at, *more));
        }
    }

    /// A name that is entered here, sharing its text; or else a new one.
    pub fn share(&self, text: &str) -> Name {
        self.index.get_key_value(text).map_or_else(|| Name::from(text), |(name, _)| name.clone())
    }

    fn of<'n>(names: impl ExactSizeIterator<Item = &'n Name>) -> Names {
        let index = Index::with_capacity_and_hasher(names.len(), FxBuildHasher);
        let mut all = Names { index, ..Names::default() };
        names.enumerate().for_each(|(at, name)| all.enter(name, at));
        all
    }
}

impl Indexes {
    pub fn of(draft: &ModelBuilder) -> Indexes {
        Indexes {
            nodes: Names::of(draft.nodes.iter().map(|node| &node.name)),
            apps: Names::of(draft.apps.iter().map(|app| &app.name)),
            projects: Names::of(draft.projects.iter().map(|project| &project.name)),
        }
    }
}

/// Positions are 32 bits wide: a configuration text is far smaller than four billion entries.
pub(super) fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
