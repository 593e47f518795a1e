//! Bytes that no peer should send: cut, changed, random, absurd. None of them makes a session panic or ask for more
//! than its limits allow.

use ibp_core::Load;
use ibp_core::wire::Limits;
use ibp_core::wire::ib2::{
    ClientHello, ClientSession, ClientStep, FrameType, HEADER_LEN, Header, ServerHello, ServerSession,
    ServerStep, put_preamble,
};

use crate::support::fuzz_wire::{ib2_client, ib2_server};
use crate::support::message::Message;
use crate::support::vector_file;

/// The bytes that one side says in each exchange.
fn conversations(side: &str) -> Vec<Vec<u8>> {
    let files = vector_file::files("exchange-");
    let said = files.iter().map(|path| {
        let blocks = vector_file::read(path);
        let blocks = blocks.iter().filter(|block| block.head[0] == side && block.has("bytes"));
        blocks.flat_map(|block| block.bytes("bytes").to_vec()).collect()
    });
    said.collect()
}

/// The bytes that follow what says how many requests a client has sent.
fn for_client(bytes: &[u8]) -> Vec<u8> {
    [&[3], bytes].concat()
}

#[test]
fn every_truncation_waits_for_more_or_is_refused() {
    for bytes in conversations(">") {
        (0..bytes.len()).for_each(|length| ib2_server(&bytes[..length]));
    }
    for bytes in conversations("<") {
        (0..bytes.len()).for_each(|length| ib2_client(&for_client(&bytes[..length])));
    }
}

#[test]
fn every_flipped_bit_is_survived() {
    let flip = |bytes: &[u8], body: &dyn Fn(&[u8])| {
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            body(&bytes);
        }
    };
    for bytes in conversations(">") {
        flip(&bytes, &ib2_server);
    }
    for bytes in conversations("<") {
        flip(&bytes, &|bytes| ib2_client(&for_client(bytes)));
    }
}

/// Each message vector alone, with each bit flipped: outside a session too, a reader refuses or reads, and what it
/// reads has that one encoding.
#[test]
fn every_flipped_bit_of_a_message_is_read_as_it_stands_or_refused() {
    let mut read = 0;
    for block in vector_file::read_all("") {
        let bytes = match &block.head[..] {
            [word, ..] if word == "message" => block.bytes("bytes"),
            _ => continue,
        };
        if bytes.len() > 4096 {
            continue;
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_length = (8..HEADER_LEN).contains(&(bit / 8));
            let is_reserved = FrameType::from_byte(bytes[0])
                .is_some_and(|frame| matches!(frame, FrameType::ClientFinished | FrameType::Sealed));
            if is_length || is_reserved {
                continue;
            }
            if let Ok(message) = Message::take(&bytes) {
                assert_eq!(message.to_bytes(), bytes, "{} bit {bit}", block.place);
                read += 1;
            }
        }
    }
    assert!(read > 1000, "{read}");
}

#[test]
fn absurd_lengths_are_refused_at_the_header() {
    let limits = Limits { max_body: u64::MAX, max_files: u16::MAX, max_file: u64::MAX };
    let mut hello = Vec::new();
    put_preamble(&mut hello);
    for frame in (0..=u8::MAX).filter_map(FrameType::from_byte) {
        for length in [1 << 63, u64::MAX, u64::MAX - 15] {
            for number in [0, 1] {
                let bytes = [&hello[..], &Header { frame, flags: 0, number, length }.to_bytes()].concat();
                // Before the hello, the default limits do not matter.
                assert!(ServerSession::new().step(&bytes, &limits).is_err(), "{}", frame.name());
                assert!(ClientSession::new().step(&bytes, &limits).is_err(), "{}", frame.name());
            }
        }
    }
}

/// With the largest limits that a setting can say, a declared length must not overflow the sum with the header's.
#[test]
fn the_largest_limits_do_not_overflow() {
    let limits = Limits { max_body: u64::MAX, max_files: u16::MAX, max_file: u64::MAX };
    let greeting = |message: Message| {
        let mut bytes = Vec::new();
        put_preamble(&mut bytes);
        message.put(&mut bytes);
        bytes
    };
    let mut server = ServerSession::new();
    let hello = greeting(Message::ClientHello(ClientHello::plain("CORE")));
    server.step(&hello, &limits).unwrap();
    let mut client = ClientSession::new();
    client.next_number();
    let hello = greeting(Message::ServerHello(ServerHello::plain(limits, Load::default())));
    client.step(&hello, &limits).unwrap();
    for length in [1 << 63, u64::MAX - 16, u64::MAX - 15, u64::MAX] {
        let header = |frame| Header { frame, flags: 0, number: 1, length }.to_bytes();
        match server.step(&header(FrameType::Request), &limits) {
            Ok(ServerStep::More(total)) => assert!(total >= length, "{length}: {total}"),
            other => assert!(other.is_err(), "{length}: {other:?}"),
        }
        match client.step(&header(FrameType::Response), &limits) {
            Ok(ClientStep::More(total)) => assert!(total >= length, "{length}: {total}"),
            other => assert!(other.is_err(), "{length}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_ib2_is_refused_with_its_first_byte() {
    for first in 0..=u8::MAX {
        let refused = ServerSession::new().step(&[first], &Limits::default()).is_err();
        assert_eq!(refused, first != b'I', "{first:#04x}");
    }
    for version in 0..=u8::MAX {
        let bytes = [b'I', b'B', b'2', version];
        assert_eq!(ServerSession::new().step(&bytes, &Limits::default()).is_err(), version != 1, "{version}");
        assert_eq!(ClientSession::new().step(&bytes, &Limits::default()).is_err(), version != 1, "{version}");
    }
}
