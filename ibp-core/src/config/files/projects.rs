//! `ibp_projects.conf`: projects.

use super::Draft;
use crate::config::json::{Reader, Shape, Source};
use crate::config::{Diagnostic, Name, Project};

const FILE: Shape = Shape::new("file", &["projects"]).required(&["projects"]).strict();
const PROJECT: Shape = Shape::new("project", &["project", "server_nodes", "client_nodes", "apps"])
    .required(&["project"])
    .strict();

pub(super) fn read(source: Source<'_>, draft: &mut Draft) -> Vec<Diagnostic> {
    let mut reader = Reader::new(source);
    reader.root(&FILE, |reader, _| {
        reader.list(|reader| project(reader, draft));
    });
    reader.into_diagnostics()
}

fn project(reader: &mut Reader<'_>, draft: &mut Draft) {
    let mut name = None;
    let mut project = Project::new("");
    reader.object(&PROJECT, |reader, field| match field {
        "project" => name = reader.text(),
        "server_nodes" => project.server_nodes = names(reader, draft),
        "client_nodes" => project.client_nodes = names(reader, draft),
        _ => project.apps = names(reader, draft),
    });
    if let Some(name) = name {
        project.name = Name::from(&*name);
        draft.builder.add_project(project);
    }
}

/// Names with spaces between them, in one text.
fn names(reader: &mut Reader<'_>, draft: &Draft) -> Vec<Name> {
    let text = reader.text().unwrap_or_default();
    if text.contains([',', ';']) {
        reader.error(reader.value_span(), "names stand with spaces between them, without commas");
        return Vec::new();
    }
    let words = || text.split_ascii_whitespace();
    let mut names = Vec::with_capacity(words().count());
    names.extend(words().map(|word| draft.name(word)));
    names
}
