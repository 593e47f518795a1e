//! A server's session as two words: it goes on in another process from any position.

use ibp_core::wire::ib2::{OutcomeQuery, ServerSession, ServerStep};
use ibp_core::wire::{Limits, TransactionId};

use crate::support::vector_file;

/// The bytes that the client says in an exchange.
fn client_bytes(path: &std::path::Path) -> Vec<u8> {
    let blocks = vector_file::read(path);
    let said = blocks.iter().filter(|block| block.head[0] == ">" && block.has("bytes"));
    said.flat_map(|block| block.bytes("bytes").to_vec()).collect()
}

#[test]
fn a_session_goes_on_from_its_words_at_every_position() {
    let limits = Limits::default();
    let mut positions = 0;
    for path in vector_file::files("exchange-") {
        let bytes = client_bytes(&path);
        let mut session = ServerSession::new();
        let mut from = 0;
        // Another process takes over after each byte.
        for to in 0..=bytes.len() {
            let restored = ServerSession::from_words(session.to_words());
            assert_eq!(restored, Some(session), "{} at {to}", path.display());
            session = restored.unwrap();
            positions += 1;
            match session.step(&bytes[from..to], &limits) {
                Ok(ServerStep::Event { used, .. }) => from += used,
                Ok(ServerStep::More(_)) => {}
                Err(_) => break,
            }
        }
    }
    assert!(positions > 1000, "{positions}");
}

/// 0 means "none", so the numbers begin again at 1.
#[test]
fn the_number_after_the_last_is_one() {
    let ready = |number: u32| ServerSession::from_words([u64::from(number) | 1 << 48, 0]).unwrap();
    for (last_taken, next) in [(0, 1), (1, 2), (u32::MAX - 1, u32::MAX), (u32::MAX, 1)] {
        for number in [0, 1, 2, u32::MAX - 1, u32::MAX] {
            let mut bytes = Vec::new();
            let transaction = TransactionId([1; 16]);
            OutcomeQuery { number, last: false, transaction }.put(&mut bytes);
            let result = ready(last_taken).step(&bytes, &Limits::default());
            assert_eq!(result.is_ok(), number == next, "{number} after {last_taken}");
        }
    }
}

#[test]
fn words_that_no_session_gives_are_refused() {
    let word = |phase: u64, files: u64, number: u64| number | files << 32 | phase << 48;
    for words in [
        [word(4, 0, 0), 0],
        [word(0xffff, 0, 0), 0],
        // Before the hello nothing was taken.
        [word(0, 0, 1), 0],
        [word(0, 1, 0), 0],
        [word(0, 0, 0), 1],
        // Only within a file is something left of one.
        [word(1, 1, 0), 1],
        [word(2, 0, 0), 1],
        [word(3, 0, 1), 1],
        // The last request came, so there was one, and its files were its own.
        [word(3, 0, 0), 0],
        [word(3, 1, 1), 0],
        [u64::MAX, u64::MAX],
    ] {
        assert_eq!(ServerSession::from_words(words), None, "{words:x?}");
    }
}
