//! What the library writes to the log.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use ibp_client::{Client, Connection, Error, RejectReason, State};
use ibp_core::wire::{AbortReason, Execution};
use support::{InOrder, Reply, Server, builder};
use tracing_subscriber::filter::LevelFilter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(act: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(LevelFilter::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn each_failure_is_logged_with_host_phase_and_transaction() {
    let busy = Server::answering(|_| Reply::of(Execution::Rejected(RejectReason::Busy), b""));
    let dying =
        Server::answering(|_| Reply::of(Execution::Aborted(AbortReason::WorkerDied), b"out of memory"));
    let client = builder(&[busy.addr, dying.addr]).balancer(InOrder).build().unwrap();
    let mut error = None;
    let text = logged(|| error = client.request("NODE", "echo").body("PIN 1234").send().err());
    let error: Error = error.unwrap();
    assert_eq!(error.state(), State::Suspicious);
    let transaction = error.transaction().unwrap().to_string();
    assert!(!text.contains("1234"), "a request body is in the log: {text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, level, host) in [(lines[0], "DEBUG", busy.addr), (lines[1], "WARN", dying.addr)] {
        assert!(line.contains(level), "{line}");
        for expected in [host.to_string().as_str(), "answered", &transaction] {
            assert!(line.contains(expected), "{expected:?} is not in {line}");
        }
    }
}

#[test]
fn a_call_that_works_writes_nothing() {
    let server = Server::echo();
    let client = support::client(&[server.addr]);
    let text = logged(|| {
        client.request("NODE", "echo").body("PIN 1234").send().unwrap();
        client.connect("NODE").unwrap().call("echo", b"PIN 1234").unwrap();
    });
    assert_eq!(text, "");
}

#[test]
fn clients_are_shared_and_connections_are_handed_over() {
    fn shared<T: Send + Sync + Clone>() {}
    fn handed_over<T: Send>() {}
    shared::<Client>();
    handed_over::<Connection>();
    handed_over::<Error>();
}
