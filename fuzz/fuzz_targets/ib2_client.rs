//! What a client reads from any server. The body, with what must hold, is shared with `ibp-core/tests/corpus.rs`.
#![no_main]

#[path = "../../ibp-core/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|data: &[u8]| support::fuzz_wire::ib2_client(data));
