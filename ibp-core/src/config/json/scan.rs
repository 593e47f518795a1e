//! Space, comments, and where a token ends.

use super::reader::Reader;
use super::source::{Source, Span};

impl<'a> Reader<'a> {
    /// A reader that begins in the middle of a text, to look around there.
    pub(in crate::config) fn starting_at(source: Source<'a>, at: usize) -> Reader<'a> {
        let mut reader = Reader::new(source);
        reader.at = at;
        reader
    }

    /// The place of this byte, if nothing but space and comments stands before it.
    pub(in crate::config) fn place_of(&mut self, byte: u8) -> Option<usize> {
        (self.peek() == Some(byte)).then_some(self.at)
    }

    /// The next byte that is neither space nor comment; it is not consumed.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'/' => {
                    if !self.comment() {
                        return Some(byte);
                    }
                }
                b'#' => {
                    let line = self.rest_of_line();
                    self.error_with_hint(
                        line,
                        "\"#\" begins no comment here",
                        "comments are // ... and /* ... */",
                    );
                }
                _ if byte.is_ascii() => return Some(byte),
                _ => {
                    if !self.foreign_space() {
                        return Some(byte);
                    }
                }
            }
        }
    }

    /// Steps over a comment, if one stands here.
    fn comment(&mut self) -> bool {
        let from = self.at;
        match self.bytes.get(from + 1) {
            Some(b'/') => {
                self.rest_of_line();
                true
            }
            Some(b'*') => {
                match self.text[from + 2..].find("*/") {
                    Some(length) => self.at = from + 2 + length + 2,
                    None => {
                        self.error(Span::new(from, from + 2), "this comment is never closed by */");
                        self.give_up();
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// Steps over the rest of the line.
    fn rest_of_line(&mut self) -> Span {
        let from = self.at;
        self.at = self.text[from..].find('\n').map_or(self.bytes.len(), |length| from + length);
        Span::new(from, self.at)
    }

    /// Steps over a character that looks like a space or like punctuation but is not ASCII, and reports it.
    fn foreign_space(&mut self) -> bool {
        let Some(character) = self.text[self.at..].chars().next() else { return false };
        let from = self.at;
        let span = Span::new(from, from + character.len_utf8());
        if character.is_whitespace() || character == '\u{feff}' {
            let message = format!("the space U+{:04X} may stand in quoted text only", character as u32);
            self.at = span.to as usize;
            self.error_with_hint(span, message, "use the ordinary space");
            return true;
        }
        let ascii = match character {
            '，' | '、' => ',',
            '：' => ':',
            _ => return false,
        };
        self.at = span.to as usize;
        self.error_with_hint(
            span,
            format!("unexpected {character:?}"),
            format!("write the ASCII character {ascii:?}"),
        );
        self.lenient = true;
        true
    }

    /// The bare word or number that begins here; not consumed, and empty at punctuation.
    pub(super) fn word_here(&self) -> &'a str {
        let rest = &self.text[self.at..];
        // Words and numbers are ASCII nearly always.
        let ascii = rest
            .bytes()
            .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.')));
        match ascii {
            Some(end) if rest.as_bytes()[end].is_ascii() => &rest[..end],
            None => rest,
            Some(_) => {
                let end = rest.find(|character: char| {
                    character.is_whitespace()
                        || matches!(
                            character,
                            ',' | ':' | '{' | '}' | '[' | ']' | '"' | '\'' | '/' | '#' | '='
                        )
                        || matches!(character, '，' | '：' | '“' | '”')
                });
                &rest[..end.unwrap_or(rest.len())]
            }
        }
    }

    /// The token that begins here, for a message: a word, quoted text, or one character.
    pub(super) fn token_span(&self) -> Span {
        let from = self.at;
        let word = self.word_here();
        if !word.is_empty() {
            return Span::new(from, from + word.len());
        }
        let rest = &self.text[from..];
        let length = match rest.chars().next() {
            Some('"') => match rest[1..].find(['"', '\n']) {
                Some(length) if rest.as_bytes()[1 + length] == b'"' => length + 2,
                Some(length) => length + 1,
                None => rest.len(),
            },
            Some(character) => character.len_utf8(),
            None => 0,
        };
        Span::new(from, from + length)
    }

    /// What begins here, in words: "the number 5", "text", "the end of the file".
    pub(super) fn describe_here(&self) -> String {
        let word = self.word_here();
        if word.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
            return format!("the number {}", self.shown(word));
        }
        if !word.is_empty() {
            return format!("the word {}", self.shown(word));
        }
        match self.text[self.at..].chars().next() {
            None => "the end of the file".to_owned(),
            Some('"') => "text".to_owned(),
            Some('{') => "an object { ... }".to_owned(),
            Some('[') => "a list [ ... ]".to_owned(),
            Some(character) => format!("{character:?}"),
        }
    }

    /// A part of the text, short enough for a message, and never of a secret text.
    pub(super) fn shown(&self, part: &str) -> String {
        if self.source.is_secret() {
            return "(not shown)".to_owned();
        }
        // Control characters must not reach a terminal.
        let shown = |part: &str| part.replace(char::is_control, "\u{fffd}");
        match part.char_indices().nth(40) {
            Some((end, _)) => format!("{}...", shown(&part[..end])),
            None => shown(part),
        }
    }
}
