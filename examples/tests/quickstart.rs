//! The quickstart as a newcomer runs it, only shorter, with several seeds; and that it leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ibp_shm::Directory;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Cargo builds examples beside the tests, and does not tell where.
fn quickstart(scratch: &Path) -> Command {
    let deps = std::env::current_exe().unwrap();
    let program: PathBuf = deps.ancestors().nth(2).unwrap().join("examples/quickstart");
    assert!(program.exists(), "{} is missing: cargo build -p ibp-examples --examples", program.display());
    let mut command = Command::new(program);
    command.env("TMPDIR", scratch);
    command
}

/// Files in the directory, and processes that were told of it.
fn leftovers(scratch: &TempDir) -> Vec<String> {
    let files = std::fs::read_dir(scratch.path()).unwrap().flatten();
    let files = files.map(|file| file.path().display().to_string());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.map(|process| {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).replace('\0', " ")
    });
    let path = scratch.path().to_str().unwrap();
    files.chain(processes.filter(|arguments| arguments.contains(path))).collect()
}

fn run(scratch: &TempDir, arguments: &[&str]) -> Output {
    quickstart(scratch.path()).args(arguments).output().unwrap()
}

#[test]
fn every_transaction_is_right_or_fails_in_a_state_that_the_journals_confirm() {
    for _ in 0..3 {
        let seed = fastrand::u32(..).to_string();
        println!("seed {seed}");
        let scratch = tempfile::tempdir().unwrap();
        let output = run(&scratch, &["--seconds", "1.5", "--json", "--seed", &seed]);
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["seed"].to_string(), seed);
        assert_eq!(report["contradictions"], Value::Array(vec![]));
        assert!(report["workers_killed"].as_u64().unwrap() > 0, "{report}");
        let kinds = report["kinds"].as_array().unwrap();
        assert_eq!(kinds.len(), 10);
        for kind in kinds {
            assert!(kind["transactions"].as_u64().unwrap() > 0, "{kind}");
        }
        assert_eq!(leftovers(&scratch), Vec::<String>::new());
    }
}

#[test]
fn interrupted_it_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = quickstart(scratch.path());
        let mut child =
            command.args(["--seconds", "60"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let home = lines.find_map(|line| Some(line.split_once("an installation in ")?.1.to_owned())).unwrap();
        let shared_memory = Directory::of_installation(Path::new(&home));
        assert!(lines.any(|line| line.contains("clients ask")), "it ended before there was load");
        assert!(shared_memory.path().exists());
        kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
        // The rest of what it says has to be read, for it writes on.
        let _ = lines.count();
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal.as_raw()));
        assert!(!shared_memory.path().exists(), "shared memory is left");
        assert_eq!(leftovers(&scratch), Vec::<String>::new());
    }
}

#[test]
fn killed_it_leaves_nothing_behind_either() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = quickstart(scratch.path());
    let mut child =
        command.args(["--seconds", "60"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let home = lines.find_map(|line| Some(line.split_once("an installation in ")?.1.to_owned())).unwrap();
    let shared_memory = Directory::of_installation(Path::new(&home));
    assert!(lines.any(|line| line.contains("clients ask")), "it ended before there was load");
    child.kill().unwrap();
    child.wait().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !leftovers(&scratch).is_empty() || shared_memory.path().exists() {
        assert!(Instant::now() < patience, "left: {:?}, {:?}", leftovers(&scratch), shared_memory.path());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nobody_has_to_read_what_it_says() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = quickstart(scratch.path());
    let mut child = command.args(["--seconds", "0.5"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(leftovers(&scratch), Vec::<String>::new());
}

#[test]
fn wrong_usage_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    for (arguments, wanted) in [
        (["--seconds", "0"], "0.1 to 600 seconds"),
        (["--seed", "x"], "invalid digit"),
        (["--sed", "1"], "--seed"),
    ] {
        let output = run(&scratch, &arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(wanted), "{said}");
    }
}
