//! What `docs/protocol.md` shows is what the code does: its examples are vectors, its tables of numbers are the code's.

use std::collections::BTreeMap;
use std::path::Path;

use ibp_core::wire::ib2::{FrameType, GoodbyeReason};
use ibp_core::wire::{AbortReason, ErrorCode, RejectReason};

use crate::support::vector_file::{self, hex, without_comment};

fn protocol() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks between fences, each with the words after its opening fence.
fn code_blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if within => within = false,
            Some(info) => {
                within = true;
                blocks.push((info.trim().to_owned(), String::new()));
            }
            None if within => {
                let block = blocks.last_mut().unwrap();
                block.1.push_str(line);
                block.1.push('\n');
            }
            None => {}
        }
    }
    assert!(!within, "a fence is not closed");
    blocks
}

/// The rows of the table that follows `<!-- table: NAME -->`: number and name.
fn table(text: &str, name: &str) -> BTreeMap<u16, String> {
    let mark = format!("<!-- table: {name} -->\n");
    let (_, rest) = text.split_once(&mark).unwrap_or_else(|| panic!("there is no table {name}"));
    let rows = rest.lines().skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|'));
    let rows = rows.skip(2).map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (number, name) = (cells.next().unwrap(), cells.next().unwrap());
        let number = number.trim_matches('`');
        let number = match number.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).unwrap(),
            None => number.parse().unwrap_or_else(|_| panic!("{row}")),
        };
        (number, name.trim_matches('`').to_owned())
    });
    rows.collect()
}

/// Each example names its vector, `hex FILE/NAME`, and shows its bytes (for an exchange all that one side says).
#[test]
fn every_example_is_a_vector() {
    let mut vectors: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for path in vector_file::files("") {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for block in vector_file::read(&path) {
            if !block.has("bytes") {
                continue;
            }
            let name = match block.head[0].as_str() {
                ">" => format!("{file}/client"),
                "<" => format!("{file}/server"),
                _ => format!("{file}/{}", block.head.last().unwrap()),
            };
            vectors.entry(name).or_default().extend_from_slice(block.bytes("bytes"));
        }
    }
    let mut examples = 0;
    for (info, text) in code_blocks(&protocol()) {
        let Some(name) = info.strip_prefix("hex") else { continue };
        let shown: String = text.lines().map(|line| format!("{} ", without_comment(line))).collect();
        let shown = hex(&shown).unwrap_or_else(|| panic!("{info}: not hexadecimal: {text}"));
        let vector = vectors.get(name.trim()).unwrap_or_else(|| panic!("there is no vector {name}"));
        assert_eq!(&shown, vector, "the example {name} is not the vector");
        examples += 1;
    }
    assert!(examples >= 6, "{examples}");
}

#[test]
fn every_other_hexadecimal_line_says_that_it_is_an_example() {
    for (info, text) in code_blocks(&protocol()) {
        if info.starts_with("hex") {
            continue;
        }
        for line in text.lines() {
            let looks = hex(without_comment(line)).is_some_and(|bytes| bytes.len() >= 8);
            assert!(!looks, "in a block that is not marked as hex: {line}");
        }
    }
}

#[test]
fn the_tables_of_numbers_are_the_codes() {
    let text = protocol();
    let types = table(&text, "frame types");
    for byte in 0..=u8::MAX {
        let named = FrameType::from_byte(byte).map(|frame| frame.name().to_owned());
        assert_eq!(types.get(&u16::from(byte)), named.as_ref(), "type {byte:#04x}");
    }

    let errors = table(&text, "errors");
    let reasons = table(&text, "reasons to reject");
    let aborts = table(&text, "reasons to abort");
    let goodbyes = table(&text, "reasons for goodbye");
    for number in 0..=u16::MAX {
        let known = ErrorCode::from_number(number) != ErrorCode::Other(number);
        assert_eq!(errors.contains_key(&number), known, "error {number}");
        let known = RejectReason::from_number(number) != RejectReason::Other(number);
        assert_eq!(reasons.contains_key(&number), known, "reason to reject {number}");
        let known = AbortReason::from_number(number) != AbortReason::Other(number);
        assert_eq!(aborts.contains_key(&number), known, "reason to abort {number}");
        let known = GoodbyeReason::from_number(number) != GoodbyeReason::Other(number);
        assert_eq!(goodbyes.contains_key(&number), known, "reason for GOODBYE {number}");
    }
    for (number, name) in errors {
        assert_eq!(format!("{:?}", ErrorCode::from_number(number)), name);
    }
    for (number, name) in reasons {
        assert_eq!(format!("{:?}", RejectReason::from_number(number)), name);
    }
    for (number, name) in aborts {
        assert_eq!(format!("{:?}", AbortReason::from_number(number)), name);
    }
    for (number, name) in goodbyes {
        assert_eq!(format!("{:?}", GoodbyeReason::from_number(number)), name);
    }
}
