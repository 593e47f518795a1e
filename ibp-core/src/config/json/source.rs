//! A text with a name, and places in it.

use super::diagnostic::{Diagnostic, Excerpt, Severity};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 20;

/// A text to read and the name that messages give it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    name: &'a str,
    text: &'a str,
    secret: bool,
}

/// A part of a text, in bytes from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub from: u32,
    /// The byte after the last one.
    pub to: u32,
}

/// A message about a place, before line and column are known.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub severity: Severity,
    pub span: Span,
    pub message: String,
    pub hint: Option<String>,
}

/// Errors at known places.
pub(in crate::config) fn diagnostics_of(
    source: Source<'_>,
    errors: impl IntoIterator<Item = (Span, String)>,
) -> Vec<Diagnostic> {
    let finding = |(span, message)| Finding { severity: Severity::Error, span, message, hint: None };
    source.located(errors.into_iter().map(finding).collect())
}

impl<'a> Source<'a> {
    /// A text; `name` is usually the path of its file.
    pub fn new(name: &'a str, text: &'a str) -> Source<'a> {
        Source { name, text, secret: false }
    }

    /// The same text, never shown in messages: it holds keys.
    pub fn secret(self) -> Source<'a> {
        Source { secret: true, ..self }
    }

    /// Whether messages must not show it.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The findings in the order of their places, with line, column and the text of the line.
    pub(super) fn located(&self, mut findings: Vec<Finding>) -> Vec<Diagnostic> {
        findings.sort_by_key(|finding| finding.span.from);
        let mut line = Line { number: 1, start: 0 };
        findings
            .into_iter()
            .map(|finding| {
                line.advance(self.text, finding.span.from as usize);
                self.diagnostic(finding, line)
            })
            .collect()
    }

    /// The number of the line in which a byte stands, from 1.
    pub(super) fn line_of(&self, at: u32) -> u32 {
        let mut line = Line { number: 1, start: 0 };
        line.advance(self.text, at as usize);
        line.number
    }

    fn diagnostic(&self, finding: Finding, line: Line) -> Diagnostic {
        let rest = &self.text[line.start..];
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let text = &rest[..end];
        // A finding at the end of a line stands behind its last character.
        let from = (finding.span.from as usize).saturating_sub(line.start).min(text.len());
        let to = (finding.span.to as usize).saturating_sub(line.start).clamp(from, text.len());
        let column = text[..from].chars().count() + 1;
        Diagnostic {
            severity: finding.severity,
            file: self.name.to_owned(),
            line: line.number,
            column: u32::try_from(column).unwrap_or(u32::MAX),
            message: finding.message,
            hint: finding.hint,
            excerpt: if self.secret { None } else { Some(Excerpt::of(text, from, to)) },
        }
    }
}

impl Span {
    pub(super) fn new(from: usize, to: usize) -> Span {
        // Texts are shorter than 4 GiB: `Reader::new` refuses longer ones.
        Span { from: from as u32, to: to as u32 }
    }

    /// The first byte of it: the place of a message about an object as a whole.
    pub fn beginning(&self) -> Span {
        Span { from: self.from, to: self.from.saturating_add(1).min(self.to.max(self.from)) }
    }

    /// The part of `text` that this span is.
    pub fn of<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.from as usize..self.to as usize).unwrap_or("")
    }
}

#[derive(Clone, Copy)]
struct Line {
    number: u32,
    start: usize,
}

impl Line {
    /// Goes on to the line in which the byte `at` stands.
    fn advance(&mut self, text: &str, at: usize) {
        let at = at.min(text.len());
        let newlines = text.as_bytes()[self.start..at].iter().filter(|byte| **byte == b'\n').count();
        self.number += newlines as u32;
        self.start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    }
}
