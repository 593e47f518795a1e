//! The bodies of the fuzz targets for the wire: what must hold for any bytes. `tests/corpus.rs` runs them over the
//! corpus, the crate `fuzz` over whatever a fuzzer makes up.

use ibp_core::wire::ib2::{
    ClientEvent, ClientSession, ClientStep, Header, PREAMBLE_LEN, ServerPhase, ServerSession, ServerStep,
};
use ibp_core::wire::{Limits, Protocol};

use super::message::Message;

/// Small enough that inputs of a fuzzer's size go over them.
pub const LIMITS: Limits = Limits { max_body: 1 << 12, max_files: 3, max_file: 1 << 12 };

/// What a target does with one input; it panics where a promise is broken.
pub type Body = fn(&[u8]);

/// The targets: the name that a corpus's directory has, and the body.
pub const TARGETS: [(&str, Body); 3] =
    [("detect", detect), ("ib2_server", ib2_server), ("ib2_client", ib2_client)];

/// The methods of HTTP/1.1.
const METHODS: [&[u8]; 9] =
    [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];

/// What is told of a connection's first bytes never changes with more of them, and is told within eight.
pub fn detect(data: &[u8]) {
    let told = Protocol::detect(data);
    assert!(told.is_some() || data.len() < 8, "undecided after {} bytes", data.len());
    for length in 0..data.len() {
        let earlier = Protocol::detect(&data[..length]);
        assert!(earlier.is_none() || earlier == told, "{earlier:?} after {length} bytes, then {told:?}");
    }
    assert_eq!(told == Some(Protocol::Ib2), data.starts_with(b"IB2"));
    assert_eq!(told == Some(Protocol::Ib1), data.starts_with(b"IB1"));
    let word = data.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_method = word.len() < data.len() && METHODS.contains(&word);
    assert_eq!(told == Some(Protocol::Http), is_method);
}

/// A server reads what a client might send.
pub fn ib2_server(data: &[u8]) {
    let mut session = ServerSession::new();
    let mut rest = data;
    loop {
        let before = session;
        match session.step(rest, &LIMITS) {
            Ok(ServerStep::More(total)) => {
                assert!(total > rest.len() as u64, "{total} wanted, {} there", rest.len());
                assert_eq!(session, before, "no event, yet another state");
                return;
            }
            Ok(ServerStep::Event { event, used }) => {
                let bytes = frame(&rest[..used], before.phase() == ServerPhase::Hello);
                assert_eq!(Message::from_client(event, number(bytes)).to_bytes(), bytes, "one encoding");
                for length in shorter(used) {
                    let step = before.clone().step(&rest[..length], &LIMITS);
                    let Ok(ServerStep::More(total)) = step else {
                        panic!("{length} of {used} bytes gave {step:?}")
                    };
                    assert!(length as u64 <= total && total <= used as u64);
                }
                assert_eq!(ServerSession::from_words(session.to_words()), Some(session));
                rest = &rest[used..];
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                // The connection ends, but a caller that goes on must not crash.
                let _ = session.step(rest, &LIMITS);
                return;
            }
        }
    }
}

/// A client that has sent as many requests as the first byte says reads what a server might send.
pub fn ib2_client(data: &[u8]) {
    let Some((&sent, mut rest)) = data.split_first() else { return };
    let sent = u32::from(sent % 8);
    let mut session = ClientSession::new();
    for number in 1..=sent {
        assert_eq!(session.next_number(), number);
    }
    let mut answered = 0;
    loop {
        let before = session;
        match session.step(rest, &LIMITS) {
            Ok(ClientStep::More(total)) => {
                assert!(total > rest.len() as u64, "{total} wanted, {} there", rest.len());
                assert_eq!(session, before, "no event, yet another state");
                return;
            }
            Ok(ClientStep::Event { event, used }) => {
                let bytes = frame(&rest[..used], !before.is_greeted());
                assert_eq!(Message::from_server(event, number(bytes)).to_bytes(), bytes, "one encoding");
                for length in shorter(used) {
                    let step = before.clone().step(&rest[..length], &LIMITS);
                    let Ok(ClientStep::More(total)) = step else {
                        panic!("{length} of {used} bytes gave {step:?}")
                    };
                    assert!(length as u64 <= total && total <= used as u64);
                }
                match event {
                    ClientEvent::Response(_) | ClientEvent::OutcomeAnswer(_) => answered += 1,
                    ClientEvent::Goodbye(goodbye) => {
                        check_taken(&session, answered, sent, goodbye.last_taken);
                    }
                    ClientEvent::Error(error) => check_taken(&session, answered, sent, error.last_taken),
                    _ => {}
                }
                assert!(answered <= sent, "an answer that nobody asked for");
                rest = &rest[used..];
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                let _ = session.step(rest, &LIMITS);
                return;
            }
        }
    }
}

/// What a server excluded is what comes after the last that it took.
fn check_taken(session: &ClientSession, answered: u32, sent: u32, last_taken: u32) {
    assert!((answered..=sent).contains(&last_taken));
    for number in answered + 1..=sent {
        assert_eq!(session.was_taken(number, last_taken), number <= last_taken);
    }
}

/// The frame in the bytes that a step used: all of them, or what follows the preamble.
fn frame(used: &[u8], first: bool) -> &[u8] {
    if first { &used[PREAMBLE_LEN..] } else { used }
}

/// The number in a frame's header.
fn number(frame: &[u8]) -> u32 {
    let header = frame.first_chunk().expect("a frame has a header");
    Header::take(*header).expect("it was taken before").number
}

/// Some lengths at which a frame of `used` bytes is not whole.
fn shorter(used: usize) -> [usize; 5] {
    [0, 1, used / 4, used / 2, used - 1]
}
