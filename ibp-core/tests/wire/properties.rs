//! Properties over made-up messages and bytes. A failing case prints itself and its seed.

use ibp_core::Load;
use ibp_core::wire::ib2::{
    ClientHello, FetchFile, FileBegin, Goodbye, GoodbyeReason, OutcomeAnswer, OutcomeQuery, PeerError,
    Request, Response, ResponseHead, ServerHello, put_preamble,
};
use ibp_core::wire::{AbortReason, ErrorCode, Execution, Limits, Outcome, RejectReason, TransactionId};
use proptest::prelude::*;

use crate::support::fuzz_wire::{detect, ib2_client, ib2_server};
use crate::support::message::Message;

proptest! {
    #[test]
    fn every_message_reads_as_it_was_written(message in owned()) {
        let message = message.borrow();
        let bytes = message.to_bytes();
        prop_assert_eq!(Message::take(&bytes), Ok(message));
    }

    #[test]
    fn a_server_keeps_its_promises_for_any_messages(messages in prop::collection::vec(owned(), 0..6)) {
        ib2_server(&connection(&[], &messages));
    }

    #[test]
    fn a_client_keeps_its_promises_for_any_messages(
        sent in any::<u8>(),
        messages in prop::collection::vec(owned(), 0..6),
    ) {
        ib2_client(&connection(&[sent], &messages));
    }

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        detect(&bytes);
        ib2_server(&bytes);
        ib2_client(&bytes);
        ib2_server(&[&b"IB2\x01"[..], &bytes].concat());
        ib2_client(&[&b"\x03IB2\x01"[..], &bytes].concat());
    }

    #[test]
    fn random_bytes_after_a_hello_are_survived(
        kind in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        // A known type, so that more than the header's first byte is looked at.
        let kinds = [0x03, 0x04, 0x10, 0x11, 0x12, 0x20, 0x21, 0x30, 0x31, 0x40, 0x41];
        let mut frame = vec![*kind.get(&kinds), 0, 0, 0, 1, 0, 0, 0];
        frame.extend_from_slice(&(tail.len() as u64).to_le_bytes());
        frame.extend_from_slice(&tail);
        let client = Message::ClientHello(ClientHello::plain("CORE")).to_bytes();
        let server = Message::ServerHello(ServerHello::plain(Limits::default(), Load::default())).to_bytes();
        ib2_server(&[&b"IB2\x01"[..], &client, &frame].concat());
        ib2_client(&[&b"\x03IB2\x01"[..], &server, &frame].concat());
    }
}

fn connection(before: &[u8], messages: &[Owned]) -> Vec<u8> {
    let mut bytes = before.to_vec();
    put_preamble(&mut bytes);
    messages.iter().for_each(|message| message.borrow().put(&mut bytes));
    bytes
}

/// A message with what it borrows: two byte strings and two names.
#[derive(Clone, Debug)]
struct Owned {
    kind: usize,
    /// Small, so that sequences of messages often have numbers in turn.
    number: u32,
    flag: bool,
    words: [u64; 4],
    digest: [u8; 32],
    other_digest: [u8; 32],
    id: [u8; 16],
    app: String,
    node: String,
    text: String,
    body: Vec<u8>,
    names: Vec<Vec<u8>>,
    list: Vec<u8>,
}

fn owned() -> impl Strategy<Value = Owned> {
    let number = prop_oneof![4 => 0..4_u32, 1 => any::<u32>()];
    let name = || "[A-Za-z0-9_.-]{1,64}";
    let file_name =
        prop::collection::vec(any::<u8>().prop_filter("plain", |byte| !matches!(byte, 0 | b'/')), 1..40)
            .prop_filter("plain", |name| name != b"." && name != b"..");
    (
        (0..13_usize, number, any::<bool>(), any::<[u64; 4]>()),
        (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 16]>()),
        (name(), prop_oneof![Just(String::new()), name().prop_map(String::from)], "\\PC{0,100}"),
        (prop::collection::vec(any::<u8>(), 1..200), prop::collection::vec(file_name, 1..5)),
    )
        .prop_map(|(fields, digests, names, bytes)| {
            let list = bytes.1.iter().flat_map(|name| [&[name.len() as u8], &name[..]].concat()).collect();
            Owned {
                kind: fields.0,
                number: fields.1,
                flag: fields.2,
                words: fields.3,
                digest: digests.0,
                other_digest: digests.1,
                id: digests.2,
                app: names.0,
                node: names.1,
                text: names.2,
                body: bytes.0,
                names: bytes.1,
                list,
            }
        })
}

impl Owned {
    fn borrow(&self) -> Message<'_> {
        let [a, b, c, d] = self.words;
        let (number, transaction) = (self.number, TransactionId(self.id));
        let load = Load { busy: a as u16, workers: b as u16 };
        match self.kind {
            0 => {
                let (offers, requires) = (a as u32, a as u32 & b as u32);
                let key_id = c.to_le_bytes();
                let (nonce, exchange) = (self.digest, &self.body[..]);
                Message::ClientHello(ClientHello {
                    offers,
                    requires,
                    key_id,
                    nonce,
                    exchange,
                    node: &self.node,
                })
            }
            1 => {
                let limits = Limits { max_body: c, max_files: d as u16, max_file: b };
                let (nonce, proof) = (self.digest, self.other_digest);
                let exchange = if self.flag { &self.body[..] } else { &[] };
                let chosen = if self.flag { a as u32 & 7 } else { 0 };
                Message::ServerHello(ServerHello { chosen, limits, load, nonce, proof, exchange })
            }
            2 => {
                let code = ErrorCode::from_number(a as u16);
                Message::Error(PeerError { last_taken: number, code, text: &self.text })
            }
            3 => {
                Message::Goodbye(Goodbye { last_taken: number, reason: GoodbyeReason::from_number(a as u16) })
            }
            4 => {
                let size = if self.flag { self.body.len() as u64 } else { a };
                Message::FileBegin(number, FileBegin { size, digest: self.digest, name: &self.names[0] })
            }
            5 => Message::FileData(number, &self.body),
            6 => Message::FileEnd(number),
            7 => Message::Request(Request {
                number,
                last: self.flag,
                transaction,
                remaining_ms: a as u32,
                files: (b % 4) as u16,
                app: &self.app,
                node: &self.node,
                body: &self.body,
            }),
            8 => {
                let execution = self.execution();
                let has_files = matches!(execution, Execution::Executed(_)) && self.flag;
                let (files, file_names) =
                    if has_files { (self.names.len() as u16, &self.list[..]) } else { (0, &[][..]) };
                let head = ResponseHead { number, transaction, execution, load, files };
                Message::Response(Response { head, file_names, body: &self.body })
            }
            9 => Message::FetchFile(number, FetchFile { name: &self.names[0] }),
            10 => Message::FilesDone(number),
            11 => Message::OutcomeQuery(OutcomeQuery { number, last: self.flag, transaction }),
            _ => {
                let outcome = match a % 3 {
                    0 => Outcome::Unknown,
                    1 => Outcome::Running,
                    _ => Outcome::Ended(self.execution()),
                };
                Message::OutcomeAnswer(OutcomeAnswer {
                    number,
                    transaction,
                    outcome,
                    age_ms: b,
                    horizon_ms: c,
                })
            }
        }
    }

    fn execution(&self) -> Execution {
        let [_, b, c, _] = self.words;
        match b % 3 {
            0 => Execution::Rejected(RejectReason::from_number(c as u16)),
            1 => Execution::Executed(c as i32),
            _ => Execution::Aborted(AbortReason::from_number(c as u16)),
        }
    }
}
