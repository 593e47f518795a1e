//! Any bytes as a compiled image of a configuration. The body is shared with `ibp-core/tests/corpus_config.rs`.
#![no_main]

#[path = "../../ibp-core/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|data: &[u8]| support::fuzz_config::config_image(data));
