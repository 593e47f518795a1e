//! The files of a cluster's configuration: `ibp_nodes.conf`, `ibp_apps.conf`, `ibp_projects.conf`, `ibp_keys.conf`.

mod apps;
mod draft;
mod keys;
mod load;
mod locate;
mod nodes;
mod projects;
mod read;
mod write;

use std::path::{Path, PathBuf};

use super::json::Source;
use super::{ConfigError, Diagnostic, Entry, Model, Problem, Rule, Severity};

pub(super) use draft::{Draft, Listed};
pub(super) use read::{read_limited, read_secret_text, read_text};
pub(super) use write::{Mode as FileMode, replace_keeping_previous, write_atomically};

/// Where the files of a cluster's configuration are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFiles {
    /// The nodes, with their hosts and kv settings.
    pub nodes: PathBuf,
    /// The apps.
    pub apps: PathBuf,
    /// The projects.
    pub projects: PathBuf,
    /// The keys of pairs of nodes; the file need not exist. It is readable for its owner only.
    pub keys: PathBuf,
}

/// The texts of a cluster's configuration.
#[derive(Clone, Copy, Debug)]
pub struct ClusterTexts<'a> {
    /// The nodes.
    pub nodes: Source<'a>,
    /// The apps.
    pub apps: Source<'a>,
    /// The projects.
    pub projects: Source<'a>,
    /// The keys; messages never show this text.
    pub keys: Option<Source<'a>>,
}

/// What was read, and what is doubtful about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// What was read.
    pub value: T,
    /// What the operator should look at, though it does no harm.
    pub warnings: Vec<Diagnostic>,
}

impl ClusterFiles {
    /// The files under their usual names, in the directory `etc` and, the keys, in the directory `keys`.
    pub fn in_directories(etc: &Path, keys: &Path) -> ClusterFiles {
        ClusterFiles {
            nodes: etc.join("ibp_nodes.conf"),
            apps: etc.join("ibp_apps.conf"),
            projects: etc.join("ibp_projects.conf"),
            keys: keys.join("ibp_keys.conf"),
        }
    }
}

impl Model {
    /// Reads a cluster's configuration from texts.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn read(texts: &ClusterTexts<'_>) -> Result<Loaded<Model>, ConfigError> {
        let mut draft = Draft::default();
        let mut found = vec![nodes::read(texts.nodes, &mut draft)];
        found.push(apps::read(texts.apps, &mut draft));
        found.push(projects::read(texts.projects, &mut draft));
        if let Some(text) = texts.keys {
            found.push(keys::read(text.secret(), &mut draft));
        }
        let [nodes_wrong, apps_wrong] = [&found[0], &found[1]].map(|diagnostics| has_errors(diagnostics));

        let (model, problems) = match draft.build() {
            Ok(model) => (Some(model), Vec::new()),
            Err(problems) => (None, problems.0),
        };
        // An entry that could not be read is no reason to complain about everyone who names it.
        let told_already = |problem: &Problem| match problem.rule {
            Rule::UnknownNode { .. } => nodes_wrong,
            Rule::UnknownApp { .. } => apps_wrong,
            _ => false,
        };
        let problems: Vec<Problem> = problems.into_iter().filter(|problem| !told_already(problem)).collect();
        add_located(texts, &problems, &mut found);

        let diagnostics: Vec<Diagnostic> = found.into_iter().flatten().collect();
        match model {
            Some(model) if !has_errors(&diagnostics) => Ok(Loaded { value: model, warnings: diagnostics }),
            _ => Err(ConfigError { diagnostics }),
        }
    }
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// Adds the problems, each at its place in its file.
fn add_located(texts: &ClusterTexts<'_>, problems: &[Problem], found: &mut [Vec<Diagnostic>]) {
    let sources = [Some(texts.nodes), Some(texts.apps), Some(texts.projects), texts.keys.map(Source::secret)];
    for (file, source) in sources.into_iter().enumerate() {
        let here = |problem: &&Problem| {
            file == match problem.entry {
                Entry::Node(_) => 0,
                Entry::App(_) => 1,
                Entry::Project(_) => 2,
                Entry::Keys(_) => 3,
            }
        };
        let problems: Vec<&Problem> = problems.iter().filter(here).collect();
        if let (Some(source), false) = (source, problems.is_empty()) {
            found[file].extend(locate::diagnostics(source, &problems));
            found[file].sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        }
    }
}
