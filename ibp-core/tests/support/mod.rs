//! What the tests of this crate and the fuzz targets share.
#![allow(dead_code, reason = "each of them uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is wrong"
)]

pub mod fuzz_config;
pub mod fuzz_wire;
pub mod message;
pub mod vector_file;
