//! The reader's state: how far it is, what is open, what was found.

use std::fmt::Write as _;

use super::diagnostic::{ConfigError, Diagnostic, Severity};
use super::shape::Shape;
use super::source::{Finding, MAX_FILE_BYTES, Source, Span};

/// Reads one text in one pass, and collects what is wrong with it.
///
/// The caller describes the file's objects by [`Shape`]s and takes each value with the method for its kind. A method
/// that cannot find what it is asked for reports that, steps over what stands there instead, and returns `None`: the
/// caller goes on with a default, since [`finish`](Reader::finish) will fail.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) text: &'a str,
    pub(super) bytes: &'a [u8],
    /// The next byte to read; always at the beginning of a character.
    pub(super) at: usize,
    /// The brackets that are open.
    pub(super) open: Vec<(u8, usize)>,
    /// The value that was read last.
    pub(super) value: Span,
    /// A comma or colon that is missing next is the consequence of an error that was reported.
    pub(super) lenient: bool,
    /// Brackets do not match; more about them would only confuse.
    pub(super) confused: bool,
    findings: Vec<Finding>,
    errors: usize,
    given_up: bool,
}

impl<'a> Reader<'a> {
    /// How deep objects and lists may be nested.
    pub const MAX_DEPTH: usize = 64;
    /// After this many errors the rest of the file is not read.
    pub const MAX_ERRORS: usize = 100;

    /// Begins to read a text.
    pub fn new(source: Source<'a>) -> Reader<'a> {
        let text = source.text();
        let mut reader = Reader {
            source,
            text,
            bytes: text.as_bytes(),
            at: if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 },
            open: Vec::new(),
            value: Span::default(),
            lenient: false,
            confused: false,
            findings: Vec::new(),
            errors: 0,
            given_up: false,
        };
        if text.len() > MAX_FILE_BYTES {
            let message =
                format!("the file has {} bytes; files of up to {MAX_FILE_BYTES} bytes are read", text.len());
            reader.error(Span::default(), message);
            reader.give_up();
        }
        reader
    }

    /// Reads the whole text as one object; `each` is called for every field of the shape that stands there, and has to
    /// take its value.
    pub fn root(&mut self, shape: &Shape, each: impl FnMut(&mut Reader<'a>, &'static str)) {
        if self.peek().is_none() {
            let from = self.at;
            self.error(Span::new(from, from), "the file is empty; it has to hold an object: { ... }");
            return;
        }
        if self.object(shape, each).is_none() {
            return;
        }
        if self.peek().is_some() && !self.confused {
            let span = self.token_span();
            self.error(span, "nothing may follow after the closing \"}\" of the file");
        }
    }

    /// The span of the value that was read last.
    pub fn value_span(&self) -> Span {
        self.value
    }

    /// Reports an error.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.report(Severity::Error, span, message.into(), None);
    }

    /// Reports an error with advice.
    pub fn error_with_hint(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.report(Severity::Error, span, message.into(), Some(hint.into()));
    }

    /// Reports a warning.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) {
        self.report(Severity::Warning, span, message.into(), None);
    }

    /// Whether an error was reported.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// The warnings, when there is no error.
    ///
    /// # Errors
    /// Everything that was reported, if an error is among it.
    pub fn finish(self) -> Result<Vec<Diagnostic>, ConfigError> {
        let errors = self.has_errors();
        let diagnostics = self.into_diagnostics();
        if errors { Err(ConfigError { diagnostics }) } else { Ok(diagnostics) }
    }

    /// Everything that was reported, in the order of places.
    pub(in crate::config) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.source.located(self.findings)
    }

    pub(super) fn report(&mut self, severity: Severity, span: Span, message: String, hint: Option<String>) {
        if self.given_up {
            return;
        }
        self.findings.push(Finding { severity, span, message, hint });
        if severity == Severity::Error {
            self.errors += 1;
        }
        if self.errors == Self::MAX_ERRORS || self.findings.len() == 2 * Self::MAX_ERRORS {
            if let Some(last) = self.findings.last_mut() {
                let _ =
                    write!(last.message, " (the file is not checked further after {} errors)", self.errors);
            }
            self.give_up();
        }
    }

    /// Ends reading: everything that follows meets the end of the text, silently.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.at = self.bytes.len();
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.given_up
    }
}
