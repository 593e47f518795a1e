//! Finds the place of a problem in the text that it came from.
//!
//! Places are not kept while reading: that would cost memory for every field of every correct file. The text is
//! read a second time when there is something to say about it.

use crate::config::json::{Source, Span, Tree, Value, diagnostics_of};
use crate::config::{Diagnostic, Entry, Field, Host, Pair, Problem, Rule};

/// A message for each problem, at the problem's place.
pub(super) fn diagnostics(source: Source<'_>, problems: &[&Problem]) -> Vec<Diagnostic> {
    let (tree, _) = Tree::of(source);
    let message = |problem: &&Problem| {
        let place = place(&tree, source.text(), problem).unwrap_or_default();
        let message = match (&problem.entry, &problem.rule) {
            // What stands for a name may be anything of a secret text.
            (Entry::Keys(_), Rule::UnknownNode { .. }) => "there is no node of one of these names".to_owned(),
            (_, rule) => rule.to_string(),
        };
        (place, message)
    };
    diagnostics_of(source, problems.iter().map(message))
}

fn place(file: &Tree<'_>, text: &str, problem: &Problem) -> Option<Span> {
    let (list, name_field) = match &problem.entry {
        Entry::Node(_) => ("nodes", "node"),
        Entry::App(_) => ("apps", "app"),
        Entry::Project(_) => ("projects", "project"),
        Entry::Keys(_) => ("keys", "nodes"),
    };
    let named =
        |entry: &&Tree<'_>| entry.get(name_field).and_then(Tree::text).is_some_and(|name| is(name, problem));
    let entry = file.get(list)?.items().iter().filter(named).nth(problem.occurrence)?;
    let field = field_place(entry, text, &problem.field);
    field.or_else(|| Some(entry.get(name_field)?.span))
}

fn is(name: &str, problem: &Problem) -> bool {
    match &problem.entry {
        Entry::Node(wanted) | Entry::App(wanted) | Entry::Project(wanted) => *wanted == name,
        Entry::Keys(pair) => match name.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            [one, other] => Pair::new(one, other) == *pair,
            _ => false,
        },
    }
}

fn field_place(entry: &Tree<'_>, text: &str, field: &Field) -> Option<Span> {
    let value = |key: &str| entry.get(key).map(|value| value.span);
    match field {
        Field::Name => None,
        Field::Hosts => entry.member("hosts").map(|member| member.key_span),
        Field::Host(host) => {
            // A duplicate is the last one of its kind.
            let hosts = entry.get("hosts")?.items();
            hosts
                .iter()
                .rev()
                .find(|item| host_text(item).is_some_and(|text| text == *host))
                .map(|item| item.span)
        }
        Field::Kv(key) => entry.get("kv")?.member(key).map(|member| member.key_span),
        Field::Desc => value("desc"),
        Field::Bin => value("bin"),
        Field::Timeout => value("timeout"),
        Field::Timeout2 => value("timeout2"),
        Field::ServerNode => value("server_node"),
        Field::ServerNodes(at) => nth_word(entry.get("server_nodes")?, text, *at),
        Field::ClientNodes(at) => nth_word(entry.get("client_nodes")?, text, *at),
        Field::Apps(at) => nth_word(entry.get("apps")?, text, *at),
        Field::Key => value("key"),
        Field::PreviousKey => value("previous_key"),
        Field::NewKeyEnableAt => value("new_key_enable_at"),
        Field::OldKeyDisableAt => value("old_key_disable_at"),
    }
}

fn host_text(item: &Tree<'_>) -> Option<String> {
    let port = item.get("port")?.text()?.parse().ok()?;
    Some(Host::parse(item.get("ip")?.text()?, port).ok()?.to_string())
}

/// The place of one name in a text of names.
fn nth_word(list: &Tree<'_>, text: &str, at: usize) -> Option<Span> {
    let inner = Span { from: list.span.from + 1, to: list.span.to.saturating_sub(1) };
    let raw = inner.of(text);
    let borrowed = matches!(&list.value, Value::Text(words) if **words == *raw);
    if !borrowed {
        // Escapes: the words of the text are not the words of the file.
        return Some(list.span);
    }
    let word = raw.split_ascii_whitespace().nth(at)?;
    let offset = word.as_ptr() as usize - raw.as_ptr() as usize;
    let from = inner.from + offset as u32;
    Some(Span { from, to: from + word.len() as u32 })
}
