//! How many system calls a call costs, counted by `strace`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use support::process::{again, is_helper, role};
use support::{Reply, Server, builder};

const CALLS: usize = 1000;
const TEST: &str = "a_call_makes_as_few_system_calls_as_it_can";

/// What `strace` shows where a counted stretch begins and ends. Nothing else in this program makes this system call.
fn mark() {
    // SAFETY: has no preconditions.
    unsafe { libc::getppid() };
}

/// In the traced process: `CALLS` calls of one kind between two marks.
fn calls(kind: &str, server: &str, directory: &str) {
    let addr = server.parse().unwrap();
    let builder = builder(&[addr]);
    let client =
        if kind.ends_with("unix") { builder.unix_sockets_in(directory) } else { builder }.build().unwrap();
    let body = [7; 128];
    if kind.starts_with("long") {
        let mut connection = client.connect("NODE").unwrap();
        assert_eq!(connection.is_local(), kind.ends_with("unix"));
        (0..10).for_each(|_| assert_eq!(connection.call("echo", &body).unwrap().len(), 128));
        mark();
        (0..CALLS).for_each(|_| assert_eq!(connection.call("echo", &body).unwrap().len(), 128));
        mark();
    } else {
        let call = || assert_eq!(client.request("NODE", "echo").body(&body).send().unwrap().len(), 128);
        (0..10).for_each(|_| call());
        mark();
        (0..CALLS).for_each(|_| call());
        mark();
    }
}

/// Runs this program under `strace` and counts the calls between the marks; `None` if there is no `strace` that works.
fn count(kind: &str, server: &Server, directory: &str) -> Option<BTreeMap<String, usize>> {
    let scratch = tempfile::tempdir().unwrap();
    let trace = scratch.path().join("trace");
    let inner = again(TEST, "traced", &format!("{kind} {} {directory}", server.addr));
    let mut strace = Command::new("strace");
    strace.arg("-f").arg("-o").arg(&trace).arg(inner.get_program()).args(inner.get_args());
    strace.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Ok(output) = strace.output() else {
        eprintln!("SKIPPED: there is no strace on this machine");
        return None;
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && complaint.contains("ptrace") {
        eprintln!("SKIPPED: strace may not trace here: {complaint}");
        return None;
    }
    assert!(output.status.success(), "{complaint}");

    let trace = std::fs::read_to_string(trace).unwrap();
    let lines = trace.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let lines: Vec<_> = lines.map(|(thread, call)| (thread, call.trim_start())).collect();
    let is_mark = |call: &str| call.starts_with("getppid(");
    let first = lines.iter().position(|(_, call)| is_mark(call)).unwrap();
    let thread = lines[first].0;
    let mut counts = BTreeMap::new();
    let mut of_thread = lines[first + 1..].iter().filter(|(of, _)| *of == thread).map(|(_, call)| *call);
    for call in of_thread.by_ref().take_while(|call| !is_mark(call)) {
        // A call that another thread's call interrupted in the trace has two lines.
        if call.starts_with("<...") {
            continue;
        }
        let name = call.split('(').next().unwrap().to_owned();
        // In a build with debug assertions the standard library looks at each descriptor before it closes it.
        if cfg!(debug_assertions) && name == "fcntl" {
            continue;
        }
        *counts.entry(name).or_default() += 1;
    }
    println!("{kind}: {counts:?} in {CALLS} calls");
    Some(counts)
}

#[test]
fn a_call_makes_as_few_system_calls_as_it_can() {
    if let Some(argument) = role("traced") {
        let [kind, server, directory] = argument.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{argument}")
        };
        return calls(kind, server, directory);
    }
    if is_helper() {
        return;
    }
    let answer = |asked: &support::Asked| Reply::ok(&asked.body);
    let server = Server::answering(answer);
    let directory = tempfile::tempdir().unwrap();
    server.also_at(directory.path(), answer);
    let directory = directory.path().to_str().unwrap();

    for (kind, most_a_call) in [
        // send, recv
        ("long_tcp", 2),
        ("long_unix", 2),
        // socket, setsockopt, connect, send, setsockopt, recv, poll for the server's end, close
        ("short_tcp", 8),
        // socket, setsockopt, connect, getsockopt, send, setsockopt, recv, close; geteuid unless the server is root's
        ("short_unix", 9),
    ] {
        let Some(counts) = count(kind, &server, directory) else { return };
        let total: usize = counts.values().sum();
        // A signal or a wake-up without a cause may repeat one; more is a mistake.
        assert!(total <= most_a_call * CALLS + CALLS / 100, "{kind}: {counts:?}");
        assert!(total >= 2 * CALLS, "{kind}: the trace is not complete: {counts:?}");
    }
}
