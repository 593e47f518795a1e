//! `ibp_apps.conf`: apps.

use super::Draft;
use super::nodes::reported;
use crate::config::json::{Reader, Shape, Source};
use crate::config::{App, Diagnostic, Name, rule};

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
    let (mut desc, mut bin) = (Default::default(), Default::default());
    let (mut timeout_seconds, mut timeout2_seconds) = (App::DEFAULT_TIMEOUT_SECONDS, 0);
    let mut invalid = false;
    let mut server_node = None;
    reader.object(&APP, |reader, field| match field {
        "app" => name = reader.text(),
        "desc" => desc = reader.text().unwrap_or_default().into(),
        "bin" => bin = reader.text().unwrap_or_default().into(),
        "timeout" => timeout_seconds = seconds(reader, "timeout", 1).unwrap_or(timeout_seconds),
        "timeout2" => timeout2_seconds = seconds(reader, "timeout2", 0).unwrap_or(timeout2_seconds),
        "invalid" => invalid = reader.truth().unwrap_or(false),
        _ => server_node = reader.text().filter(|node| !node.is_empty()).map(|node| draft.node_name(&node)),
    });
    if let Some(name) = name {
        let name = Name::from(&*name);
        draft.add_app(App { name, desc, bin, timeout_seconds, timeout2_seconds, invalid, server_node });
    }
}

fn seconds(reader: &mut Reader<'_>, field: &'static str, least: u32) -> Option<u32> {
    let checked = reader.number().map(|seconds| rule::timeout(field, seconds, least));
    reported(reader, checked)
}
