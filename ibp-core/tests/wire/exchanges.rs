//! Each whole exchange: both sessions read in it what the vector says, however the bytes are cut.

use ibp_core::wire::ib2::{
    ClientEvent, ClientSession, ClientStep, PREAMBLE_LEN, ServerSession, ServerStep, put_preamble,
};
use ibp_core::wire::{Limits, ProtocolError};

use crate::support::message::Message;
use crate::support::vector_file::{self, Block};

/// One exchange: its blocks, the first of which only names it.
struct Exchange(Vec<Block>);

/// What one side hears: messages, then perhaps what it must refuse.
struct Heard<'a> {
    bytes: Vec<u8>,
    /// With each message, how many requests had been sent when it came.
    messages: Vec<(Message<'a>, u32)>,
    error: Option<u16>,
}

fn exchanges() -> Vec<(String, Exchange)> {
    let exchanges: Vec<_> = vector_file::files("exchange-")
        .iter()
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), Exchange(vector_file::read(path)))
        })
        .collect();
    assert!(exchanges.len() >= 8);
    exchanges
}

impl Exchange {
    fn said_by(&self, side: &str) -> Heard<'_> {
        let mut heard = Heard { bytes: Vec::new(), messages: Vec::new(), error: None };
        let mut sent = 0;
        for block in &self.0[1..] {
            let [speaker, what, ..] = &block.head[..] else { panic!("{}: who says what?", block.place) };
            if !block.has("bytes") {
                continue;
            }
            if speaker == side {
                heard.bytes.extend_from_slice(block.bytes("bytes"));
            }
            match what.as_str() {
                "PREAMBLE" => {
                    let mut preamble = Vec::new();
                    put_preamble(&mut preamble);
                    assert_eq!(block.bytes("bytes"), preamble, "{}", block.place);
                }
                "REFUSED" => {
                    // A refused request was sent, and had the next number.
                    sent += 1;
                    heard.error = (speaker == side).then(|| block.number("error")).or(heard.error);
                }
                _ => {
                    let message = block.message(what);
                    assert_eq!(message.to_bytes(), block.bytes("bytes"), "{}: encoded", block.place);
                    sent += u32::from(message.is_counted());
                    if speaker == side {
                        heard.messages.push((message, sent));
                    }
                }
            }
        }
        heard
    }
}

/// The number that a message's frame carries, for the messages whose events do not say it.
fn number(message: &Message) -> u32 {
    match *message {
        Message::FileBegin(number, _)
        | Message::FileData(number, _)
        | Message::FileEnd(number)
        | Message::FetchFile(number, _)
        | Message::FilesDone(number) => number,
        _ => 0,
    }
}

/// Feeds a server what the client says, `piece` bytes at a time, and checks each event.
fn feed_server(heard: &Heard, piece: usize) -> Result<(), ProtocolError> {
    let (mut session, limits) = (ServerSession::new(), Limits::default());
    let (mut from, mut to, mut count) = (0, 0, 0);
    loop {
        match session.step(&heard.bytes[from..to], &limits)? {
            ServerStep::Event { event, used } => {
                let (expected, _) = heard.messages[count];
                assert_eq!(Message::from_client(event, number(&expected)), expected);
                count += 1;
                from += used;
            }
            ServerStep::More(total) => {
                assert!(total > (to - from) as u64);
                if to == heard.bytes.len() {
                    assert_eq!((count, from), (heard.messages.len(), to), "everything was understood");
                    return Ok(());
                }
                to = heard.bytes.len().min(to + piece);
            }
        }
    }
}

/// Feeds a client what the server says.
fn feed_client(heard: &Heard, piece: usize) {
    let (mut session, limits) = (ClientSession::new(), Limits::default());
    let (mut from, mut to, mut count, mut sent) = (0, 0, 0, 0);
    while count < heard.messages.len() {
        let (expected, must_be_sent) = heard.messages[count];
        while sent < must_be_sent {
            sent = session.next_number();
        }
        match session.step(&heard.bytes[from..to], &limits).unwrap() {
            ClientStep::Event { event, used } => {
                assert_eq!(Message::from_server(event, number(&expected)), expected);
                if let ClientEvent::Goodbye(goodbye) = event {
                    assert!(!session.was_taken(goodbye.last_taken + 1, goodbye.last_taken));
                }
                count += 1;
                from += used;
            }
            ClientStep::More(total) => {
                assert!(total > (to - from) as u64);
                assert!(to < heard.bytes.len(), "everything there, yet more wanted");
                to = heard.bytes.len().min(to + piece);
            }
        }
    }
    assert_eq!(from, heard.bytes.len(), "everything was understood");
}

#[test]
fn the_server_understands_the_client_in_any_pieces() {
    for (name, exchange) in exchanges() {
        let heard = exchange.said_by(">");
        for piece in [1, 2, 3, 7, 16, 64, usize::MAX / 2] {
            println!("{name} in pieces of {piece}");
            match (feed_server(&heard, piece), heard.error) {
                (Ok(()), None) => {}
                (Err(error), Some(code)) => assert_eq!(error.code().number(), code, "{name}: {error}"),
                (result, error) => panic!("{name}: {result:?}, but {error:?} was to come"),
            }
        }
    }
}

#[test]
fn the_client_understands_the_server_in_any_pieces() {
    for (name, exchange) in exchanges() {
        let heard = exchange.said_by("<");
        for piece in [1, 2, 3, 7, 16, 64, usize::MAX / 2] {
            println!("{name} in pieces of {piece}");
            feed_client(&heard, piece);
        }
    }
}

/// The rule for short connections: after `last` and all that it owes, the server closes before the client does.
#[test]
fn the_server_closes_first_after_the_last_request() {
    let mut checked = 0;
    for (name, exchange) in exchanges() {
        let mut closings =
            exchange.0.iter().filter(|block| block.head.get(1).is_some_and(|what| what == "closes"));
        let first = closings.next().unwrap_or_else(|| panic!("{name}: nobody closes"));
        let last = exchange.said_by(">").messages.iter().any(|(message, _)| {
            matches!(message, Message::Request(request) if request.last)
                || matches!(message, Message::OutcomeQuery(query) if query.last)
        });
        if last {
            assert_eq!(first.head[0], "<", "{name}");
            checked += 1;
        }
    }
    assert!(checked >= 5);
}

/// ERROR says the sentence and the number of what the session refused.
#[test]
fn the_error_frame_tells_what_was_wrong() {
    let mut checked = 0;
    for (name, exchange) in exchanges() {
        let heard = exchange.said_by(">");
        let Some(code) = heard.error else { continue };
        let error = feed_server(&heard, usize::MAX / 2).unwrap_err();
        let answer = exchange.said_by("<").messages.last().map(|(message, _)| *message);
        let Some(Message::Error(told)) = answer else { panic!("{name}: {answer:?}") };
        assert_eq!((told.code.number(), told.text), (code, error.to_string().as_str()), "{name}");
        checked += 1;
    }
    assert!(checked >= 3);
}

/// A preamble stands before the first frame only.
#[test]
fn a_second_preamble_is_refused() {
    let (_, exchange) = exchanges().into_iter().find(|(name, _)| name == "exchange-short").unwrap();
    let heard = exchange.said_by(">");
    let mut session = ServerSession::new();
    let ServerStep::Event { used, .. } = session.step(&heard.bytes, &Limits::default()).unwrap() else {
        panic!("a hello comes first")
    };
    assert!(session.step(&heard.bytes[..used], &Limits::default()).is_err());
    assert_eq!(&heard.bytes[..3], b"IB2");
    assert!(used > PREAMBLE_LEN);
}
