//! `ibp_nodes.conf`: nodes, their hosts and kv settings.

use super::Draft;
use crate::config::json::{Reader, Shape, Source};
use crate::config::{Diagnostic, Host, Kv, Name, Node, rule};

const FILE: Shape = Shape::new("file", &["nodes"]).required(&["nodes"]).strict();
const NODE: Shape = Shape::new("node", &["node", "invalid", "hosts", "kv"]).required(&["node"]).strict();
const HOST: Shape = Shape::new("host", &["ip", "port", "invalid"]).required(&["ip", "port"]).strict();

pub(super) fn read(source: Source<'_>, draft: &mut Draft) -> Vec<Diagnostic> {
    let mut reader = Reader::new(source);
    let mut hosts = Vec::new();
    reader.root(&FILE, |reader, _| {
        reader.list(|reader| node(reader, draft, &mut hosts));
    });
    reader.into_diagnostics()
}

/// Reads a node; `hosts` is lent so that every node keeps exactly what it needs.
fn node(reader: &mut Reader<'_>, draft: &mut Draft, hosts: &mut Vec<Host>) {
    hosts.clear();
    let mut name = None;
    let mut invalid = false;
    let mut kv = Vec::new();
    reader.object(&NODE, |reader, field| match field {
        "node" => name = reader.text(),
        "invalid" => invalid = reader.truth().unwrap_or(false),
        "hosts" => {
            reader.list(|reader| hosts.extend(host(reader)));
        }
        _ => kv = self::kv(reader),
    });
    if let Some(name) = name {
        let name = Name::from(&*name);
        draft.add_node(Node { name, invalid, hosts: hosts.as_slice().to_vec(), kv });
    }
}

fn host(reader: &mut Reader<'_>) -> Option<Host> {
    let mut ip = None;
    let mut port = None;
    let mut invalid = false;
    reader.object(&HOST, |reader, field| match field {
        "ip" => {
            let checked = reader.text().map(|text| rule::ip(&text));
            ip = reported(reader, checked);
        }
        "port" => {
            let checked = reader.number().map(rule::port);
            port = reported(reader, checked);
        }
        _ => invalid = reader.truth().unwrap_or(false),
    });
    Some(Host { ip: ip?, port: port?, invalid })
}

fn kv(reader: &mut Reader<'_>) -> Vec<Kv> {
    let mut kv = Vec::new();
    reader.map("kv section", |reader, key, _| {
        if let Some(value) = reader.text() {
            kv.push(Kv { key: Name::from(&*key), value: value.into() });
        }
    });
    kv
}

/// What obeys its rule; what does not is reported at the value read last.
pub(super) fn reported<T>(reader: &mut Reader<'_>, checked: Option<Result<T, rule::Rule>>) -> Option<T> {
    match checked? {
        Ok(value) => Some(value),
        Err(rule) => {
            reader.error(reader.value_span(), rule.to_string());
            None
        }
    }
}
