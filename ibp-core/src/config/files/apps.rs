//! `ibp_apps.conf`: apps.

use super::Draft;
use super::nodes::reported;
use crate::config::json::{Reader, Shape, Source};
use crate::config::{App, Diagnostic, rule};

const FILE: Shape = Shape::new("file", &["apps"]).required(&["apps"]).strict();
const APP: Shape =
    Shape::new("app", &["app", "desc", "bin", "timeout", "timeout2", "invalid", "server_node"])
        .required(&["app"])
        .strict();

pub(super) fn read(source: Source<'_>, draft: &mut Draft) -> Vec<Diagnostic> {
    let mut reader = Reader::new(source);
    reader.root(&FILE, |reader, _| {
        reader.list(|reader| app(reader, draft));
    });
    reader.into_diagnostics()
}

fn app(reader: &mut Reader<'_>, draft: &mut Draft) {
    let mut name = None;
    let mut app = App::new("");
    reader.object(&APP, |reader, field| match field {
        "app" => name = reader.text(),
        "desc" => app.desc = reader.text().unwrap_or_default().into(),
        "bin" => app.bin = reader.text().unwrap_or_default().into(),
        "timeout" => {
            let checked = reader.number().map(|seconds| rule::timeout("timeout", seconds, 1));
            app.timeout_seconds = reported(reader, checked).unwrap_or(App::DEFAULT_TIMEOUT_SECONDS);
        }
        "timeout2" => {
            let checked = reader.number().map(|seconds| rule::timeout("timeout2", seconds, 0));
            app.timeout2_seconds = reported(reader, checked).unwrap_or(0);
        }
        "invalid" => app.invalid = reader.truth().unwrap_or(false),
        _ => {
            let node = reader.text().filter(|node| !node.is_empty());
            app.server_node = node.map(|node| draft.name(&node));
        }
    });
    if let Some(name) = name {
        app.name = draft.new_name(&name);
        draft.builder.add_app(app);
    }
}
