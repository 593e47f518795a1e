//! What the example programs have in common.
#![forbid(unsafe_code)]
