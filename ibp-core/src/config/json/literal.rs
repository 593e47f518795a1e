//! Quoted text and numbers.

use std::borrow::Cow;

use super::reader::Reader;
use super::source::Span;

impl<'a> Reader<'a> {
    /// Reads quoted text; its opening quote is the next byte. The text is borrowed unless it has escapes. `None` when
    /// something is wrong with it, which is reported.
    pub(super) fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let open = self.at;
        let start = open + 1;
        let mut at = start;
        while let Some(byte) = self.bytes.get(at) {
            match *byte {
                b'"' => {
                    self.at = at + 1;
                    self.value = Span::new(open, self.at);
                    return Some(Cow::Borrowed(&self.text[start..at]));
                }
                b'\\' | 0..=0x1f => break,
                _ => at += 1,
            }
        }
        self.at = at;
        let mut owned = self.text[start..at].to_owned();
        let correct = self.quoted_rest(open, &mut owned);
        self.value = Span::new(open, self.at);
        correct.then_some(Cow::Owned(owned))
    }

    /// The rest of a quoted text in which something beside plain characters stands; whether it is correct.
    fn quoted_rest(&mut self, open: usize, owned: &mut String) -> bool {
        let mut correct = true;
        loop {
            let from = self.at;
            let Some(character) = self.text[from..].chars().next() else { break };
            match character {
                '"' => {
                    self.at = from + 1;
                    return correct;
                }
                '\n' | '\r' => break,
                '\\' => match self.escape() {
                    Some(escaped) => owned.push(escaped),
                    None => correct = false,
                },
                character => {
                    self.at = from + character.len_utf8();
                    if character < ' ' {
                        let message = format!("the control character {character:?} in quoted text");
                        let hint = match character {
                            '\t' => "write \\t".to_owned(),
                            _ => format!("write \\u{:04x}", character as u32),
                        };
                        self.error_with_hint(Span::new(from, self.at), message, hint);
                        correct = false;
                    }
                    owned.push(character);
                }
            }
        }
        let message = "this text has no closing quote in its line";
        self.error(Span::new(open, self.at.max(open + 1)), message);
        // What would have followed the quote is in the text now, maybe brackets too.
        self.lenient = true;
        self.confused = true;
        false
    }

    /// Reads an escape; the backslash is the next byte. `None` when it is wrong, which is reported.
    fn escape(&mut self) -> Option<char> {
        let from = self.at;
        let plain = match self.bytes.get(from + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            other => {
                // Not across the end of the line: that is a missing quote.
                let escaped = self.text[from + 1..].chars().next();
                let length = match (other, escaped) {
                    (Some(b'\n' | b'\r') | None, _) | (_, None) => 0,
                    (_, Some(character)) => character.len_utf8(),
                };
                self.at = from + 1 + length;
                let span = Span::new(from, self.at);
                self.error_with_hint(span, "unknown escape", "write \\\\ for a backslash");
                return None;
            }
        };
        self.at = from + 2;
        Some(plain)
    }

    /// Reads `\uXXXX`, and the second half of a pair of surrogates with it.
    fn unicode_escape(&mut self) -> Option<char> {
        let from = self.at;
        let Some(first) = self.four_digits() else {
            self.error(Span::new(from, self.at), "four hexadecimal digits have to follow \\u");
            return None;
        };
        let code = match first {
            0xd800..=0xdbff if self.bytes[self.at..].starts_with(b"\\u") => match self.four_digits() {
                Some(second @ 0xdc00..=0xdfff) => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                _ => first,
            },
            code => code,
        };
        let character = char::from_u32(code);
        if character.is_none() {
            self.error(Span::new(from, self.at), "half of a surrogate pair is no character");
        }
        character
    }

    /// Reads `\u` and four digits.
    fn four_digits(&mut self) -> Option<u32> {
        self.at += 2;
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(*self.bytes.get(self.at)?).to_digit(16)?;
            code = code << 4 | digit;
            self.at += 1;
        }
        Some(code)
    }

    /// Reads text in wrong quotes, up to the closing one or the end of the line, and reports it.
    pub(super) fn wrongly_quoted(&mut self, quote: char) -> &'a str {
        let from = self.at;
        let start = from + quote.len_utf8();
        let closing: &[char] = if quote == '\'' { &['\'', '\n'] } else { &['”', '“', '"', '\n'] };
        let rest = &self.text[start..];
        let (end, close) = match rest.char_indices().find(|(_, character)| closing.contains(character)) {
            Some((at, '\n')) => (at, 0),
            Some((at, character)) => (at, character.len_utf8()),
            None => (rest.len(), 0),
        };
        self.at = start + end + close;
        self.value = Span::new(from, self.at);
        let message = format!("text stands in double quotes, not in {quote}");
        let text = &rest[..end];
        let hint = format!("write \"{}\"", self.shown(text.trim_end()));
        self.error_with_hint(self.value, message, hint);
        text
    }
}

/// Why something is no whole number.
pub(super) enum NoNumber {
    /// It is one, and has more digits than any number here may have.
    TooLarge,
    /// It begins with zeros or a plus sign; this is how to write it.
    WriteAs(String),
    /// It has a fraction or an exponent.
    NotWhole,
    /// It is something else.
    Other,
}

/// A whole number in decimal digits, as JSON writes it: no leading zeros, no plus sign.
pub(super) fn whole_number(text: &str) -> Result<i64, NoNumber> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits(digits) {
        if digits.len() > 1 && digits.starts_with('0') {
            let sign = &text[..text.len() - digits.len()];
            let digits = digits.trim_start_matches('0');
            return Err(NoNumber::WriteAs(format!("{sign}{}", if digits.is_empty() { "0" } else { digits })));
        }
        return text.parse().map_err(|_| NoNumber::TooLarge);
    }
    if let Some(digits) = text.strip_prefix('+').filter(|digits| all_digits(digits)) {
        return Err(NoNumber::WriteAs(digits.to_owned()));
    }
    let is_number = digits.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<f64>().is_ok();
    Err(if is_number { NoNumber::NotWhole } else { NoNumber::Other })
}
