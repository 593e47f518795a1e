//! What the platform's processes share: memory made before the first fork, of atomics only, so that any of them may
//! be killed at any instruction and the others still read something that makes sense.

pub(crate) mod board;
pub(crate) mod control;
pub(crate) mod name;
pub(crate) mod outcomes;
pub(crate) mod spill;
pub(crate) mod table;
