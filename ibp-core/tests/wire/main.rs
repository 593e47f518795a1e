//! The wire protocol against its vectors, its documentation, its rules of order, and damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod documentation;
mod exchanges;
mod messages;
mod order;
mod properties;
mod words;
