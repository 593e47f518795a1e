//! Each message vector: its bytes say its fields, and its fields say its bytes.

use std::collections::{BTreeMap, BTreeSet};

use ibp_core::wire::ib2::{FrameType, HEADER_LEN};

use crate::support::message::Message;
use crate::support::vector_file::{self, Block};

/// The type and the name of a block that is a message vector.
fn message(block: &Block) -> Option<(&str, &str)> {
    match &block.head[..] {
        [word, frame, name] if word == "message" => Some((frame, name)),
        _ => None,
    }
}

#[test]
fn bytes_and_fields_say_the_same() {
    for block in vector_file::read_all("") {
        let Some((frame, _)) = message(&block) else { continue };
        let (fields, bytes) = (block.message(frame), block.bytes("bytes"));
        same_bytes(&fields.to_bytes(), bytes, &block.place);
        assert_eq!(Message::take(bytes), Ok(fields), "{}: decoded", block.place);
    }
}

/// Compares so that a long difference can be read.
fn same_bytes(encoded: &[u8], vector: &[u8], place: &str) {
    let differs = encoded.iter().zip(vector).position(|(encoded, vector)| encoded != vector);
    let lengths = (encoded.len(), vector.len());
    assert!(
        differs.is_none() && lengths.0 == lengths.1,
        "{place}: encoded and written differ at {differs:?}, lengths {lengths:?}"
    );
}

#[test]
fn every_type_has_several_vectors_with_names_of_their_own() {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for block in vector_file::read_all("") {
        let Some((frame, name)) = message(&block) else { continue };
        assert!(
            names.entry(frame.to_owned()).or_default().insert(name.to_owned()),
            "{}: a second {frame} {name}",
            block.place
        );
    }
    for frame in (0..=u8::MAX).filter_map(FrameType::from_byte) {
        let count = names.remove(frame.name()).map_or(0, |names| names.len());
        match frame {
            FrameType::ClientFinished | FrameType::Sealed => {
                assert_eq!(count, 0, "{} is reserved", frame.name())
            }
            _ => assert!(count >= 2, "{} has {count}", frame.name()),
        }
    }
    assert!(names.is_empty(), "vectors of types that do not exist: {names:?}");
}

#[test]
fn what_is_refused_is_refused_for_its_reason() {
    let mut count = 0;
    for block in vector_file::read_all("refused") {
        let bytes = block.bytes("bytes");
        assert!(bytes.len() >= HEADER_LEN, "{}", block.place);
        match Message::take(bytes) {
            Err(error) => {
                assert_eq!(error.code().number(), block.number::<u16>("error"), "{}: {error}", block.place)
            }
            Ok(message) => panic!("{}: taken as {message:?}", block.place),
        }
        count += 1;
    }
    assert!(count > 40, "{count}");
}
