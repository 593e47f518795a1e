//! An installation made and used by hand: `ibma`, `ibas` and `ibpsend`, from an empty directory.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ibp_core::config::Home;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

const IBAS: &str = env!("CARGO_BIN_EXE_ibas");
const IBMA: &str = env!("CARGO_BIN_EXE_ibma");
const IBPSEND: &str = env!("CARGO_BIN_EXE_ibpsend");

/// An installation; its daemons end with it.
struct Installation {
    _scratch: TempDir,
    home: Home,
}

impl Installation {
    fn empty() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let home = Home::at(scratch.path().join("home"));
        fs::create_dir(home.path()).unwrap();
        Self { _scratch: scratch, home }
    }

    /// With the default files, on a port that is free, and the sleeping app in the configuration.
    fn made() -> Self {
        let installation = Self::empty();
        installation.done(IBAS, &["-a", "init"]);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        installation.replace("ibas.conf", "18001", &port.to_string());
        installation.replace("ibas.conf", "\"max_count\" : 10", "\"max_count\" : 2");
        installation.replace("ibp_nodes.conf", "18001", &port.to_string());
        let sleep = "\"apps\" :\n\t[\n\t{ \"app\" : \"ibp_test_sleep\" , \"server_node\" : \"ECIF\" } ,";
        installation.replace("ibp_apps.conf", "\"apps\" :\n\t[", sleep);
        installation.replace("ibp_projects.conf", "\"ibp_test_echo\"", "\"ibp_test_echo ibp_test_sleep\"");
        installation
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let path = self.home.config_file(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("IBP_HOME", self.home.path());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program, arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a program that has to fail with this status, and returns what it said.
    fn failed(&self, status: i32, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert_eq!(output.status.code(), Some(status), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn send(&self, arguments: &[&str], body: &[u8]) -> Output {
        let mut command = self.command(IBPSEND, arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        child.wait_with_output().unwrap()
    }

    fn pid(&self, name: &str) -> Option<Pid> {
        let text = fs::read_to_string(self.home.log().join(name)).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    fn end(&self, name: &str) {
        let Some(pid) = self.pid(name) else { return };
        let _ = kill_process(pid, Signal::TERM);
        until("a daemon has ended", || !self.home.log().join(name).exists() || is_gone(pid));
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.end("ibas.pid");
        self.end("ibma.pid");
        let _ = fs::remove_dir_all(ibp_shm::Directory::of_installation(self.home.path()).path());
    }
}

fn is_gone(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    test_kill_process(pid).is_err() || stat.contains(") Z ")
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < patience, "not so after 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn from_an_empty_directory_to_an_answer() {
    let installation = Installation::made();
    let said = installation.failed(1, IBAS, &["-a", "start"]);
    assert!(said.contains("ibma -a start") && said.contains("--static"), "{said}");
    let said = installation.failed(3, IBPSEND, &["ECIF", "ibp_test_echo", "/dev/null"]);
    assert!(said.contains("ibma -a start"), "{said}");

    installation.done(IBMA, &["-a", "start"]);
    installation.done(IBAS, &["-a", "start"]);
    let pid = installation.pid("ibas.pid").unwrap();
    let said = installation.failed(1, IBAS, &["-a", "start"]);
    assert!(said.contains(&format!("runs already with process id {}", pid.as_raw_pid())), "{said}");

    let request = installation.home.path().join("request");
    fs::write(&request, [0, 255, 10, 13]).unwrap();
    let answer = installation.home.path().join("answer");
    let (request, answer) = (request.to_str().unwrap(), answer.to_str().unwrap());
    installation.done(IBPSEND, &["ECIF", "ibp_test_echo", request, "-o", answer]);
    assert_eq!(fs::read(answer).unwrap(), [0, 255, 10, 13]);

    let output = installation.send(&["--json", "ECIF", "ibp_test_echo", "-"], b"hello");
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&facts["state"], &facts["body"]), (&"responded".into(), &"hello".into()));
    let id = facts["transaction"].as_str().unwrap();
    let output = installation.run(IBPSEND, &["--outcome", id, "ECIF"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("executed with code 0"), "{said}");

    let output = installation.send(&["ECIF", "ibp_test_sleep", "-"], b"soon");
    assert_eq!(output.status.code(), Some(1), "the app's code is 2: {output:?}");
    let output = installation.send(&["--timeout", "0.2", "ECIF", "ibp_test_sleep", "-"], b"5000");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = installation.failed(3, IBPSEND, &["ECIF", "no_such_app", "/dev/null"]);
    assert!(said.contains("no such app"), "{said}");

    installation.end("ibas.pid");
    let log = fs::read_to_string(installation.home.log().join("event.log")).unwrap();
    assert!(log.contains("ended: "), "{log}");
    installation.failed(3, IBPSEND, &["ECIF", "ibp_test_echo", request]);
}

#[test]
fn a_platform_whose_manager_was_killed_can_be_started_again() {
    let installation = Installation::made();
    installation.done(IBMA, &["-a", "start"]);
    installation.done(IBAS, &["-a", "start"]);
    let first = installation.pid("ibas.pid").unwrap();
    kill_process(first, Signal::KILL).unwrap();
    until("the manager is gone", || is_gone(first));
    until("the platform starts again", || installation.run(IBAS, &["-a", "start"]).status.success());
    assert_ne!(installation.pid("ibas.pid").unwrap(), first);
    installation.done(IBPSEND, &["ECIF", "ibp_test_echo", "/dev/null"]);
}

/// A platform in the foreground, without an agent.
struct Foreground(Child);

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_raw(self.0.id().try_into().unwrap()).unwrap(), Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn without_an_agent_and_without_an_installation_of_the_sender() {
    let installation = Installation::made();
    let arguments = ["-a", "start", "--no-daemon", "--static", "--listen", "127.0.0.1:0", "--workers", "1"];
    let mut command = installation.command(IBAS, &arguments);
    let mut platform = Foreground(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(platform.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let host = line.trim().strip_prefix("ibas: serving on ").unwrap();
    let elsewhere = Installation::empty();
    let output = elsewhere.send(&["--host", host, "ANY", "ibp_test_sleep", "-"], b"1\n");
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"1\n"[..]), "{output:?}");
    let output = elsewhere.send(&["--host", host, "ANY", "ibp_test_other", "-"], b"");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn wrong_usage_and_wrong_files_are_said() {
    let installation = Installation::made();
    let output = installation.run(IBAS, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: ibas"));
    installation.failed(2, IBAS, &["-a", "strat"]);
    installation.failed(2, IBPSEND, &["ECIF"]);
    let host = ["--host", "127.0.0.1:1"];
    let said = installation.failed(2, IBPSEND, &[&host[..], &["ECIF", "a", "/no/such/file"]].concat());
    assert!(said.contains("/no/such/file"), "{said}");
    let said = installation.failed(2, IBPSEND, &[&host[..], &["no node", "a", "/dev/null"]].concat());
    assert!(said.contains("a name is"), "{said}");
    let said = installation.failed(3, IBPSEND, &[&host[..], &["ECIF", "a", "/dev/null"]].concat());
    assert!(said.contains("cannot connect"), "{said}");
    let said = installation.failed(1, IBAS, &["-a", "start", "--static", "--listen", "0.0.0.0:0"]);
    assert!(said.contains("--open-to-all"), "{said}");
    let said = installation.failed(1, IBAS, &["-a", "start", "-f", "other.conf"]);
    assert!(said.contains("other.conf"), "{said}");

    let file: PathBuf = installation.home.config_file("ibas.conf");
    installation.done(IBAS, &["--check", file.to_str().unwrap()]);
    installation.replace("ibas.conf", "STATIC_WORKERPOOL", "STATIC_WORKPOOL");
    let said = installation.failed(1, IBAS, &["--check", file.to_str().unwrap()]);
    assert!(said.contains("ibas.conf:") && said.contains("STATIC_WORKERPOOL"), "{said}");
}
