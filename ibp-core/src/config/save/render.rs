//! Entries as text, in the style of the published samples.

use std::fmt::Write as _;

use super::fields::{Entry, Field, FieldValue, Written};
use crate::config::{Host, Kv, Name};

/// A whole file.
pub(super) fn file(list: &str, entries: &[Entry<'_>]) -> String {
    let entries: Vec<String> = entries.iter().map(|entry| self::entry(entry, "\t")).collect();
    format!("{{\n\t\"{list}\" :\n{}\n}}\n", bracketed(&entries, "\t"))
}

/// An entry, its brackets indented by `indent`; the first line too.
pub(super) fn entry(entry: &Entry<'_>, indent: &str) -> String {
    let inner = format!("{indent}\t");
    let (key, name) = &entry.name;
    let mut fields = vec![format!("{inner}{} : {}", quoted(key), quoted(name))];
    for field in &entry.fields {
        if field.written == Written::Always || !field.value.is_default(field.key) {
            fields.push(format!("{inner}{}", self::field(field, &inner)));
        }
    }
    format!("{indent}{{\n{}\n{indent}}}", fields.join(" ,\n"))
}

/// A field with its name; its first line is not indented.
pub(super) fn field(field: &Field<'_>, indent: &str) -> String {
    let block = matches!(&field.value, FieldValue::Hosts(_) | FieldValue::Kv(_));
    let between = if block { format!(" :\n{indent}") } else { " : ".to_owned() };
    format!("{}{between}{}", quoted(field.key), value(&field.value, indent, true))
}

/// A value; its first line is not indented. Numbers stand in quotes if they did before.
pub(super) fn value(value: &FieldValue<'_>, indent: &str, in_quotes: bool) -> String {
    let number = |number: i64| if in_quotes { format!("\"{number}\"") } else { number.to_string() };
    match value {
        FieldValue::Text(text) => quoted(text),
        FieldValue::Names(names) => quoted(&names.iter().map(Name::as_str).collect::<Vec<_>>().join(" ")),
        FieldValue::Number(value) => number(*value),
        FieldValue::Flag(flag) => number(i64::from(*flag)),
        FieldValue::Hosts(hosts) => {
            let hosts: Vec<String> =
                hosts.iter().map(|host| format!("{indent}{}", self::host(host))).collect();
            bracketed(&hosts, indent).trim_start().to_owned()
        }
        FieldValue::Kv(kv) => {
            let kv: Vec<String> = kv.iter().map(|kv| format!("{indent}\t{}", self::kv(kv))).collect();
            format!("{{\n{}\n{indent}}}", kv.join(" ,\n"))
        }
    }
}

pub(super) fn host(host: &Host) -> String {
    let invalid = if host.invalid { " , \"invalid\" : 1" } else { "" };
    format!("{{ \"ip\" : \"{}\" , \"port\" : {}{invalid} }}", host.ip, host.port)
}

pub(super) fn kv(kv: &Kv) -> String {
    format!("{} : {}", quoted(&kv.key), quoted(&kv.value))
}

/// A list whose items, indented already, stand as far in as its brackets.
fn bracketed(items: &[String], indent: &str) -> String {
    let mut list = format!("{indent}[\n");
    for (at, item) in items.iter().enumerate() {
        list.push_str(item);
        list.push_str(if at + 1 < items.len() { " ,\n" } else { "\n" });
    }
    list.push_str(indent);
    list.push(']');
    list
}

/// Text in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
