//! What the platform asks of the kernel and Rust's standard library does not offer: the only unsafe code of this
//! crate. One concept a file.

pub(crate) mod descriptor;
pub(crate) mod ready_set;
pub(crate) mod signal;
pub(crate) mod spawn;
