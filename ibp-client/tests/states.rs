//! What is known after a failure: each way in which an exchange can end, against the state that the client reports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ibp_client::{Cause, Client, Error, Phase, State};
use ibp_core::wire::ib2::{
    FrameType, Goodbye, GoodbyeReason, Header, PeerError, RESPONSE_OVERHEAD, put_preamble,
};
use ibp_core::wire::{AbortReason, ErrorCode, Execution, Limits, RejectReason, TransactionId};
use support::{
    Asked, InOrder, Log, Reply, Server, Stream, answer_bytes, await_end, builder, hello_bytes, nobody,
    put_response, read_request,
};

/// A client that asks `first`, and after it, if at all, an honest server, which is returned too.
fn with_stand_in(first: &Server) -> (Client, Server) {
    let stand_in = Server::echo();
    let client = builder(&[first.addr, stand_in.addr]).balancer(InOrder).build().unwrap();
    (client, stand_in)
}

fn with_text(error: &Error, text: &str) {
    assert!(error.to_string().contains(text), "{error}");
}

/// The answer of an honest server, cut after each of its bytes, by a proper end and by a reset.
#[test]
fn an_answer_cut_anywhere_is_suspicious() {
    let whole = {
        let asked = Asked {
            client_node: String::new(),
            node: String::new(),
            app: String::new(),
            body: Vec::new(),
            transaction: TransactionId([0; 16]),
            remaining_ms: 0,
            number: 1,
            last: true,
        };
        answer_bytes(&asked, &Reply::ok(b"done")).len()
    };
    for reset in [false, true] {
        for cut in 0..=whole {
            let server = Server::treating(move |stream| {
                let asked = read_request(stream).unwrap();
                stream.write_all(&answer_bytes(&asked, &Reply::ok(b"done"))[..cut]).unwrap();
                if reset && cut < whole {
                    stream.reset();
                }
            });
            let (client, stand_in) = with_stand_in(&server);
            let result = client.request("NODE", "echo").body("x").send();
            if cut == whole {
                assert_eq!(&*result.unwrap(), b"done");
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.state(), State::Suspicious, "cut at {cut}, reset {reset}: {error}");
            assert_eq!((error.phase(), error.host()), (Some(Phase::Waiting), Some(server.addr)));
            assert!(!error.is_retryable());
            with_text(&error, &error.transaction().unwrap().to_string());
            with_text(&error, &server.addr.to_string());
            assert_eq!(stand_in.accepted(), 0, "a suspicious request was sent again");
        }
    }
}

/// The request, of which the server reads only so many bytes. Whatever the client says, it must not say that nothing was
/// executed when the server has read all of it.
#[test]
fn a_request_read_in_part_is_not_sent_or_suspicious_as_it_went_out() {
    let whole = Arc::new(AtomicUsize::new(0));
    let length = whole.clone();
    let measuring = Server::treating(move |stream| {
        let mut bytes = vec![0; 4096];
        length.store(stream.read(&mut bytes).unwrap(), Ordering::SeqCst);
    });
    builder(&[measuring.addr]).build().unwrap().request("NODE", "echo").body("x").send().unwrap_err();
    let whole = whole.load(Ordering::SeqCst);
    assert!(whole > 100, "hello and request came in one flight: {whole} bytes");

    for read in 0..=whole {
        let server = Server::treating(move |stream| {
            let mut bytes = vec![0; read];
            let _ = stream.read_exact(&mut bytes);
        });
        let client = builder(&[server.addr]).build().unwrap();
        let error = client.request("NODE", "echo").body("x").send().unwrap_err();
        match error.state() {
            State::Suspicious => assert!(error.phase() >= Some(Phase::Sending), "{error}"),
            State::NotSent => {
                assert!(read == 0 && error.phase() < Some(Phase::Waiting), "{read} bytes were read: {error}");
            }
            State::Responded => panic!("{error}"),
        }
    }
}

/// On a long connection, at the second call: the same cuts, without a hello.
#[test]
fn a_later_answer_cut_anywhere_is_suspicious() {
    for cut in 0..52 {
        let server = Server::treating(move |stream| {
            let first = read_request(stream).unwrap();
            stream.write_all(&answer_bytes(&first, &Reply::ok(b"done"))).unwrap();
            let mut head = [0; 16];
            stream.read_exact(&mut head).unwrap();
            let header = Header::take(head).unwrap();
            let mut payload = vec![0; header.length as usize];
            stream.read_exact(&mut payload).unwrap();
            let mut transaction = [0; 16];
            transaction.copy_from_slice(&payload[..16]);
            let second = Asked { number: 2, transaction: TransactionId(transaction), ..first };
            let mut bytes = Vec::new();
            put_response(&second, &Reply::ok(b"done"), &mut bytes);
            assert_eq!(bytes.len(), 52);
            stream.write_all(&bytes[..cut]).unwrap();
        });
        let (client, stand_in) = with_stand_in(&server);
        let mut connection = client.connect("NODE").unwrap();
        connection.call("echo", b"x").unwrap();
        let error = connection.call("echo", b"x").unwrap_err();
        assert_eq!(
            (error.state(), error.phase()),
            (State::Suspicious, Some(Phase::Waiting)),
            "cut {cut}: {error}"
        );
        assert_eq!(stand_in.accepted(), 0);
        // The connection can be used further: it makes a new one to the next host.
        assert_eq!(&*connection.call("echo", b"again").unwrap(), b"again");
    }
}

#[test]
fn each_rejection_goes_on_to_another_host_or_not() {
    use RejectReason::*;
    let table = [
        (UnknownApp, true),
        (InvalidApp, false),
        (InvalidNode, false),
        (WrongNode, true),
        (NotPermitted, false),
        (Busy, true),
        (Draining, true),
        (BodyTooLarge, false),
        (TooManyFiles, false),
        (DeadlineOver, false),
        (Unsupported, true),
        (Malformed, false),
        (Other(999), false),
    ];
    for (reason, goes_on) in table {
        let answer = move |_: &Asked| Reply::of(Execution::Rejected(reason), b"because");
        let server = Server::answering(answer);
        let (client, stand_in) = with_stand_in(&server);
        let result = client.request("NODE", "echo").body("x").send();
        assert_eq!(server.requests(), 1, "{reason}");
        assert_eq!(stand_in.requests(), usize::from(goes_on), "{reason}");
        if goes_on {
            assert_eq!(result.unwrap().host(), Some(stand_in.addr));
        }
        // Nobody else to ask: the caller gets the reason.
        let alone = Server::answering(answer);
        let client = builder(&[alone.addr]).build().unwrap();
        let error = client.request("NODE", "echo").body("x").send().unwrap_err();
        assert_eq!((error.state(), error.phase()), (State::NotSent, Some(Phase::Answered)), "{error}");
        assert_eq!(error.number(), 0x1_0000 + u32::from(reason.number()));
        assert_eq!(error.is_retryable(), goes_on || reason == DeadlineOver, "{reason}");
        with_text(&error, "because");
    }
}

#[test]
fn an_abort_is_suspicious_and_goes_nowhere_else() {
    use AbortReason::*;
    for reason in [WorkerDied, AppTimeout, AppPanicked, Shutdown, Other(77)] {
        let server = Server::answering(move |_| Reply::of(Execution::Aborted(reason), b"because"));
        let (client, stand_in) = with_stand_in(&server);
        let error = client.request("NODE", "echo").body("x").send().unwrap_err();
        assert_eq!((error.state(), error.phase()), (State::Suspicious, Some(Phase::Answered)), "{error}");
        assert_eq!(error.number(), 0x2_0000 + u32::from(reason.number()));
        assert_eq!(stand_in.accepted(), 0);
        let mut connection = client.connect("NODE").unwrap();
        assert_eq!(connection.call("echo", b"x").unwrap_err().state(), State::Suspicious);
    }
}

fn say_goodbye(stream: &mut dyn Stream, last_taken: u32, reason: GoodbyeReason) {
    let mut bytes = hello_bytes();
    Goodbye { last_taken, reason }.put(&mut bytes);
    stream.write_all(&bytes).unwrap();
    stream.end_sending();
    await_end(stream);
}

#[test]
fn a_goodbye_with_a_lower_number_says_not_sent() {
    let server = Server::treating(|stream| {
        read_request(stream).unwrap();
        say_goodbye(stream, 0, GoodbyeReason::Draining);
    });
    let (client, stand_in) = with_stand_in(&server);
    let response = client.request("NODE", "echo").body("x").send().unwrap();
    assert_eq!((response.host(), stand_in.requests()), (Some(stand_in.addr), 1));

    let error = client.request("NODE", "echo").host(server.addr).send().unwrap_err();
    assert_eq!((error.state(), error.number()), (State::NotSent, 37), "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_goodbye_that_counts_the_request_and_no_answer_is_suspicious() {
    let server = Server::treating(|stream| {
        read_request(stream).unwrap();
        say_goodbye(stream, 1, GoodbyeReason::Draining);
    });
    let (client, stand_in) = with_stand_in(&server);
    let error = client.request("NODE", "echo").body("x").send().unwrap_err();
    assert_eq!((error.state(), error.number()), (State::Suspicious, 33), "{error}");
    assert_eq!(stand_in.accepted(), 0);
}

#[test]
fn an_answer_and_a_goodbye_may_come_together() {
    let server = Server::treating(|stream| {
        let asked = read_request(stream).unwrap();
        let mut bytes = answer_bytes(&asked, &Reply::ok(&asked.body));
        Goodbye { last_taken: 1, reason: GoodbyeReason::Draining }.put(&mut bytes);
        stream.write_all(&bytes).unwrap();
        stream.end_sending();
        await_end(stream);
    });
    let (client, stand_in) = with_stand_in(&server);
    let mut connection = client.connect("NODE").unwrap();
    for round in 0..5_u8 {
        assert_eq!(&*connection.call("echo", &[round]).unwrap(), [round]);
    }
    assert_eq!((server.accepted(), stand_in.accepted()), (5, 0));
}

/// Servers end idle connections. The next call, early or late, must work, and be made once.
#[test]
fn a_connection_that_the_server_ended_is_made_anew() {
    for late in [false, true] {
        let bodies: Log<Vec<u8>> = Log::default();
        let log = bodies.clone();
        let ended = Arc::new(AtomicUsize::new(0));
        let count = ended.clone();
        let server = Server::treating(move |stream| {
            let asked = read_request(stream).unwrap();
            log.lock().unwrap().push(asked.body.clone());
            stream.write_all(&answer_bytes(&asked, &Reply::ok(&asked.body))).unwrap();
            let mut goodbye = Vec::new();
            Goodbye { last_taken: 1, reason: GoodbyeReason::Idle }.put(&mut goodbye);
            stream.write_all(&goodbye).unwrap();
            stream.end_sending();
            count.fetch_add(1, Ordering::SeqCst);
            await_end(stream);
        });
        let client = builder(&[server.addr]).build().unwrap();
        let mut connection = client.connect("NODE").unwrap();
        for round in 0..20_u8 {
            assert_eq!(&*connection.call("echo", &[round]).unwrap(), [round]);
            if late {
                support::eventually("goodbye", || ended.load(Ordering::SeqCst) > usize::from(round));
            }
        }
        assert_eq!(*bodies.lock().unwrap(), (0..20_u8).map(|round| vec![round]).collect::<Vec<_>>());
    }
}

/// A server that dies says no goodbye. When that happened while the connection was idle, nothing is in doubt.
#[test]
fn a_server_that_died_while_a_connection_was_idle_leaves_nothing_in_doubt() {
    for reset in [false, true] {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = ended.clone();
        let server = Server::treating(move |stream| {
            let asked = read_request(stream).unwrap();
            stream.write_all(&answer_bytes(&asked, &Reply::ok(&asked.body))).unwrap();
            if reset {
                // What is not read yet would go with the connection: the client has the answer by then.
                std::thread::sleep(Duration::from_millis(5));
                stream.reset();
            } else {
                stream.end_sending();
            }
            count.fetch_add(1, Ordering::SeqCst);
        });
        let client = builder(&[server.addr]).build().unwrap();
        let mut connection = client.connect("NODE").unwrap();
        for round in 0..10_u8 {
            assert_eq!(&*connection.call("echo", &[round]).unwrap(), [round], "reset {reset}");
            support::eventually("the end", || ended.load(Ordering::SeqCst) > usize::from(round));
            // Idle is what was used longer ago than 10 ms.
            std::thread::sleep(Duration::from_millis(30));
        }
        assert_eq!(server.accepted(), 10);
    }
}

#[test]
fn an_error_frame_says_what_was_taken() {
    let table = [
        (ErrorCode::Full, 0, State::NotSent, true),
        (ErrorCode::Timeout, 0, State::NotSent, true),
        (ErrorCode::Version, 0, State::NotSent, true),
        (ErrorCode::TooLong, 0, State::NotSent, false),
        (ErrorCode::Malformed, 0, State::NotSent, false),
        (ErrorCode::Security, 0, State::NotSent, false),
        (ErrorCode::Other(500), 0, State::NotSent, false),
        (ErrorCode::Full, 1, State::Suspicious, false),
        (ErrorCode::Malformed, 1, State::Suspicious, false),
    ];
    for greeted in [false, true] {
        for (code, last_taken, state, goes_on) in table {
            let server = Server::treating(move |stream| {
                read_request(stream).unwrap();
                let mut bytes = if greeted { hello_bytes() } else { Vec::new() };
                if !greeted {
                    put_preamble(&mut bytes);
                }
                PeerError { last_taken, code, text: "no \u{1b}[31m room" }.put(&mut bytes);
                stream.write_all(&bytes).unwrap();
            });
            let (client, stand_in) = with_stand_in(&server);
            let result = client.request("NODE", "echo").body("x").send();
            assert_eq!(stand_in.accepted(), usize::from(goes_on), "{code:?} {last_taken}");
            if goes_on {
                result.unwrap();
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!((error.state(), error.number()), (state, 36), "{error}");
            assert!(!error.to_string().contains('\u{1b}'), "the peer's text goes to terminals: {error}");
        }
    }
}

#[test]
fn garbage_is_an_error_at_once_and_the_host_is_avoided() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0; 64], &[0xff; 5000], b"IB2\x02rest", b"x"] {
        let server = Server::treating(move |stream| {
            read_request(stream).unwrap();
            stream.write_all(garbage).unwrap();
            await_end(stream);
        });
        let (client, stand_in) = with_stand_in(&server);
        let error = client.request("NODE", "echo").body("x").send().unwrap_err();
        assert!(matches!(error.cause(), Some(Cause::Protocol(_))), "{error}");
        assert_eq!((error.state(), error.phase()), (State::Suspicious, Some(Phase::Waiting)));
        assert_eq!(stand_in.accepted(), 0);
        // Others come first for a second.
        for _ in 0..10 {
            assert_eq!(client.request("NODE", "echo").send().unwrap().host(), Some(stand_in.addr));
        }
        assert_eq!(server.accepted(), 1);
    }
}

/// A seeded stream of random bytes in place of an answer, whole or after an honest hello.
#[test]
fn random_bytes_never_do_more_than_fail() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
    let server = Server::treating(move |stream| {
        let _ = read_request(stream);
        let mut random = random.lock().unwrap();
        let mut bytes = if random.bool() { hello_bytes() } else { Vec::new() };
        let count = random.usize(..200);
        // Frame types that a server can send, more often than chance would have it.
        if random.bool() {
            bytes.push(*random.choice(&[0x03, 0x04, 0x10, 0x11, 0x12, 0x21, 0x41]).unwrap());
        }
        bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(count));
        drop(random);
        let _ = stream.write_all(&bytes);
    });
    let client = builder(&[server.addr]).build().unwrap();
    for _ in 0..500 {
        let error = client.request("NODE", "echo").host(server.addr).send().unwrap_err();
        assert!(error.failure().is_some(), "{error}");
    }
}

fn declaring(length: u64) -> Server {
    Server::treating(move |stream| {
        read_request(stream).unwrap();
        let mut bytes = hello_bytes();
        Header { frame: FrameType::Response, flags: 0, number: 1, length }.put(&mut bytes);
        bytes.extend_from_slice(&[1; 100]);
        let _ = stream.write_all(&bytes);
        await_end(stream);
    })
}

#[test]
fn a_response_over_the_limit_is_refused_by_its_length() {
    let limit = Limits { max_body: 1000, ..Limits::default() };
    for length in [1000 + RESPONSE_OVERHEAD + 1, 60 << 20, 1 << 63, u64::MAX] {
        let server = declaring(length);
        let client = builder(&[server.addr]).limits(limit).build().unwrap();
        let error = client.request("NODE", "echo").body("x").send().unwrap_err();
        assert_eq!((error.state(), error.number()), (State::Suspicious, 35), "{error}");
        with_text(&error, &length.to_string());
    }
}

#[test]
fn an_answer_about_another_transaction_or_number_is_no_answer() {
    for (number, transaction) in
        [(1, TransactionId([3; 16])), (2, TransactionId([0; 16])), (0, TransactionId([0; 16]))]
    {
        let server = Server::treating(move |stream| {
            let mut asked = read_request(stream).unwrap();
            asked.number = number;
            if transaction != TransactionId([0; 16]) {
                asked.transaction = transaction;
            }
            stream.write_all(&answer_bytes(&asked, &Reply::ok(b"wrong"))).unwrap();
            await_end(stream);
        });
        let (client, stand_in) = with_stand_in(&server);
        let error = client.request("NODE", "echo").body("x").send().unwrap_err();
        assert_eq!((error.state(), error.number()), (State::Suspicious, 35), "{error}");
        assert_eq!(stand_in.accepted(), 0);
    }
}

/// The server refuses a large body before it has read it, and closes: the client must hear the refusal, not only that the
/// connection broke.
#[test]
fn a_refusal_while_a_large_body_goes_out_is_heard() {
    let server = Server::treating(|stream| {
        let mut bytes = vec![0; 1000];
        stream.read_exact(&mut bytes).unwrap();
        let at = 4 + 16 + 52 + "TESTER".len();
        let mut transaction = [0; 16];
        transaction.copy_from_slice(&bytes[at + 16..at + 32]);
        let asked = Asked {
            client_node: String::new(),
            node: String::new(),
            app: String::new(),
            body: Vec::new(),
            transaction: TransactionId(transaction),
            remaining_ms: 0,
            number: 1,
            last: false,
        };
        let reply = Reply::of(Execution::Rejected(RejectReason::BodyTooLarge), b"");
        stream.write_all(&answer_bytes(&asked, &reply)).unwrap();
        stream.end_sending();
        await_end(stream);
    });
    let client = builder(&[server.addr]).build().unwrap();
    let body = vec![1; 30 << 20];
    let error = client.request("NODE", "echo").body(&body).send().unwrap_err();
    assert_eq!((error.state(), error.number()), (State::NotSent, 0x1_0008), "{error}");
    let mut connection = client.connect("NODE").unwrap();
    let error = connection.call("echo", &body).unwrap_err();
    assert_eq!((error.state(), error.number()), (State::NotSent, 0x1_0008), "{error}");
}

/// From the second call on the client knows what the platform takes, and does not send more.
#[test]
fn a_body_over_the_platforms_limit_is_not_sent_again() {
    let server = Server::treating(|stream| {
        let limits = Limits { max_body: 1000, ..Limits::default() };
        let _ = support::serve(stream, &limits, |asked| Reply::ok(&asked.body));
    });
    let client = builder(&[server.addr]).build().unwrap();
    let mut connection = client.connect("NODE").unwrap();
    connection.call("echo", b"small").unwrap();
    let error = connection.call("echo", &[0; 1001]).unwrap_err();
    assert_eq!((error.state(), error.number(), error.is_retryable()), (State::NotSent, 19, false), "{error}");
    assert_eq!(&*connection.call("echo", &[1; 1000]).unwrap(), [1; 1000]);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn an_error_names_every_host_that_was_tried() {
    let deaf = [nobody(), nobody()];
    let busy = Server::answering(|_| Reply::of(Execution::Rejected(RejectReason::Busy), b""));
    let client = builder(&[deaf[0].addr, busy.addr, deaf[1].addr]).balancer(InOrder).build().unwrap();
    let error = client.request("NODE", "echo").body("x").send().unwrap_err();
    assert_eq!(
        (error.state(), error.host(), error.is_retryable()),
        (State::NotSent, Some(deaf[1].addr), true)
    );
    let failure = error.failure().unwrap();
    let tried: Vec<_> = failure.tried().iter().map(|attempt| (attempt.host(), attempt.phase())).collect();
    assert_eq!(tried, [(deaf[0].addr, Phase::Connecting), (busy.addr, Phase::Answered)]);
    assert_eq!((failure.node(), failure.app()), ("NODE", "echo"));
    for addr in [deaf[0].addr, deaf[1].addr, busy.addr] {
        with_text(&error, &addr.to_string());
    }
}

#[test]
fn what_the_configuration_does_not_have_is_said_before_connecting() {
    let server = Server::echo();
    let client = builder(&[server.addr]).app_of_node("nodeless", Duration::from_secs(1), "").build().unwrap();
    let long = "x".repeat(10_000);
    let cases = [
        (client.request("NONE", "echo").send(), 11),
        (client.request(&long, "echo").send(), 10),
        (client.request("NODE", &long).send(), 10),
        (client.request("NODE", "").send(), 10),
        (client.request("NODE", "a b").send(), 10),
        (client.request("", "echo").send(), 15),
        (client.request_app("nodeless").send(), 15),
        (client.request("NODE", "echo").host(nobody().addr).send(), 16),
    ];
    for (result, number) in cases {
        let error = result.unwrap_err();
        assert_eq!(
            (error.state(), error.number(), error.phase()),
            (State::NotSent, number, Some(Phase::Choosing))
        );
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().len() < 400, "a long name is cut: {error}");
    }
    assert_eq!(client.connect("NONE").unwrap_err().number(), 11);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn outcomes_can_be_asked_for() {
    let server = Server::answering(|_| Reply::of(Execution::Aborted(AbortReason::WorkerDied), b""));
    let client = builder(&[server.addr]).build().unwrap();
    let error = client.request("NODE", "echo").send().unwrap_err();
    let outcome = client.outcome(&error).unwrap();
    assert_eq!(outcome.outcome, ibp_core::wire::Outcome::Ended(Execution::Executed(7)));
    assert_eq!((outcome.began_ago, outcome.memory), (Duration::from_millis(40), Duration::from_secs(60)));
    assert!(client.ask_outcome("NODE", server.addr, TransactionId([1; 16])).is_ok());

    let error = client.ask_outcome("NODE", nobody().addr, TransactionId([1; 16])).unwrap_err();
    assert_eq!((error.state(), error.is_retryable()), (State::NotSent, true), "{error}");
    let nowhere = client.request("NONE", "echo").send().unwrap_err();
    assert_eq!(client.outcome(&nowhere).unwrap_err().state(), State::NotSent);
}
