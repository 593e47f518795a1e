//! `ibp_projects.conf`: projects.

use super::Draft;
use super::draft::Listed;
use crate::config::json::{Reader, Shape, Source};
use crate::config::{Diagnostic, Name};

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
    let (mut server_nodes, mut client_nodes, mut apps) =
        (Listed::default(), Listed::default(), Listed::default());
    reader.object(&PROJECT, |reader, field| match field {
        "project" => name = reader.text(),
        "server_nodes" => server_nodes = names(reader, |name| draft.listed_node(name)),
        "client_nodes" => client_nodes = names(reader, |name| draft.listed_node(name)),
        _ => apps = names(reader, |name| draft.listed_app(name)),
    });
    if let Some(name) = name {
        draft.add_project(Name::from(&*name), server_nodes, client_nodes, apps);
    }
}

/// Names with spaces between them, in one text.
fn names(reader: &mut Reader<'_>, find: impl Fn(&str) -> (Name, u32)) -> Listed {
    let text = reader.text().unwrap_or_default();
    if text.contains([',', ';']) {
        reader.error(reader.value_span(), "names stand with spaces between them, without commas");
        return Listed::default();
    }
    let words = || text.split_ascii_whitespace();
    let mut listed = Listed::with_capacity(words().count());
    words().for_each(|word| listed.push(find(word)));
    listed
}
