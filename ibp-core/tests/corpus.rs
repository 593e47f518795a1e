//! Every input in `fuzz/corpus` goes through the body of its fuzz target, without a fuzzer. The corpus is seeded from
//! the test vectors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is wrong"
)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ibp_core::wire::ib2::{FrameType, PREAMBLE};
use support::fuzz_wire::TARGETS;
use support::vector_file::{self, Block};

#[test]
fn every_input_keeps_the_promises() {
    for (target, body) in TARGETS {
        let mut inputs = 0;
        for path in inputs_of(target) {
            let data = std::fs::read(&path).unwrap();
            println!("{}", path.display());
            body(&data);
            inputs += 1;
        }
        assert!(inputs > 0, "no input for {target}");
    }
}

#[test]
fn every_vector_is_a_seed() {
    for (target, _) in TARGETS {
        let there: BTreeSet<Vec<u8>> =
            inputs_of(target).into_iter().map(|path| std::fs::read(path).unwrap()).collect();
        for (name, data) in seeds(target) {
            assert!(
                there.contains(&data),
                "fuzz/corpus/{target} lacks {name}: run `cargo test -p ibp-core --test corpus -- --ignored`"
            );
        }
    }
}

#[test]
#[ignore = "it writes fuzz/corpus"]
fn write_seeds() {
    for (target, _) in TARGETS {
        std::fs::create_dir_all(directory(target)).unwrap();
        for (name, data) in seeds(target) {
            std::fs::write(directory(target).join(format!("vector-{name}")), data).unwrap();
        }
    }
}

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

fn inputs_of(target: &str) -> Vec<PathBuf> {
    let directory = directory(target);
    let entries =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Longest seed in bytes: a fuzzer does little with longer ones.
const MAX_SEED: usize = 4096;

/// The names and bytes of a target's seeds.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds = match target {
        "detect" => ["IB2", "IB1", "GET /", "POST /v1", "CONNECT ", "CONNECTS", "\u{16}\u{3}\u{1}"]
            .into_iter()
            .enumerate()
            .map(|(index, text)| (format!("{index}"), text.as_bytes().to_vec()))
            .collect(),
        "ib2_server" => connections(FrameType::ClientHello, ">", &[]),
        "ib2_client" => connections(FrameType::ServerHello, "<", &[3]),
        _ => Vec::new(),
    };
    seeds.retain(|(_, data)| data.len() <= MAX_SEED);
    seeds
}

/// What one side says in each exchange, and each message alone after that side's hello; all after `before`.
fn connections(hello: FrameType, side: &str, before: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for path in vector_file::files("exchange-") {
        let mut data = before.to_vec();
        for step in vector_file::read(&path).iter().filter(|step| has_bytes(step) && step.head[0] == side) {
            data.extend_from_slice(step.bytes("bytes"));
        }
        seeds.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), data));
    }
    let greeting = vector_file::read_all("")
        .into_iter()
        .find(|block| block.head.ends_with(&[hello.name().to_owned(), "plain".to_owned()]))
        .expect("a plain hello");
    for block in vector_file::read_all("") {
        let (name, is_hello) = match &block.head[..] {
            [message, frame, name] if message == "message" => {
                (format!("{frame}-{name}").to_lowercase(), frame == hello.name())
            }
            [refused, name] if refused == "refused" => (format!("refused-{name}"), name.contains("hello")),
            _ => continue,
        };
        let mut data = [before, &PREAMBLE].concat();
        if !is_hello {
            data.extend_from_slice(greeting.bytes("bytes"));
        }
        data.extend_from_slice(block.bytes("bytes"));
        seeds.push((name, data));
    }
    seeds
}

fn has_bytes(step: &Block) -> bool {
    step.head.len() == 2 && matches!(step.head[0].as_str(), ">" | "<") && step.has("bytes")
}
