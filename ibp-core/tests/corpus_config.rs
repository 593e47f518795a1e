//! Every input in `fuzz/corpus/config_*` goes through the body of its fuzz target, without a fuzzer. The corpus is
//! seeded from the samples and the wrong files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first thing that is wrong")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ibp_core::config::ClusterFiles;
use support::fuzz_config::TARGETS;

#[test]
fn every_input_keeps_the_promises() {
    for (target, body) in TARGETS {
        let inputs = inputs_of(target);
        assert!(!inputs.is_empty(), "no input for {target}");
        for path in inputs {
            println!("{}", path.display());
            body(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn every_sample_is_a_seed() {
    for (target, _) in TARGETS {
        let there: BTreeSet<Vec<u8>> =
            inputs_of(target).into_iter().map(|path| fs::read(path).unwrap()).collect();
        for (name, data) in seeds(target) {
            assert!(
                there.contains(&data),
                "fuzz/corpus/{target} lacks {name}: run `cargo test -p ibp-core --test corpus_config -- --ignored`"
            );
        }
    }
}

#[test]
#[ignore = "it writes fuzz/corpus"]
fn write_seeds() {
    for (target, _) in TARGETS {
        fs::create_dir_all(directory(target)).unwrap();
        for (name, data) in seeds(target) {
            fs::write(directory(target).join(format!("sample-{name}")), data).unwrap();
        }
    }
}

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

fn inputs_of(target: &str) -> Vec<PathBuf> {
    let directory = directory(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The names and bytes of a target's seeds.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "config_text" => texts(),
        _ => images(),
    }
}

fn texts() -> Vec<(String, Vec<u8>)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut seeds = Vec::new();
    for name in ["ibp_nodes", "ibp_apps", "ibp_projects", "ibms", "ibma", "ibas"] {
        seeds.push((name.to_owned(), fs::read(tests.join("samples").join(format!("{name}.conf"))).unwrap()));
    }
    for entry in fs::read_dir(tests.join("wrong_files")).unwrap() {
        let path = entry.unwrap().path();
        let table = fs::read_to_string(&path).unwrap();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for (number, case) in table.split("==== ").skip(1).enumerate() {
            let (_, rest) = case.split_once('\n').unwrap();
            let (text, _) = rest.split_once("\n----\n").unwrap();
            seeds.push((format!("{file}-{number:02}"), text.as_bytes().to_vec()));
        }
    }
    seeds
}

/// What stands behind the header of an image, whose other fields depend on time and place.
fn images() -> Vec<(String, Vec<u8>)> {
    const HEADER_BYTES: usize = 88;
    let directory = tempfile::tempdir().unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    for name in ["ibp_nodes.conf", "ibp_apps.conf", "ibp_projects.conf"] {
        fs::copy(samples.join(name), directory.path().join(name)).unwrap();
    }
    let images = ClusterFiles::in_directories(directory.path(), directory.path()).compile().unwrap();
    let seed = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap().split_off(HEADER_BYTES))
    };
    images.iter().map(seed).collect()
}
