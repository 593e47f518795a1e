//! The transaction protocol, as code without I/O.
