//! The configuration as bytes: how a view is laid out in a segment, and how a reader finds its way in it.
//!
//! Nothing here knows where the bytes lie. Every offset that is read from them is checked before it is used,
//! so that damaged bytes lead to a miss or an error and never further.

mod access;
mod build;
pub(crate) mod hash;
pub(crate) mod layout;
mod read;
mod table;
mod verify;

pub(crate) use build::{Placement, build, check};
pub(crate) use read::Image;

#[cfg(test)]
pub(crate) mod tests;
