//! The files of a cluster's configuration: `ibp_nodes.conf`, `ibp_apps.conf`, `ibp_projects.conf`, `ibp_keys.conf`.

mod apps;
mod keys;
mod locate;
mod nodes;
mod projects;
mod read;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::json::Source;
use super::{ConfigError, Diagnostic, Entry, Model, ModelBuilder, Name, Problem, Rule, Severity};

pub(super) use read::{read_secret_text, read_text};

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

    /// Reads the files from disk.
    ///
    /// # Errors
    /// Everything that is wrong with any of them: a file that cannot be read, that is not UTF-8, whose form is wrong or
    /// whose entries break a [`Rule`]; a file of keys that others than its owner can read.
    pub fn load(&self) -> Result<Loaded<Model>, ConfigError> {
        let mut unreadable = Vec::new();
        let mut text = |read: Result<String, ConfigError>| match read {
            Ok(text) => Some(text),
            Err(error) => {
                unreadable.extend(error.diagnostics);
                None
            }
        };
        let nodes = text(read_text(&self.nodes));
        let apps = text(read_text(&self.apps));
        let projects = text(read_text(&self.projects));
        let keys = read_secret_text(&self.keys).map(Option::unwrap_or_default);
        let keys = text(keys);
        let (Some(nodes), Some(apps), Some(projects), Some(keys)) = (&nodes, &apps, &projects, &keys) else {
            return Err(ConfigError { diagnostics: unreadable });
        };
        let names =
            [&self.nodes, &self.apps, &self.projects, &self.keys].map(|path| path.display().to_string());
        let texts = ClusterTexts {
            nodes: Source::new(&names[0], nodes),
            apps: Source::new(&names[1], apps),
            projects: Source::new(&names[2], projects),
            keys: (!keys.is_empty()).then(|| Source::new(&names[3], keys)),
        };
        Model::read(&texts)
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

        let (model, problems) = match draft.builder.build() {
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

/// What is read so far.
#[derive(Default)]
struct Draft {
    builder: ModelBuilder,
    /// The names of nodes and apps: a name that stands a second time shares its text with the first.
    names: HashSet<Name>,
}

impl Draft {
    /// A name that is entered here for those who use it later.
    fn new_name(&mut self, text: &str) -> Name {
        let name = self.name(text);
        self.names.insert(name.clone());
        name
    }

    fn name(&self, text: &str) -> Name {
        self.names.get(text).cloned().unwrap_or_else(|| Name::from(text))
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
