//! Changes of a text that leave everything else in it as it is.

use std::borrow::Cow;
use std::collections::HashMap;

use super::fields::{Entry, Field, FieldValue, said_host};
use super::render;
use crate::config::json::{Member, Reader, Source, Span, Tree, Value};
use crate::config::{Host, Kv};

/// The text with its list holding exactly these entries. `None` if the text is not of the expected form.
pub(super) fn edited(text: &str, list: &str, entries: &[Entry<'_>]) -> Option<String> {
    let (tree, complete) = Tree::of(Source::new("", text));
    let list = tree.get(list)?;
    if !complete || !matches!(list.value, Value::List(_)) {
        return None;
    }
    let mut edit = Edit { text, changes: Vec::new() };
    let by_name: HashMap<Cow<'_, str>, usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.key_of(&entry.name.1), at)).collect();
    let mut found = vec![false; entries.len()];
    let mut items = Vec::with_capacity(list.items().len());
    for item in list.items() {
        let named =
            |entry: &Entry<'_>| item.get(entry.name.0).and_then(Tree::text).map(|name| entry.key_of(name));
        let at = entries.first().and_then(named).and_then(|key| by_name.get(&key).copied());
        let kept = at.filter(|at| !found[*at]);
        if let Some(at) = kept {
            found[at] = true;
            edit.entry(item, &entries[at])?;
        }
        items.push(Item { span: item.span, kept: kept.is_some() });
    }
    let new = entries.iter().zip(found).filter(|(_, found)| !found).map(|(entry, _)| entry);
    edit.list(list.span, &items, new, render::entry);
    Some(edit.apply())
}

/// Something in a list or an object.
struct Item {
    span: Span,
    kept: bool,
}

struct Edit<'t> {
    text: &'t str,
    /// What to put in the place of which bytes.
    changes: Vec<(usize, usize, String)>,
}

impl Edit<'_> {
    fn entry(&mut self, entry_tree: &Tree<'_>, entry: &Entry<'_>) -> Option<()> {
        let Value::Object(members) = &entry_tree.value else { return None };
        let mut new = Vec::new();
        for field in &entry.fields {
            match entry_tree.member(field.key) {
                Some(member) => self.field(member, field),
                None if field.value.is_default(field.key) => {}
                None => new.push(field),
            }
        }
        let items: Vec<Item> =
            members.iter().map(|member| item(member, entry.may_have(&member.key))).collect();
        let indent = self.indent_of(members.last()?.key_span.from as usize);
        self.members(
            entry_tree.span,
            &items,
            new.into_iter().map(|field| render::field(field, &indent)).collect(),
        );
        Some(())
    }

    fn field(&mut self, member: &Member<'_>, field: &Field<'_>) {
        if field.value.is_said_by(&member.value) {
            return;
        }
        match (&field.value, &member.value.value) {
            (FieldValue::Hosts(hosts), Value::List(items)) if self.hosts(&member.value, items, hosts) => {}
            (FieldValue::Kv(kv), Value::Object(members)) => self.kv(&member.value, members, kv),
            _ => {
                let in_quotes = matches!(member.value.value, Value::Text(_));
                let indent = self.indent_of(member.value.span.from as usize);
                self.replace(member.value.span, render::value(&field.value, &indent, in_quotes));
            }
        }
    }

    /// Changes a list of hosts, if hosts were only removed, added at the end, or changed their state.
    fn hosts(&mut self, list: &Tree<'_>, items: &[Tree<'_>], hosts: &[Host]) -> bool {
        let same = |item: &Tree<'_>, host: &Host| {
            said_host(item).is_some_and(|said| (said.ip, said.port) == (host.ip, host.port))
        };
        let mut wanted = hosts.iter().peekable();
        let after: Vec<(&Tree<'_>, Option<&Host>)> =
            items.iter().map(|item| (item, wanted.next_if(|host| same(item, host)))).collect();
        let new: Vec<&Host> = wanted.collect();
        if new.iter().any(|host| items.iter().any(|item| same(item, host))) {
            return false;
        }
        for (item, host) in &after {
            if let Some(host) = host.filter(|host| said_host(item) != Some(**host)) {
                self.replace(item.span, render::host(host));
            }
        }
        let items: Vec<Item> =
            after.iter().map(|(item, host)| Item { span: item.span, kept: host.is_some() }).collect();
        self.list(list.span, &items, new, |host, indent| format!("{indent}{}", render::host(host)));
        true
    }

    fn kv(&mut self, object: &Tree<'_>, members: &[Member<'_>], wanted: &[Kv]) {
        let mut items = Vec::new();
        for member in members {
            let kv = wanted.iter().find(|kv| kv.key == *member.key);
            items.push(item(member, kv.is_some()));
            if let Some(kv) = kv.filter(|kv| member.value.text() != Some(&*kv.value)) {
                self.replace(member.value.span, render::quoted(&kv.value));
            }
        }
        let is_new = |kv: &&Kv| members.iter().all(|member| *member.key != *kv.key);
        self.members(object.span, &items, wanted.iter().filter(is_new).map(render::kv).collect());
    }

    /// Removes items of a list that are not kept, and adds new ones at its end.
    fn list<T>(
        &mut self,
        list: Span,
        items: &[Item],
        new: impl IntoIterator<Item = T>,
        render: impl Fn(T, &str) -> String,
    ) {
        let last = items.iter().rfind(|item| item.kept);
        let indent = self.indent_of(last.map_or(list.from, |last| last.span.from) as usize);
        let new: Vec<String> = new.into_iter().map(|item| render(item, &indent)).collect();
        match last {
            None if !new.is_empty() => self.replace(list, format!("[\n{}\n{indent}]", new.join(" ,\n"))),
            _ => self.keep_and_append(items, new.into_iter().map(|item| format!("\n{item}")).collect()),
        }
    }

    /// Removes fields of an object that are not kept, and adds new ones, their first line not indented, at its end.
    fn members(&mut self, object: Span, items: &[Item], new: Vec<String>) {
        match items.iter().rfind(|item| item.kept) {
            None if !new.is_empty() => self.replace(object, format!("{{ {} }}", new.join(" , "))),
            last => {
                let start = last.map_or(object.from, |last| last.span.from) as usize;
                let line = format!("\n{}", self.indent_of(start));
                let separator = if self.begins_line(start) { &line } else { " " };
                self.keep_and_append(
                    items,
                    new.into_iter().map(|member| format!("{separator}{member}")).collect(),
                );
            }
        }
    }

    fn keep_and_append(&mut self, items: &[Item], new: Vec<String>) {
        items.iter().filter(|item| !item.kept).for_each(|item| self.remove(item.span));
        if let (Some(last), false) = (items.iter().rfind(|item| item.kept), new.is_empty()) {
            self.append_after(last.span, &new);
        }
    }

    /// Adds text with its own leading space after an item, with commas between.
    fn append_after(&mut self, last: Span, new: &[String]) {
        let end = last.to as usize;
        let behind = match self.comma_after(end) {
            Some(comma) => comma + 1,
            None => {
                self.changes.push((end, end, " ,".to_owned()));
                end
            }
        };
        let behind = if new[0].starts_with('\n') { self.end_of_comment(behind) } else { behind };
        self.changes.push((behind, behind, new.join(" ,")));
    }

    /// Takes an item out, with its comma, and with its line if nothing else stands there.
    fn remove(&mut self, item: Span) {
        let mut from = item.from as usize;
        let mut to = self.comma_after(item.to as usize).map_or(item.to as usize, |comma| comma + 1);
        let rest_ends = self.end_of_comment(to);
        let line_ends =
            self.text[rest_ends..].starts_with('\n') || self.text[rest_ends..].starts_with("\r\n");
        if self.begins_line(from) && line_ends {
            from = self.text[..from].rfind('\n').map_or(0, |newline| newline + 1);
            to = self.text[rest_ends..].find('\n').map_or(self.text.len(), |newline| rest_ends + newline + 1);
        } else if self.text[to..].starts_with(' ') {
            to += 1;
        }
        self.changes.push((from, to, String::new()));
    }

    fn replace(&mut self, span: Span, text: String) {
        self.changes.push((span.from as usize, span.to as usize, text));
    }

    /// The comma after an item, if one follows.
    fn comma_after(&self, end: usize) -> Option<usize> {
        Reader::starting_at(Source::new("", self.text), end).place_of(b',')
    }

    /// The end of a comment that follows in the same line; `at` itself if there is none.
    fn end_of_comment(&self, at: usize) -> usize {
        let line = &self.text[at..][..self.text[at..].find('\n').unwrap_or(self.text.len() - at)];
        let trimmed = line.trim();
        let is_comment = trimmed.starts_with("//")
            || (trimmed.starts_with("/*") && trimmed.find("*/").is_some_and(|end| end + 2 == trimmed.len()));
        if trimmed.is_empty() || is_comment { at + line.trim_end().len() } else { at }
    }

    /// Whether only space stands before this in its line.
    fn begins_line(&self, at: usize) -> bool {
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        self.text[line..at].trim().is_empty()
    }

    /// The space at the beginning of the line in which this stands.
    fn indent_of(&self, at: usize) -> String {
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &self.text[line..];
        rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()].to_owned()
    }

    fn apply(mut self) -> String {
        // Of changes at one place the one that was asked for first stands first.
        self.changes.sort_by_key(|(from, ..)| *from);
        let mut edited = String::with_capacity(self.text.len() + self.text.len() / 8);
        let mut at = 0;
        for (from, to, new) in &self.changes {
            // A change inside of what was replaced as a whole has nothing to change any more.
            if *from < at {
                continue;
            }
            edited.push_str(&self.text[at..*from]);
            edited.push_str(new);
            at = *to;
        }
        edited.push_str(&self.text[at..]);
        edited
    }
}

fn item(member: &Member<'_>, kept: bool) -> Item {
    Item { span: Span { from: member.key_span.from, to: member.value.span.to }, kept }
}
