//! `ibma` as its operators use it: real processes, signals, kills.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ibp_core::config::Home;
use ibp_shm::{Directory, Reader};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

struct Installation {
    _scratch: TempDir,
    home: Home,
    shm: PathBuf,
}

impl Installation {
    /// An installation that `ibma -a init` made, with a directory of segments of its own.
    fn new() -> Installation {
        let scratch = tempfile::tempdir().unwrap();
        let home = Home::at(scratch.path().join("home"));
        let shm = scratch.path().join("shm");
        let installation = Installation { _scratch: scratch, home, shm };
        let made = installation.ibma(&["-a", "init"]);
        assert!(made.status.success(), "{made:?}");
        let own = format!("\"shm_directory\" : \"{}\" ,\n\"comm\" :", installation.shm.display());
        installation.replace("ibma.conf", "\"comm\" :", &own);
        installation
    }

    fn ibma(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ibma"))
            .args(arguments)
            .env("IBP_HOME", self.home.path())
            .output()
            .unwrap()
    }

    /// Runs `ibma`, which has to succeed, and returns what it printed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.ibma(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ibma`, which has to fail, and returns what it said.
    fn failed(&self, arguments: &[&str]) -> String {
        let output = self.ibma(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let path = self.home.config_file(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn start(&self) -> Agent {
        self.done(&["-a", "start"]);
        let pid = fs::read_to_string(self.home.log().join("ibma.pid")).unwrap();
        Agent(Pid::from_raw(pid.trim().parse().unwrap()).unwrap())
    }

    fn reader(&self) -> Reader {
        Reader::attach(&Directory::at(&self.shm)).unwrap()
    }
}

/// A running agent; killed at the end of its test.
struct Agent(Pid);

impl Agent {
    fn ended(&self) {
        let gone = || test_kill_process(self.0).is_err() || is_zombie(self.0);
        until("the agent has ended", gone);
    }

    fn end_by(&self, signal: Signal) {
        kill_process(self.0, signal).unwrap();
        self.ended();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// Whether the process has ended and only waits for somebody to ask how: in containers often nobody does.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'))
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn without_arguments_it_says_how_it_is_used() {
    let output = Command::new(env!("CARGO_BIN_EXE_ibma")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: ibma"));
}

#[test]
fn init_says_what_it_makes() {
    let scratch = tempfile::tempdir().unwrap();
    let init = || {
        let output = Command::new(env!("CARGO_BIN_EXE_ibma"))
            .args(["-a", "init"])
            .env("IBP_HOME", scratch.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let made = init();
    assert_eq!(made.lines().count(), 9, "{made}");
    assert!(made.contains("/etc/ibma.conf") && made.contains("/keys"), "{made}");
    assert!(init().starts_with("nothing to make"));
}

#[test]
fn start_show_stop() {
    let installation = Installation::new();
    let refused = installation.failed(&["-s", "this_node"]);
    assert!(refused.contains("start the agent"), "{refused}");

    let agent = installation.start();
    let this_node = installation.done(&["-s", "this_node"]);
    assert!(
        this_node.contains("ECIF") && this_node.contains(&agent.0.as_raw_nonzero().to_string()),
        "{this_node}"
    );
    assert!(installation.done(&["-s", "nodes"]).contains("127.0.0.1:18001"));
    assert!(installation.done(&["-s", "apps"]).contains("ibp_test_echo"));
    assert!(installation.done(&["-s", "verify"]).contains("is whole"));
    let json: serde_json::Value =
        serde_json::from_str(&installation.done(&["-s", "nodes", "--json"])).unwrap();
    assert_eq!(json[1]["hosts"][0]["addr"], "127.0.0.1:18001");

    let reader = installation.reader();
    let attached = installation.done(&["-s", "attached"]);
    assert!(attached.contains(&std::process::id().to_string()), "{attached}");

    agent.end_by(Signal::TERM);
    assert!(!installation.home.log().join("ibma.pid").exists());
    // What is published stays, for those who come later, too.
    assert!(installation.done(&["-s", "verify"]).contains("is whole"));
    assert_eq!(reader.current().this_node(), "ECIF");
    let log = fs::read_to_string(installation.home.log().join("event.log")).unwrap();
    assert!(log.contains("started with process id") && log.contains("what is published stays"), "{log}");
}

#[test]
fn a_second_one_is_told_who_runs() {
    let installation = Installation::new();
    let agent = installation.start();
    let pid = agent.0.as_raw_nonzero().to_string();
    let refused = installation.failed(&["-a", "start"]);
    assert!(refused.contains(&format!("with process id {pid}")), "{refused}");
    // With other settings of the same installation, too: the segments have one owner.
    fs::copy(installation.home.config_file("ibma.conf"), installation.home.config_file("other.conf"))
        .unwrap();
    let refused = installation.failed(&["-f", "other.conf", "-a", "start"]);
    assert!(refused.contains(&pid), "{refused}");
    agent.end_by(Signal::TERM);
}

#[test]
fn wrong_files_are_said_and_nothing_is_started() {
    let installation = Installation::new();
    installation.replace("ibp_nodes.conf", "\"port\" : 18001", "\"port\" : 180010");
    for arguments in [&["-a", "start"][..], &["-a", "start", "--no-daemon"]] {
        let refused = installation.failed(arguments);
        assert!(refused.contains("ibp_nodes.conf:10:35: error: the port 180010 is outside"), "{refused}");
    }
    assert!(!installation.home.log().join("ibma.pid").exists());
    let conf = installation.home.config_file("ibma.conf");
    let refused = installation.failed(&["--check", conf.to_str().unwrap()]);
    assert!(refused.contains("ibp_nodes.conf:10:35"), "{refused}");
    installation.replace("ibp_nodes.conf", "180010", "18001");
    assert!(installation.done(&["--check", conf.to_str().unwrap()]).contains("right"));
}

#[test]
fn killed_and_started_again_it_goes_on() {
    let installation = Installation::new();
    let agent = installation.start();
    let reader = installation.reader();
    let generation = reader.current().generation();
    agent.end_by(Signal::KILL);
    // Nobody notices: who is there reads on, who comes can attach.
    assert_eq!(installation.reader().current().generation(), generation);

    installation.replace("ibp_nodes.conf", "\"port\" : 18001", "\"port\" : 18002");
    let agent = installation.start();
    until("the next agent's configuration", || {
        reader.refresh().unwrap();
        let config = reader.current();
        config.generation() > generation
            && config.node("ECIF").unwrap().host(0).unwrap().addr().port() == 18002
    });
    agent.end_by(Signal::TERM);
}

#[test]
fn usr1_opens_logs_anew_and_usr2_removes_the_segments() {
    let installation = Installation::new();
    let agent = installation.start();
    let log = installation.home.log().join("ibma_worker.log");
    let moved = log.with_extension("old");
    until("a log", || log.exists());
    fs::rename(&log, &moved).unwrap();
    installation.replace("ibma.conf", "\"worker_loglevel\" : INFO", "\"worker_loglevel\" : DEBUG");
    kill_process(agent.0, Signal::USR1).unwrap();
    until("a new log", || fs::read_to_string(&log).is_ok_and(|text| text.contains("opened anew")));

    agent.end_by(Signal::USR2);
    let names = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    assert_eq!(names(&installation.shm), 0);
    assert!(installation.failed(&["-s", "verify"]).contains("start the agent"));
}

#[test]
fn a_clean_start_forgets_loads() {
    let installation = Installation::new();
    let agent = installation.start();
    let loads = || -> serde_json::Value {
        let nodes: serde_json::Value =
            serde_json::from_str(&installation.done(&["-s", "nodes", "--json"])).unwrap();
        nodes[1]["hosts"][0]["load_permille"].clone()
    };
    {
        let reader = installation.reader();
        let config = reader.current();
        let slot = config.node("ECIF").unwrap().host(0).unwrap().slot();
        assert!(slot.report(ibp_core::Load { busy: 1, workers: 2 }, ibp_shm::boottime_ms()));
    }
    assert_eq!(loads(), 500);
    agent.end_by(Signal::TERM);
    let agent = installation.start();
    assert_eq!(loads(), 500);
    agent.end_by(Signal::TERM);
    installation.done(&["-a", "start_cleanly"]);
    let pid = fs::read_to_string(installation.home.log().join("ibma.pid")).unwrap();
    let agent = Agent(Pid::from_raw(pid.trim().parse().unwrap()).unwrap());
    assert_eq!(loads(), serde_json::Value::Null);
    agent.end_by(Signal::TERM);
}
