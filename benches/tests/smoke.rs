//! Every benchmark runs for a moment, so that none of them rots.

// A helper of a test may end it just as the test itself may.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

use ibp_benches::roles::SYSTEMS;
use serde_json::Value;

/// The JSON lines that a benchmark prints.
fn run(program: &str, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // Missed targets, status 2, say nothing about a debug build that ran for a moment.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{}: {errors}", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_scenario_gives_figures_for_every_system() {
    let program = env!("CARGO_BIN_EXE_rpc");
    let arguments = ["--json", "--forget", "--runs", "1", "--seconds", "0.05", "--body", "128,4096"];
    let runs = run(program, &arguments);
    for scenario in ibp_benches::scenario::SCENARIOS {
        for body in [128, 4096] {
            for system in SYSTEMS.iter().map(|system| system.name()) {
                let is_it = |run: &&Value| {
                    run["scenario"] == scenario.name && run["body"] == body && run["system"] == system
                };
                let run = runs
                    .iter()
                    .find(is_it)
                    .unwrap_or_else(|| panic!("{}, {body} B, {system}", scenario.name));
                assert!(run["calls"].as_u64().unwrap() > 0, "{run}");
                assert!(run["p50_us"].as_f64().unwrap() > 0.0, "{run}");
                assert!(run["server_cpu_us"].as_f64().unwrap() > 0.0, "{run}");
            }
        }
    }
}

#[test]
fn every_operation_gives_a_figure() {
    let arguments = ["--json", "--forget", "--quick", "--nodes", "1000", "--passes", "1"];
    let rounds = run(env!("CARGO_BIN_EXE_micro"), &arguments);
    for operation in ibp_benches::micro::OPERATIONS {
        let round = rounds.iter().find(|round| round["operation"] == operation.name()).unwrap();
        assert!(round["nanoseconds"].as_f64().unwrap() > 0.0, "{round}");
    }
}

#[test]
fn every_process_has_some_memory() {
    let figures = run(env!("CARGO_BIN_EXE_memory"), &["--json", "--forget", "--calls", "10"]);
    assert_eq!(figures.len(), 4);
    // After so few calls a client need not have a page more than the program that it is compared with.
    let whole = figures.iter().filter(|figure| figure["process"] != "client beyond it");
    assert!(whole.clone().count() == 3, "{figures:?}");
    assert!(whole.clone().all(|figure| figure["private_dirty_kib"].as_u64().unwrap() > 0), "{figures:?}");
}

#[test]
fn a_system_that_is_not_there_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_rpc")).args(["--systems", "raw,other"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no system \"other\""));
}

#[test]
fn the_configuration_gives_every_figure() {
    let figures = run(env!("CARGO_BIN_EXE_config"), &["--json", "--nodes", "100", "--rounds", "1"]);
    assert_eq!(figures.len(), 7);
    assert!(figures.iter().all(|figure| figure["value"].as_f64().unwrap() >= 0.0), "{figures:?}");
}
