//! The time that a call takes: never more than its deadline and 50 ms, whatever the peer does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ibp_client::{Error, Phase, State};
use support::{InOrder, Reply, Server, answer_bytes, await_end, builder, full_listener, read_request};

/// The requirement: a call ends within its deadline and this.
const GRACE: Duration = Duration::from_millis(50);

/// Runs a call that must fail by its deadline. A busy machine may stop this process for longer than the grace: three times in
/// a row it will not.
fn ends_in_time(deadline: Duration, call: impl Fn() -> Error) -> Error {
    let mut took = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let error = call();
        took.push(began.elapsed());
        if began.elapsed() <= deadline + GRACE {
            return error;
        }
    }
    panic!("deadline {deadline:?}, took {took:?}");
}

/// Sends a valid answer, one byte each 100 ms.
fn dripping() -> Server {
    Server::treating(|stream| {
        let Ok(asked) = read_request(stream) else { return };
        for byte in answer_bytes(&asked, &Reply::ok(&[0; 100])) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}

#[test]
fn a_peer_that_drips_does_not_hold_a_call() {
    let server = dripping();
    let client = builder(&[server.addr]).build().unwrap();
    for ms in [50, 250, 730] {
        let deadline = Duration::from_millis(ms);
        let error =
            ends_in_time(deadline, || client.request("NODE", "echo").timeout(deadline).send().unwrap_err());
        assert_eq!(
            (error.state(), error.phase(), error.number()),
            (State::Suspicious, Some(Phase::Waiting), 30)
        );
        let error = ends_in_time(deadline, || {
            let mut connection = client.connect("NODE").unwrap();
            connection.call_with("echo").timeout(deadline).send().unwrap_err()
        });
        assert_eq!((error.state(), error.host()), (State::Suspicious, Some(server.addr)), "{error}");
    }
}

#[test]
fn a_silent_peer_does_not_hold_a_call() {
    let server = Server::treating(await_end);
    let client = builder(&[server.addr]).build().unwrap();
    for ms in [1, 20, 300] {
        let deadline = Duration::from_millis(ms);
        let error =
            ends_in_time(deadline, || client.request("NODE", "echo").timeout(deadline).send().unwrap_err());
        // On a busy machine a deadline that short may be over before anything was sent.
        let sent = error.phase() >= Some(Phase::Sending);
        assert_eq!(error.state() == State::Suspicious, sent, "{error}");
        assert!(sent || ms < 300, "{error}");
    }
}

/// The timeout that was set for one call must not hold for the next one.
#[test]
fn calls_of_one_connection_have_deadlines_of_their_own() {
    let server = Server::answering(|asked| {
        let ms = u64::from(u32::from_le_bytes(asked.body[..4].try_into().unwrap()));
        Reply::ok(b"").after(Duration::from_millis(ms))
    });
    let client = builder(&[server.addr]).build().unwrap();
    let mut connection = client.connect("NODE").unwrap();
    for (timeout_ms, work_ms) in [(5_000, 0_u32), (30, 0), (5_000, 200), (300, 150), (100, 0), (1_000, 300)] {
        let timeout = Duration::from_millis(timeout_ms);
        let body = work_ms.to_le_bytes();
        connection.call_with("echo").body(&body).timeout(timeout).send().unwrap();
    }
    let deadline = Duration::from_millis(120);
    ends_in_time(deadline, || {
        connection_again(&client).call_with("echo").body(&[0xff; 4]).timeout(deadline).send().unwrap_err()
    });
}

fn connection_again(client: &ibp_client::Client) -> ibp_client::Connection {
    client.connect("NODE").unwrap()
}

/// A large body to a peer that reads nothing, and to one that reads a little at a time; over both kinds of socket.
#[test]
fn a_peer_that_does_not_read_does_not_hold_a_call() {
    let body = vec![7; 40 << 20];
    let directory = tempfile::tempdir().unwrap();
    for trickle in [false, true] {
        let stop = Arc::new(AtomicBool::new(false));
        let treat = {
            let stop = stop.clone();
            move |stream: &mut dyn support::Stream| {
                let mut chunk = [0; 4096];
                while !stop.load(Ordering::SeqCst) {
                    if trickle {
                        let _ = stream.read(&mut chunk);
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        };
        let server = Server::treating(treat.clone());
        let tcp = builder(&[server.addr]).build().unwrap();
        let path = directory.path().join(format!("ibas.{}.sock", server.addr));
        let listener = UnixListener::bind(path).unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let treat = treat.clone();
                std::thread::spawn(move || treat(&mut stream));
            }
        });
        let unix = builder(&[server.addr]).unix_sockets_in(directory.path()).build().unwrap();
        for client in [&tcp, &unix] {
            let deadline = Duration::from_millis(400);
            let error = ends_in_time(deadline, || {
                client.request("NODE", "echo").body(&body).timeout(deadline).send().unwrap_err()
            });
            assert_eq!((error.state(), error.phase()), (State::Suspicious, Some(Phase::Sending)), "{error}");
        }
        assert!(taken.load(Ordering::SeqCst) > 0, "the Unix socket was used");
        stop.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_host_that_does_not_take_connections_is_given_up_after_the_connecting_timeout() {
    let full = full_listener();
    let addr = full.addr();
    let connecting = Duration::from_millis(200);
    let client = builder(&[addr]).connecting_timeout(connecting).build().unwrap();
    let error = ends_in_time(connecting, || {
        client.request("NODE", "echo").host(addr).timeout(Duration::from_secs(30)).send().unwrap_err()
    });
    assert_eq!((error.state(), error.phase(), error.number()), (State::NotSent, Some(Phase::Connecting), 32));
    // It rests: nobody waits for it now.
    let error = ends_in_time(Duration::ZERO, || client.request("NODE", "echo").send().unwrap_err());
    assert_eq!(error.number(), 17, "{error}");

    let patient = builder(&[addr]).connecting_timeout(Duration::from_secs(30)).build().unwrap();
    let deadline = Duration::from_millis(300);
    let error =
        ends_in_time(deadline, || patient.request("NODE", "echo").timeout(deadline).send().unwrap_err());
    assert_eq!((error.state(), error.phase()), (State::NotSent, Some(Phase::Connecting)));
    let error =
        ends_in_time(deadline, || patient.connection("NODE").timeout(deadline).connect().unwrap_err());
    assert_eq!(error.state(), State::NotSent);
}

/// A host that drops packets leaves time for another one, also when the call's time is shorter than the connecting timeout.
#[test]
fn a_host_that_does_not_take_connections_leaves_time_for_others() {
    let full = full_listener();
    let good = Server::echo();
    let client = builder(&[full.addr(), good.addr])
        .balancer(InOrder)
        .connecting_timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    for _ in 0..3 {
        let response = client.request("NODE", "echo").timeout(Duration::from_secs(2)).send().unwrap();
        assert_eq!(response.host(), Some(good.addr));
    }
}

/// An answer was read, and the server does not close: the response is there after a second at the latest, and at the deadline.
#[test]
fn a_server_that_does_not_close_does_not_hold_the_response() {
    let server = Server::treating(|stream| {
        let asked = read_request(stream).unwrap();
        stream.write_all(&answer_bytes(&asked, &Reply::ok(b"here"))).unwrap();
        await_end(stream);
    });
    let client = builder(&[server.addr]).build().unwrap();
    for (timeout_ms, within_ms) in [(200, 250), (5_000, 1_050)] {
        let within = Duration::from_millis(within_ms);
        let took = (0..3).map(|_| {
            let began = Instant::now();
            let timeout = Duration::from_millis(timeout_ms);
            assert_eq!(&*client.request("NODE", "echo").timeout(timeout).send().unwrap(), b"here");
            began.elapsed()
        });
        let took = took.min().unwrap();
        assert!(took <= within, "{took:?}, not {within:?}");
    }
}

#[test]
fn a_deadline_that_is_over_sends_nothing() {
    let server = Server::echo();
    let client = builder(&[server.addr]).build().unwrap();
    let error = client.request("NODE", "echo").timeout(Duration::ZERO).send().unwrap_err();
    assert_eq!((error.state(), error.number()), (State::NotSent, 30), "{error}");
    let mut connection = client.connect("NODE").unwrap();
    let error = connection.call_with("echo").timeout(Duration::ZERO).send().unwrap_err();
    assert_eq!((error.state(), error.number()), (State::NotSent, 30), "{error}");
    assert_eq!(server.requests(), 0);
}

/// The kernel's timeouts of sockets ring late by up to an eighth: it takes seconds to be seen.
#[test]
fn a_long_deadline_is_kept_as_closely() {
    let server = Server::treating(await_end);
    let full = full_listener();
    std::thread::scope(|scope| {
        for ms in [2_300, 3_000, 5_000] {
            for addr in [server.addr, full.addr()] {
                scope.spawn(move || {
                    let client = builder(&[addr]).build().unwrap();
                    let deadline = Duration::from_millis(ms);
                    ends_in_time(deadline, || {
                        client.request("NODE", "echo").timeout(deadline).send().unwrap_err()
                    });
                });
            }
        }
    });
}
