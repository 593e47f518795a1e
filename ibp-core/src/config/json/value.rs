//! Values: each is taken as what it has to be.

use std::borrow::Cow;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::literal::{NoNumber, whole_number};
use super::reader::Reader;
use super::source::Span;
use super::tree::Value;

/// A value that is neither object nor list.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    /// Without quotes: a number or a word.
    Bare(&'a str),
}

impl<'a> Reader<'a> {
    /// Takes quoted text.
    pub fn text(&mut self) -> Option<Cow<'a, str>> {
        match self.scalar(&"text in quotes")? {
            Scalar::Text(text) => Some(text),
            Scalar::Bare(word) => {
                let hint = format!("write \"{}\"", self.shown(word));
                self.error_with_hint(self.value, "text stands in quotes", hint);
                None
            }
        }
    }

    /// Takes a whole number, quoted or not.
    pub fn number(&mut self) -> Option<i64> {
        self.integer(i64::MIN..=i64::MAX)
    }

    /// Takes a whole number within a range, quoted or not.
    pub fn integer(&mut self, range: RangeInclusive<i64>) -> Option<i64> {
        let scalar = self.scalar(&"a whole number")?;
        let text: &str = match &scalar {
            Scalar::Text(text) => text,
            Scalar::Bare(text) => text,
        };
        match whole_number(text) {
            Ok(number) if range.contains(&number) => Some(number),
            Ok(_) | Err(NoNumber::TooLarge) => {
                let message = match (*range.start(), *range.end()) {
                    (i64::MIN, i64::MAX) => format!("{} is too large", self.shown(text)),
                    (least, i64::MAX) => format!("{} is less than {least}", self.shown(text)),
                    (least, most) => format!("{} is outside {least} to {most}", self.shown(text)),
                };
                self.error(self.value, message);
                None
            }
            Err(reason) => {
                self.no_number(text, reason);
                None
            }
        }
    }

    fn no_number(&mut self, text: &str, reason: NoNumber) {
        match reason {
            NoNumber::WriteAs(number) => {
                let message =
                    format!("{} has leading zeros or a sign that numbers do not have here", self.shown(text));
                self.error_with_hint(self.value, message, format!("write {}", self.shown(&number)));
            }
            NoNumber::NotWhole => {
                self.error(self.value, format!("a whole number is expected, {} is none", self.shown(text)));
            }
            _ => {
                self.error(self.value, format!("a whole number is expected, {:?} is none", self.shown(text)))
            }
        }
    }

    /// Takes a switch: 0 or 1, quoted or not, or `true` or `false`.
    pub fn flag(&mut self) -> Option<bool> {
        let flag = match self.scalar(&"0 or 1")? {
            Scalar::Text(text) if text == "0" => Some(false),
            Scalar::Text(text) if text == "1" => Some(true),
            Scalar::Bare("0" | "false") => Some(false),
            Scalar::Bare("1" | "true") => Some(true),
            _ => None,
        };
        if flag.is_none() {
            self.error(self.value, "0 or 1 is expected");
        }
        flag
    }

    /// Takes a flag of which every number other than 0 means yes: any whole number, quoted or not, or `true` or
    /// `false`.
    pub fn truth(&mut self) -> Option<bool> {
        match self.peek() {
            Some(b't' | b'f') => self.flag(),
            _ => self.number().map(|number| number != 0),
        }
    }

    /// Takes one of some words, quoted or not, and returns which of them it is.
    pub fn word(&mut self, words: &[&str]) -> Option<usize> {
        let known = || words.join(", ");
        let scalar = self.scalar(&format_args!("one of {}", known()))?;
        let word: &str = match &scalar {
            Scalar::Text(text) => text,
            Scalar::Bare(word) => word,
        };
        let index = words.iter().position(|known| *known == word);
        if index.is_none() {
            let hint = match crate::config::suggest::nearest(word, words.iter().copied()) {
                Some(similar) => format!("did you mean {similar}?"),
                None => format!("known are {}", known()),
            };
            self.error_with_hint(self.value, format!("unknown word {:?}", self.shown(word)), hint);
        }
        index
    }

    /// Takes an IPv4 or IPv6 address in quotes; any, also one to listen on.
    pub fn ip(&mut self) -> Option<IpAddr> {
        let text = self.text()?;
        match text.parse() {
            Ok(ip) => Some(ip),
            Err(_) => {
                let message =
                    format!("{:?} is not an IPv4 or IPv6 address; host names are refused", self.shown(&text));
                self.error(self.value, message);
                None
            }
        }
    }

    /// Steps over a value of any kind; what is wrong inside it is reported.
    pub fn skip(&mut self) {
        match self.peek() {
            Some(b'{') => drop(self.map("object", |reader, _, _| reader.skip())),
            Some(b'[') => drop(self.list(Reader::skip)),
            _ => drop(self.scalar(&"a value")),
        }
    }

    /// Takes any value that is neither object nor list.
    pub(super) fn any_scalar(&mut self) -> Value<'a> {
        match self.scalar(&"a value") {
            Some(Scalar::Text(text)) => Value::Text(text),
            Some(Scalar::Bare(word)) => Value::Bare(word),
            None => Value::Nothing,
        }
    }

    /// Takes what is neither object nor list. Something else is reported and stepped over.
    fn scalar(&mut self, expected: &dyn Display) -> Option<Scalar<'a>> {
        let first = self.peek().and_then(|_| self.text[self.at..].chars().next());
        match first {
            Some('"') => self.quoted().map(Scalar::Text),
            Some(quote @ ('\'' | '“' | '”')) => {
                let text = self.wrongly_quoted(quote);
                Some(Scalar::Text(Cow::Borrowed(text)))
            }
            _ => {
                let word = self.word_here();
                if word.is_empty() || word.starts_with("...") {
                    self.instead_of(expected);
                    return None;
                }
                self.value = Span::new(self.at, self.at + word.len());
                self.at += word.len();
                Some(Scalar::Bare(word))
            }
        }
    }

    /// Reports that something else stands where a value is expected, and steps over it, unless it belongs to what
    /// follows.
    pub(super) fn instead_of(&mut self, expected: &dyn Display) {
        let at = self.at;
        match self.peek() {
            None | Some(b',' | b'}' | b']') => {
                if !self.has_given_up() {
                    // Behind the colon, not in front of whatever follows lines later.
                    self.error(Span::new(at, at), format!("a value is missing here; expected {expected}"));
                }
            }
            Some(first) => {
                let span = self.token_span();
                let found = self.describe_here();
                self.error(span, format!("expected {expected}, found {found}"));
                match first {
                    b'{' | b'[' => self.skip(),
                    b':' => self.at += 1,
                    b'.' if self.bytes[self.at..].starts_with(b"...") => self.at += 3,
                    _ if self.word_here().is_empty() && first != b'"' => self.unexpected_silently(),
                    _ => self.skip(),
                }
                self.value = span;
            }
        }
    }

    /// Steps over a character that was reported already.
    fn unexpected_silently(&mut self) {
        let length = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        self.at += length;
        self.lenient = true;
    }
}
