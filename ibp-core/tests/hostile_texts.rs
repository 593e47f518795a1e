//! Whatever a file holds, reading it ends, does not panic, and does not take much memory or stack.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use ibp_core::config::json::{Reader, Source};
use ibp_core::config::{ClusterTexts, IbasSettings, IbmaSettings, IbmsSettings, Model};

const SAMPLES: [&str; 6] =
    ["ibp_nodes.conf", "ibp_apps.conf", "ibp_projects.conf", "ibms.conf", "ibma.conf", "ibas.conf"];

fn sample(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)).unwrap()
}

/// Reads a text as every kind of file, and looks at all messages.
fn read_as_everything(text: &str) {
    let source = Source::new("hostile", text);
    let mut shown = String::new();
    for result in [
        IbasSettings::read(source).map(|loaded| loaded.warnings),
        IbmaSettings::read(source).map(|loaded| loaded.warnings),
        IbmsSettings::read(source).map(|loaded| loaded.warnings),
    ] {
        let found = result.unwrap_or_else(|error| error.diagnostics);
        found.iter().for_each(|diagnostic| shown += &diagnostic.to_string());
    }
    let texts = ClusterTexts { nodes: source, apps: source, projects: source, keys: Some(source) };
    if let Err(error) = Model::read(&texts) {
        shown += &error.to_string();
    }
    let mut reader = Reader::new(source);
    reader.skip();
    shown +=
        &reader.finish().map(|warnings| format!("{warnings:?}")).unwrap_or_else(|error| error.to_string());
    assert!(!shown.contains(['\0', '\x1b']), "a control character in a message");
}

fn error_of(text: &str) -> String {
    let mut reader = Reader::new(Source::new("deep.conf", text));
    reader.skip();
    reader.finish().unwrap_err().to_string()
}

#[test]
fn open_brackets_without_end() {
    for bracket in ["[", "{", "{\"a\":", "[{\"a\":"] {
        let error = error_of(&bracket.repeat(200_000));
        assert!(error.contains("nested more than 64 deep"), "{bracket}: {error}");
        read_as_everything(&bracket.repeat(200_000));
    }
}

#[test]
fn sixty_four_levels_are_allowed() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut reader = Reader::new(Source::new("deep.conf", "{}"));
    reader.skip();
    assert!(reader.finish().is_ok());
    let deepest = nested(64);
    let mut reader = Reader::new(Source::new("deep.conf", &deepest));
    reader.skip();
    assert_eq!(reader.finish(), Ok(Vec::new()));
    assert!(error_of(&nested(65)).contains("nested more than 64 deep"));
}

#[test]
fn long_lines_take_no_longer_than_long_files() {
    // Each of these took time with the square of its length in some reader.
    for piece in ["a ", "\"a\" ", "/**/ ", "... ", "' ", "“ ", "， ", "\\ ", "- ", "{ a ", "\u{3000}"] {
        read_as_everything(&format!("{{ {}", piece.repeat(10_000)));
    }
}

#[test]
fn a_hundred_errors_are_enough() {
    let text = format!("{{ \"nodes\" : [ {} ] }}", "{ \"node\" : 5 } ,\n".repeat(100_000));
    let source = Source::new("ibp_nodes.conf", &text);
    let empty = |name| Source::new(name, "{ \"apps\" : [] }");
    let projects = Source::new("ibp_projects.conf", "{ \"projects\" : [] }");
    let texts = ClusterTexts { nodes: source, apps: empty("ibp_apps.conf"), projects, keys: None };
    let error = Model::read(&texts).unwrap_err();
    assert_eq!(error.diagnostics.len(), 100);
    assert!(error.diagnostics[99].message.ends_with("(the file is not checked further after 100 errors)"));
}

#[test]
fn broken_samples() {
    let seed = std::env::var("IBP_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20260101);
    println!("IBP_TEST_SEED={seed}");
    let mut random = Random(seed);
    let samples = SAMPLES.map(sample);
    let pieces = [
        "\"", "{", "}", "[", "]", ",", ":", "//", "/*", "*/", "\\", "\\u", "\0", "\n", "...", "，", "-",
        "1e9", "\u{1b}", "报",
    ];
    for _ in 0..3_000 {
        let mut text: Vec<char> = samples[random.below(samples.len())].chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len() + 1);
            match random.below(4) {
                0 => {
                    let to = (at + random.below(20)).min(text.len());
                    text.drain(at..to);
                }
                1 => text.truncate(at),
                2 => {
                    let from = random.below(text.len() + 1);
                    let copied: Vec<char> = text[from..].iter().take(random.below(40)).copied().collect();
                    text.splice(at..at, copied);
                }
                _ => drop(text.splice(at..at, pieces[random.below(pieces.len())].chars())),
            }
        }
        read_as_everything(&text.into_iter().collect::<String>());
    }
}

#[test]
fn random_pieces() {
    let seed = std::env::var("IBP_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20260102);
    println!("IBP_TEST_SEED={seed}");
    let mut random = Random(seed);
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"nodes\"",
        "\"node\"",
        "\"hosts\"",
        "\"apps\"",
        "\"ibma\"",
        "\"ibac\"",
        "DEBUG",
        "1",
        "-",
        "\"x\"",
        " ",
        "\n",
        "//",
        "/*",
        "*/",
        "...",
        "'",
        "“",
        "，",
        "=",
        "#",
        "\\",
        "\u{3000}",
        "\u{feff}",
        "é",
    ];
    for _ in 0..20_000 {
        let length = random.below(30);
        let text: String = (0..length).map(|_| pieces[random.below(pieces.len())]).collect();
        read_as_everything(&text);
    }
}

/// Enough randomness for a test, and the same on every machine: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}
