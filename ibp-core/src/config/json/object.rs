//! Objects and lists: brackets, commas, colons, and how reading goes on when one of them is wrong.

use std::borrow::Cow;
use std::collections::HashMap;

use super::reader::Reader;
use super::shape::Shape;
use super::source::Span;
use crate::config::suggest;

impl<'a> Reader<'a> {
    /// Reads an object whose fields are known; `each` is called for every field that stands there, and has to take its
    /// value. `None` if something else stands there.
    pub fn object(
        &mut self,
        shape: &Shape,
        mut each: impl FnMut(&mut Reader<'a>, &'static str),
    ) -> Option<Span> {
        let mut seen = Seen::default();
        let tolerated = shape.missing_comma;
        let span = self.fields(shape.what, tolerated, |reader, key, span| {
            let Some(index) = shape.fields.iter().position(|field| *field == key) else {
                reader.unknown_field(shape, &key, span, &mut seen);
                return;
            };
            match seen.first[index] {
                0 => {
                    seen.first[index] = span.from + 1;
                    if reader.colon() {
                        each(reader, shape.fields[index]);
                    }
                }
                first => {
                    reader.duplicate(shape.what, &key, span, first - 1);
                    if reader.colon() {
                        reader.skip();
                    }
                }
            }
        })?;
        for field in shape.required {
            let index = shape.fields.iter().position(|known| known == field);
            let stands = index.is_none_or(|index| seen.first[index] > 0 || seen.misspelt & (1 << index) > 0);
            if !stands && !self.confused {
                let brace = Span::new(span.from as usize, span.from as usize + 1);
                self.error(brace, format!("this {} has no {field:?}", shape.what));
            }
        }
        Some(span)
    }

    /// Reads an object that may have any fields; `each` gets the name of every field and its span, and has to take its
    /// value. `None` if something else stands there.
    pub fn map(
        &mut self,
        what: &str,
        mut each: impl FnMut(&mut Reader<'a>, Cow<'a, str>, Span),
    ) -> Option<Span> {
        let mut keys = Keys::default();
        self.fields(what, None, |reader, key, span| {
            if let Some(first) = keys.insert(key.clone(), span.from) {
                reader.duplicate(what, &key, span, first);
                if reader.colon() {
                    reader.skip();
                }
            } else if reader.colon() {
                each(reader, key, span);
            }
        })
    }

    /// Reads a list; `each` is called for every item, and has to take it. `None` if something else stands there.
    pub fn list(&mut self, mut each: impl FnMut(&mut Reader<'a>)) -> Option<Span> {
        let from = self.opening(b'[', &"a list [ ... ]")?;
        self.entries(b']', |reader, comma_missing_at| {
            if let Some(span) = comma_missing_at {
                reader.error(span, "a comma is missing here");
            }
            each(reader);
        });
        self.value = Span::new(from, self.at);
        Some(self.value)
    }

    fn fields(
        &mut self,
        what: &str,
        tolerated: Option<(&str, &str)>,
        mut each: impl FnMut(&mut Reader<'a>, Cow<'a, str>, Span),
    ) -> Option<Span> {
        let from = self.opening(b'{', &format_args!("an object {{ ... }} ({what})"))?;
        let mut previous = Cow::Borrowed("");
        self.entries(b'}', |reader, comma_missing_at| {
            let Some((key, span)) = reader.key() else { return };
            if let Some(missing) = comma_missing_at {
                reader.comma_missing(missing, span, tolerated == Some((&*previous, &*key)));
            }
            if tolerated.is_some() {
                previous = key.clone();
            }
            each(reader, key, span);
        });
        self.value = Span::new(from, self.at);
        Some(self.value)
    }

    /// The opening bracket, which is consumed.
    fn opening(&mut self, bracket: u8, expected: &dyn std::fmt::Display) -> Option<usize> {
        if self.peek() != Some(bracket) {
            self.instead_of(expected);
            return None;
        }
        let from = self.at;
        if self.open.len() == Self::MAX_DEPTH {
            let message = format!("objects and lists are nested more than {} deep", Self::MAX_DEPTH);
            self.error(Span::new(from, from + 1), message);
            self.give_up();
            return None;
        }
        self.open.push((bracket, from));
        self.at += 1;
        Some(from)
    }

    /// Everything between an opening bracket and its closing one, which is consumed. `entry` gets the place of a
    /// missing comma before it.
    fn entries(&mut self, close: u8, mut entry: impl FnMut(&mut Reader<'a>, Option<Span>)) {
        // Where the last entry ended, while a comma may follow it.
        let mut entry_end = None;
        loop {
            let Some(byte) = self.peek() else {
                self.never_closed();
                break;
            };
            match byte {
                _ if byte == close => {
                    self.at += 1;
                    break;
                }
                b',' => {
                    if entry_end.take().is_none() && !std::mem::take(&mut self.lenient) {
                        self.error(Span::new(self.at, self.at + 1), "nothing stands before this comma");
                    }
                    self.at += 1;
                }
                b'}' | b']' => {
                    if self.wrong_bracket(byte, close) {
                        break;
                    }
                }
                b':' => self.unexpected(),
                b'.' if self.bytes[self.at..].starts_with(b"...") => {
                    let span = Span::new(self.at, self.at + 3);
                    self.error_with_hint(span, "\"...\" stands for entries that were left out", "remove it");
                    self.at += 3;
                    entry_end = None;
                    self.lenient = true;
                }
                _ => {
                    let lenient = std::mem::take(&mut self.lenient);
                    let comma_missing = entry_end.take().filter(|_| !lenient);
                    let before = self.at;
                    entry(self, comma_missing.map(|end: usize| Span::new(end, end)));
                    if self.at == before && !self.has_given_up() {
                        self.unexpected();
                    }
                    entry_end = Some(self.at);
                }
            }
        }
        self.open.pop();
    }

    /// The name of a field, up to its colon. `None` when something else stands there, which is reported and consumed.
    fn key(&mut self) -> Option<(Cow<'a, str>, Span)> {
        let from = self.at;
        let first = self.text[from..].chars().next()?;
        match first {
            '"' => {
                let key = self.quoted();
                key.map(|key| (key, self.value))
            }
            '\'' | '“' | '”' => {
                let key = self.wrongly_quoted(first);
                Some((Cow::Borrowed(key), self.value))
            }
            '{' | '[' => {
                let span = Span::new(from, from + 1);
                let found = self.describe_here();
                self.error(span, format!("the name of a field is expected, found {found}"));
                self.skip();
                None
            }
            _ => self.bare_key(),
        }
    }

    fn bare_key(&mut self) -> Option<(Cow<'a, str>, Span)> {
        let word = self.word_here();
        let span = Span::new(self.at, self.at + word.len());
        if word.is_empty() {
            self.unexpected();
            return None;
        }
        self.at += word.len();
        if matches!(self.peek(), Some(b':' | b'=')) {
            let hint = format!("write \"{}\"", self.shown(word));
            self.error_with_hint(span, "the name of a field stands in quotes", hint);
            return Some((Cow::Borrowed(word), span));
        }
        // What follows in the line is most likely the same slip.
        let mut word_end = span.to as usize;
        while self.peek().is_some()
            && !self.text[word_end..self.at].contains('\n')
            && !self.word_here().is_empty()
        {
            self.at += self.word_here().len();
            word_end = self.at;
        }
        self.error(span, format!("unexpected word {}", self.shown(word)));
        self.lenient = true;
        None
    }

    /// The colon between a field's name and its value. `false` when no value follows, which is reported.
    fn colon(&mut self) -> bool {
        let name_end = self.at;
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(b'=') => {
                let span = Span::new(self.at, self.at + 1);
                self.error_with_hint(span, "a colon stands between a field and its value", "write \":\"");
                self.at += 1;
            }
            Some(b',' | b'}' | b']') | None => {
                if !self.has_given_up() {
                    self.error(
                        Span::new(name_end, name_end),
                        "a colon and a value are missing after the field's name",
                    );
                }
                return false;
            }
            Some(_) => {
                if !std::mem::take(&mut self.lenient) {
                    self.error(Span::new(name_end, name_end), "a colon is missing after the field's name");
                }
            }
        }
        self.lenient = false;
        true
    }

    fn comma_missing(&mut self, place: Span, next: Span, tolerated: bool) {
        let other_line = self.text[place.from as usize..next.from as usize].contains('\n');
        if tolerated && other_line {
            let line = self.source.line_of(place.from);
            self.warning(
                place,
                format!("a comma is missing at the end of line {line}; it is taken as if it stood there"),
            );
        } else {
            self.error(place, "a comma is missing here");
        }
    }

    fn unknown_field(&mut self, shape: &Shape, key: &str, span: Span, seen: &mut Seen) {
        let message = format!("unknown field {:?} of {}", self.shown(key), shape.what);
        let similar = suggest::nearest(key, shape.fields.iter().copied());
        if let Some(index) = shape.fields.iter().position(|field| Some(*field) == similar) {
            seen.misspelt |= 1 << index;
        }
        let hint = match similar {
            Some(field) => format!("did you mean {field:?}?"),
            None => {
                let known: Vec<String> = shape.fields.iter().map(|field| format!("{field:?}")).collect();
                format!("known are {}", known.join(", "))
            }
        };
        let severity = if shape.unknown_is_error { super::Severity::Error } else { super::Severity::Warning };
        self.report(severity, span, message, Some(hint));
        if self.colon() {
            self.skip();
        }
    }

    fn duplicate(&mut self, what: &str, key: &str, span: Span, first: u32) {
        let line = self.source.line_of(first);
        let message =
            format!("the field {:?} stands twice in this {what}, first in line {line}", self.shown(key));
        self.error(span, message);
    }

    fn never_closed(&mut self) {
        if let Some(&(bracket, at)) = self.open.last().filter(|_| !self.confused) {
            let bracket = char::from(bracket);
            self.error(Span::new(at, at + 1), format!("the file ends before this {bracket:?} is closed"));
        }
        self.confused = true;
    }

    /// A closing bracket of the wrong kind. Where an outer bracket waits for it, it ends this one too (`true`);
    /// elsewhere it is dropped.
    fn wrong_bracket(&mut self, found: u8, expected: u8) -> bool {
        let opening = if found == b'}' { b'{' } else { b'[' };
        let outer_waits = self.open.iter().rev().skip(1).any(|(bracket, _)| *bracket == opening);
        if !self.confused {
            let line = self.open.last().map_or(0, |(_, at)| self.source.line_of(*at as u32));
            let (found, expected) = (char::from(found), char::from(expected));
            let message =
                format!("{found:?} stands where the bracket of line {line} has to be closed by {expected:?}");
            self.error(Span::new(self.at, self.at + 1), message);
        }
        self.confused = true;
        if !outer_waits {
            self.at += 1;
        }
        outer_waits
    }

    /// Reports and consumes a token that nothing can begin with.
    pub(super) fn unexpected(&mut self) {
        let span = self.token_span();
        let found = self.describe_here();
        self.error(span, format!("unexpected {found}"));
        self.at = (span.to as usize).max(self.at + 1).min(self.bytes.len());
        self.lenient = true;
    }
}

/// Which fields of a shape stood already.
#[derive(Default)]
struct Seen {
    /// The place of each field's first appearance, plus 1.
    first: [u32; Shape::MAX_FIELDS],
    /// One bit a field: something stood that was probably meant to be it.
    misspelt: u32,
}

/// The names of fields that stood already in an object that may have any.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<(Cow<'a, str>, u32)>,
    many: HashMap<Cow<'a, str>, u32>,
}

impl<'a> Keys<'a> {
    /// Up to so many names, comparing each with each is faster than a hash table.
    const FEW: usize = 16;

    /// Enters a name; if it stood before, says where.
    fn insert(&mut self, key: Cow<'a, str>, at: u32) -> Option<u32> {
        if self.many.is_empty() {
            if let Some((_, first)) = self.few.iter().find(|(known, _)| *known == key) {
                return Some(*first);
            }
            if self.few.len() < Self::FEW {
                self.few.push((key, at));
                return None;
            }
            self.many.extend(self.few.drain(..));
        }
        match self.many.entry(key) {
            std::collections::hash_map::Entry::Occupied(first) => Some(*first.get()),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(at);
                None
            }
        }
    }
}
