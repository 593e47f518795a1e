//! Lock-free shared-memory configuration and load board of IBP: one publisher, any number of readers.
