//! Saving a configuration: the texts keep their order and comments, only what has changed is written anew.

mod edit;
mod fields;
mod render;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::files::{FileMode, read_secret_text, read_text, replace_keeping_previous};
use super::json::Source;
use super::{ClusterFiles, ClusterTexts, ConfigError, Diagnostic, Model};
use fields::Entry;

impl ClusterFiles {
    /// Writes a model into the files, and returns the paths of those that changed.
    ///
    /// A text that is there and correct keeps its comments, its spaces and the order of its entries; entries and
    /// fields that differ are written anew, new ones follow after the last. A text that is not there, or cannot be
    /// read, is written as a whole. Each file changes all at once, and its previous content stays beside it as
    /// `X.conf.old`; that several files change together is as certain as a few renames in a row. The file of keys is
    /// made readable for its owner only, and not made at all when there are no keys.
    ///
    /// # Errors
    /// A file that cannot be written. Files before it have changed then: nodes, apps, projects, keys is the order.
    pub fn save(&self, model: &Model) -> Result<Vec<PathBuf>, ConfigError> {
        let contents = [
            (&self.nodes, "nodes", model.nodes().iter().map(Entry::of_node).collect::<Vec<_>>(), 0o644),
            (&self.apps, "apps", model.apps().iter().map(Entry::of_app).collect(), 0o644),
            (&self.projects, "projects", model.projects().iter().map(Entry::of_project).collect(), 0o644),
            (&self.keys, "keys", model.keys().iter().map(Entry::of_keys).collect(), 0o600),
        ];
        let mut texts = Vec::new();
        for (path, list, entries, mode) in &contents {
            let old =
                if *mode == 0o600 { read_secret_text(path).ok().flatten() } else { read_text(path).ok() };
            let new = new_text(old.as_deref(), list, entries);
            texts.push((path, old, new, *mode));
        }
        if !is_read_back(&texts.iter().map(|(.., new, _)| new.as_str()).collect::<Vec<_>>(), model) {
            // A text with more in it than this software knows: its order and comments are given up.
            for ((.., new, _), (_, list, entries, _)) in texts.iter_mut().zip(&contents) {
                *new = render::file(list, entries);
            }
        }
        let mut changed = Vec::new();
        for (path, old, new, mode) in texts {
            let no_keys = path == &&self.keys && model.keys().is_empty() && old.is_none();
            if no_keys || old.as_deref() == Some(&new) {
                continue;
            }
            write(path, &new, mode).map_err(|error| {
                let message = format!("cannot be written: {error}");
                ConfigError::of(Diagnostic::of_file(path.display().to_string(), message))
            })?;
            changed.push(path.to_path_buf());
        }
        Ok(changed)
    }
}

/// The text of one file, made from the old one where that is possible.
fn new_text(old: Option<&str>, list: &str, entries: &[Entry<'_>]) -> String {
    old.and_then(|old| edit::edited(old, list, entries)).unwrap_or_else(|| render::file(list, entries))
}

/// Whether the texts of nodes, apps, projects and keys hold exactly this model, in any order of entries.
fn is_read_back(texts: &[&str], model: &Model) -> bool {
    let [nodes, apps, projects, keys] = texts else { return false };
    let texts = ClusterTexts {
        nodes: Source::new("", nodes),
        apps: Source::new("", apps),
        projects: Source::new("", projects),
        keys: Some(Source::new("", keys)),
    };
    let Ok(read) = Model::read(&texts) else { return false };
    let read = read.value;
    read.nodes().len() == model.nodes().len()
        && read.apps().len() == model.apps().len()
        && read.projects().len() == model.projects().len()
        && read.nodes().iter().all(|node| model.node(&node.name) == Some(node))
        && read.apps().iter().all(|app| model.app(&app.name) == Some(app))
        && read.projects().iter().all(|project| model.project(&project.name) == Some(project))
        && read.keys() == model.keys()
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // A link stays a link: the file that it points to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mode = match fs::metadata(&path) {
        _ if mode == 0o600 => FileMode::Exactly(mode),
        Ok(metadata) => FileMode::Exactly(metadata.permissions().mode() & 0o7777),
        Err(_) => FileMode::AtMost(mode),
    };
    replace_keeping_previous(&path, text.as_bytes(), mode)
}
