//! `ibp_keys.conf`: the keys of pairs of nodes. The text is secret: messages tell places, never contents.

use std::collections::HashSet;

use super::Draft;
use crate::config::json::{Reader, Shape, Source};
use crate::config::{Diagnostic, Pair, PairKey, Rule, Secret};

const FILE: Shape = Shape::new("file", &["keys"]).required(&["keys"]).strict();
const KEY: Shape =
    Shape::new("key", &["nodes", "key", "previous_key", "new_key_enable_at", "old_key_disable_at"])
        .required(&["nodes", "key"])
        .strict();

pub(super) fn read(source: Source<'_>, draft: &mut Draft) -> Vec<Diagnostic> {
    let mut reader = Reader::new(source);
    let mut seen = HashSet::new();
    reader.root(&FILE, |reader, _| {
        reader.list(|reader| {
            let Some((pair, key)) = self::key(reader) else { return };
            if !seen.insert(pair.clone()) {
                reader.error(reader.value_span(), Rule::DuplicatePair.to_string());
                return;
            }
            draft.add_keys(pair, key);
        });
    });
    reader.into_diagnostics()
}

fn key(reader: &mut Reader<'_>) -> Option<(Pair, PairKey)> {
    let mut pair = None;
    let mut current = None;
    let (mut previous, mut new_enable_at, mut old_disable_at) = (None, 0, 0);
    reader.object(&KEY, |reader, field| match field {
        "nodes" => pair = nodes(reader),
        "key" => current = secret(reader),
        "previous_key" => previous = secret(reader),
        "new_key_enable_at" => new_enable_at = reader.integer(0..=i64::MAX).unwrap_or(0),
        _ => old_disable_at = reader.integer(0..=i64::MAX).unwrap_or(0),
    });
    Some((pair?, PairKey { current: current?, previous, new_enable_at, old_disable_at }))
}

/// The two nodes, with a space between their names.
fn nodes(reader: &mut Reader<'_>) -> Option<Pair> {
    let text = reader.text()?;
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(one), Some(other), None) => Some(Pair::new(one, other)),
        _ => {
            reader.error(reader.value_span(), "two names of nodes are expected, with a space between them");
            None
        }
    }
}

fn secret(reader: &mut Reader<'_>) -> Option<Secret> {
    let digits = reader.text()?;
    let secret = Secret::from_hex(&digits);
    if secret.is_none() {
        reader.error(reader.value_span(), "a key has 64 hexadecimal digits");
    }
    secret
}
