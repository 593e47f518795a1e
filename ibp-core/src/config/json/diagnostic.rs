//! Messages about files, as a compiler gives them.

use std::fmt;

/// What is wrong with a file, or doubtful in it: where, what, and what would be right.
///
/// Its text begins with `FILE:LINE:COLUMN: error: `, so that editors can jump there, and shows the line:
///
/// ```text
/// etc/ibp_nodes.conf:7:42: error: the port 70000 is outside 1 to 65535 (or -65535 to -1 for a client-only host)
///     { "ip" : "158.1.0.56" , "port" : 70000 } ,
///                                      ^^^^^
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when the message is about the file as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 when the message is about the file as a whole.
    pub column: u32,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do, in one line.
    pub hint: Option<String>,
    pub(super) excerpt: Option<Excerpt>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; the file is used.
    Warning,
    /// The file cannot be used.
    Error,
}

/// Files that cannot be used, with everything that is wrong in them.
///
/// Its text is that of all diagnostics, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The errors, at least one, and the warnings found along with them; in the order of files and places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Diagnostic {
    /// An error that concerns a file as a whole.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            hint: None,
            excerpt: None,
        }
    }

    /// The same, with advice.
    pub fn with_hint(self, hint: impl Into<String>) -> Diagnostic {
        Diagnostic { hint: Some(hint.into()), ..self }
    }

    /// The same as a warning.
    pub fn as_warning(self) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}: {}", self.severity, self.message)?;
        if let Some(excerpt) = self.excerpt.as_ref().filter(|excerpt| !excerpt.line.is_empty()) {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    help: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl ConfigError {
    /// One error.
    pub fn of(diagnostic: Diagnostic) -> ConfigError {
        ConfigError { diagnostics: vec![diagnostic] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.diagnostics.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A line of a file with a part of it marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    line: String,
    marks: String,
}

impl Excerpt {
    /// How much of a long line is shown before and after the marked part, in characters.
    const BEFORE: usize = 60;
    const AFTER: usize = 60;

    /// The line `text` with its bytes `from` to `to` marked; at least one caret.
    pub(super) fn of(text: &str, from: usize, to: usize) -> Excerpt {
        let before = &text[..from];
        let (cut, shown) = match before.char_indices().rev().nth(Self::BEFORE - 1) {
            Some((start, _)) if start > 3 => ("...", &before[start..]),
            _ => ("", before.trim_start()),
        };
        let mut marks = " ".repeat(cut.len());
        marks.extend(shown.chars().map(blank));
        let after = &text[from..];
        let (after, ellipsis) = match after.char_indices().nth(Self::AFTER) {
            Some((end, _)) => (&after[..end], "..."),
            None => (after.trim_end(), ""),
        };
        let marked = &after[..(to - from).min(after.len())];
        let carets = marked.chars().map(width).sum::<usize>().max(1);
        marks.extend(std::iter::repeat_n('^', carets));
        let line: String = [cut, shown, after, ellipsis].concat();
        Excerpt { line: line.chars().map(visible).collect(), marks }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "    {}\n    {}", self.line, self.marks)
    }
}

/// What stands under a character to the left of the carets.
fn blank(character: char) -> &'static str {
    match (character, width(character)) {
        ('\t', _) => "\t",
        (_, 2) => "  ",
        _ => " ",
    }
}

/// Control characters must not reach a terminal.
fn visible(character: char) -> char {
    if character.is_control() && character != '\t' { '\u{fffd}' } else { character }
}

/// How many columns a character takes on a terminal: two for the wide ones of East Asian scripts.
fn width(character: char) -> usize {
    let wide = matches!(character,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}');
    if wide { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::Excerpt;

    fn excerpt(text: &str, marked: &str) -> String {
        let from = text.find(marked).unwrap();
        Excerpt::of(text, from, from + marked.len()).to_string()
    }

    #[test]
    fn carets_stand_under_the_marked_part() {
        assert_eq!(excerpt("\t\t\"port\" : 70000 ,", "70000"), "    \"port\" : 70000 ,\n             ^^^^^");
    }

    #[test]
    fn tabs_and_wide_characters_keep_the_alignment() {
        assert_eq!(
            excerpt("\"desc\"\t: \"报文\" , 7", "7"),
            "    \"desc\"\t: \"报文\" , 7\n          \t             ^"
                .replace("             ^", "           ^")
        );
        assert_eq!(excerpt("x 报文", "报文"), "    x 报文\n      ^^^^");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}BAD{}", "a".repeat(100_000), "b".repeat(100_000));
        let shown = excerpt(&text, "BAD");
        assert!(shown.len() < 400, "{}", shown.len());
        assert!(shown.contains("...aaaa") && shown.contains("bbbb..."), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0].find("BAD"), lines[1].find("^^^"));
    }

    #[test]
    fn control_characters_are_not_shown() {
        assert!(!excerpt("a\x1b[31m x", "x").contains('\x1b'));
    }
}
