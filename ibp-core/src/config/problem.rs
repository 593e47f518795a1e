//! What is wrong with a configuration: which entry breaks which rule.

use std::fmt;

use super::{Name, Pair, Rule};

/// An entry of a configuration and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The entry.
    pub entry: Entry,
    /// The part of the entry.
    pub field: Field,
    /// The rule.
    pub rule: Rule,
    /// Of several entries with this name, which one: 0 for the first. Tells a duplicate from its original.
    pub occurrence: usize,
}

/// An entry of a configuration, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A node.
    Node(Name),
    /// An app.
    App(Name),
    /// A project.
    Project(Name),
    /// The keys of a pair of nodes.
    Keys(Pair),
}

/// A part of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its name.
    Name,
    /// All hosts of a node together.
    Hosts,
    /// One host of a node, as it is written.
    Host(String),
    /// A kv setting of a node, by key.
    Kv(Name),
    /// The description of an app.
    Desc,
    /// The app package of an app.
    Bin,
    /// The client's timeout of an app.
    Timeout,
    /// The server's timeout of an app.
    Timeout2,
    /// The default node of an app.
    ServerNode,
    /// The server nodes of a project; which of them, from 0.
    ServerNodes(usize),
    /// The client nodes of a project; which of them, from 0.
    ClientNodes(usize),
    /// The apps of a project; which of them, from 0.
    Apps(usize),
    /// The current key of a pair.
    Key,
    /// The previous key of a pair.
    PreviousKey,
    /// When the new key of a pair comes into use.
    NewKeyEnableAt,
    /// When the old key of a pair goes out of use.
    OldKeyDisableAt,
}

/// Everything that is wrong with a configuration, found in one pass.
///
/// Its text has one line a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.entry)?;
        match &self.field {
            Field::Host(host) => write!(f, ", host {host}")?,
            Field::Kv(key) => write!(f, ", kv {key:?}")?,
            field => {
                if let Some(key) = field.key() {
                    write!(f, ", {key}")?;
                }
            }
        }
        write!(f, ": {}", self.rule)
    }
}

impl Field {
    /// The key under which the field stands in a file; `None` where the rule's text names it already.
    fn key(&self) -> Option<&'static str> {
        match self {
            Field::Bin => Some("bin"),
            Field::ServerNode => Some("server_node"),
            Field::ServerNodes(_) => Some("server_nodes"),
            Field::ClientNodes(_) => Some("client_nodes"),
            Field::Apps(_) => Some("apps"),
            _ => None,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Node(name) => write!(f, "node {name:?}"),
            Entry::App(name) => write!(f, "app {name:?}"),
            Entry::Project(name) => write!(f, "project {name:?}"),
            Entry::Keys(pair) => write!(f, "keys of {:?} and {:?}", pair.first(), pair.second()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
