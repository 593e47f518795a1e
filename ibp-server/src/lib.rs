//! Server platform of IBP: a supervised pool of worker processes that share all connections.
