//! Atomics: the standard library's, or the model checker's under `--cfg loom`.
//!
//! Only [`crate::index`], [`crate::slot`] and [`crate::publication`] use them, and these three compile both
//! ways, so that what is checked is what runs.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
