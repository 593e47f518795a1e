//! The kinds of transactions that the clients make.

/// The app that answers with the request.
pub const ECHO: &str = "ibp_test_echo";
/// The same, after [`SLOW_MS`]: long enough that a kill finds it running.
pub const SLOW_ECHO: &str = "ibp_test_slow_echo";
/// How long [`SLOW_ECHO`] takes, in milliseconds.
pub const SLOW_MS: u64 = 5;

/// The node that is asked, and the one that asks.
pub const SERVER_NODE: &str = "ECIF";
pub const CLIENT_NODE: &str = "CORE";

/// How long a call may take, in seconds. None comes near it, whatever is killed: one that does has hung.
pub const APP_TIMEOUT_SECONDS: u32 = 10;

/// A kind of transactions.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub is_short: bool,
    pub body: usize,
    pub app: &'static str,
}

/// Each client process has one thread of each kind.
pub const KINDS: [Kind; 5] = [
    Kind { name: "short, 128 B", is_short: true, body: 128, app: ECHO },
    Kind { name: "short, 4 KiB", is_short: true, body: 4096, app: ECHO },
    Kind { name: "long, 128 B", is_short: false, body: 128, app: ECHO },
    Kind { name: "long, 4 KiB", is_short: false, body: 4096, app: ECHO },
    Kind { name: "long, 128 B, app of 5 ms", is_short: false, body: 128, app: SLOW_ECHO },
];

/// Set in the number of a transaction's kind if its client uses TCP even on this machine.
pub const OVER_TCP: u8 = 0x80;
