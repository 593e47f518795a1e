//! The entries of the files as fields, all kinds alike.

use std::borrow::Cow;

use crate::config::json::{Tree, Value};
use crate::config::{App, Host, Kv, Name, Node, Pair, PairKey, Project};

/// An entry as it has to stand in its file.
pub(super) struct Entry<'m> {
    /// The first field: the name by which the entry is found.
    pub name: (&'static str, Cow<'m, str>),
    /// The other fields, in their usual order.
    pub fields: Vec<Field<'m>>,
}

/// A field of an entry.
pub(super) struct Field<'m> {
    pub key: &'static str,
    pub value: FieldValue<'m>,
    /// When the field stands in a new entry.
    pub written: Written,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Always,
    /// Unless it says what the reader takes for granted.
    UnlessDefault,
}

pub(super) enum FieldValue<'m> {
    Text(Cow<'m, str>),
    /// Names with spaces between them.
    Names(&'m [Name]),
    Number(i64),
    Flag(bool),
    Hosts(&'m [Host]),
    Kv(&'m [Kv]),
}

impl<'m> Entry<'m> {
    pub fn of_node(node: &'m Node) -> Entry<'m> {
        let fields = vec![
            Field::always("invalid", FieldValue::Flag(node.invalid)),
            Field::always("hosts", FieldValue::Hosts(&node.hosts)),
            Field::unless_default("kv", FieldValue::Kv(&node.kv)),
        ];
        Entry { name: ("node", node.name.as_str().into()), fields }
    }

    pub fn of_app(app: &'m App) -> Entry<'m> {
        let server_node = app.server_node.as_ref().map(Name::as_str).unwrap_or_default();
        let fields = vec![
            Field::always("desc", FieldValue::Text(Cow::from(&*app.desc))),
            Field::always("bin", FieldValue::Text(Cow::from(&*app.bin))),
            Field::always("timeout", FieldValue::Number(app.timeout_seconds.into())),
            Field::always("timeout2", FieldValue::Number(app.timeout2_seconds.into())),
            Field::always("invalid", FieldValue::Flag(app.invalid)),
            Field::unless_default("server_node", FieldValue::Text(server_node.into())),
        ];
        Entry { name: ("app", app.name.as_str().into()), fields }
    }

    pub fn of_project(project: &'m Project) -> Entry<'m> {
        let fields = vec![
            Field::always("server_nodes", FieldValue::Names(&project.server_nodes)),
            Field::always("client_nodes", FieldValue::Names(&project.client_nodes)),
            Field::always("apps", FieldValue::Names(&project.apps)),
        ];
        Entry { name: ("project", project.name.as_str().into()), fields }
    }

    pub fn of_keys((pair, key): (&'m Pair, &'m PairKey)) -> Entry<'m> {
        let mut fields = vec![Field::always("key", FieldValue::Text(key.current.to_hex().into()))];
        if let Some(previous) = &key.previous {
            fields.push(Field::always("previous_key", FieldValue::Text(previous.to_hex().into())));
        }
        fields.push(Field::unless_default("new_key_enable_at", FieldValue::Number(key.new_enable_at)));
        fields.push(Field::unless_default("old_key_disable_at", FieldValue::Number(key.old_disable_at)));
        Entry { name: ("nodes", pair.to_string().into()), fields }
    }

    /// What the name of an entry of this kind is compared by: a pair of nodes has no order.
    pub fn key_of<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if self.name.0 != "nodes" {
            return Cow::Borrowed(name);
        }
        match name.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            [one, other] => Pair::new(one, other).to_string().into(),
            _ => Cow::Borrowed(name),
        }
    }

    /// Whether a field that stands in the entry may stay; its value is another matter.
    pub fn may_have(&self, key: &str) -> bool {
        key != "previous_key" || self.fields.iter().any(|field| field.key == key)
    }
}

impl<'m> Field<'m> {
    fn always(key: &'static str, value: FieldValue<'m>) -> Field<'m> {
        Field { key, value, written: Written::Always }
    }

    fn unless_default(key: &'static str, value: FieldValue<'m>) -> Field<'m> {
        Field { key, value, written: Written::UnlessDefault }
    }
}

impl FieldValue<'_> {
    /// Whether a missing field means the same.
    pub fn is_default(&self, key: &str) -> bool {
        match self {
            FieldValue::Text(text) => text.is_empty(),
            FieldValue::Names(names) => names.is_empty(),
            FieldValue::Number(number) if key == "timeout" => {
                *number == i64::from(App::DEFAULT_TIMEOUT_SECONDS)
            }
            FieldValue::Number(number) => *number == 0,
            FieldValue::Flag(flag) => !flag,
            FieldValue::Hosts(hosts) => hosts.is_empty(),
            FieldValue::Kv(kv) => kv.is_empty(),
        }
    }

    /// Whether a value in a file means the same.
    pub fn is_said_by(&self, tree: &Tree<'_>) -> bool {
        let text = || tree.text().unwrap_or_default();
        match self {
            FieldValue::Text(wanted) => matches!(&tree.value, Value::Text(text) if text == wanted),
            FieldValue::Names(names) => text().split_ascii_whitespace().eq(names.iter().map(Name::as_str)),
            FieldValue::Number(number) => text().parse() == Ok(*number),
            FieldValue::Flag(flag) => said_flag(tree) == *flag,
            FieldValue::Hosts(hosts) => {
                tree.items().iter().map(said_host).eq(hosts.iter().copied().map(Some))
            }
            FieldValue::Kv(kv) => match &tree.value {
                Value::Object(members) => members
                    .iter()
                    .map(|member| (&*member.key, member.value.text().unwrap_or_default()))
                    .eq(kv.iter().map(|kv| (kv.key.as_str(), &*kv.value))),
                _ => false,
            },
        }
    }
}

/// The host that an item of `hosts` says.
pub(super) fn said_host(item: &Tree<'_>) -> Option<Host> {
    let port = item.get("port")?.text()?.parse().ok()?;
    let host = Host::parse(item.get("ip")?.text()?, port).ok()?;
    Some(Host { invalid: item.get("invalid").is_some_and(said_flag), ..host })
}

fn said_flag(tree: &Tree<'_>) -> bool {
    match tree.text() {
        Some("true") => true,
        Some(text) => text.parse::<i64>().is_ok_and(|number| number != 0),
        None => false,
    }
}
